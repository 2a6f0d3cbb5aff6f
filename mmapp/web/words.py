"""Every word that the pages say, in English and Chinese side by side.

A page is built once for each language (`/en/…`, `/zh/…`) and asks its `Words` for what it says. An
unknown key is a KeyError: there is no silent fallback from one language to the other. Words of
files, listings and models never come from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

#: key -> (English, Chinese). Placeholders are those of str.format.
WORDS: Mapping[str, tuple[str, str]] = {
    # frame
    "documents": ("Documents", "文档"),
    "ask": ("Ask", "提问"),
    "compare": ("Compare", "比较"),
    "listings": ("Listing check", "商品核对"),
    "batch": ("Batch", "批量"),
    "results": ("Results", "结果"),
    "other_language": ("中文", "English"),
    "skip": ("Skip to content", "跳到正文"),
    "source": ("Source code (AGPL-3.0-or-later)", "源代码（AGPL-3.0-or-later）"),
    "footer": (
        "Everything stays on this machine. mmapp {version}",
        "所有内容都留在本机。mmapp {version}",
    ),
    "answering": ("Answers come from the checkpoint “{name}”.", "由检查点“{name}”作答。"),
    "problem": (
        "Something went wrong here (number {number} in the log).",
        "这里出错了（日志编号 {number}）。",
    ),
    "no_worker": (
        "No worker is ready yet: jobs wait in the queue until one is.",
        "还没有就绪的工作进程：任务会在队列中等待。",
    ),
    "samples": ("Try the samples", "试试样例"),
    # status
    "queued": ("waiting", "等待中"),
    "running": ("running", "进行中"),
    "succeeded": ("done", "完成"),
    "failed": ("failed", "失败"),
    "cancelled": ("cancelled", "已取消"),
    "cancel": ("Cancel", "取消"),
    "retry": ("Try again", "重试"),
    "cancelling": ("Stopping…", "正在停止…"),
    "waiting_long": ("Waiting for a worker", "等待工作进程"),
    "ahead_none": ("Next in line", "排在最前"),
    "ahead_one": ("1 job before it", "前面还有 1 个任务"),
    "ahead_many": ("{n} jobs before it", "前面还有 {n} 个任务"),
    "starts_in": ("begins in about {time}", "约 {time}后开始"),
    "takes": ("takes about {time}", "预计用时约 {time}"),
    "to_read": ("{n} tokens to read and ask about", "共需读取和提问 {n} 个词元"),
    "in_parts": ("read in {n} parts", "分 {n} 部分读取"),
    "to_recognise": (
        "text recognition of {n} pages first",
        "先对 {n} 页进行文字识别",
    ),
    # progress
    "pages_of": ("{done} of {total} pages", "第 {done} / {total} 页"),
    "units_of": ("{done} of {total} {unit}", "{done} / {total} {unit}"),
    "eta_s": ("about {n} s left", "约剩 {n} 秒"),
    "eta_min": ("about {n} min left", "约剩 {n} 分钟"),
    "eta_h": ("about {n} h left", "约剩 {n} 小时"),
    "phase_preparing": ("Looking through", "浏览"),
    "phase_drawing": ("Drawing pages", "绘制页面"),
    "phase_encoding": ("Looking at pictures", "查看图片"),
    "phase_locating": ("Finding the places", "定位"),
    "phase_recognising": ("Recognising text in pictures", "识别图片中的文字"),
    "phase_reading": ("Reading", "阅读"),
    "phase_writing": ("Writing", "撰写"),
    "phase_choosing": ("Choosing sentences", "挑选句子"),
    "phase_searching": ("Looking for the answer", "寻找答案"),
    "phase_checking": ("Checking claims", "核对说法"),
    "phase_comparing": ("Comparing", "比较"),
    "unit_tokens": ("tokens", "词元"),
    "unit_sentences": ("sentences", "句"),
    "unit_passages": ("passages", "段"),
    "unit_claims": ("claims", "条说法"),
    "unit_figures": ("figures", "幅插图"),
    "unit_views": ("views", "个视图"),
    "unit_pictures": ("pictures", "张图片"),
    "unit_pages": ("pages", "页"),
    # documents
    "documents_lead": (
        "Summaries in which every sentence is shown on its page.",
        "摘要中的每一句话，都在原文页面上标出。",
    ),
    "files": ("PDF, image, text or Markdown files", "PDF、图片、文本或 Markdown 文件"),
    "password": ("Password (only for locked PDFs)", "密码（仅加密的 PDF 需要）"),
    "sentences": ("Sentences", "句数"),
    "summarize": ("Summarise", "生成摘要"),
    "share": ("Or a share, in % (0: by number)", "或按百分比（0 表示按句数）"),
    "sections_too": ("Summarise each section too", "同时为每个章节生成摘要"),
    "mode": ("Wording", "措辞"),
    "mode_grounded": ("Quoted from the document", "引用原文"),
    "mode_marked": ("Written freely; what is not proved is marked", "自由撰写，标出未证实的句子"),
    "mode_dropped": (
        "Written freely; what is not proved is left out",
        "自由撰写，去掉未证实的句子",
    ),
    "nothing_said": ("There is no sentence to show.", "没有可显示的句子。"),
    "before_headings": ("Before the first heading", "首个标题之前"),
    "support": (
        "{supported} of {written} written sentences are proved by their quotes.",
        "撰写的 {written} 句中，{supported} 句有引文证实。",
    ),
    "support_dropped": ("{count} left out", "略去 {count} 句"),
    "missing_quote": ("“{said}” is not on page {page}", "第 {page} 页没有“{said}”"),
    "missing_page": (
        "“{said}” is on page {found}, not on page {page}",
        "“{said}”在第 {found} 页，不在第 {page} 页",
    ),
    "missing_proof": ("it cites nothing", "没有给出依据"),
    "missing_language": (
        "it is in another language than the document",
        "语言与文档不同",
    ),
    "missing_words": ("its quotes are about something else", "引文与句子无关"),
    "missing_number": ("number {said}", "数字 {said}"),
    "missing_percent": ("percentage {said}", "百分比 {said}"),
    "missing_money": ("amount {said}", "金额 {said}"),
    "missing_measure": ("measure {said}", "量值 {said}"),
    "missing_date": ("date {said}", "日期 {said}"),
    "missing_name": ("name {said}", "名称 {said}"),
    "missing_quotation": ("quotation “{said}”", "引语“{said}”"),
    "colon": (": ", "："),
    "recent_documents": ("Recent documents", "最近的文档"),
    "recent_listings": ("Recent listings", "最近的商品"),
    "recent_batches": ("Recent batches", "最近的批次"),
    "documents_empty": (
        "Nothing here yet. Choose a file above, or try the samples.",
        "还没有文档。请在上方选择文件，或试试样例。",
    ),
    "choose_files": ("Choose at least one file first.", "请先选择至少一个文件。"),
    "too_many_files": (
        "{count} files at once are more than {limit}; send them in parts.",
        "一次 {count} 个文件超过上限 {limit}，请分批上传。",
    ),
    "problems": ("These could not be read", "以下文件无法读取"),
    "summary": ("Summary", "摘要"),
    "answer": ("Answer", "回答"),
    "not_found": ("Not in this document.", "文档中没有答案。"),
    "page": ("Page", "页"),
    "page_number": ("p. {page}", "第 {page} 页"),
    "page_of": ("of {total}", "/ {total}"),
    "previous_page": ("Previous page", "上一页"),
    "next_page": ("Next page", "下一页"),
    "pages": ("{count} pages", "{count} 页"),
    "one_page": ("1 page", "1 页"),
    "unsupported": ("not proved", "未能证实"),
    "show_on_page": ("Show on page {page}", "在第 {page} 页中显示"),
    "coverage": ("Pages read", "已读页面"),
    "coverage_all": ("All {pages} pages were read.", "全部 {pages} 页均已阅读。"),
    "coverage_one": ("The page was read.", "该页已阅读。"),
    "coverage_some": (
        "{read} of {pages} pages were read; {failed} could not be.",
        "共 {pages} 页，已读 {read} 页；{failed} 页无法读取。",
    ),
    "coverage_reason": ("Page {page}: {reason}", "第 {page} 页：{reason}"),
    "coverage_proof": ("holds a proof", "含有依据"),
    "coverage_read": ("read", "已读"),
    "coverage_failed": ("not read", "未读"),
    "coverage_ocr": ("read by text recognition", "经文字识别"),
    "coverage_blank": ("blank", "空白"),
    "coverage_count_ocr": (" By text recognition: {count}.", "其中 {count} 页经文字识别。"),
    "coverage_count_blank": (" Blank: {count}.", "其中 {count} 页空白。"),
    "coverage_parts": (" Read in {count} parts.", "分 {count} 部分阅读。"),
    "coverage_part": (", part {part}", "，第 {part} 部分"),
    "coverage_pages": ("Page {first}", "第 {first} 页"),
    "coverage_range": ("Pages {first}–{last}", "第 {first}–{last} 页"),
    "hidden_text": (
        "Words in the file that its pages do not show: {count}. They were left out.",
        "文件中有页面上看不到的文字（{count} 个词），已排除。",
    ),
    "hidden_invisible": ("painted with nothing", "未绘制"),
    "hidden_same_colour": ("in the colour of its ground", "与背景同色"),
    "hidden_covered": ("covered or cut off", "被遮盖或裁掉"),
    "hidden_tiny": ("too small to be read", "字号过小"),
    "hidden_off_page": ("off the page", "在页面之外"),
    "hidden_layer_off": ("in a layer that is off", "在关闭的图层中"),
    "hidden_not_in_scan": ("not what is read in the scan", "与扫描件上的文字不符"),
    "ocr": ("text recognition, {sure} sure", "文字识别，把握 {sure}"),
    "record": ("What made this", "生成信息"),
    "record_line": (
        "{checkpoint} ({weights}) in {dtype} on {device}, {seconds} s",
        "{checkpoint}（{weights}），{dtype}，{device}，{seconds} 秒",
    ),
    "record_code": (
        "Code alone ({code}), no model; {seconds} s",
        "仅由程序完成（{code}），未使用模型；{seconds} 秒",
    ),
    "json": ("Result as JSON", "结果 JSON"),
    "markdown": ("as Markdown", "Markdown 文本"),
    "annotated": ("PDF with the proofs marked", "标出依据的 PDF"),
    "link": ("Link to this job", "此任务的链接"),
    "csv": ("as CSV", "CSV 表格"),
    "xlsx": ("as Excel", "Excel 表格"),
    # questions and fields
    "ask_lead": (
        "A question to your documents, their key information as a table, or their figures, "
        "with quotes.",
        "向文档提问，把关键信息提取成表格，或核对插图；每个回答都附有原文。",
    ),
    "recent_ask": ("Recent questions and tables", "最近的提问与表格"),
    "ask_empty": (
        "Nothing here yet. Choose a document above, or try the samples.",
        "还没有提问。请在上方选择文档，或试试样例。",
    ),
    "known_documents": ("Or documents that were added before", "或选择已添加过的文档"),
    "question": ("Question", "问题"),
    "question_example": ("When does the contract end?", "合同何时到期？"),
    "ask_this": ("Ask about this document", "就此文档提问"),
    "ask_button": ("Ask", "提问"),
    "fields": (
        "Fields, one on each line; without any: parties, dates, amounts, terms",
        "字段，每行一个；留空则提取当事人、日期、金额、期限",
    ),
    "fields_example": ("delivery date\ntotal price", "交货日期\n总价"),
    "extract_button": ("Extract key information", "提取关键信息"),
    "figures_button": ("Check figures against captions", "核对插图与说明"),
    "figures": ("Figures", "插图"),
    "figure": ("Figure and what is said of it", "插图及其说明"),
    "unlabelled": ("picture", "图片"),
    "no_figures": ("No figures were found.", "没有找到插图。"),
    "figures_limit": (
        "Pictures are checked as product photos are. A verdict is worth what the model knows of "
        "what they show: a small model should say “unclear” of most others, and can be wrong.",
        "插图的核对方法与商品照片相同，结论取决于模型对图中事物的了解：小模型对多数其他图片应判为"
        "“无法判断”，也可能出错。",
    ),
    "figures_left_out": ("Pictures left out: {told}.", "未核对的图片：{told}。"),
    "figure_count": ("{what}: {count}", "{what}：{count}"),
    "figure_agrees": ("agrees", "相符"),
    "figure_disagrees": ("disagrees", "不符"),
    "figure_unclear": ("unclear", "无法判断"),
    "figure_no_caption": ("no caption", "无说明"),
    "figure_tiny": ("tiny", "过小"),
    "figure_repeated": ("on several pages alike", "多页重复"),
    "figure_page_sized": ("as large as the page", "整页大小"),
    "figure_beyond": ("beyond the bound", "超出上限"),
    "figure_by_reference": ("by the text that names it, p. {page}", "据第 {page} 页提及它的文字"),
    "figure_by_counted": (
        "by the text on p. {page}; the figure was counted, not labelled",
        "据第 {page} 页文字；插图没有编号，按顺序计数",
    ),
    "choose_documents": ("Choose at least one document first.", "请先选择至少一个文档。"),
    "write_question": ("Write a question first.", "请先写下问题。"),
    "not_found_anywhere": ("Not in these documents.", "这些文档中都没有答案。"),
    "likeliest": ("likeliest answer", "最可能的回答"),
    "field": ("Field", "字段"),
    "value": ("Value", "内容"),
    "field_parties": ("Parties", "当事人"),
    "field_dates": ("Dates", "日期"),
    "field_amounts": ("Amounts", "金额"),
    "field_terms": ("Terms", "期限"),
    "found_by": ("Found by", "依据"),
    "found_by_pattern": ("pattern (code)", "格式规则（程序）"),
    "found_by_label": ("label (code)", "字段标签（程序）"),
    "found_by_name_nearby": ("name nearby (code)", "同句字段名（程序）"),
    "found_by_model": ("model", "模型"),
    "found_by_model_and_pattern": ("model, cut by pattern", "模型定位，格式规则截取"),
    "more_values": ("and {count} more", "另有 {count} 项"),
    "not_asked": (
        "The checkpoint was not trained for questions and was not asked: code alone looked.",
        "当前检查点未针对提问训练，因此没有询问模型，仅由程序查找。",
    ),
    # versions
    "compare_lead": (
        "What changed between two versions of a document, word by word.",
        "逐字标出一份文档两个版本之间的变化。",
    ),
    "recent_compare": ("Recent comparisons", "最近的比较"),
    "compare_empty": (
        "Nothing here yet. Choose two versions above, or try the samples.",
        "还没有比较。请在上方选择两个版本，或试试样例。",
    ),
    "old_version": ("Earlier version", "旧版本"),
    "new_version": ("Later version", "新版本"),
    "compare_button": ("Compare", "比较"),
    "choose_two": ("Choose both versions first.", "请先选择两个版本。"),
    "change_added": ("added", "新增"),
    "change_removed": ("removed", "删除"),
    "change_changed": ("changed", "修改"),
    "change_moved": ("moved", "移动"),
    "change_count": ("{count} {kind}", "{kind} {count} 处"),
    "comma": (", ", "，"),
    "no_changes": ("no changes", "没有变化"),
    "code_alone": (
        "Compared by code, sentence by sentence; no model was asked. Line breaks, page breaks and "
        "running headers are no changes.",
        "由程序逐句比较，未使用模型。换行、分页和页眉页脚的差异不算变化。",
    ),
    "changes_more": (
        "The first {shown} of {count} changes are shown; the JSON has the others.",
        "仅显示 {count} 处变化中的前 {shown} 处；其余见 JSON。",
    ),
    # listings
    "listings_lead": (
        "Every claim of a listing, checked against its photos.",
        "将商品描述中的每一条说法与照片核对。",
    ),
    "photos": ("Photos", "照片"),
    "title": ("Title", "标题"),
    "description": ("Description", "描述"),
    "attributes": ("Attributes, one on each line: name = value", "属性，每行一条：名称 = 值"),
    "attributes_example": ("color = dark blue\nmaterial = cotton", "颜色 = 深蓝\n材质 = 棉"),
    "title_example": ("Blue cotton T-shirt", "蓝色纯棉 T 恤"),
    "check": ("Check the listing", "核对商品"),
    "add_photo": ("Add at least one photo first.", "请先添加至少一张照片。"),
    "add_title": ("Give the listing a title first.", "请先填写标题。"),
    "not_a_photo": ("This is {kind}, not a photo.", "这是 {kind}，不是照片。"),
    "clear_photos": ("Remove the photos", "移除照片"),
    "bad_attribute": (
        "“{line}” is no attribute; write name = value.",
        "“{line}”不是属性；请写成 名称 = 值。",
    ),
    "listings_empty": (
        "Nothing here yet. Add a photo and a title above, or try the samples.",
        "还没有商品。请在上方添加照片和标题，或试试样例。",
    ),
    "consistent": ("Photos and words agree", "照片与文字相符"),
    "inconsistent": ("Photos and words disagree", "照片与文字不符"),
    "uncertain": ("The photos don't settle it", "照片无法判定"),
    "score": ("Probability that they agree: {score}", "相符的概率：{score}"),
    "verdict_counts": (
        "{supported} supported, {refuted} refuted, {unseen} not to be seen",
        "{supported} 条证实，{refuted} 条不符，{unseen} 条看不出",
    ),
    "SUPPORTED": ("supported", "证实"),
    "REFUTED": ("refuted", "不符"),
    "NOT_ENOUGH_INFO": ("not to be seen", "看不出"),
    "claim": ("Claim", "说法"),
    "attribute": ("About", "属性"),
    "verdict": ("Verdict", "结论"),
    "probability": ("Probability", "概率"),
    "not_visible": ("no photo can show this", "照片无法显示"),
    "by_code": ("told by its words; the model was not asked", "按词语判定，未询问模型"),
    "depends": ("falls with the product", "随品名一并不作判定"),
    "decided_by": ("Decided by “{claim}”.", "起决定作用的说法：“{claim}”。"),
    "decided_by_photo": (
        "Decided by “{claim}” on photo {number}.",
        "起决定作用的说法：“{claim}”（照片 {number}）。",
    ),
    "rule": (
        "They agree from {consistent} on, and disagree from {inconsistent} down.",
        "概率达到 {consistent} 判为相符，不高于 {inconsistent} 判为不符。",
    ),
    "threshold": ("How sure a verdict must be", "判定所需的把握"),
    "threshold_help": (
        "Photos and words agree where the probability reaches this, and disagree where it is at "
        "most 1 minus this; between them the photos don't settle it.",
        "概率达到该值判为相符；不高于 1 减该值判为不符；介于两者之间则无法判定。",
    ),
    "propose": ("Propose words from the photos", "根据照片建议用词"),
    "propose_help": (
        "Each word is chosen among the names that the checkpoint knows, and only where it is "
        "sure. The title may stay empty.",
        "每个词都从检查点认识的名称中选出，且只在有把握时给出。标题可以留空。",
    ),
    "proposal": ("Proposed words", "建议用词"),
    "proposed": ("Proposed", "建议"),
    "not_sure": ("not sure enough", "把握不足"),
    "closest": ("closest known names: {names}", "最接近的已知名称：{names}"),
    "share_of": ("{share} of {known} known names", "在 {known} 个已知名称中占 {share}"),
    "correction": ("What to change", "建议修改"),
    "sureness": ("refuted at {refuted}, chosen at {share}", "旧词不符 {refuted}，新词 {share}"),
    "no_correction": (
        "Nothing to change: no refuted word has a sure replacement.",
        "无需修改：没有可以确定替换的不符词语。",
    ),
    "corrected_title": ("Title after the changes: {title}", "修改后的标题：{title}"),
    "proposed_title": ("Title: {title}", "标题：{title}"),
    "proposed_description": ("Description: {text}", "描述：{text}"),
    "kind_product": ("kind of product", "品类"),
    "kind_brand": ("brand", "品牌"),
    "kind_colour": ("colour", "颜色"),
    "kind_material": ("material", "材质"),
    "kind_pattern": ("pattern", "图案"),
    "kind_count": ("count", "数量"),
    "kind_size": ("size", "尺寸"),
    "kind_text": ("words on it", "印字"),
    "kind_condition": ("condition", "成色"),
    "kind_negation": ("what it has not", "否定"),
    "kind_several": ("several things", "多项"),
    "kind_price": ("price", "价格"),
    "kind_delivery": ("delivery and stock", "配送与库存"),
    "kind_origin": ("origin", "产地"),
    "kind_warranty": ("warranty and shelf life", "质保与保质期"),
    "kind_weight": ("weight", "重量"),
    "kind_feel": ("feel, taste, smell", "手感、味道、气味"),
    "kind_performance": ("use and quality", "用途与品质"),
    "photo_number": ("Photo {number}", "照片 {number}"),
    "show_on_photo": ("Show on photo {number}", "在照片 {number} 中显示"),
    "unchecked": ("Not checked, too many claims: {claims}", "说法过多，未核对：{claims}"),
    "headline": ("{verdict} ({score})", "{verdict}（{score}）"),
    # errors of files, by their code; English needs none, the message itself says it
    "error_empty_file": ("{message}", "文件是空的。（{message}）"),
    "error_unsupported_file": ("{message}", "不支持这种文件。（{message}）"),
    "error_corrupt_file": ("{message}", "文件已损坏，无法打开。（{message}）"),
    "error_encrypted_file": ("{message}", "文件已加密，请填写密码。（{message}）"),
    "error_wrong_password": ("{message}", "密码不正确。（{message}）"),
    "error_file_too_large": ("{message}", "文件太大。（{message}）"),
    "error_parse_timeout": ("{message}", "读取时间过长，已中止。（{message}）"),
    "error_parse_crash": ("{message}", "读取时进程崩溃，其他任务不受影响。（{message}）"),
    "error_too_many_waiting": ("{message}", "等待的任务太多，请稍后再提交。（{message}）"),
    "error_no_text": ("{message}", "文件中没有可读的文字。（{message}）"),
    # batch
    "batch_lead": (
        "A table of listings or documents, all sent at once.",
        "一次提交整张商品表或文档表。",
    ),
    "batch_files": (
        "A zip with a CSV and its files, or a CSV together with its files",
        "包含 CSV 及其文件的 zip，或 CSV 与其文件一起上传",
    ),
    "batch_help": (
        "Listings: columns id, image, title, description, or what your shop calls them; every "
        "further column is an attribute; several images are separated by |. "
        "Documents: columns id, document.",
        "商品：列 id、image、title、description（或店铺常用的列名），其余各列为属性；"
        "多张图片用 | 分隔。"
        "文档：列 id、document。",
    ),
    "batch_task": ("Task", "任务"),
    "task_summarize": ("Summarise documents", "文档摘要"),
    "task_ask": ("Questions about documents", "文档问答"),
    "task_extract": ("Key information of documents", "提取关键信息"),
    "task_compare": ("Compare versions", "版本比较"),
    "task_figures": ("Figures and captions", "插图与说明"),
    "task_check_listing": ("Check listings", "核对商品"),
    "start_batch": ("Start the batch", "开始批量"),
    "batch_empty": (
        "No batch yet. Choose a CSV, an Excel file or a zip above, or try the samples.",
        "还没有批次。请在上方选择 CSV、Excel 或 zip，或试试样例。",
    ),
    "batch_progress": ("{done} of {rows} rows done", "{rows} 行中已完成 {done} 行"),
    "batch_rejected": ("{count} could not be read", "{count} 行无法读取"),
    "batch_reused": ("{count} answered from earlier", "{count} 行沿用已有结果"),
    "download_report": ("Report", "报告"),
    "batch_columns": (
        "Columns, where they can't be guessed: title=Name, image=Photo",
        "列的含义（无法自动识别时填写）：title=商品名, image=主图",
    ),
    "batch_failed": ("{count} failed", "{count} 行失败"),
    "download_csv": ("Download the results (CSV)", "下载结果（CSV）"),
    "row": ("Row", "行"),
    "input": ("Input", "输入"),
    "outcome": ("Outcome", "结果"),
    "choose_table": (
        "Choose a CSV, an Excel file or a zip first.",
        "请先选择 CSV、Excel 或 zip 文件。",
    ),
    "one_table": (
        "Choose one zip, or one CSV with its files; here are {count} tables.",
        "请选择一个 zip，或一个 CSV 及其文件；现有 {count} 个表格。",
    ),
    # reviews
    "review": ("A person says", "人工复核"),
    "review_by": ("Your name", "您的姓名"),
    "review_note": ("Note (goes with your next click)", "备注（随下一次点击保存）"),
    "review_accept": ("Accept: {verdict}", "认可：{verdict}"),
    "review_say": ("Override: {verdict}", "改判：{verdict}"),
    "review_nameless": ("Say who you are first.", "请先填写您的姓名。"),
    "review_failed": ("The review could not be stored; try again.", "复核未能保存，请重试。"),
    "to_review": ("To review next", "接下来请复核"),
    "to_review_lead": (
        "The least certain verdicts that nobody has reviewed yet.",
        "尚无人复核的结论，最没有把握的在前。",
    ),
    # results
    "results_lead": (
        "Everything that was asked here, and what came out.",
        "这里问过的一切，以及得到的结果。",
    ),
    "search": ("Words in the name or the result", "名称或结果中的词语"),
    "task": ("Task", "任务"),
    "status": ("Status", "状态"),
    "any": ("any", "不限"),
    "since": ("From (YYYY-MM-DD)", "从（YYYY-MM-DD）"),
    "until": ("To (YYYY-MM-DD)", "到（YYYY-MM-DD）"),
    "find": ("Search", "搜索"),
    "bad_date": (
        "“{text}” is no date; write it as 2026-11-22.",
        "“{text}”不是日期；请写成 2026-11-22。",
    ),
    "found": ("{count} found", "找到 {count} 条"),
    "found_one": ("1 found", "找到 1 条"),
    "results_none": (
        "Nothing matches. Try fewer words, or clear the filters.",
        "没有匹配的结果。请减少词语，或清除筛选条件。",
    ),
    "results_empty": (
        "No results yet. Summarise a document or check a listing first.",
        "还没有结果。请先为文档生成摘要，或核对一个商品。",
    ),
    "earlier_rows": ("Earlier rows", "前面的行"),
    "later_rows": ("Later rows", "后面的行"),
    "range": ("{first}–{last} of {count}", "第 {first}–{last} 条，共 {count} 条"),
    # system
    "system": ("System", "系统"),
    "system_lead": (
        "Who works, what waits, and what is stored here.",
        "谁在工作、哪些任务在等待，以及这里存储了什么。",
    ),
    "queue": ("Queue", "队列"),
    "lane": ("Lane", "通道"),
    "lane_interactive": ("a person waits", "有人在等"),
    "lane_batch": ("batches", "批量"),
    "longest_wait": ("longest wait", "最长等待"),
    "workers": ("Workers", "工作进程"),
    "roles": ("Roles", "角色"),
    "waits_for": ("Waits for the role", "等待的角色"),
    "role_all": ("all", "全部"),
    "role_ingest": ("ingest", "预处理"),
    "role_encode": ("encode", "编码"),
    "role_generate": ("generate", "生成"),
    "role_unserved": (
        "Jobs wait for the role {role}, which no worker has ({n}). Start one: {command}",
        "有 {n} 个任务在等待“{role}”角色，但没有工作进程承担它。请启动一个：{command}",
    ),
    "worker": ("Worker", "工作进程"),
    "state": ("State", "状态"),
    "device": ("Device", "设备"),
    "worker_holds": ("reads {n} tokens at once", "一次可读 {n} 个词元"),
    "worker_done": ("Done since its start", "启动以来完成"),
    "worker_ready": ("ready", "就绪"),
    "worker_loading": ("loading the checkpoint", "正在加载检查点"),
    "worker_busy": ("works on {job}", "正在处理 {job}"),
    "worker_silent": ("silent for {time}", "已无响应 {time}"),
    "throughput": ("Throughput", "吞吐量"),
    "ended_lately": (
        "{done} done and {failed} failed in the last {hours} hours",
        "最近 {hours} 小时完成 {done} 个，失败 {failed} 个",
    ),
    "stored": ("Stored", "存储"),
    "stored_pages": ("Pages", "页数"),
    "stored_files": ("Files of documents", "文档文件"),
    "free_space": ("Free on this disk", "磁盘剩余空间"),
    "checkpoint": ("Checkpoint", "检查点"),
    "checkpoint_shape": (
        "{size} of weights, reads {context} tokens at once",
        "权重 {size}，一次可读 {context} 个词元",
    ),
    "card_figures": ("What it was measured to do, from its model card", "模型卡中的实测数据"),
    "no_card": (
        "Its folder has no model card with figures.",
        "它的文件夹里没有带数据的模型卡。",
    ),
    "figure_of": ("Of", "对象"),
    "card_figure": ("Figure", "指标"),
    "figure_value": ("Value", "数值"),
    "beside": ("Beside it", "对照"),
    "seconds": ("{n} s", "{n} 秒"),
    "minutes": ("{n} min", "{n} 分钟"),
    "hours": ("{n} h", "{n} 小时"),
    "name": ("Name", "名称"),
    "when": ("When", "时间"),
}


@dataclass(frozen=True, slots=True)
class Words:
    """The words of one language: `say("pages", count=3)`."""

    language: Language

    def __call__(self, key: str, **values: object) -> str:
        text = WORDS[key][LANGUAGES.index(self.language)]
        return text.format(**values) if values else text

    def or_plain(self, key: str, plain: str) -> str:
        """For names that come from outside (a phase, a unit): ours if known, else as it came."""
        return self(key) if key in WORDS else plain


def preferred_language(cookie: str | None, accept_language: str) -> Language:
    """The language of a browser: its own choice (cookie), else the first that we speak."""
    if cookie in LANGUAGES:
        return cookie
    wishes: list[tuple[float, Language]] = []
    for item in accept_language.split(","):
        tag, _, weight = item.strip().partition(";q=")
        primary = tag.split("-")[0].lower()
        if primary in LANGUAGES:
            wishes.append((_quality(weight), primary))
    return max(wishes, key=lambda wish: wish[0])[1] if wishes else "en"


def _quality(weight: str) -> float:
    try:
        return float(weight) if weight else 1.0
    except ValueError:
        return 0.0

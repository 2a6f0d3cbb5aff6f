import json
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmapp import tasks
from mmapp.errors import JobCancelled, NoText, NotPossible
from mmapp.tasks.abstractive import loops, parse
from mmapp.types import Page, SummarizeParams, TaskName
from tests.tasks.fakes import Reports, document, pdf_page
from tests.tasks.scripted import CHINESE, ENGLISH, ScriptedEngine, says

CLOSED = "The bridge was closed on 5 March 2024."
CRACKS = "Engineers of the Hansen Institute found cracks in 12 piers, as Maria Keller reported."
COST = "Repairs will cost 4.2 million euros."
SHARE = "The city of Hamburg pays 35 % of it."
CARS = "About 1,000 cars a day take a detour of 7.5 km."
TIME = "The detour takes twenty minutes."
OPENS = "The bridge opens again in April 2025."

#: A sentence in other words, the page and words that it cites.
TRUE_ENGLISH = [
    ("The bridge has been closed since 2024-03-05.", 1, CLOSED),
    ("On March 5, 2024 the bridge was shut.", 1, CLOSED),
    ("The bridge was shut in March 2024.", 1, CLOSED),
    ("The bridge was shut in 2024.", 1, CLOSED),
    ("Cracks were found in twelve piers.", 1, CRACKS),
    ("Keller reported that piers have cracks.", 1, CRACKS),
    ("The Hansen Institute found the cracks.", 1, CRACKS),
    ("The repairs cost €4.2 million.", 2, COST),
    ("The repairs cost 4,200,000 euros.", 2, "repairs will cost 4.2 MILLION euros"),
    ("Hamburg pays 35 percent.", 2, SHARE),
    ("Every day one thousand cars take a detour.", 2, CARS),
    ("The detour is 7,500 metres long.", 2, CARS),
    ("The detour is 7.5 kilometres long.", 2, "take a detour … 7.5 km"),
    ("The detour takes 20 minutes.", 3, TIME),
    ("It opens in 2025, in April.", 3, OPENS),
]
#: The same, with a fact of the document's replaced by an invented one, and what has to be missed.
FALSE_ENGLISH = [
    ("The bridge was closed on 6 March 2024.", 1, CLOSED, "date"),
    ("The bridge was closed on 5 April 2024.", 1, CLOSED, "date"),
    ("The bridge has been closed since 2023-03-05.", 1, CLOSED, "date"),
    ("The bridge was closed in 2019.", 1, CLOSED, "number"),
    ("Cracks were found in 13 piers.", 1, CRACKS, "number"),
    ("Cracks were found in thirteen piers.", 1, CRACKS, "number"),
    ("Cracks were found in two hundred piers.", 1, CRACKS, "number"),
    ("Half of the piers have cracks.", 1, CRACKS, "number"),
    ("Peter Keller reported the cracks.", 1, CRACKS, "name"),
    ("Schmidt reported the cracks in the piers.", 1, CRACKS, "name"),
    ("Cracks were reported by NASA.", 1, CRACKS, "name"),
    ("The Hansen University found cracks in the piers.", 1, CRACKS, "name"),
    ("Engineers found cracks with the XR-500 scanner.", 1, CRACKS, "name"),
    ("The repairs cost 4.3 million euros.", 2, COST, "money"),
    ("The repairs cost 4.2 billion euros.", 2, COST, "money"),
    ("The repairs cost 4.2 million dollars.", 2, COST, "money"),
    ("The repairs cost $4.2m.", 2, COST, "money"),
    ("Hamburg pays 53 % of it.", 2, SHARE, "percent"),
    ("Hamburg pays thirty percent of it.", 2, SHARE, "percent"),
    ("Berlin pays 35 % of it.", 2, SHARE, "name"),
    ("Every day 10,000 cars take the detour.", 2, CARS, "number"),
    ("The detour is 7.5 miles long.", 2, CARS, "measure"),
    ("The detour is 75 km long.", 2, CARS, "measure"),
    ("The detour takes twenty hours.", 3, TIME, "measure"),
    ("The detour takes twice as many minutes.", 3, TIME, "number"),
    ("The bridge opens in May 2025.", 3, OPENS, "date"),
    ("The mayor called it “a great day” for the bridge.", 3, OPENS, "quotation"),
    ("The bridge is closed.", 1, "The bridge was closed for ever.", "quote"),
    ("The repairs cost 4.2 million euros.", 1, COST, "page"),
    ("The repairs cost 4.2 million euros.", 99, COST, "page"),
    ("The bridge is old.", 1, "bridge", "quote"),
    ("Whales sing.", 3, OPENS, "words"),
    ("大桥关闭了。", 1, CLOSED, "language"),
]
TRUE_CHINESE = [
    ("大桥自2024-03-05起关闭。", 1, "大桥于2024年3月5日关闭。"),
    ("大桥在二〇二四年三月关闭。", 1, "大桥于2024年3月5日关闭。"),
    ("１２个桥墩有裂缝。", 1, "汉森研究所的工程师在十二个桥墩上发现裂缝"),
    ("王小明教授报告了裂缝。", 1, "发现裂缝，王小明教授作了报告。"),
    ("汉森研究所发现了裂缝。", 1, "汉森研究所的工程师在十二个桥墩上发现裂缝"),
    ("维修需要4,200,000元。", 2, "维修费用为420万元。"),
    ("维修需要四百二十万元。", 2, "维修费用为420万元。"),
    ("武汉市承担35%。", 2, "武汉市承担百分之三十五。"),
    ("每天有1000辆汽车绕行。", 2, "每天约有一千辆汽车绕行7.5公里。"),
    ("汽车绕行7500米。", 2, "每天约有一千辆汽车绕行7.5公里。"),
    ("绕行要20分钟。", 3, "绕行需要二十分钟。"),
    ("大桥2025年重新开放。", 3, "大桥将于2025年4月重新开放。"),
]
FALSE_CHINESE = [
    ("大桥于2024年3月6日关闭。", 1, "大桥于2024年3月5日关闭。", "date"),
    ("大桥于二〇二三年三月关闭。", 1, "大桥于2024年3月5日关闭。", "date"),
    ("十三个桥墩有裂缝。", 1, "汉森研究所的工程师在十二个桥墩上发现裂缝", "number"),
    ("三个桥墩有裂缝。", 1, "汉森研究所的工程师在十二个桥墩上发现裂缝", "number"),
    ("一半桥墩有裂缝。", 1, "汉森研究所的工程师在十二个桥墩上发现裂缝", "number"),
    ("李建国教授报告了裂缝。", 1, "发现裂缝，王小明教授作了报告。", "name"),
    ("清华大学的工程师发现裂缝。", 1, "汉森研究所的工程师在十二个桥墩上发现裂缝", "name"),
    ("约翰·史密斯发现裂缝。", 1, "汉森研究所的工程师在十二个桥墩上发现裂缝", "name"),
    ("NASA发现了裂缝。", 1, "汉森研究所的工程师在十二个桥墩上发现裂缝", "name"),
    ("维修需要430万元。", 2, "维修费用为420万元。", "money"),
    ("维修需要420万美元。", 2, "维修费用为420万元。", "money"),
    ("维修需要420亿元。", 2, "维修费用为420万元。", "money"),
    ("武汉市承担５３％。", 2, "武汉市承担百分之三十五。", "percent"),
    ("武汉市承担百分之三十。", 2, "武汉市承担百分之三十五。", "percent"),
    ("南昌市承担35%。", 2, "武汉市承担百分之三十五。", "name"),
    ("法国承担35%。", 2, "武汉市承担百分之三十五。", "name"),
    ("每天有一万辆汽车绕行。", 2, "每天约有一千辆汽车绕行7.5公里。", "number"),
    ("汽车绕行75公里。", 2, "每天约有一千辆汽车绕行7.5公里。", "measure"),
    ("绕行要二十小时。", 3, "绕行需要二十分钟。", "measure"),
    ("大桥2025年5月开放。", 3, "大桥将于2025年4月重新开放。", "date"),
    ("报告称大桥开放是“伟大的一天”。", 3, "大桥将于2025年4月重新开放。", "quotation"),
    ("大桥永远关闭。", 1, "大桥永远不再开放。", "quote"),
    ("维修需要420万元。", 1, "维修费用为420万元。", "page"),
    ("The bridge was closed.", 1, "大桥于2024年3月5日关闭。", "language"),
]


def cited(text, page, quote):
    return f'{text} [{page}: "{quote}"]'


def summarize(engine, pages, sentences=3, report=None, **more):
    inputs = document(*pages)
    params = SummarizeParams(inputs.document.sha256, sentences, mode="abstractive", **more)
    return tasks.run(
        TaskName.SUMMARIZE, engine, inputs, params, Reports() if report is None else report
    )


def written(pages, lines, **more):
    return summarize(ScriptedEngine(script=says(*lines)), pages, len(lines), **more)


@pytest.mark.parametrize(
    ("pages", "cases"),
    [(ENGLISH, TRUE_ENGLISH), (CHINESE, TRUE_CHINESE)],
    ids=["English", "Chinese"],
)
@pytest.mark.parametrize("chosen", range(15))
def test_what_the_document_says_in_other_words_is_supported(pages, cases, chosen):
    if chosen >= len(cases):
        pytest.skip("fewer cases in this language")
    (sentence,) = written(pages, [cited(*cases[chosen])])["summary"]
    assert sentence["missing"] == []
    assert sentence["supported"]
    assert sentence["evidence"][0]["page"] == cases[chosen][1]


@pytest.mark.parametrize(
    ("pages", "case"),
    [(ENGLISH, case) for case in FALSE_ENGLISH] + [(CHINESE, case) for case in FALSE_CHINESE],
    ids=lambda value: value[0] if isinstance(value[0], str) else "",
)
def test_what_is_invented_is_named(pages, case):
    (sentence,) = written(pages, [cited(*case[:3])])["summary"]
    assert not sentence["supported"]
    assert case[3] in {lacking["kind"] for lacking in sentence["missing"]}


def test_every_invention_of_a_long_answer_is_counted():
    for pages, false, true in (
        (ENGLISH, FALSE_ENGLISH, TRUE_ENGLISH),
        (CHINESE, FALSE_CHINESE, TRUE_CHINESE),
    ):
        caught = shown = 0
        for case in false:
            support = written(pages, [cited(*case[:3])])["support"]
            caught += support["supported"] == 0
        for case in true:
            shown += written(pages, [cited(*case)])["support"]["rate"] == 1.0
        counts = f"{caught} of {len(false)} inventions caught, {shown} of {len(true)} truths kept"
        sys.stdout.write(f"{counts}\n")
        assert (caught, shown) == (len(false), len(true))


def test_a_quote_of_another_page_is_told_where_it_stands():
    (sentence,) = written(ENGLISH, [cited("Repairs cost much.", 3, COST)])["summary"]
    assert sentence["missing"] == [{"kind": "page", "text": COST, "page": 3, "found_on": [2]}]
    assert sentence["evidence"] == []


def test_evidence_is_what_the_page_says_with_its_boxes():
    (sentence,) = written(ENGLISH, [cited("Cracks were found.", 1, CRACKS.upper())])["summary"]
    (proof,) = sentence["evidence"]
    assert proof["quote"] == CRACKS
    assert len(proof["boxes"]) == 2


def test_a_sentence_may_cite_several_pages():
    line = f'It was closed on 5 March 2024 and opens in April 2025. [1: "{CLOSED}"] [3: "{OPENS}"]'
    (sentence,) = written(ENGLISH, [line])["summary"]
    assert sentence["supported"]
    assert [proof["page"] for proof in sentence["evidence"]] == [1, 3]


def test_a_sentence_without_a_proof_is_not_supported():
    (sentence,) = written(ENGLISH, ["The bridge was closed."])["summary"]
    assert sentence["missing"] == [{"kind": "proof", "text": ""}]


@pytest.mark.parametrize(("unsupported", "shown"), [("mark", 2), ("drop", 1)])
def test_what_is_not_supported_is_marked_or_dropped_and_told(unsupported, shown):
    lines = [cited("It was closed.", 1, CLOSED), cited("It cost 9 million euros.", 2, COST)]
    payload = written(ENGLISH, lines, unsupported=unsupported)
    assert len(payload["summary"]) == shown
    support = payload["support"]
    assert (support["written"], support["supported"], support["rate"]) == (2, 1, 0.5)
    assert len(support["dropped"]) == 2 - shown


@pytest.mark.parametrize("pages", [ENGLISH, CHINESE], ids=["English", "Chinese"])
def test_what_is_said_twice_counts_once(pages):
    quote = CLOSED if pages is ENGLISH else "大桥于2024年3月5日关闭。"
    line = cited(quote, 1, quote)
    payload = written(pages, [line, line, f"2. {line}"])
    assert len(payload["summary"]) == 1
    assert payload["support"]["repeated"] == 2


@pytest.mark.parametrize("circle", ["The bridge is closed. ", "大桥关闭了。", "- \n", "a b "])
def test_a_model_that_goes_round_in_circles_is_stopped(circle):
    engine = ScriptedEngine(context_length=10**6)
    engine.script = lambda _read, _question: circle * 10_000
    summarize(engine, ENGLISH, 50)
    assert engine.tokens < 200


def test_a_model_that_says_more_than_was_asked_is_stopped():
    engine = ScriptedEngine(script=says(*(cited(f"Car {n} came.", 2, CARS) for n in range(99))))
    payload = summarize(engine, ENGLISH, 2)
    assert len(payload["summary"]) <= 2
    assert engine.tokens < 70


@given(st.text(max_size=300))
@settings(max_examples=200, deadline=None)
def test_nothing_that_is_written_breaks_the_reading_of_it(text):
    for sentence in parse(text):
        assert sentence.text.strip()
    assert loops(text + "again and again " * 9)


@pytest.mark.parametrize(
    "line",
    [
        'It was closed. [1: "The bridge was closed"]',
        "- It was closed. [p. 1: “The bridge was closed”]",
        "1. It was closed. 【1：“The bridge was closed”】",
        "It was closed [1: The bridge was closed].",
        'It was closed.\n[page 1, "The bridge was closed"]',
        'Here is the summary:\n\n* It was closed. [1: "The bridge\nwas closed"]',
    ],
)
def test_citations_are_read_in_the_ways_that_models_write_them(line):
    (sentence,) = parse(line)
    assert sentence.text.rstrip(".") == "It was closed"
    (citation,) = sentence.citations
    assert (citation.page, citation.quote) == (1, "The bridge was closed")


def test_a_long_document_is_written_about_in_parts_and_then_from_what_they_proved():
    pages = [
        pdf_page(n, f"Report {n}\n\n" + f"Garden number {n} has {n + 100} kinds of bees. " * 9)
        for n in range(1, 41)
    ]

    def script(read, _question):
        first = read.split("[", 2)[-1].split("]")[0] if "Report" in read else None
        page = int(first) if first else int(read[1:].split("]")[0])
        quote = f"Garden number {page} has {page + 100} kinds of bees."
        said = f"In garden number {page} live {page + 100} kinds of bees."
        return cited(said, page, quote) + "\n"

    engine = ScriptedEngine(script=script, context_length=1600)
    reports = Reports()
    payload = summarize(engine, pages, 2, reports)
    assert len(engine.prefixes) > 5
    assert payload["summary"]
    assert all(sentence["supported"] for sentence in payload["summary"])
    assert payload["coverage"]["read"] == 40
    assert payload["coverage"]["parts"] == len(engine.prefixes) - 1
    last = "".join(engine.prefixes[-1].parts)
    assert "Report" not in last
    work = [report.work for report in reports if report.work is not None]
    assert work == sorted(work)
    assert work[-1] <= 1


#: A chapter is longer than an entry of a list.
MORE = "They have been counted in all of the gardens of the city for many years. " * 3


def test_sections_are_written_about_too():
    pages = (
        pdf_page(
            1,
            f"Chapter 1 Bees\n\nBees fly far. {MORE}\n\n"
            f"Chapter 2 Wasps\n\nWasps sting hard. {MORE}",
        ),
        pdf_page(2, f"Chapter 3 Ants\n\nAnts dig deep. {MORE}"),
    )

    def script(read, _question):
        for word, page in (("Bees fly far.", 1), ("Wasps sting hard.", 1), ("Ants dig deep.", 2)):
            if word in read:
                return cited(word, page, word) + "\n"
        return ""

    payload = summarize(ScriptedEngine(script=script), pages, 1, sections=True)
    found = [(one["title"], [s["text"] for s in one["summary"]]) for one in payload["sections"]]
    assert found == [
        ("Chapter 1 Bees", ["Bees fly far."]),
        ("Chapter 2 Wasps", ["Wasps sting hard."]),
        ("Chapter 3 Ants", ["Ants dig deep."]),
    ]


@pytest.mark.parametrize(("pages", "word"), [(ENGLISH, "Summarize"), (CHINESE, "概括")])
def test_the_model_is_asked_in_the_documents_language(pages, word):
    engine = ScriptedEngine(script=says("x"))
    summarize(engine, pages)
    assert word in engine.questions[0]


def test_a_model_that_writes_nothing_gives_an_empty_summary():
    payload = written(ENGLISH, [])
    assert payload["summary"] == []
    assert payload["support"]["rate"] is None


def test_blank_pages_give_nothing():
    with pytest.raises(NoText):
        written([Page(1, 595, 842)], ["Bees live here."])


def test_a_checkpoint_that_does_not_write_is_refused():
    engine = ScriptedEngine(script=says("x"), profile={"calibration": {}, "writes": False})
    with pytest.raises(NotPossible, match="does not write"):
        summarize(engine, ENGLISH)
    engine.profile = {"writes": True}
    assert summarize(engine, ENGLISH)["mode"] == "abstractive"


@pytest.mark.parametrize("phase", ["reading", "writing"])
def test_a_cancel_stops_the_writing(phase):
    def report(progress):
        if progress.phase == phase:
            raise JobCancelled("cancelled")

    with pytest.raises(JobCancelled):
        summarize(ScriptedEngine(script=says(cited("x", 1, CLOSED))), ENGLISH, report=report)


def test_the_payload_is_json():
    payload = written(ENGLISH, [cited("It cost 9 euros.", 2, COST)])
    assert json.loads(json.dumps(payload)) == payload

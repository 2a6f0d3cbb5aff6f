"""The report of an evaluation: figures, plots and the worst inputs on one page.

Every word of the data is escaped. Headings stand in English and Chinese. Called by `run`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmapp import plots
from mmapp.reports import figures, page, section, table
from workers.evaluation.kinds import Figure, KindName, Measured

#: Inputs that are shown.
MOST_EXAMPLES = 40
#: Categories that are shown; metrics.json has all.
MOST_CATEGORIES = 40

TITLES = {
    KindName.LISTINGS: "Listings · 商品核对",
    KindName.SUMMARIES: "Summaries · 摘要",
    KindName.ANSWERS: "Answers · 问答",
}


def report(kind: KindName, measured: Measured, about: Mapping[str, Any]) -> str:
    """The whole page."""
    drawn = {
        KindName.LISTINGS: _listings,
        KindName.SUMMARIES: _summaries,
        KindName.ANSWERS: _answers,
    }
    failed = f", {about['failed']:,} could not be answered" if about["failed"] else ""
    line = (
        f"{about['checkpoint']} ({about['weights_sha256'][:12]}) on {about['device']},"
        f" {about['dtype']} · {about['data']}: {about['inputs']:,} inputs{failed} ·"
        f" {about['finished_at']} · mmapp {about['mmapp']}"
    )
    body = [
        section("Figures · 指标", figures([(one.label, one.shown) for one in measured.figures])),
        *drawn[kind](measured.details),
        section(
            "Worth a look, the worst first · 值得一看", table(measured.examples[:MOST_EXAMPLES])
        ),
    ]
    return page(f"mmapp evaluate {kind}", TITLES[kind], line, body)


def _listings(details: Mapping[str, Any]) -> list[str]:
    roc = plots.curve(details["roc"], "inconsistent taken for consistent", "consistent found")
    bins = [one for one in details["calibration"] if one["count"]]
    held = sum(one["count"] for one in bins) or 1
    calibration = plots.curve(
        [(one["mean_score"], one["share_right"]) for one in bins],
        "score",
        "share that is consistent; bars: inputs",
        [one["count"] / held for one in details["calibration"]],
    )
    groups = details["by_category"][:MOST_CATEGORIES]
    return [
        '<div class="plots">'
        + section("ROC", roc)
        + section("Calibration · 校准", calibration)
        + "</div>",
        section("Confusion by category · 各类别的混淆", _confusion(groups)),
    ]


def _confusion(groups: Sequence[Mapping[str, Any]]) -> str:
    """Shades are shares of the label's inputs in the category."""
    pairs = [(label, verdict) for label in _labels(groups) for verdict in _verdicts(groups)]
    rows = []
    for group in groups:
        cells = []
        for label, verdict in pairs:
            counts = group["verdicts"][label]
            total, count = sum(counts.values()), counts[verdict]
            cells.append((count / total if total else None, str(count or "·"), label == verdict))
        auroc = "–" if group["auroc"] is None else f"{group['auroc']:.3f}"
        rows.append((group["category"] or "—", [*cells, (None, auroc, True)]))
    shown = {"consistent": "yes", "inconsistent": "no", "uncertain": "?"}
    columns = [f"{shown[label]} → {shown[verdict]}" for label, verdict in pairs]
    note = "<p>label → verdict: yes = consistent, no = inconsistent, ? = uncertain</p>"
    return note + plots.shaded([*columns, "AUROC"], rows)


def _labels(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(groups[0]["verdicts"]) if groups else []


def _verdicts(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(next(iter(groups[0]["verdicts"].values()))) if groups else []


def _summaries(details: Mapping[str, Any]) -> list[str]:
    parts = [
        section(
            "ROUGE-1 of each input · 各篇的 ROUGE-1",
            plots.histogram(details["rouge1_of_inputs"], "ROUGE-1 F", "inputs"),
        )
    ]
    for key, title in (
        ("by_language", "By language · 按语言"),
        ("by_source", "By source · 按来源"),
    ):
        if details[key]:
            parts.append(section(title, table([_group(one) for one in details[key]])))
    return parts


def _group(group: Mapping[str, Any]) -> dict[str, str]:
    names = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L"}
    figures = {name: Figure(key, "", group[key]).shown for key, name in names.items()}
    first = {
        f"first: {name}": Figure(key, "", group[f"first_{key}"]).shown
        for key, name in names.items()
    }
    return {"": group["group"] or "—", "inputs": f"{group['count']:,}", **figures, **first}


def _answers(details: Mapping[str, Any]) -> list[str]:
    cells = details["by_depth_and_length"]
    columns = list(dict.fromkeys(cell["depth"] for cell in cells))
    rows = []
    for length in dict.fromkeys(cell["characters"] for cell in cells):
        row = [cell for cell in cells if cell["characters"] == length]
        if any(cell["count"] for cell in row):
            rows.append((length, [_recall(cell) for cell in row]))
    title = "Recall by depth of the answer and characters of the document · 按位置与长度的召回"
    return [section(title, plots.shaded(columns, rows))]


def _recall(cell: Mapping[str, Any]) -> tuple[float | None, str, bool]:
    if cell["recall"] is None:
        return None, "·", True
    is_good = cell["recall"] >= 0.5
    shade = cell["recall"] if is_good else 1 - cell["recall"]
    return shade, f"{cell['recall']:.0%} of {cell['count']:,}", is_good

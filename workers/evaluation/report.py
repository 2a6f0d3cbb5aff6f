"""The report of an evaluation: one HTML page that needs nothing but itself.

No script, no request: a content security policy in the page refuses both. Every word of the data is
escaped. Headings stand in English and Chinese. Called by `run`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from workers.evaluation import plots
from workers.evaluation.kinds import Figure, KindName, Measured

#: Inputs that are shown, and characters of each of their cells.
MOST_EXAMPLES = 40
MOST_CHARACTERS = 400
#: Categories that are shown; metrics.json has all.
MOST_CATEGORIES = 40

TITLES = {
    KindName.LISTINGS: "Listings · 商品核对",
    KindName.SUMMARIES: "Summaries · 摘要",
    KindName.ANSWERS: "Answers · 问答",
}

STYLE = """
:root { color-scheme: light dark; --paper: #faf9f5; --sheet: #fff; --ink: #22211d; --soft: #6a675e;
  --line: #e3e0d6; --accent: #14594c; --good: #1f6f43; --bad: #a4282c; }
@media (prefers-color-scheme: dark) { :root { --paper: #191917; --sheet: #232320; --ink: #eceae2;
  --soft: #a5a196; --line: #3a3934; --accent: #7fc4b3; --good: #7ecb9b; --bad: #f0938f; } }
body { margin: 0 auto; padding: 32px 20px; max-width: 1060px; background: var(--paper);
  color: var(--ink); font: 15px/1.55 system-ui, "Segoe UI", Roboto, "Noto Sans CJK SC",
  "PingFang SC", "Microsoft YaHei", sans-serif; }
h1, h2 { font-family: "Iowan Old Style", Palatino, Georgia, "Noto Serif CJK SC", SimSun, serif; }
h1 { font-size: 30px; margin: 0; } h2 { font-size: 20px; margin: 0 0 12px; }
p.about { color: var(--soft); margin: 4px 0 24px; overflow-wrap: anywhere; }
.plots { display: flex; flex-wrap: wrap; gap: 20px; align-items: flex-start; }
section { background: var(--sheet); border: 1px solid var(--line); border-radius: 10px;
  padding: 18px 22px; margin-bottom: 20px; overflow-x: auto; max-width: 100%;
  box-sizing: border-box; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; color: var(--soft); font-weight: 500; white-space: nowrap; }
td, th { padding: 5px 14px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top;
  overflow-wrap: anywhere; min-width: 4em; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
svg { display: block; } svg text { font-size: 12px; } .soft { fill: var(--soft); }
.ink { fill: var(--ink); } .frame { fill: none; stroke: var(--line); }
.line { fill: none; stroke: var(--accent); stroke-width: 2; } .dot { fill: var(--accent); }
.faint { stroke: var(--soft); stroke-dasharray: 3 4; fill: none; }
.bar { fill: var(--accent); fill-opacity: .18; }
.good { fill: var(--good); } .bad { fill: var(--bad); }
"""


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
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    body = [
        f'<h1>{TITLES[kind]}</h1><p class="about">{escape(line)}</p>',
        _section("Figures · 指标", _figures(measured.figures)),
        *drawn[kind](measured.details),
        _section("Worth a look, the worst first · 值得一看", _table(measured.examples)),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>mmapp evaluate {kind}</title><style>{STYLE}</style></head>\n"
        f"<body>\n{chr(10).join(body)}\n</body></html>\n"
    )


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
        + _section("ROC", roc)
        + _section("Calibration · 校准", calibration)
        + "</div>",
        _section("Confusion by category · 各类别的混淆", _confusion(groups)),
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
        _section(
            "ROUGE-1 of each input · 各篇的 ROUGE-1",
            plots.histogram(details["rouge1_of_inputs"], "ROUGE-1 F", "inputs"),
        )
    ]
    for key, title in (
        ("by_language", "By language · 按语言"),
        ("by_source", "By source · 按来源"),
    ):
        if details[key]:
            parts.append(_section(title, _table([_group(one) for one in details[key]])))
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
    return [_section(title, plots.shaded(columns, rows))]


def _recall(cell: Mapping[str, Any]) -> tuple[float | None, str, bool]:
    if cell["recall"] is None:
        return None, "·", True
    is_good = cell["recall"] >= 0.5
    shade = cell["recall"] if is_good else 1 - cell["recall"]
    return shade, f"{cell['recall']:.0%} of {cell['count']:,}", is_good


def _section(title: str, inside: str) -> str:
    return f"<section><h2>{title}</h2>{inside}</section>"


def _figures(figures: Sequence[Figure]) -> str:
    rows = (
        f'<tr><td>{escape(figure.label)}</td><td class="number">{figure.shown}</td></tr>'
        for figure in figures
    )
    return f"<table>{''.join(rows)}</table>"


def _table(rows: Sequence[Mapping[str, str]]) -> str:
    """The first rows, each cell cut to a length that can be read."""
    if not rows:
        return "<p>—</p>"
    head = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
    lines = (
        "<tr>" + "".join(f"<td>{escape(_cut(cell))}</td>" for cell in row.values()) + "</tr>"
        for row in rows[:MOST_EXAMPLES]
    )
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"

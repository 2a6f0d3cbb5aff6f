"""The frame of a report: one HTML page that needs nothing but itself, and can be sent on.

No script, no request: a content security policy in the page refuses both; pictures are part of it.
What is given as HTML has to be escaped already; text is escaped here. Called by
`workers.evaluation` and `batches`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

#: Characters of a cell that are shown.
MOST_CHARACTERS = 400

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

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


def page(title: str, heading: str, about: str, body: Sequence[str]) -> str:
    """The whole page; `body` is HTML, the rest text."""
    head = f'<h1>{escape(heading)}</h1><p class="about">{escape(about)}</p>'
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body>\n{chr(10).join([head, *body])}\n</body></html>\n"
    )


def section(title: str, inside: str) -> str:
    return f"<section><h2>{title}</h2>{inside}</section>"


def figures(rows: Sequence[tuple[str, str]]) -> str:
    """Names and their numbers."""
    lines = (
        f'<tr><td>{escape(label)}</td><td class="number">{escape(shown)}</td></tr>'
        for label, shown in rows
    )
    return f"<table>{''.join(lines)}</table>"


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows of text, each cell cut to a length that can be read."""
    if not rows:
        return "<p>—</p>"
    head = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
    lines = (
        "<tr>" + "".join(f"<td>{escape(cut(cell))}</td>" for cell in row.values()) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def cut(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"

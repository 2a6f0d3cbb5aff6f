"""Which column of a table means what: told, by its plain name, remembered, or guessed.

In that order, for each meaning that a task knows. Names to guess by stand in `columns.toml`, in
English and Chinese; what a person told is kept in the data folder and holds for the next table with
a column of that name. Refuses a told column that the table does not have, and a table without a
column that the task needs. Called by `tables`.
"""

from __future__ import annotations

import json
import re
import secrets
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mmapp import reviews
from mmapp.errors import BadInput
from mmapp.types import TaskName

#: Columns with a meaning, and which of them a table can't do without. Every other column of a table
#: of listings is an attribute, unless it is told to be `ignored`.
COLUMNS = {
    TaskName.CHECK_LISTING: ("id", "image", "title", "description", "label"),
    TaskName.SUMMARIZE: ("id", "document", "label"),
}
NEEDED = {TaskName.CHECK_LISTING: ("image", "title"), TaskName.SUMMARIZE: ("document",)}

#: What `write_results` puts after the columns of the input.
RESULTS = {
    TaskName.CHECK_LISTING: (
        *("verdict", "score", "refuted", "claims", "error"),
        *reviews.COLUMNS,
    ),
    TaskName.SUMMARIZE: ("summary", "pages", "error"),
}

#: Columns of listings whose cells sort a report.
CATEGORIES = ("category", "product category", "类别", "类目", "分类", "品类")

IGNORED = "ignored"
#: Meanings that several columns may have together.
SEVERAL = ("image", IGNORED)

#: MEANING= at the start of a mapping or after a comma; the rest is a column's name.
_PAIR = re.compile(r"(?:^|[,，;；\n])\s*(\w+)\s*[=＝]")

NAMES = Path(__file__).with_name("columns.toml")
REMEMBERED = "columns.json"


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table by what they mean."""

    #: Meaning -> the table's own names; more than one for images and what is ignored.
    by_meaning: Mapping[str, tuple[str, ...]]
    #: Meanings that were guessed or remembered, which a person may want to see.
    guessed: tuple[str, ...] = ()

    def cell(self, meaning: str, cells: Mapping[str, str]) -> str:
        """What the first column with this meaning says; "" where there is none."""
        return next(iter(self.cells(meaning, cells)), "")

    def cells(self, meaning: str, cells: Mapping[str, str]) -> list[str]:
        return [cells.get(name, "") for name in self.by_meaning.get(meaning, ())]

    def has_meaning(self, name: str) -> bool:
        return any(name in names for names in self.by_meaning.values())

    def in_words(self) -> str:
        """As `--map` takes it: "title=商品名称, image=主图"."""
        pairs = [(meaning, name) for meaning, names in self.by_meaning.items() for name in names]
        return ", ".join(f"{meaning}={name}" for meaning, name in pairs)


def parse_map(given: Iterable[str], task: TaskName) -> dict[str, tuple[str, ...]]:
    """`title=Name,image=Photo 1,image=Photo 2`, once or several times, as meaning -> names."""
    known = (*COLUMNS[task], IGNORED)
    told: dict[str, tuple[str, ...]] = {}
    for text in given:
        before, *parts = _PAIR.split(text)
        meanings, names = parts[::2], [name.strip() for name in parts[1::2]]
        if before.strip() or not all(names) or not set(meanings) <= set(known):
            raise BadInput(
                f"“{text}” maps no columns; write MEANING=COLUMN, for example title=Name;"
                f" meanings: {', '.join(known)}"
            )
        for meaning, name in zip(meanings, names, strict=True):
            if meaning in told and meaning not in SEVERAL:
                raise BadInput(f"{meaning} is mapped to two columns; give one")
            told[meaning] = (*told.get(meaning, ()), name)
    return told


def find_columns(
    name: str,
    headers: Sequence[str],
    task: TaskName,
    told: Mapping[str, Sequence[str]],
    data_dir: Path,
) -> Columns:
    """What the columns of the table called `name` mean; raises `BadInput` when one is missing."""
    _refuse_twins(name, headers)
    by_meaning = {
        meaning: tuple(_told_column(name, headers, column) for column in columns)
        for meaning, columns in told.items()
    }
    found = _fill(by_meaning, headers, _guesses(task, data_dir))
    if missing := _missing(found.by_meaning, task):
        raise BadInput(_without(name, headers, missing, task))
    return found


def guess_columns(headers: Sequence[str], task: TaskName, data_dir: Path) -> Columns:
    """As `find_columns`, with nothing told, and also where a column that is needed is missing."""
    return _fill({}, headers, _guesses(task, data_dir))


def is_enough(columns: Columns, task: TaskName) -> bool:
    return not _missing(columns.by_meaning, task)


def remember(told: Mapping[str, Sequence[str]], task: TaskName, data_dir: Path) -> None:
    """Keeps what a person told for tables to come; the last word about a name holds."""
    if not told:
        return
    path = data_dir / REMEMBERED
    kept = _read_remembered(path)
    of_task = kept.setdefault(task.value, {})
    of_task |= {_folded(name): meaning for meaning, names in told.items() for name in names}
    data_dir.mkdir(parents=True, exist_ok=True)
    # Several may do this at once; the last one wins, and none is read half.
    fresh = path.with_suffix(f".{secrets.token_hex(4)}")
    fresh.write_text(json.dumps(kept, ensure_ascii=False, indent=1), encoding="utf-8")
    fresh.replace(path)


def _fill(
    told: Mapping[str, tuple[str, ...]],
    headers: Sequence[str],
    guesses: Mapping[str, Sequence[str]],
) -> Columns:
    """`told`, then columns with a plain name, then the best guess, for each meaning."""
    by_meaning = dict(told)
    guessed = []
    for meaning, names in guesses.items():
        if meaning in by_meaning:
            continue
        taken = {name for names in by_meaning.values() for name in names}
        free = [header for header in headers if header not in taken]
        plain = [header for header in free if header.casefold() == meaning]
        matching = plain or _best(free, names)
        if matching:
            by_meaning[meaning] = tuple(matching if meaning in SEVERAL else matching[:1])
            guessed += [] if plain else [meaning]
    return Columns(by_meaning, tuple(guessed))


def _best(headers: Sequence[str], names: Sequence[str]) -> list[str]:
    """The headers with one of the names, the likeliest name's first."""
    order = {_folded(name): number for number, name in enumerate(names)}
    matching = [header for header in headers if _stem(header) in order]
    return sorted(matching, key=lambda header: order[_stem(header)])


def _guesses(task: TaskName, data_dir: Path) -> dict[str, list[str]]:
    """Names by meaning, the remembered before the usual ones, the plain ones of a task first."""
    usual = _usual_names()[task.value]
    remembered = _read_remembered(data_dir / REMEMBERED).get(task.value, {})
    guesses: dict[str, list[str]] = {}
    for meaning in (*NEEDED[task], *COLUMNS[task], IGNORED):
        own = [name for name, told in remembered.items() if told == meaning]
        others = {name for name, told in remembered.items() if told != meaning}
        names = [name for name in usual.get(meaning, ()) if _folded(name) not in others]
        guesses.setdefault(meaning, own + names)
    return guesses


@cache
def _usual_names() -> Mapping[str, Mapping[str, list[str]]]:
    return tomllib.loads(NAMES.read_text(encoding="utf-8"))


def _read_remembered(path: Path) -> dict[str, dict[str, str]]:
    try:
        kept: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept


def _stem(header: str) -> str:
    """The name without a number at its end: "Image 2" and "图片2" are images."""
    return _folded(header).rstrip("0123456789") or _folded(header)


def _folded(name: str) -> str:
    """The name without what spellings differ in."""
    return re.sub(r"[\s_\-./（）()]+", "", unicodedata.normalize("NFKC", name).casefold())


def _told_column(table: str, headers: Sequence[str], told: str) -> str:
    for header in headers:
        if header.casefold() == told.casefold():
            return header
    raise BadInput(f"{table} has no column {told} (found: {', '.join(headers)[:200]})")


def _missing(by_meaning: Mapping[str, Sequence[str]], task: TaskName) -> list[str]:
    return [meaning for meaning in NEEDED[task] if not by_meaning.get(meaning)]


def _without(name: str, headers: Sequence[str], missing: Sequence[str], task: TaskName) -> str:
    other = next(one for one in COLUMNS if one is not task)
    remedy = f"Its first line must name the columns {', '.join(COLUMNS[task][:-1])}"
    if not _missing(_fill({}, headers, _usual_names()[other.value]).by_meaning, other):
        remedy = f"It looks like a table for the task {other.value}; choose that task"
    found = ", ".join(headers)[:200]
    return (
        f"{name} has no column {' and no column '.join(missing)} (found: {found}). {remedy}, or say"
        f" which columns they are, like {missing[0]}={headers[0] if headers else 'NAME'}."
    )


def _refuse_twins(name: str, headers: Sequence[str]) -> None:
    seen: set[str] = set()
    for header in headers:
        if header.casefold() in seen:
            raise BadInput(f"{name} has two columns named {header}; rename one")
        seen.add(header.casefold())

"""Compare: what changed between two versions of a document, each change with both quotes.

Code alone; no model is asked. Both versions are cut into sentences by the rules of `sentences`, so
that re-flowed lines, page breaks, running headers and page numbers are no change. Sentences that
stand in both are aligned first (`alignment`); in what lies between, the words are aligned, and
sentences that share half of their words are one changed sentence, or one that was split or joined.
What only has its line breaks or hyphenation elsewhere is no change. Chinese is compared by
character, other scripts by word, punctuation by sign. A sentence that left one place and came to
another was moved: word for word, or with the few words that differ.

Equal counts: blanks, ligatures, full-width forms, straight and curly quotation marks, and a hyphen
at a line's end. Running headers and footers are not compared. A document of equal words has no
changes, whatever its pictures show. Refuses documents without words (`NoText`). Called by
`tasks.run`.
"""

from __future__ import annotations

import re
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal

from mmapp.documents.quotes import PageText
from mmapp.tasks.alignment import aligned
from mmapp.tasks.inputs import DocumentInput, VersionsInput
from mmapp.tasks.paragraphs import CJK, Span, extend, paragraphs
from mmapp.tasks.reading import coverage, described, hidden, pages_with_words, proved
from mmapp.tasks.sentences import Sentence, joined, sentences_of
from mmapp.types import Progress, ReportProgress

Kind = Literal["added", "removed", "changed", "moved"]
KINDS: tuple[Kind, ...] = ("changed", "added", "removed", "moved")

#: Changes that a payload tells one by one; all of them are counted.
MOST_CHANGES = 2_000
#: Share of the shorter sentence's words from which two sentences count as versions of one.
SAME = 0.5
#: Share of words, of both sentences together, from which one that stands elsewhere is the other.
SAME_ELSEWHERE = 0.75
#: A word that more sentences have leads to none of them.
MOST_SHARING = 5
#: Words from which a sentence that stands elsewhere counts as moved; shorter ones come anywhere.
FEWEST_MOVED = 4

_LETTERS = rf"[^\W\d_{CJK}]"
_HYPHEN = "[-\u2010\u00ad]"
#: A word, one hyphenated at a line's end included; a number; a Chinese character; any other sign.
_TOKEN = re.compile(
    rf"(?:\d[\d.,:/]*\d|\d)|{_LETTERS}+(?:['’]{_LETTERS}+|{_HYPHEN} ?{_LETTERS}+)*|\S"
)
_AT_LINE_END = re.compile(f"{_HYPHEN} ")
_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "–": "-", "‐": "-"})
#: Kinds of compatibility that only say how a character is drawn (Unicode, UAX #44).
_DRAWN = ("<wide>", "<narrow>", "<compat>", "<noBreak>", "<font>")


@dataclass(frozen=True, slots=True)
class Token:
    """What is compared, and where it stands: two pieces where a page break cuts it."""

    key: str
    places: tuple[Span, ...]

    @property
    def is_word(self) -> bool:
        return self.key[:1].isalnum()


@dataclass(frozen=True, slots=True)
class Unit:
    """A sentence with its words, and the number of its paragraph."""

    sentence: Sentence
    paragraph: int
    tokens: tuple[Token, ...]

    @property
    def key(self) -> tuple[str, ...]:
        return tuple(token.key for token in self.tokens)


@dataclass(slots=True)
class Change:
    """Units of the old and of the new version, by number, and the tokens that differ in them."""

    kind: Kind
    old: list[int] = field(default_factory=list)
    new: list[int] = field(default_factory=list)
    old_differs: list[Token] = field(default_factory=list)
    new_differs: list[Token] = field(default_factory=list)


def compare(inputs: VersionsInput, report: ReportProgress) -> dict[str, Any]:
    """The payload of a comparison, with "usage" for the record."""
    started = time.perf_counter()
    old, new = _Version(inputs.old, report), _Version(inputs.new, report)
    broken = _Broken((*old.pages, *new.pages))
    old.cut(broken)
    new.cut(broken)
    found = _with_moves(list(_changes(old.units, new.units, report)), old.units, new.units)
    changes = _grouped(found, old, new)
    counts = Counter(change.kind for change in changes)
    return {
        "documents": {"old": described(inputs.old.document), "new": described(inputs.new.document)},
        "changes": [
            {
                "kind": change.kind,
                "old": old.side(change.old, change.old_differs),
                "new": new.side(change.new, change.new_differs),
            }
            for change in changes[:MOST_CHANGES]
        ],
        "counts": {kind: counts[kind] for kind in KINDS},
        "sentences": {"old": len(old.units), "new": len(new.units)},
        "coverage": {"old": old.coverage, "new": new.coverage},
        "hidden": {"old": hidden(inputs.old), "new": hidden(inputs.new)},
        "usage": {
            "tokens": {"read": 0, "scored": 0},
            "durations_s": {"comparing": round(time.perf_counter() - started, 3)},
            "prompt_sha256": "",
        },
    }


class _Version:
    """One of the two documents: its pages, its sentences, and how a part of it is told."""

    def __init__(self, inputs: DocumentInput, report: ReportProgress) -> None:
        self.pages = pages_with_words(inputs)
        self.coverage = coverage(inputs, self.pages, report)
        self.units: list[Unit] = []
        self._by_number = {page.page.number: page for page in self.pages}
        self._texts = {page.page.number: page.text for page in self.pages}

    def cut(self, broken: _Broken) -> None:
        for number, paragraph in enumerate(paragraphs(self.pages, with_source=True)):
            for sentence in sentences_of(paragraph, self._texts):
                tokens = tuple(_tokens(sentence, self._texts, broken))
                if tokens:
                    self.units.append(Unit(sentence, number, tokens))

    def side(self, numbers: Sequence[int], differs: Sequence[Token]) -> dict[str, Any] | None:
        """The words of these units with their evidence and what differs in them; None: no units."""
        if not numbers:
            return None
        spans: list[Span] = []
        for number in numbers:
            for span in self.units[number].sentence.spans:
                extend(spans, span, self._texts[span.page])
        quotes = [self._texts[span.page][span.start : span.end] for span in spans]
        on_pages = [self._by_number[number] for number in {span.page for span in spans}]
        told = proved(Sentence(joined(quotes), tuple(spans)), on_pages)
        return {**told, "differs": self._differs(spans, quotes, differs)}

    def _differs(
        self, spans: Sequence[Span], quotes: Sequence[str], tokens: Sequence[Token]
    ) -> list[dict[str, Any]]:
        """Runs of tokens as parts of the joined quotes, with the boxes of each."""
        offsets = _offsets(quotes)
        runs: list[Span] = []
        for place in (place for token in tokens for place in token.places):
            extend(runs, place, self._texts[place.page])
        found = []
        for run in runs:
            for span, offset in zip(spans, offsets, strict=True):
                if span.page == run.page and span.start <= run.start and run.end <= span.end:
                    start = offset + run.start - span.start
                    boxes = self._by_number[run.page].boxes_of(run.start, run.end)
                    found.append(
                        {
                            "start": start,
                            "end": start + run.end - run.start,
                            "page": run.page,
                            "boxes": [list(box) for box in boxes],
                        }
                    )
                    break
        return found


# --- words ---------------------------------------------------------------------------------------


class _Broken:
    """Words hyphenated at a line's end: with or without their hyphen, as they stand elsewhere."""

    def __init__(self, pages: Iterable[PageText]) -> None:
        whole = re.compile(rf"{_LETTERS}+(?:{_HYPHEN}{_LETTERS}+)+")
        self._hyphenated = {
            match.group().translate(_QUOTES)
            for page in pages
            for match in whole.finditer(page.text)
        }

    def mended(self, word: str) -> str:
        with_hyphen = _AT_LINE_END.sub("-", word)
        return with_hyphen if with_hyphen in self._hyphenated else _AT_LINE_END.sub("", word)


def _tokens(sentence: Sentence, texts: dict[int, str], broken: _Broken) -> Iterator[Token]:
    quotes = [texts[span.page][span.start : span.end] for span in sentence.spans]
    text = joined(quotes)
    starts = _offsets(quotes)
    for match in _TOKEN.finditer(text):
        yield Token(
            _key(match.group(), broken),
            tuple(_places(sentence.spans, starts, match.start(), match.end())),
        )


def _offsets(quotes: Sequence[str]) -> list[int]:
    """Where each quote begins in the joined text."""
    return [len(joined(quotes[: place + 1])) - len(quotes[place]) for place in range(len(quotes))]


def _places(spans: Sequence[Span], starts: Sequence[int], start: int, end: int) -> Iterator[Span]:
    """Where characters of the joined text stand on their pages."""
    for span, offset in zip(spans, starts, strict=True):
        first = max(start - offset, 0) + span.start
        last = min(end - offset + span.start, span.end)
        if first < last:
            yield Span(span.page, first, last)


def _key(word: str, broken: _Broken) -> str:
    """The word as it is compared."""
    if _AT_LINE_END.search(word):
        word = broken.mended(word.translate(_QUOTES))
    plain = word.replace("\u00ad", "").translate(_QUOTES)
    return plain if plain.isascii() else "".join(map(_folded, unicodedata.normalize("NFC", plain)))


@lru_cache(maxsize=65536)
def _folded(character: str) -> str:
    """The character without the way in which it is drawn: `ﬁ` is `fi`, `，` is `,`; `²` stays."""
    drawn = unicodedata.decomposition(character).startswith(_DRAWN)
    return unicodedata.normalize("NFKC", character).translate(_QUOTES) if drawn else character


# --- changes -------------------------------------------------------------------------------------


def _changes(old: Sequence[Unit], new: Sequence[Unit], report: ReportProgress) -> Iterator[Change]:
    """What differs, in the order of the documents."""
    stayed = aligned([unit.key for unit in old], [unit.key for unit in new])
    ends = [(-1, -1), *stayed, (len(old), len(new))]
    for (i, j), (i_end, j_end) in pairwise(ends):
        report(Progress("comparing", max(j, 0), len(new), "sentences"))
        gap_old, gap_new = range(i + 1, i_end), range(j + 1, j_end)
        if gap_old or gap_new:
            yield from _gap_changes(old, new, gap_old, gap_new)


def _gap_changes(
    old: Sequence[Unit], new: Sequence[Unit], gap_old: range, gap_new: range
) -> Iterator[Change]:
    """Between two sentences that stayed: versions of one sentence, and what came and went."""
    old_tokens = [(number, token) for number in gap_old for token in old[number].tokens]
    new_tokens = [(number, token) for number in gap_new for token in new[number].tokens]
    equal = aligned([token.key for _, token in old_tokens], [token.key for _, token in new_tokens])
    shared = Counter(
        (old_tokens[a][0], new_tokens[b][0]) for a, b in equal if old_tokens[a][1].is_word
    )
    links = [
        pair
        for pair, words in sorted(shared.items())
        if words >= SAME * max(1, min(_words(old[pair[0]]), _words(new[pair[1]])))
    ]
    at_old, at_new = gap_old.start, gap_new.start
    for olds, news in _versions(links):
        yield from _came_and_went(range(at_old, olds.start), range(at_new, news.start))
        change = _changed(old, new, olds, news)
        if _differs(change):
            yield change
        at_old, at_new = olds.stop, news.stop
    yield from _came_and_went(range(at_old, gap_old.stop), range(at_new, gap_new.stop))


def _words(unit: Unit) -> int:
    return sum(token.is_word for token in unit.tokens)


def _versions(links: Sequence[tuple[int, int]]) -> list[tuple[range, range]]:
    """Linked sentences, and all between them, as runs: one to one, split in several, or joined."""
    found: list[tuple[range, range]] = []
    for i, j in links:
        if found and (i < found[-1][0].stop or j < found[-1][1].stop):
            olds, news = found[-1]
            found[-1] = (
                range(olds.start, max(olds.stop, i + 1)),
                range(news.start, max(news.stop, j + 1)),
            )
        else:
            found.append((range(i, i + 1), range(j, j + 1)))
    return found


def _came_and_went(olds: range, news: range) -> Iterator[Change]:
    for number in olds:
        yield Change("removed", old=[number])
    for number in news:
        yield Change("added", new=[number])


def _changed(old: Sequence[Unit], new: Sequence[Unit], olds: range, news: range) -> Change:
    """The words of these sentences aligned on their own, so that none is lost to a neighbour."""
    old_tokens = [token for number in olds for token in old[number].tokens]
    new_tokens = [token for number in news for token in new[number].tokens]
    equal = aligned([token.key for token in old_tokens], [token.key for token in new_tokens])
    kept_old, kept_new = {a for a, _ in equal}, {b for _, b in equal}
    return Change(
        "changed",
        list(olds),
        list(news),
        [token for place, token in enumerate(old_tokens) if place not in kept_old],
        [token for place, token in enumerate(new_tokens) if place not in kept_new],
    )


def _with_moves(
    changes: Sequence[Change], old: Sequence[Unit], new: Sequence[Unit]
) -> list[Change]:
    """Of what left one place and came to another one change: it was moved."""
    left = _Left(changes, old)
    gone: set[int] = set()
    for find in (left.equal, left.alike):
        for change in changes:
            if change.kind != "added" or _words(new[change.new[0]]) < FEWEST_MOVED:
                continue
            origin = find(new[change.new[0]])
            if origin is not None:
                moved = _changed(old, new, _one(origin), _one(change))
                change.kind, change.old = "moved", origin.old
                change.old_differs, change.new_differs = moved.old_differs, moved.new_differs
                left.take(origin)
                gone.add(id(origin))
    return [change for change in changes if id(change) not in gone]


def _one(change: Change) -> range:
    (number,) = change.old or change.new
    return range(number, number + 1)


class _Left:
    """The sentences that left their places, and have not been found elsewhere yet."""

    def __init__(self, changes: Iterable[Change], old: Sequence[Unit]) -> None:
        self._old = old
        self._last = -1
        self._by_key: dict[tuple[str, ...], list[Change]] = {}
        self._by_word: dict[str, list[Change]] = {}
        self._taken: set[int] = set()
        for change in changes:
            if change.kind == "removed" and _words(old[change.old[0]]) >= FEWEST_MOVED:
                unit = old[change.old[0]]
                self._by_key.setdefault(unit.key, []).append(change)
                for word in set(unit.key):
                    self._by_word.setdefault(word, []).append(change)

    def take(self, change: Change) -> None:
        self._taken.add(id(change))
        self._last = change.old[0]

    def equal(self, unit: Unit) -> Change | None:
        """Of equal sentences the one behind the last that was taken: they moved together."""
        same = [one for one in self._by_key.get(unit.key, ()) if id(one) not in self._taken]
        following = (one for one in same if one.old[0] == self._last + 1)
        return next(following, same[0] if same else None)

    def alike(self, unit: Unit) -> Change | None:
        """The one that shares most words, if it shares enough."""
        near = {
            id(one): one
            for word in set(unit.key)
            if len(self._by_word.get(word, ())) <= MOST_SHARING
            for one in self._by_word.get(word, ())
            if id(one) not in self._taken
        }
        likeness = {key: _likeness(self._old[one.old[0]], unit) for key, one in near.items()}
        best = max(likeness, key=likeness.__getitem__, default=None)
        return near[best] if best is not None and likeness[best] >= SAME_ELSEWHERE else None


def _likeness(one: Unit, other: Unit) -> float:
    """Dice's coefficient of their tokens, each as often as it comes."""
    shared = Counter(one.key) & Counter(other.key)
    return 2 * shared.total() / (len(one.tokens) + len(other.tokens))


def _differs(change: Change) -> bool:
    return bool(change.old_differs or change.new_differs)


def _grouped(changes: Iterable[Change], old: _Version, new: _Version) -> list[Change]:
    """Neighbours that moved together are one change, and of one paragraph, that came or went."""
    found: list[Change] = []
    for change in changes:
        last = found[-1] if found else None
        if (
            last
            and change.kind == last.kind
            and not _differs(change)
            and not _differs(last)
            and _goes_on(last.old, change.old, old.units, within=change.kind != "moved")
            and _goes_on(last.new, change.new, new.units, within=change.kind != "moved")
        ):
            last.old += change.old
            last.new += change.new
        else:
            found.append(change)
    return found


def _goes_on(
    before: Sequence[int], after: Sequence[int], units: Sequence[Unit], *, within: bool
) -> bool:
    """Whether the one unit stands right behind the others; `within`: in their paragraph."""
    if not before or not after:
        return not before and not after
    is_same = units[after[0]].paragraph == units[before[-1]].paragraph
    return after[0] == before[-1] + 1 and (is_same or not within)

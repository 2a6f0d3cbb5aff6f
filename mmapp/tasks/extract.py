"""Extract: key information of a document as fields, each value with its proof; empty if none.

Three ways lead to a value, and each value says which one found it:

- `pattern`: the words have the form of the field's kind (`patterns`): all dates, all amounts.
- `label`: the field's name stands before it, as in a form or a table (`labels`).
- `name nearby`: the field's name speaks of a kind ("delivery date"), and its own words ("delivery")
  stand in one sentence with a value of that kind; of several the nearest.
- `model`: the passage that the model takes for the answer to "What is FIELD?", asked and calibrated
  as in `ask`, with the probability; the whole passage is the value. Where the field's name speaks
  of a kind, the words of that kind in the passage are the value, found by `model and pattern`, and
  a passage without such words is none.

Fields of a whole kind ("dates", "金额") are left to patterns; all others are looked for by label
and asked of the model, whose passages count from the checkpoint's threshold on. All fields are
asked about after one reading of the document. A checkpoint that was not trained for questions is
not asked, and the payload says so. Equal values are one value with several places. Refuses a
document without words (`NoText`) and names that are none (`BadInput`). Called by `tasks.run`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Any

from mmapp.documents.quotes import PageText
from mmapp.errors import BadInput
from mmapp.tasks import prompts
from mmapp.tasks.ask import Calibration, Matched, Rated, is_trained, middles
from mmapp.tasks.inputs import DocumentInput
from mmapp.tasks.labels import labelled
from mmapp.tasks.paragraphs import Span, paragraphs
from mmapp.tasks.passages import passages
from mmapp.tasks.patterns import Kind, is_all_of_kind, kind_of, matches, own_words
from mmapp.tasks.reading import (
    Purpose,
    Question,
    Reading,
    coverage,
    described,
    hidden,
    pages_with_words,
    proved,
)
from mmapp.tasks.sentences import Sentence, is_chinese, sentences_of
from mmapp.types import Engine, ExtractParams, ReportProgress
from model.lexical import Lexical

PURPOSE = Purpose("ask", phase="searching", unit="passages")

#: The fields when none are named.
DEFAULT_FIELDS = ("parties", "dates", "amounts", "terms")
MOST_FIELDS = 30
MOST_NAME = 100
#: Values of a field that are told, and places of a value.
MOST_VALUES = 100
MOST_PLACES = 20
#: Passages of the model that are told for a field.
MOST_PASSAGES = 3
#: Characters of its page that are told before and after a value.
AROUND = 80

PARTIES = ("parties", "当事人", "合同双方", "双方当事人")
#: What parties are called where they are named.
PARTY_LABELS = (
    *("party a", "party b", "party c", "buyer", "seller", "purchaser", "vendor", "supplier"),
    *("customer", "client", "contractor", "landlord", "tenant", "lessor", "lessee", "licensor"),
    *("licensee", "lender", "borrower", "employer", "employee", "plaintiff", "defendant", "payee"),
    *("甲方", "乙方", "丙方", "买方", "卖方", "出租方", "承租方", "出租人", "承租人", "委托方"),
    *("受托方", "发包方", "承包方", "发包人", "承包人", "供方", "需方", "原告", "被告", "申请人"),
    *(
        "被申请人",
        "贷款人",
        "借款人",
        "采购人",
        "供应商",
        "用人单位",
        "劳动者",
        "许可方",
        "被许可方",
    ),
)


class FoundBy(StrEnum):
    PATTERN = "pattern"
    LABEL = "label"
    NEARBY = "name nearby"
    MODEL = "model"
    MODEL_AND_PATTERN = "model and pattern"


@dataclass(slots=True)
class _Value:
    """A value of a field with the places where it stands."""

    places: list[Sentence]
    found_by: FoundBy
    normal: str = ""
    #: Of the model's passage; None where no model was asked.
    probability: float | None = None
    label: str = ""


@dataclass(slots=True)
class _Field:
    name: str
    kind: Kind | None
    #: What the model is asked; empty: nothing.
    question: str
    values: list[_Value] = field(default_factory=list)

    def add(self, value: _Value) -> None:
        """One more value, or one more place of a value that is known."""
        for known in self.values:
            if _same(known, value):
                known.places += value.places
                return
        self.values.append(value)


def check_fields(names: Sequence[str]) -> None:
    """Raises `BadInput` for names that no field can have."""
    if len(names) > MOST_FIELDS:
        raise BadInput(f"{len(names)} fields are more than {MOST_FIELDS}; ask for fewer at once")
    for name in names:
        if not any(character.isalnum() for character in name) or len(name) > MOST_NAME:
            raise BadInput(
                f"“{name[:MOST_NAME]}” is no name of a field; write up to {MOST_NAME} characters"
                " with a letter among them"
            )


def extract(
    engine: Engine, inputs: DocumentInput, params: ExtractParams, report: ReportProgress
) -> dict[str, Any]:
    """The payload of an extraction, with "usage" for the record."""
    started = time.perf_counter()
    pages = pages_with_words(inputs)
    covered = coverage(inputs, pages, report)
    names = dict.fromkeys(" ".join(name.split()) for name in params.fields or DEFAULT_FIELDS)
    chinese = is_chinese(" ".join(page.text[:2_000] for page in pages))
    fields = [_planned(name, chinese) for name in names]
    for one in fields:
        for value in _found_by_code(one, pages):
            one.add(value)
    seconds = time.perf_counter() - started
    asks = is_trained(engine.profile)
    asked = [one for one in fields if asks and one.question]
    usage = _ask_model(engine, inputs, pages, asked, report) if asked else _no_usage()
    usage["durations_s"]["finding"] = round(seconds, 3)
    return {
        "document": described(inputs.document),
        "fields": [_told(one, pages, asks and bool(one.question)) for one in fields],
        "threshold": Calibration.of(engine.profile).threshold,
        "coverage": covered,
        "hidden": hidden(inputs),
        "usage": usage,
    }


def asked_of_model(names: Sequence[str], *, chinese: bool) -> list[str]:
    """The questions about fields that are put to a model; `chinese`: the document's language."""
    planned = (_planned(name, chinese) for name in dict.fromkeys(names or DEFAULT_FIELDS))
    return [one.question for one in planned if one.question]


def _planned(name: str, chinese: bool) -> _Field:
    if name.casefold() in PARTIES:
        question = "双方当事人是谁？" if chinese else "Who are the parties?"
        return _Field(name, None, question)
    kind = kind_of(name)
    if is_all_of_kind(name):
        return _Field(name, kind, "")
    return _Field(name, kind, f"{name}是什么？" if is_chinese(name) else f"What is the {name}?")


# --- what code finds -----------------------------------------------------------------------------


def _found_by_code(one: _Field, pages: Sequence[PageText]) -> Iterator[_Value]:
    """Labels first: they name the field."""
    is_parties = one.name.casefold() in PARTIES
    labels = PARTY_LABELS if is_parties else (one.name,)
    texts = {page.page.number: page.text for page in pages}
    for label, span in labelled(labels, pages):
        words = texts[span.page][span.start : span.end]
        normal = _normal(one.kind, words)
        yield _Value([Sentence(words, (span,))], FoundBy.LABEL, normal, label=label)
    if one.kind is not None and one.question:
        yield from _nearby(one.name, one.kind, pages)
    elif one.kind is not None:
        for page in pages:
            whole = Span(page.page.number, 0, len(page.text))
            for place, normal in _of_kind(one.kind, whole, page.text):
                yield _Value([place], FoundBy.PATTERN, normal)


def _nearby(name: str, kind: Kind, pages: Sequence[PageText]) -> Iterator[_Value]:
    """Of each sentence with the field's own words, the value of its kind that stands nearest."""
    texts = {page.page.number: page.text for page in pages}
    words = [_word(word) for word in own_words(name)]
    for paragraph in paragraphs(pages, with_source=True):
        for span in (span for one in sentences_of(paragraph, texts) for span in one.spans):
            said = texts[span.page][span.start : span.end]
            found = [word.search(said) for word in words]
            if not all(found):
                continue
            after = span.start + max(match.end() for match in found if match)
            values = list(_of_kind(kind, span, texts[span.page]))
            if values:
                place, normal = min(values, key=lambda value: _distance(value[0], after))
                yield _Value([place], FoundBy.NEARBY, normal)


def _word(word: str) -> re.Pattern[str]:
    """The word as it may stand in a sentence; English ones with any ending."""
    return re.compile(rf"\b{re.escape(word)}" if word.isascii() else re.escape(word), re.IGNORECASE)


def _distance(value: Sentence, after: int) -> int:
    """Characters from `after` to the value; what stands before counts twice as far."""
    start, end = value.spans[0].start, value.spans[0].end
    return start - after if start >= after else 2 * (after - end)


def _of_kind(kind: Kind, span: Span, text: str) -> Iterator[tuple[Sentence, str]]:
    """The values of a kind in a part of a page, with their normal forms."""
    for match in matches(kind, text[span.start : span.end]):
        start, end = span.start + match.start, span.start + match.end
        yield Sentence(text[start:end], (Span(span.page, start, end),)), match.normal


def _normal(kind: Kind | None, words: str) -> str:
    """The normal form of words that are one value of the kind and nothing else."""
    found = matches(kind, words) if kind else []
    return (
        found[0].normal if len(found) == 1 and found[0].end - found[0].start == len(words) else ""
    )


# --- what the model finds ------------------------------------------------------------------------


def _ask_model(
    engine: Engine,
    inputs: DocumentInput,
    pages: Sequence[PageText],
    fields: Sequence[_Field],
    report: ReportProgress,
) -> dict[str, Any]:
    """Adds the passages that answer to the fields; what it took, for the record."""
    calibration = Calibration.of(engine.profile)
    offered = passages(pages)
    lexical = Lexical([passage.text for passage in offered], middles(offered, pages))
    matched = [Matched(one.question, offered, lexical) for one in fields]
    closest = [one.closest(calibration.closest) for one in matched]
    # One reading for all fields, hence no stem that all questions begin with.
    questions = [
        Question(prompts.ask_question(one.question, offered[i].text), offered[i].spans[0])
        for one, places in zip(fields, closest, strict=True)
        for i in places
    ]
    reading = Reading(engine, inputs, pages, questions, PURPOSE, report)
    margins = iter(reading.margins())
    texts = {page.page.number: page.text for page in pages}
    for one, words, places in zip(fields, matched, closest, strict=True):
        rated = words.rated(places, islice(margins, len(places)), calibration)
        for value in _answers(one, rated, calibration.threshold, texts):
            one.add(value)
    return {**reading.usage(), "passages": len(offered)}


def _answers(
    one: _Field,
    rated: Iterable[Rated],
    threshold: float,
    texts: Mapping[int, str],
) -> Iterator[_Value]:
    """The passages that rank first and stand apart, or the words of the field's kind in them."""
    taken: list[Span] = []
    told = 0
    for best in sorted(rated, key=lambda one: -one.rank):
        passage, probability = best.passage, best.probability
        if probability < threshold or told == MOST_PASSAGES:
            return
        if any(_overlap(span, other) for span in passage.spans for other in taken):
            continue
        taken += passage.spans
        values = list(_within(one, passage, texts))
        for place, normal, found_by in values:
            yield _Value([place], found_by, normal, probability)
        told += bool(values)


def _within(
    one: _Field, passage: Sentence, texts: Mapping[int, str]
) -> Iterator[tuple[Sentence, str, FoundBy]]:
    if one.kind is None:
        yield passage, "", FoundBy.MODEL
        return
    for span in passage.spans:
        for place, normal in _of_kind(one.kind, span, texts[span.page]):
            yield place, normal, FoundBy.MODEL_AND_PATTERN


def _overlap(one: Span, other: Span) -> bool:
    return one.page == other.page and one.start < other.end and other.start < one.end


def _no_usage() -> dict[str, Any]:
    return {
        "tokens": {"read": 0, "scored": 0},
        "durations_s": {},
        "prompt_sha256": prompts.prompt_sha256(),
    }


# --- what is told --------------------------------------------------------------------------------


def _same(one: _Value, other: _Value) -> bool:
    if one.label != other.label and one.label and other.label:
        return False
    if one.normal and one.normal == other.normal:
        return True
    return _folded(one.places[0].text) == _folded(other.places[0].text)


def _folded(text: str) -> str:
    return "".join(text.split()).casefold()


def _told(one: _Field, pages: Sequence[PageText], asked: bool) -> dict[str, Any]:
    return {
        "name": one.name,
        "kind": one.kind,
        "asked": asked,
        "values": [_value(value, pages) for value in one.values[:MOST_VALUES]],
        "found": len(one.values),
    }


def _value(value: _Value, pages: Sequence[PageText]) -> dict[str, Any]:
    places = [proved(place, pages) for place in value.places[:MOST_PLACES]]
    return {
        "text": places[0]["text"],
        "context": _context(value.places[0], pages),
        "normal": value.normal,
        "label": value.label,
        "found_by": value.found_by,
        "probability": None if value.probability is None else round(value.probability, 4),
        "supported": all(place["supported"] for place in places),
        "evidence": [evidence for place in places for evidence in place["evidence"]],
        "places": len(value.places),
    }


def _context(place: Sentence, pages: Sequence[PageText]) -> str:
    """The value with the words around it, from its own paragraph."""
    first, last = place.spans[0], place.spans[-1]
    texts = {page.page.number: page.text for page in pages}
    before, after = texts[first.page][: first.start], texts[last.page][last.end :]
    before, after = before.rpartition("\n")[2], after.partition("\n")[0]
    if len(before) > AROUND:
        before = "…" + (before[-AROUND:].partition(" ")[2] or before[-AROUND:])
    if len(after) > AROUND:
        after = (after[:AROUND].rpartition(" ")[0] or after[:AROUND]) + "…"
    return before + place.text + after

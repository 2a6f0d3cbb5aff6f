"""Grounded summary: the sentences that best say what a document is about, each with its proof.

The whole document is read once. Decoding is constrained to sentences that stand in the document:
all of them are asked about together (`Reading`); the best are taken, near repetitions left out, and
put in order. No other words can come out. The best are those with the highest

    margin / temperature + title * (share of the title's words) - early * ln(place)

margin = log P(yes) - log P(no). The constants stand in the checkpoint's profile under
`calibration.summarize` where they were fitted; elsewhere the margin alone counts. With sections,
the same scores choose the best sentences of each section too: nothing is read twice.

Why sentences and not tokens are the alphabet of the constraint: a trie over tokens commits to a
sentence by its first token, of which the model knows nothing but how well it begins ("The", "In"),
and compares sentences of different length by products of unequal length. Scoring whole sentences
compares them by what they say, lets every one of them compete, and costs one batched reading of the
document's own words.

Refuses a document without words (`NoText`), and wishes that no summary can meet
(`refuse_impossible`, which jobs call when one is submitted). Called by `tasks.run`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmapp.documents.quotes import PageText
from mmapp.errors import BadInput
from mmapp.tasks import prompts
from mmapp.tasks.coverage import with_map
from mmapp.tasks.inputs import DocumentInput
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
from mmapp.tasks.sections import Heading, Place, by_section, outline_of
from mmapp.tasks.sentences import Sentence, candidates, title, units, without_repeats
from mmapp.types import Engine, ReportProgress, SummarizeParams
from model.lexical import shared_words

PURPOSE = Purpose("summarize", phase="choosing", unit="sentences")
#: Sentences that a summary may be asked for, by number; and that a share of a document may come to.
MOST_SENTENCES = 50
MOST_OF_SHARE = 500
#: The largest share that is still a summary.
MOST_SHARE = 0.5
#: A candidate is a repetition when it shares this much of the shorter one's words.
REPETITION = 0.65


@dataclass(frozen=True, slots=True)
class Calibration:
    """How a checkpoint's margins are weighed against what can be counted; fitted on held-out
    documents. By default the margin alone counts."""

    temperature: float = 1.0
    #: What it counts to have all the title's words.
    title: float = 0.0
    #: What it counts to stand e times as far to the front.
    early: float = 0.0

    @classmethod
    def of(cls, profile: Mapping[str, Any]) -> Calibration:
        """What the profile says; the defaults for what it does not."""
        stored = profile.get("calibration", {}).get("summarize", {})
        return cls(**{key: float(stored[key]) for key in cls.__slots__ if key in stored})

    def score(self, margin: float, shared: int, place: int) -> float:
        """Of a sentence with so many per cent of the title's words, at this place from 1."""
        counted = self.title * shared / 100 - self.early * math.log(place)
        return margin / self.temperature + counted


def summarize(
    engine: Engine, inputs: DocumentInput, params: SummarizeParams, report: ReportProgress
) -> dict[str, Any]:
    """The payload of a summary, with "usage" for the record."""
    pages = pages_with_words(inputs)
    covered = coverage(inputs, pages, report)
    offered = without_repeats(candidates(pages))
    shared = shared_words(title(pages), [sentence.text for sentence in offered])
    questions = [
        Question(
            prompts.summarize_question(sentence.text, place, len(offered), percent),
            sentence.spans[0],
        )
        for place, (sentence, percent) in enumerate(zip(offered, shared, strict=True), start=1)
    ]
    reading = Reading(engine, inputs, pages, questions, PURPOSE, report)
    margins = reading.leveled(reading.margins())
    weights = Calibration.of(engine.profile)
    scores = [
        weights.score(margin, percent, place)
        for place, (margin, percent) in enumerate(zip(margins, shared, strict=True), 1)
    ]

    def best(indices: Sequence[int]) -> list[dict[str, Any]]:
        among = [offered[index] for index in indices]
        count = wanted(params, len(among))
        chosen = choose(among, [scores[index] for index in indices], count)
        return [proved(among[index], pages) for index in chosen]

    payload: dict[str, Any] = {
        "document": described(inputs.document),
        "summary": best(range(len(offered))),
    }
    if params.sections:
        outline = outline_of(inputs.document, pages)
        payload["outline"] = outline.source
        payload["sections"] = [
            {**titled(heading, pages), "summary": best(indices)}
            for heading, indices in _sections(outline.sections(), offered)
        ]
    return {
        **payload,
        "length": {"sentences": len(payload["summary"]), "of": len(offered)},
        "coverage": with_map(covered, inputs.pages, reading.parts_of_pages(), reading.undrawn),
        "hidden": hidden(inputs),
        "usage": reading.usage(),
    }


def refuse_impossible(params: SummarizeParams) -> None:
    """Raises `BadInput` for a length that no summary has."""
    if params.share is not None and not 0 < params.share <= MOST_SHARE:
        raise BadInput(
            f"A summary is up to {MOST_SHARE:.0%} of a document; a share of {params.share:.1%} was"
            " asked for"
        )
    if not 1 <= params.sentences <= MOST_SENTENCES:
        raise BadInput(
            f"A summary has 1 to {MOST_SENTENCES} sentences; {params.sentences} were asked for"
        )


def wanted(params: SummarizeParams, there: int) -> int:
    """How many sentences are asked for, where there are so many to say."""
    if params.share is None:
        return params.sentences
    return max(1, min(MOST_OF_SHARE, math.ceil(params.share * there - 1e-9)))


def titled(heading: Heading | None, pages: Sequence[PageText]) -> dict[str, Any]:
    """A section as payloads name it, its title with the place where that stands; what precedes
    the first heading has none."""
    if heading is None:
        return {"title": "", "level": 0, "page": pages[0].page.number, "evidence": []}
    stands = proved(Sentence(heading.title, heading.spans), pages)
    return {
        "title": heading.title,
        "level": heading.level,
        "page": heading.start.page,
        "evidence": stands["evidence"],
    }


def _sections(
    headings: Sequence[Heading], offered: Sequence[Sentence]
) -> list[tuple[Heading | None, list[int]]]:
    """Each section with its sentences; what precedes the first only where it has any."""
    if not headings:
        return []
    places = [Place(sentence.spans[0].page, sentence.spans[0].start) for sentence in offered]
    before, *own = by_section(headings, places)
    found: list[tuple[Heading | None, list[int]]] = [(None, before)] if before else []
    return found + list(zip(headings, own, strict=True))


def choose(sentences: Sequence[Sentence], scores: Sequence[float], count: int) -> list[int]:
    """Indices of the best sentences in document order.

    What nearly repeats a better one is taken only where nothing else is left.
    """
    chosen: list[int] = []
    repetitions: list[int] = []
    said: list[set[str]] = []
    for index in sorted(range(len(sentences)), key=lambda index: (-scores[index], index)):
        if len(chosen) == count:
            break
        words = units(sentences[index].text)
        if any(len(words & other) > REPETITION * min(len(words), len(other)) for other in said):
            repetitions.append(index)
            continue
        chosen.append(index)
        said.append(words)
    return sorted(chosen + repetitions[: count - len(chosen)])

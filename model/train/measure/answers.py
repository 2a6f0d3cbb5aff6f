"""How well a checkpoint finds the passage that answers a question, or tells that none does.

As in service the passages of a document are narrowed down to those whose words match best, the
model is asked about these, and words and model rank and decide together; `calibrate` fits how.
Every figure that depends on the fit is measured on documents that it was not fitted on. Beside it
stand the model's margin alone and plain BM25 alone, with thresholds fitted alike, and a passage
drawn blindly.

Cases that are narrowed down to wrong passages only count as missed. Called by `evaluate`.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from model.engine import Engine
from model.lexical import Lexical, terms
from model.train import tables
from model.train.calibration import AnswerCalibration, expected_error, fit_answers, fit_ranks
from model.train.documents import TextDocument, read_documents
from model.train.measure.cases import Case, Passage, meetings, own_questions, passages
from model.train.measure.common import Measured, OnProgress, margins, mean, spread
from model.train.measure.facts import HIDDEN, LANGUAGES, key_facts
from model.train.recipe import Prompts

CLOSEST = 64  # passages that the model is asked about
SEED = 1  # of the key facts
CHARACTERS = 100_000  # of a document with key facts, where there is so much text
SHORT_CHARACTERS = 2_000  # of a page or two, which people ask about as well
FEWEST_CHARACTERS = 2_000  # of all documents of a language: in less nothing is hidden
ANSWERED = 40  # questions about key facts of a language, besides those without an answer
QUERIES, QUERIES_EACH = 80, 4  # about meetings; of one meeting
SPARE_TOKENS = 64  # kept free for the marks of the turns


@dataclass(frozen=True)
class Offered:
    """A passage that the model was asked about."""

    right: bool
    page: int
    margin: float  #: log P(yes) - log P(no)
    z: float  #: its words' match in standard deviations above the mean of all passages
    said: float  #: its share of the question's terms
    bm25: float  #: plain


@dataclass(frozen=True)
class Searched:
    """A case, what was offered of its document, and how many of all its passages answer."""

    case: Case
    offered: tuple[Offered, ...]
    passages: int
    rights: int


Searches = Sequence[Searched]
Score = Callable[[Offered], float]


@dataclass(frozen=True)
class Rule:
    """How a passage is chosen, and from which certainty on it is the answer."""

    rank: Score
    certainty: Score
    threshold: float

    def best(self, searched: Searched) -> Offered:
        """Of equals the first."""
        return max(searched.offered, key=self.rank)

    def decides_rightly(self, searched: Searched) -> bool:
        """It gives a passage that answers, or none where none does."""
        best = self.best(searched)
        if self.certainty(best) >= self.threshold:
            return best.right
        return not searched.case.answerable


def measure_answers(
    engine: Engine, prompts: Prompts, data: Path, limit: int | None, report: OnProgress
) -> Measured:
    """Key facts, meetings and the user's own questions, all of val."""
    found = search(engine, prompts, draw_cases(data, limit), CLOSEST, report)
    if not found:
        return Measured()
    return Measured(answer_figures(found), {"ask": calibrate(found)})


def draw_cases(data: Path, limit: int | None) -> list[Case]:
    """`limit`: questions of each kind that are answered."""
    documents = read_documents(data, "val")
    return [
        *(case for lang in LANGUAGES for case in _key_facts(documents, lang, limit or ANSWERED)),
        *(case for lang in LANGUAGES for case in _on_a_page(documents, lang, limit or ANSWERED)),
        *_some_of_each(meetings(data), limit or QUERIES),
        *spread(own_questions(documents), limit),
    ]


def _key_facts(
    documents: Sequence[TextDocument], lang: str, answered: int, characters: int = CHARACTERS
) -> list[Case]:
    glued = [
        document
        for document in documents
        if document.lang == lang and document.source not in ("SciTLDR-A", "QMSum", tables.OWN)
    ]
    length = sum(len(document.text) for document in glued)
    if length < FEWEST_CHARACTERS:
        return []
    count = answered + answered // HIDDEN
    return key_facts(glued, lang, seed=SEED, count=count, characters=min(characters, length))


def _on_a_page(documents: Sequence[TextDocument], lang: str, answered: int) -> list[Case]:
    """The same about short documents."""
    return [
        replace(case, kind=f"key facts on a page {lang}", document=f"page/{case.document}")
        for case in _key_facts(documents, lang, answered, SHORT_CHARACTERS)
    ]


def _some_of_each(cases: Sequence[Case], limit: int) -> list[Case]:
    """A few of each document, so that not all have to be read."""
    groups = [list(group) for _, group in itertools.groupby(cases, lambda case: case.document)]
    some = spread(groups, math.ceil(limit / QUERIES_EACH))
    return [case for group in some for case in spread(group, QUERIES_EACH)][:limit]


# Searching.


def search(
    engine: Engine, prompts: Prompts, cases: Sequence[Case], closest: int, report: OnProgress
) -> list[Searched]:
    """What the model says of the passages closest to each question. A document is read once."""
    found: list[Searched] = []
    for _, group in itertools.groupby(cases, lambda case: case.document):
        report("answers", len(found), len(cases))
        found += _read(engine, prompts, list(group), closest)
    report("answers", len(found), len(cases))
    return found


def _read(engine: Engine, prompts: Prompts, cases: Sequence[Case], closest: int) -> list[Searched]:
    """Cases about one document; none where it has no passages or a page that can't be read."""
    pages = cases[0].pages
    offered = passages(pages)
    longest = max(engine.count_tokens(page) for page in pages)
    if not offered or longest > engine.context_length // 2:
        return []
    middles = [(passage.start + passage.end) / 2 for passage in offered]
    lexical = Lexical([passage.text for passage in offered], middles)
    chosen = [_closest(offered, lexical, case.question, closest) for case in cases]
    questions = [
        prompts["ask"]["question"].format(question=case.question, passage=passage.text)
        for case, some in zip(cases, chosen, strict=True)
        for passage, *_ in some
    ]
    places = [passage.page for some in chosen for passage, *_ in some]
    margin = iter(_margins(engine, prompts, pages, questions, places))
    return [
        Searched(
            case,
            tuple(Offered(case.answered_by(p), p.page, next(margin), *words) for p, *words in some),
            passages=len(offered),
            rights=sum(map(case.answered_by, offered)),
        )
        for case, some in zip(cases, chosen, strict=True)
    ]


def _closest(
    offered: Sequence[Passage], lexical: Lexical, question: str, count: int
) -> list[tuple[Passage, float, float, float]]:
    """The passages that match best, in order, each with its match, its share of the question's
    terms and its plain BM25."""
    z, said = lexical.matches(question), lexical.shares(question)
    plain = lexical.bm25(list(dict.fromkeys(terms(question))))
    best = sorted(range(len(offered)), key=lambda place: -z[place])[:count]
    return [(offered[place], z[place], said[place], plain[place]) for place in sorted(best)]


def _margins(
    engine: Engine,
    prompts: Prompts,
    pages: Sequence[str],
    questions: Sequence[str],
    places: Sequence[int],
) -> list[float]:
    """Each question's margin, read in the portion of the document where its passage begins.

    What the questions have in common is read at the end of the prefix, as in service."""
    words, form = prompts["ask"], prompts["document"]["page"]
    parts = [form.format(page=number, text=page) for number, page in enumerate(pages, start=1)]
    stem = _stem(questions, words["question"])
    longest = max(engine.count_tokens(question) for question in questions)
    found = [0.0] * len(questions)
    for portion in _portions(engine, parts, engine.context_length - longest - SPARE_TOKENS):
        mine = [i for i, place in enumerate(places) if place - 1 in portion]
        if not mine:
            continue
        prefix = engine.prefill([*(parts[i] for i in portion), *([stem] if stem else [])])
        rests = [questions[i].removeprefix(stem) for i in mine]
        some = margins(engine, prefix, rests, words["yes"], words["no"])
        for index, margin in zip(mine, some, strict=True):
            found[index] = margin
    return found


def _stem(questions: Sequence[str], template: str) -> str:
    """What stands before the passage, if it is the same in all questions; else nothing."""
    end = template[: template.index("{passage}")].rstrip().partition("{question}")[2]
    stem = questions[0][: questions[0].index(end) + len(end)]
    return stem if all(question.startswith(stem) for question in questions) else ""


def _portions(engine: Engine, parts: Sequence[str], room: int) -> list[range]:
    """Pages, by number from 0, that fit the context together."""
    starts, filled = [0], 0
    for number, part in enumerate(parts):
        tokens = engine.count_tokens(part)
        if filled and filled + tokens > room:
            starts.append(number)
            filled = 0
        filled += tokens
    return [range(a, b) for a, b in itertools.pairwise([*starts, len(parts)])]


# Figures.


def answer_figures(found: Searches) -> dict[str, dict[str, float]]:
    """By kind of case. The documents of each kind are halved, and each half of all is judged by the
    rules that were fitted on the other."""
    halves = _halves(found)
    calibrations = [calibrate(other) for other in halves[::-1]]
    rules = {
        "": [_model(calibration) for calibration in calibrations],
        "margin alone ": [_by(lambda one: one.margin, other) for other in halves[::-1]],
        "BM25 alone ": [_by(lambda one: one.bm25, other) for other in halves[::-1]],
    }
    figures: dict[str, dict[str, float]] = {}
    for kind in dict.fromkeys(searched.case.kind for searched in found):
        parts = [[one for one in half if one.case.kind == kind] for half in halves]
        figures[kind] = _chance([*parts[0], *parts[1]])
        for who, pair in rules.items():
            judged = [(rule, one) for rule, part in zip(pair, parts, strict=True) for one in part]
            figures[kind] |= {f"{who}{name}": value for name, value in _judged(judged).items()}
        figures[kind]["expected calibration error"] = expected_error(
            [
                (calibration.probability(best.margin, best.said), best.right)
                for calibration, part in zip(calibrations, parts, strict=True)
                for best in map(_model(calibration).best, part)
            ]
        )
    return figures


def _halves(found: Searches) -> list[list[Searched]]:
    """Every second document of each kind."""
    halves: list[list[Searched]] = [[], []]
    numbers: dict[str, dict[str, int]] = defaultdict(dict)
    for searched in found:
        of_kind = numbers[searched.case.kind]
        number = of_kind.setdefault(searched.case.document, len(of_kind))
        halves[number % 2].append(searched)
    return halves


def _judged(judged: Sequence[tuple[Rule, Searched]]) -> dict[str, float]:
    """How often a rule is right."""
    best = [(searched.case, rule.best(searched)) for rule, searched in judged]
    hits = [(case, one.right) for case, one in best if case.answerable]
    pages = [one.right or one.page == case.page for case, one in best if case.page is not None]
    others = [hit for case, hit in hits if case.other_words]
    figures = {"right passage first": mean([hit for _, hit in hits])}
    if others:
        figures["right passage first, in other words"] = mean(others)
    if pages:
        figures["right page first"] = mean(pages)
    decided = [(searched.case, rule.decides_rightly(searched)) for rule, searched in judged]
    absent = [right for case, right in decided if not case.answerable]
    if absent:
        figures["decided rightly"] = mean([right for _, right in decided])
        figures["told that it is not there"] = mean(absent)
    return figures


def _chance(found: Searches) -> dict[str, float]:
    """What no rule changes: blind luck, and what the narrowing leaves to be found."""
    held = [searched for searched in found if searched.case.answerable]
    return {
        "questions": len(found),
        "passages of a document": mean([searched.passages for searched in found]),
        "chance right passage first": mean([one.rights / one.passages for one in held]),
        f"right passage among the closest {CLOSEST}": mean(
            [any(one.right for one in searched.offered) for searched in held]
        ),
    }


# Fitting.


def calibrate(found: Searches, closest: int = CLOSEST) -> AnswerCalibration:
    """The constants under which what was found is most likely, and the threshold that decides best
    where some questions are not answered; one half where all are."""
    rows = [(one.margin, one.z, one.right) for searched in found for one in searched.offered]
    ranked = fit_ranks(rows, closest)
    best = [max(s.offered, key=lambda one: ranked.rank(one.margin, one.z)) for s in found]
    calibration = fit_answers(ranked, [(one.margin, one.said, one.right) for one in best])
    rule = _model(calibration)
    threshold = best_threshold(found, rule.rank, rule.certainty)
    return calibration if threshold is None else calibration.deciding(threshold)


def best_threshold(found: Searches, rank: Score, certainty: Score) -> float | None:
    """The certainty of the first passage from which on to answer, with the most right decisions:
    the middle one of those between two neighbours. Only kinds of cases count of which some are not
    answered."""
    mixed = {searched.case.kind for searched in found if not searched.case.answerable}
    held = [searched for searched in found if searched.case.kind in mixed]
    if not held:
        return None
    best = [(s.case.answerable, max(s.offered, key=rank)) for s in held]
    judged = [(certainty(one), one.right, answerable) for answerable, one in best]
    scores = sorted({value for value, _, _ in judged})
    between = [(a + b) / 2 for a, b in itertools.pairwise(scores)]
    rights = {
        threshold: sum(hit if value >= threshold else not able for value, hit, able in judged)
        for threshold in (scores[0], *between, math.nextafter(scores[-1], math.inf))
    }
    equals = [threshold for threshold, right in rights.items() if right == max(rights.values())]
    return equals[len(equals) // 2]


def _model(calibration: AnswerCalibration) -> Rule:
    return Rule(
        lambda one: calibration.rank(one.margin, one.z),
        lambda one: calibration.probability(one.margin, one.said),
        calibration.threshold,
    )


def _by(score: Score, found: Searches) -> Rule:
    threshold = best_threshold(found, score, score)
    return Rule(score, score, -math.inf if threshold is None else threshold)

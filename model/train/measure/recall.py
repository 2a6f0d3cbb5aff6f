"""How well a checkpoint recalls facts that are hidden in what it reads, by length and by depth.

One fact stands at each depth of a text; each is asked about, and the true answer has to be likelier
for each of its tokens than `OTHERS` that are drawn alike and not in the text. So any checkpoint can
be measured, whatever it was trained for; one that remembers nothing is right in one of four. The
texts are those of key facts (`facts`). Texts may be longer than the checkpoint's config promises
where the engine reads them; these are marked. Called by `python -m model evaluate recall`. Refuses
(ValueError) lengths that the context does not hold, and data with too little text.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from model.engine import Engine
from model.readings import Prefix
from model.train.documents import TextDocument, read_documents
from model.train.measure.common import OnProgress, mean
from model.train.measure.facts import Hidden, draw_fact, glued, with_facts

DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
LEAST_TOKENS = 1_000  # of a text, unless other lengths are asked for: then twice as many, and so on
EACH = 8  # texts of each length
OTHERS = 3  # answers that are wrong
CHANCE = 1 / (OTHERS + 1)
SPARE_TOKENS = 512  # of the context, for the facts and the question, each byte a token at worst
SEED = 2
BEYOND = "beyond the context that the checkpoint was made for"


@dataclass(frozen=True)
class Recall:
    """Facts at one depth of texts of one length."""

    tokens: int
    depth: float  #: 0 at the beginning, 1 at the end
    asked: int
    share: float  #: of them, those whose answer was found
    is_beyond: bool = False  #: longer than the config promises (max_position_embeddings)


def needed(tokens: Sequence[int]) -> int:
    """The context that holds texts of these lengths and the questions about them."""
    return max(tokens) + SPARE_TOKENS


def lengths(engine: Engine) -> list[int]:
    """From `LEAST_TOKENS` on, doubled, as long as the context holds them."""
    most = engine.context_length - SPARE_TOKENS
    doubled = (LEAST_TOKENS * 2**n for n in itertools.count())
    return list(itertools.takewhile(lambda tokens: tokens <= most, doubled)) or [most]


def measure_recall(
    engine: Engine,
    data: Path,
    tokens: Sequence[int],
    *,
    lang: str = "en",
    each: int = EACH,
    report: OnProgress,
) -> list[Recall]:
    """Each length in tokens, each of `DEPTHS`."""
    too_long = needed(tokens) - engine.context_length
    if too_long > 0:
        raise ValueError(
            f"{max(tokens):,} tokens and {SPARE_TOKENS} for questions do not fit the context of "
            f"{engine.context_length:,}: give lengths that are {too_long:,} shorter"
        )
    documents = [document for document in read_documents(data, "val") if document.lang == lang]
    found: list[Recall] = []
    done, total = 0, each * sum(tokens)
    for length in tokens:
        rights: list[list[bool]] = []
        for number in range(each):
            report("recall", done, total)
            rights.append(_recalled(engine, documents, length, lang, number))
            done += length
        shares = [mean([float(right) for right in column]) for column in zip(*rights, strict=True)]
        is_beyond = needed([length]) > engine.trained_length
        cells = zip(DEPTHS, shares, strict=True)
        found += [Recall(length, depth, each, share, is_beyond) for depth, share in cells]
    report("recall", total, total)
    return found


def recall_table(found: Sequence[Recall]) -> str:
    """A row for each depth, a column for each length; beyond what is promised with a star."""
    tokens = sorted({cell.tokens for cell in found})
    beyond = {cell.tokens for cell in found if cell.is_beyond}
    share = {(cell.depth, cell.tokens): cell.share for cell in found}
    names = (f"{length:,}{'*' if length in beyond else ''}" for length in tokens)
    lines = ["depth  " + "".join(f"{name:>9}" for name in names)]
    lines += [
        f"{depth:>5.0%}  " + "".join(f"{share[depth, length]:>9.0%}" for length in tokens)
        for depth in DEPTHS
    ]
    lines.append(f"by chance {CHANCE:.0%}")
    lines += [f"* {BEYOND}"] if beyond else []
    return "\n".join(lines) + "\n"


def _recalled(
    engine: Engine, documents: Sequence[TextDocument], tokens: int, lang: str, number: int
) -> list[bool]:
    """Of the fact at each depth of a text: whether it is found."""
    chance = random.Random(f"{SEED}/{lang}/{tokens}/{number}")
    text = _cut(engine, documents, tokens, chance)
    text, hidden = with_facts(text, lang, DEPTHS, chance)
    prefix = engine.prefill([text + "\n"])
    return [_is_found(engine, prefix, one, _wrong(one, text, lang, chance)) for one in hidden]


def _is_found(engine: Engine, prefix: Prefix, one: Hidden, wrong: Sequence[str]) -> bool:
    answers = [one.answer, *wrong]
    scores = engine.score(prefix, [(one.question, answer) for answer in answers])
    right, *others = (
        score / engine.count_tokens(answer) for score, answer in zip(scores, answers, strict=True)
    )
    return right > max(others)


def _cut(
    engine: Engine, documents: Sequence[TextDocument], tokens: int, chance: random.Random
) -> str:
    """Text of the documents, of at most so many tokens and nearly as many."""
    sample = "\n".join(document.text for document in documents[:20])
    characters = len(sample) / engine.count_tokens(sample)
    text = glued(documents, int(1.2 * characters * tokens), chance)
    return text[: int(len(text) * min(1.0, tokens / engine.count_tokens(text)))]


def _wrong(one: Hidden, text: str, lang: str, chance: random.Random) -> list[str]:
    """Answers to the same question about something else, none of which stands in the text."""
    drawn = (draw_fact(lang, chance, one.fact.wording) for _ in itertools.count())
    answers = (Hidden(fact, one.other_words).answer for fact in drawn)
    return list(itertools.islice(_new(answer for answer in answers if answer not in text), OTHERS))


def _new(answers: Iterator[str]) -> Iterator[str]:
    seen: set[str] = set()
    for answer in answers:
        if answer not in seen:
            seen.add(answer)
            yield answer

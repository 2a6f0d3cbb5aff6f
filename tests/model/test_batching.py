"""Many prompts together give what each gives alone, and share the model's steps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import model
from model.batching import Found, Piece, Request, Wanted, together
from model.cache import Cache
from model.engine import AT_ONCE, ContextOverflow, Continuation
from model.prompt import Part
from model.transformer import Layout
from tests.model.test_engine import TOLERANCE, picture

PIECE_TOKENS = 24  #: so that long prompts take several steps beside others

PROMPTS: list[list[Part]] = [
    ["the cat"],
    [picture(16, 16, 1), "the cat sat on the mat"],
    ["the mat, the mat, the end of a text that is longer than a chunk and than a piece"],
    ["文件", picture(40, 16, 2), picture(9, 30, 3)],
    *([f"the cat sat on mat {number}"] for number in range(AT_ONCE)),
]
ASKED: list[Continuation] = ["the mat", ("is it a cat?", "yes"), ("is it a cat?", "no"), "t"]


@pytest.fixture(scope="module")
def engine(tiny_checkpoint: Path) -> model.Engine:
    return model.load(tiny_checkpoint, "float32", "cpu", piece_tokens=PIECE_TOKENS)


def test_prompts_read_together_are_remembered_as_each_alone(engine: model.Engine) -> None:
    for together_, parts in zip(engine.prefill_many(PROMPTS), PROMPTS, strict=True):
        alone = engine.prefill(parts)
        assert together_.length == alone.length
        torch.testing.assert_close(together_.last_D, alone.last_D, atol=TOLERANCE, rtol=TOLERANCE)
        assert engine.score(together_, ASKED) == pytest.approx(
            engine.score(alone, ASKED), abs=TOLERANCE
        )


def test_prompts_read_together_are_kept_for_later(tiny_checkpoint: Path) -> None:
    engine = model.load(
        tiny_checkpoint, "float32", "cpu", prefixes=model.PrefixStore(2**24), piece_tokens=24
    )
    engine.prefill_many(PROMPTS[:3])
    for parts in PROMPTS[:3]:
        told: list[tuple[int, int]] = []
        prefix = engine.prefill(parts, lambda *done, told=told: told.append(done))
        assert told == [(prefix.length, prefix.length)], "nothing was left to read"


def test_scores_of_many_are_those_of_each(engine: model.Engine) -> None:
    shared = engine.prefill(PROMPTS[1])
    asked = [(shared, ASKED[:1]), *((parts, ASKED) for parts in PROMPTS), (shared, ASKED[1:])]
    expected = [
        engine.score(before if before is shared else engine.prefill(before), continuations)
        for before, continuations in asked
    ]
    length = shared.length
    found = engine.score_many(asked)
    assert [len(scores) for scores in found] == [len(scores) for scores in expected]
    for scores, alone in zip(found, expected, strict=True):
        assert scores == pytest.approx(alone, abs=TOLERANCE)
    assert shared.length == length
    assert engine.score_many([]) == []


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_answers_written_together_are_those_of_each(
    engine: model.Engine, temperature: float
) -> None:
    shared = engine.prefill(PROMPTS[1])
    before = [shared, *PROMPTS[:6], shared]
    settings = {"max_tokens": 12, "temperature": temperature, "seed": 3}
    expected = [
        engine.generate(b if b is shared else engine.prefill(b), f"why {n}?", **settings)
        for n, b in enumerate(before)
    ]
    asked = [(b, f"why {n}?") for n, b in enumerate(before)]
    assert engine.generate_many(asked, **settings) == expected
    assert len(set(expected)) > 2, "the answers are too much alike to tell them apart"


def test_a_constraint_holds_for_each_of_many(engine: model.Engine) -> None:
    asked = [(parts, "is it?") for parts in PROMPTS[:5]]
    choices = ["yes", "no", "not to be seen"]
    expected = [
        engine.generate(engine.prefill(parts), "is it?", max_tokens=20, allowed=choices)
        for parts, _ in asked
    ]
    assert engine.generate_many(asked, max_tokens=20, allowed=choices) == expected


def test_a_prompt_that_does_not_fit_is_refused(engine: model.Engine) -> None:
    with pytest.raises(ContextOverflow):
        engine.score_many([(PROMPTS[0], ASKED), (["x" * engine.context_length], ASKED)])


def test_progress_counts_those_that_ended(engine: model.Engine) -> None:
    told: list[tuple[int, int]] = []
    asked = [(parts, "why?") for parts in PROMPTS[:4]]
    engine.generate_many(asked, max_tokens=3, on_end=lambda *ended: told.append(ended))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_progress_counts_the_tokens_of_all(engine: model.Engine) -> None:
    told: list[tuple[int, int]] = []
    prefixes = engine.prefill_many(PROMPTS, lambda *read: told.append(read))
    lengths = sum(prefix.length for prefix in prefixes)
    assert told[-1] == (lengths, lengths)
    assert all(done <= total for done, total in told)
    each: list[tuple[int, int]] = []
    engine.score(prefixes[0], ASKED, lambda *read: each.append(read))
    asked = len(PROMPTS) * each[-1][1]
    engine.score_many([(prefix, ASKED) for prefix in prefixes], lambda *read: told.append(read))
    assert told[-1] == (asked, asked)
    engine.score_many([(parts, ASKED) for parts in PROMPTS], lambda *read: told.append(read))
    assert told[-1] == (lengths + asked, lengths + asked)


def test_many_end_where_progress_raises(engine: model.Engine) -> None:
    def cancel(*_read: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        engine.score_many([(parts, ASKED) for parts in PROMPTS], cancel)


def test_prompts_that_are_scored_are_forgotten(tiny_checkpoint: Path) -> None:
    store = model.PrefixStore(2**24)
    engine = model.load(tiny_checkpoint, "float32", "cpu", prefixes=store, piece_tokens=24)
    engine.score_many([(parts, ASKED) for parts in PROMPTS[:3]])
    engine.generate_many([(PROMPTS[0], "why?")], max_tokens=2)
    assert store.nbytes == 0


class Steps:
    """A model that remembers how many tokens of how many requests each step had."""

    def __init__(self) -> None:
        self.sizes: list[list[int]] = []

    def __call__(self, wanted: list[Wanted]) -> list[Found]:
        self.sizes.append([len(each.piece.token_ids) for each in wanted])
        return [Found(torch.zeros(len(each.piece.token_ids), 1), None) for each in wanted]


@pytest.fixture
def cache(engine: model.Engine) -> Cache:
    return Cache(engine._text, 1, torch.float32, "cpu")


def request(name: str, lengths: list[int], cache: Cache) -> Request[str]:
    for length in lengths:
        yield Wanted(Piece([0] * length), Layout.consecutive(0, length), cache)
    return name


def test_steps_are_filled_and_the_oldest_never_waits(cache: Cache) -> None:
    steps = Steps()
    requests = [
        request("long", [10, 10], cache),
        request("writes", [1, 1, 1], cache),
        request("huge", [12], cache),
        request("empty", [], cache),
        request("late", [2], cache),
    ]
    results = together(requests, steps, room=11, at_once=3)
    assert results == ["long", "writes", "huge", "empty", "late"]
    assert steps.sizes == [[10, 1], [10, 1], [1, 2], [12]]


def test_no_more_are_alive_at_once_than_allowed(cache: Cache) -> None:
    begun, alive = [], 0

    def counted(name: str) -> Request[str]:
        nonlocal alive
        alive += 1
        begun.append(alive)
        yield from request(name, [1, 1], cache)
        alive -= 1
        return name

    assert together(map(counted, "abcdefghi"), Steps(), room=100, at_once=4) == [*"abcdefghi"]
    assert max(begun) == 4

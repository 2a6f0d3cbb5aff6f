"""What stayed is told in order, and what is common pulls nothing far."""

from __future__ import annotations

import itertools
import random
import time

from hypothesis import given
from hypothesis import strategies as st

from mmapp.tasks.alignment import aligned

LETTERS = st.lists(st.sampled_from("abcdef"), max_size=24)


@given(LETTERS, LETTERS)
def test_pairs_are_equal_and_rise_in_both(old: list[str], new: list[str]) -> None:
    pairs = aligned(old, new)
    assert all(old[i] == new[j] for i, j in pairs)
    assert all(a < c and b < d for (a, b), (c, d) in itertools.pairwise(pairs))


@given(LETTERS)
def test_a_sequence_stays_as_it_is(old: list[str]) -> None:
    assert aligned(old, old) == [(place, place) for place in range(len(old))]


@given(st.lists(st.integers(), max_size=30, unique=True), st.data())
def test_of_unique_elements_nothing_that_stayed_in_order_is_missed(
    old: list[int], data: st.DataObject
) -> None:
    kept = [one for one in old if data.draw(st.booleans())]
    assert [old[i] for i, _ in aligned(old, kept)] == kept


def test_a_block_that_moved_leaves_the_larger_rest_aligned() -> None:
    assert [i for i, _ in aligned("0123456789", "7890123456")] == list(range(7))


def test_sequences_of_few_kinds_of_elements_take_no_time() -> None:
    choose = random.Random(0)
    old, new = ([choose.choice("ab,.") for _ in range(20_000)] for _ in range(2))
    began = time.process_time()
    assert aligned(old, new) is not None
    assert time.process_time() - began < 3

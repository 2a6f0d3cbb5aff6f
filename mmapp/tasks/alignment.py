"""Which elements of two sequences stayed, in order: the alignment that differences are read from.

Elements that come once in both sequences are the anchors (patience diff: Bram Cohen, 2003), the
longest rising chain of them is kept, and what stands between two anchors is aligned in the same
way. So the time grows with n log n where there are anchors, and the result is what a person would
say: common elements like `,` or an empty cell never pull far places together. Where nothing is
rare, a small rest is left to `difflib`, and a large one counts as changed. Refuses nothing; called
by `compare` for sentences and for words.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

#: Pairs of elements that `difflib` may look at in a rest without anchors: well under a second.
MOST_PAIRS = 250_000


@dataclass(frozen=True, slots=True)
class _Gap:
    """Elements that are not aligned yet: `i` to `i_end` of the old, `j` to `j_end` of the new."""

    i: int
    i_end: int
    j: int
    j_end: int


def aligned(old: Sequence[Hashable], new: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Places (i, j) with `old[i] == new[j]`; both rise from each pair to the next."""
    found: list[tuple[int, int]] = []
    gaps = [_Gap(0, len(old), 0, len(new))]
    while gaps:
        gap = _without_equal_ends(old, new, gaps.pop(), found)
        if gap.i == gap.i_end or gap.j == gap.j_end:
            continue
        anchors = _rising(_anchors(old, new, gap))
        if anchors:
            found += anchors
            gaps += _between(anchors, gap)
        else:
            found += _small_rest(old, new, gap)
    return sorted(found)


def _without_equal_ends(
    old: Sequence[Hashable], new: Sequence[Hashable], gap: _Gap, found: list[tuple[int, int]]
) -> _Gap:
    """The gap without what is equal at its two ends, which goes to `found`."""
    i, i_end, j, j_end = gap.i, gap.i_end, gap.j, gap.j_end
    while i < i_end and j < j_end and old[i] == new[j]:
        found.append((i, j))
        i, j = i + 1, j + 1
    while i < i_end and j < j_end and old[i_end - 1] == new[j_end - 1]:
        i_end, j_end = i_end - 1, j_end - 1
        found.append((i_end, j_end))
    return _Gap(i, i_end, j, j_end)


def _anchors(old: Sequence[Hashable], new: Sequence[Hashable], gap: _Gap) -> list[tuple[int, int]]:
    """Elements that come once in both, in the order of the old."""
    old_counts = Counter(old[gap.i : gap.i_end])
    new_counts = Counter(new[gap.j : gap.j_end])
    places = {
        new[j]: j
        for j in range(gap.j, gap.j_end)
        if new_counts[new[j]] == 1 and old_counts[new[j]] == 1
    }
    return [(i, places[old[i]]) for i in range(gap.i, gap.i_end) if old[i] in places]


def _rising(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest chain in which the second places rise too (patience sorting)."""
    tops: list[int] = []
    ends: list[int] = []
    before: list[int | None] = []
    for place, (_, j) in enumerate(pairs):
        pile = bisect_left(tops, j)
        before.append(ends[pile - 1] if pile else None)
        tops[pile : pile + 1] = [j]
        ends[pile : pile + 1] = [place]
    chain: list[tuple[int, int]] = []
    at = ends[-1] if ends else None
    while at is not None:
        chain.append(pairs[at])
        at = before[at]
    return chain[::-1]


def _between(anchors: Sequence[tuple[int, int]], gap: _Gap) -> list[_Gap]:
    gaps = []
    i, j = gap.i, gap.j
    for anchor_i, anchor_j in anchors:
        gaps.append(_Gap(i, anchor_i, j, anchor_j))
        i, j = anchor_i + 1, anchor_j + 1
    return [*gaps, _Gap(i, gap.i_end, j, gap.j_end)]


def _small_rest(
    old: Sequence[Hashable], new: Sequence[Hashable], gap: _Gap
) -> list[tuple[int, int]]:
    if (gap.i_end - gap.i) * (gap.j_end - gap.j) > MOST_PAIRS:
        return []
    a, b = old[gap.i : gap.i_end], new[gap.j : gap.j_end]
    blocks = SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()
    return [
        (gap.i + block.a + step, gap.j + block.b + step)
        for block in blocks
        for step in range(block.size)
    ]

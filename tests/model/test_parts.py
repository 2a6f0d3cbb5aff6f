"""Attention in parts is attention: the same numbers as from torch's own over all keys at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from model.pages import Page, PageShape, Segment
from model.parts import Part, attend, attend_among, attend_to_segment, merge, plain_attend

BATCH, HEADS, GROUPS, WIDTH, NEW = 2, 2, 3, 8, 5
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 3e-2}


def random(tokens: int, heads: int = HEADS, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(BATCH, heads, tokens, WIDTH, dtype=dtype)


def segment(k_BKSW: Tensor, v_BKSW: Tensor, dtype: torch.dtype | None = None) -> Segment:
    length = k_BKSW.shape[2]
    shape = PageShape(BATCH, HEADS, WIDTH, dtype or k_BKSW.dtype, torch.device("cpu"))
    page = Page.empty(shape, length + 3)
    page.write(k_BKSW, v_BKSW)
    return Segment(page, 0, length)


def whole(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    return scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("lengths", [(1,), (7,), (4, 4, 2), (1, 9, 1)])
def test_parts_merge_to_attention_over_all_keys(
    dtype: torch.dtype, lengths: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    q = 3 * random(NEW, HEADS * GROUPS, dtype)
    k, v = random(sum(lengths) + NEW, dtype=dtype), random(sum(lengths) + NEW, dtype=dtype)
    *past, (new_k, new_v) = zip(
        k.split([*lengths, NEW], dim=2), v.split([*lengths, NEW], dim=2), strict=True
    )
    parts = [attend_among(q, new_k, new_v, None)]
    parts += [attend_to_segment(q, segment(*heads)) for heads in past]
    mask = torch.ones(NEW, sum(lengths) + NEW, dtype=torch.bool).tril(sum(lengths))
    expected = whole(q, k, v, mask)
    torch.testing.assert_close(merge(parts), expected, atol=TOLERANCE[dtype], rtol=0)


def test_queries_that_do_not_see_a_part_get_nothing_of_it() -> None:
    torch.manual_seed(0)
    q, k, v = random(NEW, HEADS * GROUPS), random(4 + NEW), random(4 + NEW)
    sees_BT = torch.tensor([[True, False, True, False, False], [False] * 5])
    among = torch.eye(NEW, dtype=torch.bool).expand(BATCH, 1, -1, -1)
    past = attend_to_segment(q, segment(k[:, :, :4], v[:, :, :4])).of(sees_BT)
    merged = merge([attend_among(q, k[:, :, 4:], v[:, :, 4:], among), past])
    before = sees_BT[:, None, :, None].expand(-1, -1, -1, 4)
    expected = whole(q, k, v, torch.cat([before, among], dim=-1))
    torch.testing.assert_close(merged, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["all", "causal", "mask"])
def test_the_fast_path_is_the_plain_one(kind: str) -> None:
    torch.manual_seed(0)
    q, k, v = random(NEW, HEADS * GROUPS), random(NEW), random(NEW)
    mask = torch.rand(BATCH, 1, NEW, NEW) > 0.5
    mask |= torch.eye(NEW, dtype=torch.bool)
    given = mask if kind == "mask" else None
    fast: Part = attend(q, k, v, given, causal=kind == "causal")
    plain = plain_attend(q, k, v, given, causal=kind == "causal")
    torch.testing.assert_close(fast, plain, atol=1e-5, rtol=0)


def test_pages_in_eight_bits_are_read_as_what_they_give_back() -> None:
    torch.manual_seed(0)
    q, kept = random(NEW, HEADS * GROUPS), segment(random(6), random(6), torch.int8)
    k, v = kept.read(torch.float32)
    expected = whole(q, k, v, torch.ones(NEW, 6, dtype=torch.bool))
    torch.testing.assert_close(attend_to_segment(q, kept).y_BHTW, expected, atol=1e-5, rtol=0)

"""Loops over few rows of activations, compiled by numba into vector instructions of this CPU.

Where few tokens are read at a time, as in decoding, time goes into reading weights once and into
starting operations. So each function here is a whole step, reads weights as they are stored, and
widens them to float32 in registers; sums are float32. Compiled code is kept on disk (in
`__pycache__`, or where NUMBA_CACHE_DIR says), because compiling takes a second for each function.

Functions get addresses, and do not look whether the tensors behind them are what they say: that is
for `kernels`, which alone calls them, and alone imports this file, where numba is installed.

Letters: N rows of activations, D inputs, F outputs, G groups of a row that share a scale; K
key-value heads, Q query heads for each of them, S tokens seen, W head width, R = W/2 pairs.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import carray, cfunc, njit, types
from numba.extending import intrinsic, overload

ZERO, ONE, HALF = np.float32(0), np.float32(1), np.float32(0.5)
CENTRE = np.float32(8)  #: the 4-bit value that means 0 where no zeros are stored
LOG2_E, LN_2 = np.float32(1.4426950408889634), np.float32(0.6931471805599453)
C_3, C_4, C_5, C_6 = (np.float32(1 / n) for n in (6, 24, 120, 720))
LOWEST, HIGHEST = np.float32(-126), np.float32(126)  #: powers of two that float32 has
FLOAT8_SCALE = np.float32(2.0**120)  #: its exponent is counted from 7, that of float32 from 127
#: Sums may be taken in any order, as many at a time as a vector has places; nan and inf count.
LOOSE = {"reassoc", "contract", "arcp", "nsz"}

#: What stands at an address, by the names that `kernels` uses.
STORED = {
    "float32": types.float32,
    "bfloat16": types.uint16,
    "int8": types.int8,
    "float8": types.uint8,
    "nibbles": types.uint8,
}


#: What the table of a layer tells, part by part, ...
(
    ATTENTION_NORM, QUERY, KEY, VALUE, OUTPUT, FEED_FORWARD_NORM, GATE, UP, DOWN, ROUTER,
    EXPERTS_GATE_UP, EXPERTS_DOWN, ROTATES, PARTS,
) = range(14)  # fmt: skip
#: ... of each part, ...
ADDRESS, SCALES, ZEROS, OUTPUTS, INPUTS, GROUPS, ORDER, FIELDS = range(8)
#: ... and how its numbers lie in memory.
OUTPUT_MAJOR, INPUT_MAJOR, NIBBLES = range(3)
#: What is told of a page: addresses, tokens in it, and numbers between two heads.
KEYS, VALUES, TOKENS, STRIDE = range(4)


def widen(number: Any) -> Any:
    """A stored number as float32, exactly."""
    raise NotImplementedError("for compiled functions alone")


@overload(widen, inline="always")
def _widen(number):  # type: ignore[no-untyped-def]
    if number == types.uint16:  # bfloat16 is the upper half of float32
        return lambda number: np.uint32(np.uint32(number) << np.uint32(16)).view(np.float32)
    if number == types.uint8:  # sign, exponent and fraction to their places in a float32
        return lambda number: (
            np.uint32(
                np.uint32(np.uint32(number & 0x80) << np.uint32(24))
                | np.uint32(np.uint32(number & 0x7F) << np.uint32(20))
            ).view(np.float32)
            * FLOAT8_SCALE
        )
    return lambda number: np.float32(number)


def narrow(number: Any, like: Any) -> Any:
    """A float32 as an array stores it, rounded to the nearest, ties to even."""
    raise NotImplementedError("for compiled functions alone")


@overload(narrow, inline="always")
def _narrow(number, like):  # type: ignore[no-untyped-def]
    if like.dtype == types.uint16:
        return lambda number, like: rounded(np.float32(number).view(np.uint32))
    return lambda number, like: number


@njit
def rounded(bits):  # type: ignore[no-untyped-def]
    half = np.uint32(np.uint32(0x7FFF) + np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(1)))
    return np.uint16(np.uint32(bits + half) >> np.uint32(16))


def linear(weight, scales, x, y, rows, inputs, outputs, groups, first, last):  # type: ignore[no-untyped-def]
    """y[:, first:last] = x W^T. Without groups, weights have no scales."""
    multiply(
        carray(weight, (outputs, inputs)), carray(scales, (outputs, groups)),
        carray(x, (rows, inputs)), carray(y, (rows, outputs)), first, last,
    )  # fmt: skip


@njit(fastmath=LOOSE)
def multiply(weight_FD, scales_FG, x_ND, y_NF, first, last):  # type: ignore[no-untyped-def]
    (rows, inputs), groups = x_ND.shape, scales_FG.shape[1]
    group, fours = inputs // max(groups, 1), rows - rows % 4
    for f in range(first, last):
        for n in range(0, fours, 4):
            y_0 = y_1 = y_2 = y_3 = ZERO
            for g in range(max(groups, 1)):
                here = slice(g * group, (g + 1) * group)
                scale = widen(scales_FG[f, g]) if groups else ONE
                sum_0, sum_1, sum_2, sum_3 = four_dots(
                    weight_FD[f][here], x_ND[n][here], x_ND[n + 1][here], x_ND[n + 2][here],
                    x_ND[n + 3][here],
                )  # fmt: skip
                y_0 += scale * sum_0
                y_1 += scale * sum_1
                y_2 += scale * sum_2
                y_3 += scale * sum_3
            y_NF[n, f], y_NF[n + 1, f], y_NF[n + 2, f], y_NF[n + 3, f] = y_0, y_1, y_2, y_3
        for n in range(fours, rows):
            y_0 = ZERO
            for g in range(max(groups, 1)):
                here = slice(g * group, (g + 1) * group)
                scale = widen(scales_FG[f, g]) if groups else ONE
                y_0 += scale * dot(weight_FD[f][here], x_ND[n][here])
            y_NF[n, f] = y_0


@njit(fastmath=LOOSE)
def dot(weight_D, x_D):  # type: ignore[no-untyped-def]
    sum_ = ZERO
    for d in range(len(weight_D)):
        sum_ += widen(weight_D[d]) * x_D[d]
    return sum_


@njit(fastmath=LOOSE)
def four_dots(weight_D, a_D, b_D, c_D, d_D):  # type: ignore[no-untyped-def]
    """Of four rows, which share the reading and widening of a weight."""
    a = b = c = d = ZERO
    for i in range(len(weight_D)):
        weight = widen(weight_D[i])
        a += weight * a_D[i]
        b += weight * b_D[i]
        c += weight * c_D[i]
        d += weight * d_D[i]
    return a, b, c, d


def linear_nibbles(  # type: ignore[no-untyped-def]
    weight, scales, zeros, x, y, rows, inputs, outputs, groups, has_zeros, first, last
):
    """The same for two 4-bit numbers in a byte; without zeros, 8 means 0."""
    multiply_nibbles(
        carray(weight, (outputs, inputs // 2)), carray(scales, (outputs, groups)),
        carray(zeros, (outputs * has_zeros, groups)), carray(x, (rows, inputs)),
        carray(y, (rows, outputs)), first, last,
    )  # fmt: skip


@njit(fastmath=LOOSE)
def multiply_nibbles(weight_FJ, scales_FG, zeros_FG, x_ND, y_NF, first, last):  # type: ignore[no-untyped-def]
    """sum((value - zero) x) is sum(value x) - zero sum(x), and sum(x) is the same for all rows."""
    (rows, inputs), groups = x_ND.shape, scales_FG.shape[1]
    group = inputs // groups
    even_NJ, odd_NJ = x_ND[:, ::2].copy(), x_ND[:, 1::2].copy()
    sums_NG = np.empty((rows, groups), np.float32)
    for n in range(rows):
        for g in range(groups):
            sums_NG[n, g] = total(x_ND[n][g * group : (g + 1) * group])
    for f in range(first, last):
        for n in range(rows):
            y = ZERO
            for g in range(groups):
                here = slice(g * group // 2, (g + 1) * group // 2)
                one = dot_nibbles(weight_FJ[f][here], even_NJ[n][here], odd_NJ[n][here])
                zero = np.float32(zeros_FG[f, g]) if len(zeros_FG) else CENTRE
                y += widen(scales_FG[f, g]) * (one - zero * sums_NG[n, g])
            y_NF[n, f] = y


@njit(fastmath=LOOSE)
def total(x_D):  # type: ignore[no-untyped-def]
    sum_ = ZERO
    for d in range(len(x_D)):
        sum_ += x_D[d]
    return sum_


@njit(fastmath=LOOSE)
def dot_nibbles(weight_J, even_J, odd_J):  # type: ignore[no-untyped-def]
    sum_ = ZERO
    for j in range(len(weight_J)):
        byte = np.int32(weight_J[j])
        sum_ += np.float32(np.int32(byte & np.int32(15))) * even_J[j]
        sum_ += np.float32(np.int32(byte >> np.int32(4))) * odd_J[j]
    return sum_


def times(weight, x, y, rows, inputs, outputs, first, last):  # type: ignore[no-untyped-def]
    """y[:, first:last] = x W, where weights are input-major."""
    multiply_columns(
        carray(weight, (inputs, outputs)), carray(x, (rows, inputs)), carray(y, (rows, outputs)),
        first, last,
    )  # fmt: skip


@njit(fastmath=LOOSE)
def multiply_columns(weight_DF, x_ND, y_NF, first, last):  # type: ignore[no-untyped-def]
    """Four inputs at a time are added to y, in tiles that stay in the first cache."""
    rows, inputs = x_ND.shape
    fours, pairs = inputs - inputs % 4, rows - rows % 2
    tile = max(256, 2048 // max(rows, 1))
    for begin in range(first, last, tile):
        here = slice(begin, min(begin + tile, last))
        for n in range(rows):
            y_NF[n][here] = ZERO
        for d in range(0, fours, 4):
            w_0, w_1 = weight_DF[d][here], weight_DF[d + 1][here]
            w_2, w_3 = weight_DF[d + 2][here], weight_DF[d + 3][here]
            for n in range(0, pairs, 2):
                add_two(
                    y_NF[n][here], y_NF[n + 1][here], x_ND[n][d : d + 4], x_ND[n + 1][d : d + 4],
                    w_0, w_1, w_2, w_3,
                )  # fmt: skip
            for n in range(pairs, rows):
                add(y_NF[n][here], x_ND[n][d : d + 4], w_0, w_1, w_2, w_3)
        for d in range(fours, inputs):
            for n in range(rows):
                add_scaled(y_NF[n][here], x_ND[n, d], weight_DF[d][here])


@njit(fastmath=LOOSE)
def add(y_F, x_4, w_F, v_F, u_F, t_F):  # type: ignore[no-untyped-def]
    """Four inputs of a row, times their weights."""
    a, b, c, d = x_4[0], x_4[1], x_4[2], x_4[3]
    for f in range(len(y_F)):
        y_F[f] += a * widen(w_F[f]) + b * widen(v_F[f]) + c * widen(u_F[f]) + d * widen(t_F[f])


@njit(fastmath=LOOSE)
def add_two(y_F, z_F, x_4, xz_4, w_F, v_F, u_F, t_F):  # type: ignore[no-untyped-def]
    """Of two rows, which share the reading and widening of a weight."""
    a, b, c, d = x_4[0], x_4[1], x_4[2], x_4[3]
    i, j, k, m = xz_4[0], xz_4[1], xz_4[2], xz_4[3]
    for f in range(len(y_F)):
        w, v, u, t = widen(w_F[f]), widen(v_F[f]), widen(u_F[f]), widen(t_F[f])
        y_F[f] += a * w + b * v + c * u + d * t
        z_F[f] += i * w + j * v + k * u + m * t


@njit(fastmath=LOOSE)
def add_scaled(y_F, scale, number_F):  # type: ignore[no-untyped-def]
    for f in range(len(y_F)):
        y_F[f] += scale * widen(number_F[f])


def step(  # type: ignore[no-untyped-def]
    weights, scales, floats, cached, table, shape, frequencies, positions, pages, starts, x,
    eps, sharpening, floor,
):  # fmt: skip
    """One token of each row through all layers, in place; what it makes goes into the cache.

    The first four point nowhere: they tell how weights, scales, norms and the cache are stored.
    `pages` are those of each row in each layer, from `starts` on.
    """
    sizes = carray(shape, (9,))
    layers, rows, width, heads, kept, head = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]
    experts, chosen, normalises = sizes[6], sizes[7], sizes[8]
    table_LMF = carray(table, (layers + 1, PARTS, FIELDS))
    starts_LN = carray(starts, (layers * rows + 1,))
    pages_P4 = carray(pages, (starts_LN[layers * rows], 4))
    positions_N, x_ND = carray(positions, (rows,)), carray(x, (rows, width))
    rotation_NR2 = rotations(positions_N, carray(frequencies, (head // 2,)))
    normed_ND, added_ND = np.empty_like(x_ND), np.empty_like(x_ND)
    q_NHW = np.empty((rows, heads, head), np.float32)
    k_NKW = np.empty((rows, kept, head), np.float32)
    v_NKW = np.empty_like(k_NKW)
    y_NHW = np.empty_like(q_NHW)
    for layer in range(layers):
        parts = table_LMF[layer]
        rms_norm(x_ND, vector(parts[ATTENTION_NORM], floats), normed_ND, eps)
        product(parts[QUERY], 0, normed_ND, flat(q_NHW), weights, scales)
        product(parts[KEY], 0, normed_ND, flat(k_NKW), weights, scales)
        product(parts[VALUE], 0, normed_ND, flat(v_NKW), weights, scales)
        if parts[ROTATES, 0]:
            place(q_NHW, rotation_NR2, normalises, eps)
            place(k_NKW, rotation_NR2, normalises, eps)
        elif floor > 0:
            sharpen(q_NHW, positions_N, sharpening, floor)
        for n in range(rows):
            pages_P = pages_P4[starts_LN[layer * rows + n] : starts_LN[layer * rows + n + 1]]
            remember(pages_P[-1], k_NKW[n], v_NKW[n], cached)
            attend(pages_P, q_NHW[n], y_NHW[n], kept, cached)
        product(parts[OUTPUT], 0, flat(y_NHW), added_ND, weights, scales)
        x_ND += added_ND
        rms_norm(x_ND, vector(parts[FEED_FORWARD_NORM], floats), normed_ND, eps)
        feed_forward(parts, normed_ND, added_ND, weights, scales)
        x_ND += added_ND
        if parts[ROUTER, ADDRESS]:
            add_experts(parts, normed_ND, x_ND, experts, chosen, weights, scales, floats)
    rms_norm(x_ND, vector(table_LMF[layers, ATTENTION_NORM], floats), normed_ND, eps)
    x_ND[:] = normed_ND


@njit(fastmath=LOOSE)
def product(matrix, number, x_ND, y_NF, weights, scales):  # type: ignore[no-untyped-def]
    """y = x W^T, where W is the matrix of that number in a stack."""
    inputs, outputs, groups = matrix[INPUTS], matrix[OUTPUTS], matrix[GROUPS]
    shape = (number + 1, outputs, groups)
    scales_FG = carray(at(matrix[SCALES], scales), shape)[number]
    if matrix[ORDER] == INPUT_MAJOR:
        weight_DF = carray(at(matrix[ADDRESS], weights), (number + 1, inputs, outputs))[number]
        multiply_columns(weight_DF, x_ND, y_NF, 0, outputs)
    elif matrix[ORDER] == NIBBLES:
        weight_FJ = carray(at(matrix[ADDRESS], weights), (number + 1, outputs, inputs // 2))[number]
        zeros = carray(int16_at(matrix[ZEROS]), shape)[number]
        zeros_FG = zeros if matrix[ZEROS] else zeros[:0]
        multiply_nibbles(weight_FJ, scales_FG, zeros_FG, x_ND, y_NF, 0, outputs)
    else:
        weight_FD = carray(at(matrix[ADDRESS], weights), (number + 1, outputs, inputs))[number]
        multiply(weight_FD, scales_FG, x_ND, y_NF, 0, outputs)


@intrinsic
def at(typing, address, like):  # type: ignore[no-untyped-def]
    """The pointer to an address, of the type of another one."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return like(address, like), generate


@intrinsic
def int16_at(typing, address):  # type: ignore[no-untyped-def]
    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.int16)(address), generate


@njit
def vector(part, floats):  # type: ignore[no-untyped-def]
    return carray(at(part[ADDRESS], floats), (part[OUTPUTS],))


@njit
def flat(x_NHW):  # type: ignore[no-untyped-def]
    return x_NHW.reshape(x_NHW.shape[0], x_NHW.shape[1] * x_NHW.shape[2])


@njit(fastmath=LOOSE)
def rms_norm(x_ND, weight_D, y_ND, eps):  # type: ignore[no-untyped-def]
    for n in range(len(x_ND)):
        factor = ONE / np.sqrt(dot(x_ND[n], x_ND[n]) / np.float32(len(x_ND[n])) + eps)
        for d in range(len(weight_D)):
            y_ND[n, d] = x_ND[n, d] * factor * widen(weight_D[d])


@njit
def rotations(positions_N, frequencies_R):  # type: ignore[no-untyped-def]
    """Cosine and sine of each pair's angle."""
    rotation_NR2 = np.empty((len(positions_N), len(frequencies_R), 2), np.float32)
    for n in range(len(positions_N)):
        for r in range(len(frequencies_R)):
            angle = np.float32(positions_N[n]) * frequencies_R[r]
            rotation_NR2[n, r, 0], rotation_NR2[n, r, 1] = np.cos(angle), np.sin(angle)
    return rotation_NR2


@njit(fastmath=LOOSE)
def place(x_NHW, rotation_NR2, normalises, eps):  # type: ignore[no-untyped-def]
    """Heads turned by position and, if asked, normalised: in place."""
    for n in range(x_NHW.shape[0]):
        for h in range(x_NHW.shape[1]):
            x_W = x_NHW[n, h]
            for r in range(len(x_W) // 2):
                real, other = x_W[2 * r], x_W[2 * r + 1]
                cosine, sine = rotation_NR2[n, r, 0], rotation_NR2[n, r, 1]
                x_W[2 * r] = real * cosine - other * sine
                x_W[2 * r + 1] = real * sine + other * cosine
            if normalises:
                x_W *= ONE / np.sqrt(dot(x_W, x_W) / np.float32(len(x_W)) + eps)


@njit
def sharpen(q_NHW, positions_N, sharpening, floor):  # type: ignore[no-untyped-def]
    """`attention.temperature`"""
    for n in range(len(q_NHW)):
        steps = np.floor(np.float32(positions_N[n] + 1) / floor)
        q_NHW[n] *= ONE + sharpening * np.log1p(steps)


@njit
def remember(page, k_KW, v_KW, cached):  # type: ignore[no-untyped-def]
    """Write the keys and values of a token as the last ones of a page."""
    kept, width = k_KW.shape
    size = (kept - 1) * page[STRIDE] + page[TOKENS] * width
    k, v = carray(at(page[KEYS], cached), (size,)), carray(at(page[VALUES], cached), (size,))
    for head in range(kept):
        begin = head * page[STRIDE] + (page[TOKENS] - 1) * width
        for w in range(width):
            k[begin + w], v[begin + w] = narrow(k_KW[head, w], k), narrow(v_KW[head, w], v)


@njit(fastmath=LOOSE)
def attend(pages_P4, q_HW, y_HW, kept, cached):  # type: ignore[no-untyped-def]
    """A token to all that is in these pages; query heads that share keys and values read them
    together."""
    heads, width = q_HW.shape
    groups = heads // kept
    scale = ONE / np.sqrt(np.float32(width))
    scores_GS = np.empty((groups, pages_P4[:, TOKENS].sum()), np.float32)
    for head in range(kept):
        q_GW, y_GW = q_HW[head * groups :][:groups], y_HW[head * groups :][:groups]
        seen = 0
        for page in pages_P4:
            k_SW = heads_of(page, KEYS, head, width, cached)
            for s in range(len(k_SW)):
                for g in range(groups):
                    scores_GS[g, seen + s] = scale * dot(k_SW[s], q_GW[g])
            seen += len(k_SW)
        for g in range(groups):
            softmax(scores_GS[g])
            y_GW[g] = ZERO
        seen = 0
        for page in pages_P4:
            v_SW = heads_of(page, VALUES, head, width, cached)
            for s in range(len(v_SW)):
                for g in range(groups):
                    add_scaled(y_GW[g], scores_GS[g, seen + s], v_SW[s])
            seen += len(v_SW)


@njit
def heads_of(page, what, head, width, cached):  # type: ignore[no-untyped-def]
    """The keys or values (S, W) of a head that a page holds."""
    size = head * page[STRIDE] + page[TOKENS] * width
    numbers = carray(at(page[what], cached), (size,))
    return numbers[head * page[STRIDE] :].reshape(page[TOKENS], width)


@njit(fastmath=LOOSE)
def feed_forward(parts, x_ND, y_ND, weights, scales):  # type: ignore[no-untyped-def]
    gate_NF = np.empty((len(x_ND), parts[GATE, OUTPUTS]), np.float32)
    up_NF = np.empty_like(gate_NF)
    product(parts[GATE], 0, x_ND, gate_NF, weights, scales)
    product(parts[UP], 0, x_ND, up_NF, weights, scales)
    for n in range(len(x_ND)):
        gate(gate_NF[n], up_NF[n])
    product(parts[DOWN], 0, gate_NF, y_ND, weights, scales)


@njit(fastmath=LOOSE)
def gate(gate_F, up_F):  # type: ignore[no-untyped-def]
    """silu(gate) * up, in the place of gate."""
    for f in range(len(gate_F)):
        gate_F[f] = gate_F[f] / (ONE + exp(-gate_F[f])) * up_F[f]


@njit(fastmath=LOOSE)
def add_experts(parts, x_ND, y_ND, experts, chosen, weights, scales, floats):  # type: ignore[no-untyped-def]
    """The routed experts of each row, expert by expert."""
    rows, width = x_ND.shape
    router_ED = carray(at(parts[ROUTER, ADDRESS], floats), (experts, width))
    share_NE = route(router_ED, x_ND, chosen)
    inner = parts[EXPERTS_DOWN, INPUTS]
    for e in range(experts):
        chose_M = np.flatnonzero(share_NE[:, e])
        if len(chose_M) == 0:
            continue
        x_MD = np.empty((len(chose_M), width), np.float32)
        for m, n in enumerate(chose_M):
            for d in range(width):  # the share multiplies the input: an expert is not linear
                x_MD[m, d] = x_ND[n, d] * share_NE[n, e]
        inner_MF = np.empty((len(chose_M), 2 * inner), np.float32)
        gated_MF = np.empty((len(chose_M), inner), np.float32)
        product(parts[EXPERTS_GATE_UP], e, x_MD, inner_MF, weights, scales)
        for m in range(len(chose_M)):
            gate(inner_MF[m][:inner], inner_MF[m][inner:])
            gated_MF[m] = inner_MF[m][:inner]
        product(parts[EXPERTS_DOWN], e, gated_MF, x_MD, weights, scales)
        for m, n in enumerate(chose_M):
            add_scaled(y_ND[n], ONE, x_MD[m])


@njit(fastmath=LOOSE)
def route(router_ED, x_ND, chosen):  # type: ignore[no-untyped-def]
    """The share of each expert, sigmoid(logit), or 0 where it is not among the chosen."""
    share_NE = np.zeros((len(x_ND), len(router_ED)), np.float32)
    logits_E = np.empty(len(router_ED), np.float32)
    for n in range(len(x_ND)):
        for e in range(len(router_ED)):
            logits_E[e] = dot(router_ED[e], x_ND[n])
        for _ in range(chosen):
            best = np.argmax(logits_E)
            share_NE[n, best] = ONE / (ONE + exp(-logits_E[best]))
            logits_E[best] = -np.inf
    return share_NE


@njit(fastmath=LOOSE)
def softmax(scores_S):  # type: ignore[no-untyped-def]
    """In place; returns the log of the sum of the exponentials."""
    highest = scores_S[0]
    for s in range(len(scores_S)):
        highest = max(highest, scores_S[s])
    sum_ = ZERO
    for s in range(len(scores_S)):
        scores_S[s] = exp(scores_S[s] - highest)
        sum_ += scores_S[s]
    for s in range(len(scores_S)):
        scores_S[s] /= sum_
    return highest + np.log(sum_)


@njit(inline="always")
def exp(x: Any) -> Any:
    """e^x to the precision of float32: a power of two, times the series of what is left, which is
    between -ln(2)/2 and ln(2)/2. The library's is a call for each number; this is vectorised."""
    scaled = min(max(x * LOG2_E, LOWEST), HIGHEST)
    whole = np.floor(scaled + HALF)
    rest = (scaled - whole) * LN_2
    series = C_5 + rest * C_6
    series = ONE + rest * (ONE + rest * (HALF + rest * (C_3 + rest * (C_4 + rest * series))))
    exponent = np.uint32(np.int32(whole) + np.int32(127))
    return series * np.uint32(exponent << np.uint32(23)).view(np.float32)


#: What `kernel` compiles, and its parameters. Addresses of w, s, t, c: weights, scales, norms and the
#: cache, stored as the caller says; e, l: 16- and 64-bit integers; f: float32. Numbers: i, r.
SIGNATURES = {
    "linear": (linear, "wsffiiiiii"),
    "linear_nibbles": (linear_nibbles, "wseffiiiiiii"),
    "times": (times, "wffiiiii"),
    "step": (step, "wstcllflllfrrr"),
}


@cache
def kernel(name: str, *stored: str) -> Callable[..., None]:
    """The function of that name, for weights, scales, norms and cache that are stored so. It is
    called with addresses and numbers. It is compiled when it is first asked for on a machine."""
    function, parameters = SIGNATURES[name]
    pointed = {"e": types.int16, "l": types.int64, "f": types.float32}
    pointed |= {letter: STORED[each] for letter, each in zip("wstc", stored, strict=False)}
    numbers = {"i": (types.int64, ctypes.c_int64), "r": (types.float32, ctypes.c_float)}
    inside = [types.CPointer(pointed[p]) if p in pointed else numbers[p][0] for p in parameters]
    outside = [ctypes.c_void_p if p in pointed else numbers[p][1] for p in parameters]
    made = cfunc(types.void(*inside), cache=True, fastmath=LOOSE, error_model="numpy")(function)
    KEPT.append(made)
    return ctypes.CFUNCTYPE(None, *outside)(made.address)


KEPT: list[Any] = []  #: compiled functions, whose code would go with them

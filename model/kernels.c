/* Products on a CPU, of few rows of activations and of many, and a whole step of new tokens through
all layers.

Where few tokens are read at a time, time goes into reading weights once and into starting
operations. So weights are widened in registers, as they are stored, and a step is one call. Where
there are many, it goes into multiplying: blocks of weights are widened once for all rows and laid
out as they are multiplied (`multiply`). Sums are float32, in any order. Nothing is looked at twice:
that addresses, sizes and kinds fit together is for `kernels.py` and `decoding.py`, which compile
and call this, and which have the same tables.

Letters, in the ends of names: N rows of activations, D inputs, F outputs, G groups of a row that
share a scale; E experts; S tokens seen, T new tokens of a sequence, H heads, W head width, R pairs
of a head.
*/

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif

typedef float floats __attribute__((vector_size(32)));
typedef int32_t ints __attribute__((vector_size(32)));
typedef uint32_t words __attribute__((vector_size(32)));
typedef uint16_t halves __attribute__((vector_size(16)));
typedef int8_t bytes __attribute__((vector_size(8)));
typedef uint8_t codes __attribute__((vector_size(8)));

enum {
    PLACES = 8,         /* numbers in a vector */
    LINE = 64,          /* bytes that come together */
    PANEL = 2 * PLACES, /* outputs that are multiplied together */
    TILE = 6,           /* rows that are: their 12 sums, and what they are made of, fill 16 registers */
    DEPTH = 512,        /* inputs of a block: a panel of it stays in the first cache, */
    WIDTH = 64,         /* and with so many outputs a block in the second, */
    BAND = 16,          /* beside the rows of so many tiles */
    SOON = 8,           /* rows of weights that are called for before they are laid out */
    FEW_ROWS = 8,       /* the most for which weights are not laid out anew, */
    FEWER_ROWS = 4,     /* and where they are input-major */
    SLICE = 512,        /* keys that are seen at once, */
    QUERIES = 128,      /* by about so many rows of queries */
};

/* Eight stored numbers as float32, exactly. */

static inline floats load_float32(const float *from)
{
    floats x;
    memcpy(&x, from, sizeof x);
    return x;
}

static inline floats load_bfloat16(const uint16_t *from) /* the upper half of a float32 */
{
    halves x;
    memcpy(&x, from, sizeof x);
    return (floats)(__builtin_convertvector(x, words) << 16);
}

static inline ints load_signed(const int8_t *from)
{
#ifdef __AVX2__ /* gcc takes the vectors of eight bytes apart, a tenth of the speed */
    return (ints)_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)from));
#else
    bytes x;
    memcpy(&x, from, sizeof x);
    return __builtin_convertvector(x, ints);
#endif
}

static inline ints load_unsigned(const uint8_t *from)
{
#ifdef __AVX2__
    return (ints)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)from));
#else
    codes x;
    memcpy(&x, from, sizeof x);
    return __builtin_convertvector(x, ints);
#endif
}

static inline floats load_int8(const int8_t *from)
{
    return __builtin_convertvector(load_signed(from), floats);
}

static inline floats load_float8(const uint8_t *from) /* e4m3: its exponent is counted from 7 */
{
    words code = (words)load_unsigned(from);
    return (floats)((code & 0x80) << 24 | (code & 0x7F) << 20) * 0x1p120f;
}

static inline float sum(floats x)
{
    return ((x[0] + x[1]) + (x[2] + x[3])) + ((x[4] + x[5]) + (x[6] + x[7]));
}

/* Rows become columns: first in pairs, then in fours, then halves change places. */
static inline void transpose(floats x[PLACES])
{
    const ints low = {0, 8, 1, 9, 4, 12, 5, 13}, high = {2, 10, 3, 11, 6, 14, 7, 15};
    const ints even = {0, 1, 8, 9, 4, 5, 12, 13}, odd = {2, 3, 10, 11, 6, 7, 14, 15};
    const ints front = {0, 1, 2, 3, 8, 9, 10, 11}, back = {4, 5, 6, 7, 12, 13, 14, 15};
    floats two[PLACES], four[PLACES];
    for (int i = 0; i < PLACES; i += 2) {
        two[i] = __builtin_shuffle(x[i], x[i + 1], low);
        two[i + 1] = __builtin_shuffle(x[i], x[i + 1], high);
    }
    for (int half = 0; half < PLACES; half += PLACES / 2)
        for (int i = 0; i < 2; i++) {
            four[half + 2 * i] = __builtin_shuffle(two[half + i], two[half + i + 2], even);
            four[half + 2 * i + 1] = __builtin_shuffle(two[half + i], two[half + i + 2], odd);
        }
    for (int i = 0; i < PLACES / 2; i++) {
        x[i] = __builtin_shuffle(four[i], four[i + PLACES / 2], front);
        x[i + PLACES / 2] = __builtin_shuffle(four[i], four[i + PLACES / 2], back);
    }
}

/* How many bytes ahead memory is called for that is read in order: what was measured to be best. The
   CPU does it by itself, but not far enough where weights are small and used up fast. */
#define AHEAD(TYPE) (sizeof(TYPE) == sizeof(float) ? 512 : 4096)

/* Memory that is read soon comes closer. */
static inline void call(const void *from, long size, long ahead)
{
    for (long at = 0; at < size; at += LINE)
        __builtin_prefetch((const char *)from + ahead + at);
}

/* The loops over a row of weights, for each kind in which they are stored:
   `dot` with a row of activations, `dots` with four that share the widening of a weight;
   `add` to y what an input gives, times its row of weights; `add_two` to two rows of y what four
   inputs of each give.
   And how weights become panels, input by input: `lay` of input-major ones, whole panels side by
   side; `turn` of output-major ones, a whole one; `lay_part` of either, filled up with zeros. */

#define LOOPS(KIND, TYPE)                                                                         \
    static floats part_##KIND(const TYPE *from, long count) /* the end of a row, then zeros */    \
    {                                                                                             \
        TYPE padded[PLACES] = {0};                                                                \
        memcpy(padded, from, count * sizeof(TYPE));                                               \
        return load_##KIND(padded);                                                               \
    }                                                                                             \
                                                                                                  \
    static float dot_##KIND(const void *weights, long at, const float *x_D, long inputs)          \
    {                                                                                             \
        const TYPE *w = (const TYPE *)weights + at;                                               \
        floats a = {0}, b = {0}, c = {0}, e = {0};                                                \
        long d = 0;                                                                               \
        for (; d + 4 * PLACES <= inputs; d += 4 * PLACES) {                                       \
            call(w + d, 4 * PLACES * sizeof(TYPE), AHEAD(TYPE));                                  \
            a += load_##KIND(w + d) * load_float32(x_D + d);                                      \
            b += load_##KIND(w + d + PLACES) * load_float32(x_D + d + PLACES);                    \
            c += load_##KIND(w + d + 2 * PLACES) * load_float32(x_D + d + 2 * PLACES);            \
            e += load_##KIND(w + d + 3 * PLACES) * load_float32(x_D + d + 3 * PLACES);            \
        }                                                                                         \
        for (; d + PLACES <= inputs; d += PLACES)                                                 \
            a += load_##KIND(w + d) * load_float32(x_D + d);                                      \
        if (d < inputs)                                                                           \
            b += part_##KIND(w + d, inputs - d) * part_float32(x_D + d, inputs - d);              \
        return sum((a + b) + (c + e));                                                            \
    }                                                                                             \
                                                                                                  \
    static void dots_##KIND(const void *weights, long at, const float *x_4D, long stride,         \
                            long inputs, float *y_4)                                              \
    {                                                                                             \
        const TYPE *w = (const TYPE *)weights + at;                                               \
        floats even[4] = {{0}}, odd[4] = {{0}};                                                   \
        long d = 0;                                                                               \
        for (; d + 2 * PLACES <= inputs; d += 2 * PLACES) {                                       \
            floats first = load_##KIND(w + d), second = load_##KIND(w + d + PLACES);              \
            for (int n = 0; n < 4; n++) {                                                         \
                even[n] += first * load_float32(x_4D + n * stride + d);                           \
                odd[n] += second * load_float32(x_4D + n * stride + d + PLACES);                  \
            }                                                                                     \
        }                                                                                         \
        for (; d < inputs; d += PLACES) {                                                         \
            long count = inputs - d < PLACES ? inputs - d : PLACES;                               \
            floats rest = part_##KIND(w + d, count);                                              \
            for (int n = 0; n < 4; n++)                                                           \
                even[n] += rest * part_float32(x_4D + n * stride + d, count);                     \
        }                                                                                         \
        for (int n = 0; n < 4; n++)                                                               \
            y_4[n] = sum(even[n] + odd[n]);                                                       \
    }                                                                                             \
                                                                                                  \
    static void add_##KIND(const void *weights, long at, float x, float *y_F, long outputs)       \
    {                                                                                             \
        const TYPE *w = (const TYPE *)weights + at;                                               \
        long f = 0;                                                                               \
        for (; f + 4 * PLACES <= outputs; f += 4 * PLACES) {                                      \
            call(w + f, 4 * PLACES * sizeof(TYPE), AHEAD(TYPE));                                  \
            for (int i = 0; i < 4 * PLACES; i += PLACES) {                                        \
                floats y = load_float32(y_F + f + i) + x * load_##KIND(w + f + i);                \
                memcpy(y_F + f + i, &y, sizeof y);                                                \
            }                                                                                     \
        }                                                                                         \
        for (; f < outputs; f += PLACES) {                                                        \
            long count = outputs - f < PLACES ? outputs - f : PLACES;                             \
            floats y = part_float32(y_F + f, count) + x * part_##KIND(w + f, count);              \
            memcpy(y_F + f, &y, count * sizeof(float));                                           \
        }                                                                                         \
    }                                                                                             \
                                                                                                  \
    static void add_two_##KIND(const void *weights, long at, long stride, const float *x_4,       \
                               const float *z_4, float *y_F, float *u_F, long outputs)            \
    {                                                                                             \
        const TYPE *w = (const TYPE *)weights + at;                                               \
        long whole = outputs - outputs % PLACES;                                                  \
        for (long f = 0; f < whole; f += PLACES) {                                                \
            floats y = load_float32(y_F + f), u = load_float32(u_F + f);                          \
            for (int d = 0; d < 4; d++) {                                                         \
                floats weight = load_##KIND(w + d * stride + f);                                  \
                if (f * sizeof(TYPE) % LINE == 0)                                                 \
                    call(w + (d + 4) * stride + f, LINE, 0);                                      \
                y += x_4[d] * weight;                                                             \
                u += z_4[d] * weight;                                                             \
            }                                                                                     \
            memcpy(y_F + f, &y, sizeof y);                                                        \
            memcpy(u_F + f, &u, sizeof u);                                                        \
        }                                                                                         \
        for (int d = 0; d < 4; d++) {                                                             \
            add_##KIND(w, d * stride + whole, x_4[d], y_F + whole, outputs - whole);              \
            add_##KIND(w, d * stride + whole, z_4[d], u_F + whole, outputs - whole);              \
        }                                                                                         \
    }                                                                                             \
                                                                                                  \
    static void lay_##KIND(const void *weights, long at, long stride, long depth, long panels,    \
                           float *block)                                                          \
    {                                                                                             \
        const TYPE *w = (const TYPE *)weights + at;                                               \
        for (long d = 0; d < depth; d++, w += stride) {                                           \
            call(w, panels * PANEL * sizeof(TYPE), SOON * stride * sizeof(TYPE));                 \
            for (long p = 0; p < panels; p++)                                                     \
                for (long f = 0; f < PANEL; f += PLACES) {                                        \
                    floats x = load_##KIND(w + p * PANEL + f);                                    \
                    memcpy(block + (p * depth + d) * PANEL + f, &x, sizeof x);                    \
                }                                                                                 \
        }                                                                                         \
    }                                                                                             \
                                                                                                  \
    static void turn_##KIND(const void *weights, long at, long stride, long depth, float *panel)  \
    {                                                                                             \
        const TYPE *w = (const TYPE *)weights + at;                                               \
        for (long f = 0; f < PANEL; f += PLACES)                                                  \
            for (long d = 0; d < depth; d += PLACES) {                                            \
                floats x[PLACES];                                                                 \
                for (int i = 0; i < PLACES; i++)                                                  \
                    x[i] = load_##KIND(w + (f + i) * stride + d);                                 \
                transpose(x);                                                                     \
                for (int i = 0; i < PLACES; i++)                                                  \
                    memcpy(panel + (d + i) * PANEL + f, &x[i], sizeof *x);                        \
            }                                                                                     \
    }                                                                                             \
                                                                                                  \
    static void lay_part_##KIND(const void *weights, long at, long by_input, long by_output,      \
                                long depth, long count, float *panel)                             \
    {                                                                                             \
        const TYPE *w = (const TYPE *)weights + at;                                               \
        memset(panel, 0, depth * PANEL * sizeof *panel);                                          \
        for (long d = 0; d < depth; d++)                                                          \
            for (long f = 0; f < count; f++)                                                      \
                panel[d * PANEL + f] = part_##KIND(w + d * by_input + f * by_output, 1)[0];       \
    }

LOOPS(float32, float)
LOOPS(bfloat16, uint16_t)
LOOPS(int8, int8_t)
LOOPS(float8, uint8_t)

#define KIND(NAME, TYPE)                                                                          \
    {sizeof(TYPE), dot_##NAME, dots_##NAME, add_##NAME, add_two_##NAME,                           \
     lay_##NAME,   turn_##NAME, lay_part_##NAME}

enum { FLOAT32, BFLOAT16, INT8, FLOAT8, NIBBLES }; /* nibbles: two 4-bit numbers in a byte */

static const struct {
    long size; /* in bytes */
    float (*dot)(const void *, long, const float *, long);
    void (*dots)(const void *, long, const float *, long, long, float *);
    void (*add)(const void *, long, float, float *, long);
    void (*add_two)(const void *, long, long, const float *, const float *, float *, float *, long);
    void (*lay)(const void *, long, long, long, long, float *);
    void (*turn)(const void *, long, long, long, float *);
    void (*lay_part)(const void *, long, long, long, long, long, float *);
} KINDS[] = {
    KIND(float32, float), KIND(bfloat16, uint16_t), KIND(int8, int8_t), KIND(float8, uint8_t),
};

/* One stored number. */
static inline float number(long kind, const void *numbers, long at)
{
    uint32_t word;
    float x;
    if (kind == FLOAT32)
        return ((const float *)numbers)[at];
    word = (uint32_t)((const uint16_t *)numbers)[at] << 16;
    memcpy(&x, &word, sizeof x);
    return x;
}

static inline long least(long a, long b) { return a < b ? a : b; }

/* A matrix, or a stack of them, as `decoding.fields` tells of it. */
typedef struct {
    const void *weights, *scales; /* no scales: no groups */
    const int16_t *zeros;
    int64_t kind, scale_kind, outputs, inputs, groups, is_input_major;
} matrix;

#ifdef __AVX2__

/* Weights of eight bits: two products with whole numbers of 16 bits are one instruction, and 16
   weights become such numbers in another. So activations are rounded to 16 bits, in blocks of a row
   that have a scale each: what that changes is at most 1/65534 of the largest in its block. */

enum { LONGEST_BLOCK = 256, LANES = 16, FEW = 4 }; /* FEW rows share a reading of the weights */

static void round_block(const float *x_D, long count, int16_t *into_D, float *scale)
{
    float most = 0, odd = 0; /* not a number if one of these is none, or infinite */
    for (long d = 0; d < count; d++) {
        most = fabsf(x_D[d]) > most ? fabsf(x_D[d]) : most;
        odd += x_D[d] * 0;
    }
    float per = most > 0 ? INT16_MAX / most : 0;
    for (long d = 0; d < count; d++)
        into_D[d] = (int16_t)rintf(x_D[d] * per);
    *scale = most / INT16_MAX + odd;
}

/* One block of a row of weights times that of each row of activations, in eight sums each: no sum
   of 32 products of 8 and 16 bits leaves 32. */
static inline void dot_rounded(const int8_t *w, const int16_t *x_ND, long inputs, long block,
                               long rows, __m256i *sums_N)
{
    for (long n = 0; n < rows; n++)
        sums_N[n] = _mm256_setzero_si256();
    for (long d = 0; d < block; d += LANES) {
        __m256i weights = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(w + d)));
        for (long n = 0; n < rows; n++) {
            __m256i x = _mm256_loadu_si256((const __m256i *)(x_ND + n * inputs + d));
            sums_N[n] = _mm256_add_epi32(sums_N[n], _mm256_madd_epi16(weights, x));
        }
    }
}

/* B: blocks of a row. */
static inline __attribute__((always_inline)) void
linear_rounded(const matrix *m, const int16_t *x_ND, const float *scales_NB, long block, float *y_NF,
               long rows, long stride, long first, long last)
{
    long inputs = m->inputs, blocks = inputs / block, of_group = blocks / m->groups;
    for (long f = first; f < last; f++) {
        floats y[FEW] = {{0}};
        for (long b = 0; b < blocks; b++) {
            float scale = number(m->scale_kind, m->scales, f * m->groups + b / of_group);
            __m256i sums[FEW];
            dot_rounded((const int8_t *)m->weights + f * inputs + b * block, x_ND + b * block,
                        inputs, block, rows, sums);
            for (long n = 0; n < rows; n++)
                y[n] += scale * scales_NB[n * blocks + b] * (floats)_mm256_cvtepi32_ps(sums[n]);
        }
        for (long n = 0; n < rows; n++)
            y_NF[n * stride + f] = sum(y[n]);
    }
}

/* `linear` for such weights; 0, and nothing done, if groups are not made of whole vectors. */
static int linear_int8(const matrix *m, const float *x_ND, float *y_NF, long rows, long stride,
                       long first, long last)
{
    long inputs = m->inputs, group = m->groups ? inputs / m->groups : 1, block = LONGEST_BLOCK;
    if (m->kind != INT8 || group % LANES)
        return 0;
    while (group % block)
        block -= LANES;
    long blocks = inputs / block;
    float *scales_NB = malloc(rows * (blocks * sizeof(float) + inputs * sizeof(int16_t)));
    if (!scales_NB)
        return 0;
    int16_t *rounded_ND = (int16_t *)(scales_NB + rows * blocks);
    for (long b = 0; b < rows * blocks; b++)
        round_block(x_ND + b * block, block, rounded_ND + b * block, scales_NB + b);
    long n = 0;
    for (; n + FEW <= rows; n += FEW)
        linear_rounded(m, rounded_ND + n * inputs, scales_NB + n * blocks, block, y_NF + n * stride,
                       FEW, stride, first, last);
    for (; n < rows; n++)
        linear_rounded(m, rounded_ND + n * inputs, scales_NB + n * blocks, block, y_NF + n * stride,
                       1, stride, first, last);
    free(scales_NB);
    return 1;
}

#else

static int linear_int8(const matrix *m, const float *x_ND, float *y_NF, long rows, long stride,
                       long first, long last)
{
    return 0;
}

#endif

/* y[:, first:last] = x W^T; rows of y are `stride` apart. */
void linear(const matrix *m, const float *x_ND, float *y_NF, long rows, long stride, long first,
            long last)
{
    if (linear_int8(m, x_ND, y_NF, rows, stride, first, last))
        return;
    long inputs = m->inputs, groups = m->groups ? m->groups : 1, group = inputs / groups;
    for (long f = first; f < last; f++) {
        long n = 0;
        for (; n + 4 <= rows; n += 4) {
            float y[4] = {0}, part[4];
            for (long g = 0; g < groups; g++) {
                long from = g * group;
                float scale = m->groups ? number(m->scale_kind, m->scales, f * groups + g) : 1;
                KINDS[m->kind].dots(m->weights, f * inputs + from, x_ND + n * inputs + from, inputs,
                                    group, part);
                for (int row = 0; row < 4; row++)
                    y[row] += scale * part[row];
            }
            for (int row = 0; row < 4; row++)
                y_NF[(n + row) * stride + f] = y[row];
        }
        for (; n < rows; n++) {
            float y = 0;
            for (long g = 0; g < groups; g++) {
                long from = g * group;
                float scale = m->groups ? number(m->scale_kind, m->scales, f * groups + g) : 1;
                y += scale * KINDS[m->kind].dot(m->weights, f * inputs + from,
                                                x_ND + n * inputs + from, group);
            }
            y_NF[n * stride + f] = y;
        }
    }
}

static float dot_nibbles(const uint8_t *w, const float *even, const float *odd, long half)
{
    floats a = {0}, b = {0};
    long j = 0;
    for (; j + PLACES <= half; j += PLACES) {
        ints code = load_unsigned(w + j);
        a += __builtin_convertvector(code & 15, floats) * load_float32(even + j);
        b += __builtin_convertvector(code >> 4, floats) * load_float32(odd + j);
    }
    float y = sum(a + b);
    for (; j < half; j++)
        y += (w[j] & 15) * even[j] + (w[j] >> 4) * odd[j];
    return y;
}

/* The same for 4-bit numbers; without zeros, 8 means 0. sum((number - zero) x) is sum(number x) -
   zero sum(x), and sum(x) is the same for all rows of W. */
void linear_nibbles(const matrix *m, const float *x_ND, float *y_NF, long rows, long stride,
                    long first, long last)
{
    long half = m->inputs / 2, groups = m->groups, group = half / groups;
    float *even = malloc((2 * half + groups) * sizeof(float)), *odd = even + half;
    float *sums_G = odd + half;
    for (long n = 0; n < rows; n++) {
        memset(sums_G, 0, groups * sizeof(float));
        for (long j = 0; j < half; j++) {
            even[j] = x_ND[n * m->inputs + 2 * j];
            odd[j] = x_ND[n * m->inputs + 2 * j + 1];
            sums_G[j / group] += even[j] + odd[j];
        }
        for (long f = first; f < last; f++) {
            float y = 0;
            for (long g = 0; g < groups; g++) {
                float zero = m->zeros ? m->zeros[f * groups + g] : 8;
                float one = dot_nibbles((const uint8_t *)m->weights + f * half + g * group,
                                        even + g * group, odd + g * group, group);
                y += number(m->scale_kind, m->scales, f * groups + g) * (one - zero * sums_G[g]);
            }
            y_NF[n * stride + f] = y;
        }
    }
    free(even);
}

/* y[:, first:last] += x W, where weights are input-major and rows of x are `stride` apart, in tiles of
   y that stay in the first cache: two rows and four inputs at a time, or input by input. */
void add_times(const matrix *m, const float *x_ND, float *y_NF, long rows, long stride, long first,
               long last)
{
    long outputs = m->outputs, tile = rows > 1 ? 512 : 2048;
    for (long f = first; f < last; f += tile) {
        long width = least(tile, last - f);
        for (long d = 0; d < m->inputs; d += 4) {
            long n = 0, count = least(4, m->inputs - d);
            for (; count == 4 && n + 2 <= rows; n += 2)
                KINDS[m->kind].add_two(m->weights, d * outputs + f, outputs, x_ND + n * stride + d,
                                       x_ND + (n + 1) * stride + d, y_NF + n * outputs + f,
                                       y_NF + (n + 1) * outputs + f, width);
            for (; n < rows; n++)
                for (long i = d; i < d + count; i++)
                    KINDS[m->kind].add(m->weights, i * outputs + f, x_ND[n * stride + i],
                                       y_NF + n * outputs + f, width);
        }
    }
}

#define EACH_OF(ROWS) _Pragma("GCC unroll 6") for (int n = 0; n < ROWS; n++)

/* The sums of some rows with a panel, in place of what is in y or added to it. All loops over rows
   are unrolled, so that the sums are in registers from the first to the last. */
#define TILE_OF(ROWS)                                                                             \
    static void tile_##ROWS(const float *x, long stride, const float *panel, long depth,          \
                            float *y, long outputs, int is_more)                                  \
    {                                                                                             \
        floats left[ROWS], right[ROWS];                                                           \
        EACH_OF(ROWS) {                                                                           \
            left[n] = is_more ? load_float32(y + n * outputs) : (floats){0};                      \
            right[n] = is_more ? load_float32(y + n * outputs + PLACES) : (floats){0};            \
        }                                                                                         \
        for (long d = 0; d < depth; d++, panel += PANEL) {                                        \
            floats first = load_float32(panel), second = load_float32(panel + PLACES);            \
            EACH_OF(ROWS) {                                                                       \
                left[n] += x[n * stride + d] * first;                                             \
                right[n] += x[n * stride + d] * second;                                           \
            }                                                                                     \
        }                                                                                         \
        EACH_OF(ROWS) {                                                                           \
            memcpy(y + n * outputs, &left[n], sizeof(floats));                                    \
            memcpy(y + n * outputs + PLACES, &right[n], sizeof(floats));                          \
        }                                                                                         \
    }

TILE_OF(1)
TILE_OF(2)
TILE_OF(3)
TILE_OF(4)
TILE_OF(5)
TILE_OF(6)

static void (*const TILES[])(const float *, long, const float *, long, float *, long, int) = {
    0, tile_1, tile_2, tile_3, tile_4, tile_5, tile_6,
};

/* A block of weights, panel by panel, as float32. */
static void pack(const matrix *m, long d, long depth, long f, long width, float *block)
{
    long by_input = m->is_input_major ? m->outputs : 1, by_output = m->is_input_major ? 1 : m->inputs;
    long laid = m->is_input_major ? width / PANEL : 0;
    if (laid)
        KINDS[m->kind].lay(m->weights, d * by_input + f, by_input, depth, laid, block);
    for (long p = laid * PANEL; p < width; p += PANEL) {
        long count = least(PANEL, width - p), at = d * by_input + (f + p) * by_output;
        long turned = m->is_input_major || count < PANEL ? 0 : depth - depth % PLACES;
        float *panel = block + p * depth;
        KINDS[m->kind].turn(m->weights, at, by_output, turned, panel);
        if (turned < depth)
            KINDS[m->kind].lay_part(m->weights, at + turned * by_input, by_input, by_output,
                                    depth - turned, count, panel + turned * PANEL);
    }
}

/* y[:, first:last] = x W^T for many rows, each computed as if it were alone; rows of x are `stride`
   apart. A block of weights meets all rows before the next does: a band of them at a time, each
   panel tile by tile. Tiles are cut so that no two differ by more than a row. */
void multiply(const matrix *m, const float *x_ND, float *y_NF, long rows, long stride, long first,
              long last)
{
    static _Thread_local float block[DEPTH * WIDTH] __attribute__((aligned(64)));
    float part[TILE][PANEL];
    long tiles = (rows + TILE - 1) / TILE;
    for (long f = first; f < last; f += WIDTH)
        for (long d = 0; d < m->inputs; d += DEPTH) {
            long width = least(WIDTH, last - f), depth = least(DEPTH, m->inputs - d);
            pack(m, d, depth, f, width, block);
            for (long band = 0; band < tiles; band += BAND)
                for (long p = 0; p < width; p += PANEL)
                    for (long t = band; t < least(band + BAND, tiles); t++) {
                        long n = rows * t / tiles, count = rows * (t + 1) / tiles - n;
                        const float *x = x_ND + n * stride + d, *panel = block + p * depth;
                        float *y = y_NF + n * m->outputs + f + p;
                        if (p + PANEL <= width) {
                            TILES[count](x, stride, panel, depth, y, m->outputs, d > 0);
                            continue;
                        }
                        TILES[count](x, stride, panel, depth, *part, PANEL, 0);
                        for (n = 0; n < count; n++)
                            for (long i = 0; i < width - p; i++)
                                y[n * m->outputs + i] = part[n][i] + (d ? y[n * m->outputs + i] : 0);
                    }
        }
}

/* y = x W^T for all outputs. */
static void product(const matrix *m, const float *x_ND, float *y_NF, long rows)
{
    if (rows > (m->is_input_major ? FEWER_ROWS : FEW_ROWS) && !m->groups) {
        multiply(m, x_ND, y_NF, rows, m->inputs, 0, m->outputs);
    } else if (m->is_input_major) {
        memset(y_NF, 0, rows * m->outputs * sizeof(float));
        add_times(m, x_ND, y_NF, rows, m->inputs, 0, m->outputs);
    } else if (m->kind == NIBBLES) {
        linear_nibbles(m, x_ND, y_NF, rows, m->outputs, 0, m->outputs);
    } else {
        linear(m, x_ND, y_NF, rows, m->outputs, 0, m->outputs);
    }
}

/* One of a stack. */
static matrix pick(const matrix *stack, long index)
{
    matrix m = *stack;
    long numbers = m.outputs * m.inputs;
    long size = m.kind == NIBBLES ? numbers / 2 : numbers * KINDS[m.kind].size;
    m.weights = (const char *)m.weights + index * size;
    if (m.groups)
        m.scales = (const char *)m.scales + index * m.outputs * m.groups * KINDS[m.scale_kind].size;
    if (m.zeros)
        m.zeros += index * m.outputs * m.groups;
    return m;
}

/* The larger of two, as vectors have no other word for it. An x that is no number stays so. */
static inline floats larger(floats x, floats other)
{
    ints is_less = x < other;
    return (floats)(((ints)other & is_less) | ((ints)x & ~is_less));
}

/* e^x to the precision of float32, for x up to 87: a power of two, times the series of what is left
   to the nearest one, at most ln(2)/2. Below -87 it is as good as nothing. */
static inline floats exponentials(floats x)
{
    floats scaled = larger(x * 1.44269504f, (floats){0} - 126);
    ints above = __builtin_convertvector(scaled + 126.5f, ints); /* is positive: cut, not rounded */
    floats rest = (scaled - (__builtin_convertvector(above, floats) - 126)) * 0.693147181f;
    floats end = 1 / 6.f + rest * (1 / 24.f + rest * (1 / 120.f + rest * (1 / 720.f)));
    return (floats)((above + 1) << 23) * (1 + rest * (1 + rest * (0.5f + rest * end)));
}

static void rms_norm(const matrix *norm, const float *x_ND, float *y_ND, long rows, long width,
                     float eps)
{
    for (long n = 0; n < rows; n++) {
        const float *x_D = x_ND + n * width;
        float factor = 1 / sqrtf(dot_float32(x_D, 0, x_D, width) / width + eps);
        for (long d = 0; d < width; d++)
            y_ND[n * width + d] = x_D[d] * factor * number(norm->kind, norm->weights, d);
    }
}

/* What is known of a model, as `decoding.Model` has it. */
typedef struct {
    int64_t layers, width, heads, kept, head; /* kept: heads of keys and values */
    int64_t experts, chosen, inner, normalises, cache_kind;
    double eps, sharpening, floor; /* floor 0: queries are not sharpened */
    const float *frequencies_R;
} model;

/* What is known of a layer; without experts its router has no weights. */
typedef struct {
    matrix attention_norm, query, key, value, output, feed_forward_norm, gate, up, down, router,
        experts_gate_up, experts_down;
    int64_t rotates;
} layer;

/* What a row sees in a page of a layer's cache; heads are `stride` numbers apart. */
typedef struct {
    void *keys, *values;
    int64_t tokens, stride;
} page;

/* The cosine and the sine by which each pair turns at a position. */
static void turns_at(const model *m, int64_t position, float *turns_R2)
{
    for (long r = 0; r < m->head / 2; r++) {
        float angle = (float)position * m->frequencies_R[r];
        turns_R2[2 * r] = cosf(angle);
        turns_R2[2 * r + 1] = sinf(angle);
    }
}

/* Heads turned and, if asked, normalised. */
static void place(const model *m, float *x_HW, long heads, const float *turns_R2)
{
    for (float *x_W = x_HW; x_W < x_HW + heads * m->head; x_W += m->head) {
        for (long w = 0; w < m->head; w += 2) {
            float real = x_W[w], other = x_W[w + 1], cosine = turns_R2[w], sine = turns_R2[w + 1];
            x_W[w] = real * cosine - other * sine;
            x_W[w + 1] = real * sine + other * cosine;
        }
        if (!m->normalises)
            continue;
        float factor = 1 / sqrtf(dot_float32(x_W, 0, x_W, m->head) / m->head + (float)m->eps);
        for (long w = 0; w < m->head; w++)
            x_W[w] *= factor;
    }
}

/* `attention.temperature` */
static void sharpen(const model *m, float *q_HW, int64_t position)
{
    float steps = floorf((float)(position + 1) / (float)m->floor);
    float factor = 1 + (float)m->sharpening * log1pf(steps);
    for (long w = 0; w < m->heads * m->head; w++)
        q_HW[w] *= factor;
}

/* Writes a head as a token's of a page: bfloat16 is rounded to the nearest, ties to even. */
static void remember(long kind, void *numbers, long at, const float *x_W, long width)
{
    for (long w = 0; w < width; w++) {
        uint32_t word;
        memcpy(&word, x_W + w, sizeof word);
        if (kind == FLOAT32)
            ((float *)numbers)[at + w] = x_W[w];
        else
            ((uint16_t *)numbers)[at + w] = (word + 0x7FFF + (word >> 16 & 1)) >> 16;
    }
}

/* The keys and values of new tokens as the last of a page. */
static void remember_all(const model *m, const page *last, long tokens, const float *k_THW,
                         const float *v_THW)
{
    for (long t = 0; t < tokens; t++)
        for (long h = 0; h < m->kept; h++) {
            long from = (t * m->kept + h) * m->head;
            long at = h * last->stride + (last->tokens - tokens + t) * m->head;
            remember(m->cache_kind, last->keys, at, k_THW + from, m->head);
            remember(m->cache_kind, last->values, at, v_THW + from, m->head);
        }
}

/* What rows of queries have seen so far. Softmax over many keys is made slice by slice: sums are of
   e^(score - the highest yet), and shrink when a higher one comes (as in `parts`). */
typedef struct {
    float *q_NW, *y_NW, *part_NW, *scores_NS, *highest_N, *total_N;
} gaze;

static float largest(const float *x_S, long count)
{
    float found = x_S[0];
    floats even = (floats){0} + found, odd = even;
    long s = 0;
    for (; s + 2 * PLACES <= count; s += 2 * PLACES) {
        even = larger(even, load_float32(x_S + s));
        odd = larger(odd, load_float32(x_S + s + PLACES));
    }
    for (; s < count; s++)
        found = x_S[s] > found ? x_S[s] : found;
    even = larger(even, odd);
    for (int i = 0; i < PLACES; i++)
        found = even[i] > found ? even[i] : found;
    return found;
}

/* Scores of what a row sees become weights, those of the rest 0. */
static void weigh(float *scores_S, long keys, long seen, float scale, float *highest, float *total,
                  float *y_W, long width)
{
    float most = scale * largest(scores_S, seen), shrink;
    most = most > *highest ? most : *highest;
    shrink = exponentials((floats){0} + (*highest - most))[0];
    for (long w = 0; w < width; w++)
        y_W[w] *= shrink;
    floats totals = {0};
    long s = 0;
    for (; s + PLACES <= seen; s += PLACES) {
        floats weights = exponentials(scale * load_float32(scores_S + s) - most);
        memcpy(scores_S + s, &weights, sizeof weights);
        totals += weights;
    }
    *total = *total * shrink + sum(totals);
    if (s < seen) {
        floats weights = exponentials(scale * part_float32(scores_S + s, seen - s) - most);
        memcpy(scores_S + s, &weights, (seen - s) * sizeof(float));
        for (long i = 0; i < seen - s; i++)
            *total += weights[i];
    }
    memset(scores_S + seen, 0, (keys - seen) * sizeof(float));
    *highest = most;
}

/* Rows, of which each `groups` are a token, see a slice: the first token the first `before` keys and
   one more, each further token one more than that before it. */
static void see(gaze *g, const matrix *keys, const matrix *values, long rows, long groups,
                long before)
{
    long slice = keys->outputs, width = keys->inputs;
    product(keys, g->q_NW, g->scores_NS, rows);
    for (long n = 0; n < rows; n++) {
        long seen = least(slice, before + n / groups + 1);
        if (seen > 0)
            weigh(g->scores_NS + n * slice, slice, seen, 1 / sqrtf(width), g->highest_N + n,
                  g->total_N + n, g->y_NW + n * width, width);
        else
            memset(g->scores_NS + n * slice, 0, slice * sizeof(float));
    }
    product(values, g->scores_NS, g->part_NW, rows);
    for (long w = 0; w < rows * width; w++)
        g->y_NW[w] += g->part_NW[w];
}

/* Rows see a head of all pages, up to their own tokens: `before` are the tokens before the first. */
static void see_pages(const model *m, gaze *g, const page *pages, long head, long rows, long before)
{
    long groups = m->heads / m->kept, width = m->head, size = KINDS[m->cache_kind].size;
    long reach = before + rows / groups;
    for (long n = 0; n < rows; n++) {
        g->highest_N[n] = -INFINITY;
        g->total_N[n] = 0;
    }
    memset(g->y_NW, 0, rows * width * sizeof(float));
    for (long from = 0; from < reach; from += pages++->tokens)
        for (long s = 0; s < least(pages->tokens, reach - from); s += SLICE) {
            long at = (head * pages->stride + s * width) * size;
            long keys = least(SLICE, least(pages->tokens, reach - from) - s);
            matrix key = {.weights = (char *)pages->keys + at, .kind = m->cache_kind,
                          .outputs = keys, .inputs = width};
            matrix value = {.weights = (char *)pages->values + at, .kind = m->cache_kind,
                            .outputs = width, .inputs = keys, .is_input_major = 1};
            see(g, &key, &value, rows, groups, before - from - s);
        }
}

/* New tokens to all that is in these pages, of which they are the last. Query heads that share keys
   and values read them together: they are rows, keys and then values the weights. */
static void attend(const model *m, gaze *g, const page *pages, long count, long tokens,
                   const float *q_THW, float *y_THW)
{
    long groups = m->heads / m->kept, heads = groups * m->head, wide = m->heads * m->head;
    long most = (QUERIES + groups - 1) / groups, old = -tokens;
    for (long p = 0; p < count; p++)
        old += pages[p].tokens;
    for (long head = 0; head < m->kept; head++)
        for (long first = 0; first < tokens; first += most) {
            long block = least(most, tokens - first), at = first * wide + head * heads;
            for (long t = 0; t < block; t++)
                memcpy(g->q_NW + t * heads, q_THW + at + t * wide, heads * sizeof(float));
            see_pages(m, g, pages, head, block * groups, old + first);
            for (long n = 0; n < block * groups; n++)
                for (long w = 0; w < m->head; w++)
                    y_THW[at + n / groups * wide + n % groups * m->head + w] =
                        g->y_NW[n * m->head + w] / g->total_N[n];
        }
}

/* silu(gate) * up. */
static inline floats gated(floats gate, floats up)
{
    return gate / (1 + exponentials(-larger(gate, (floats){0} - 87))) * up;
}

/* The same, in the place of gate. */
static void gate_with(float *gate_F, const float *up_F, long width)
{
    long f = 0, rest = width % PLACES;
    for (; f + PLACES <= width; f += PLACES) {
        floats y = gated(load_float32(gate_F + f), load_float32(up_F + f));
        memcpy(gate_F + f, &y, sizeof y);
    }
    if (rest) {
        floats y = gated(part_float32(gate_F + f, rest), part_float32(up_F + f, rest));
        memcpy(gate_F + f, &y, rest * sizeof(float));
    }
}

/* x += down(silu(gate) * up), of all rows. */
static void add_feed_forward(const layer *l, const float *normed_ND, float *x_ND, long rows,
                             float *scratch)
{
    long inner = l->gate.outputs, size = rows * l->gate.inputs;
    float *gate_NF = scratch, *up_NF = gate_NF + rows * inner, *down_ND = up_NF + rows * inner;
    product(&l->gate, normed_ND, gate_NF, rows);
    product(&l->up, normed_ND, up_NF, rows);
    gate_with(gate_NF, up_NF, rows * inner);
    product(&l->down, gate_NF, down_ND, rows);
    for (long d = 0; d < size; d++)
        x_ND[d] += down_ND[d];
}

/* In the place of a row's logits the share of each expert: sigmoid(logit), or 0 where it is not
   among the chosen. */
static void choose(const model *m, float *logits_E)
{
    float share_E[m->experts];
    memset(share_E, 0, sizeof share_E);
    for (long k = 0; k < m->chosen; k++) {
        long best = 0;
        for (long e = 1; e < m->experts; e++)
            best = logits_E[e] > logits_E[best] ? e : best;
        share_E[best] = 1 / (1 + expf(-logits_E[best]));
        logits_E[best] = -INFINITY;
    }
    memcpy(logits_E, share_E, sizeof share_E);
}

/* x += what the routed experts make of each row, expert by expert. The share multiplies the input:
   an expert is not linear. */
static void add_experts(const model *m, const layer *l, const float *normed_ND, float *x_ND,
                        long rows, float *scratch)
{
    long width = m->width, inner = l->experts_down.inputs, chose_M[rows];
    float *x_MD = scratch, *both_MF = x_MD + rows * width, *gate_MF = both_MF + 2 * rows * inner;
    float *share_NE = gate_MF + rows * inner;
    product(&l->router, normed_ND, share_NE, rows);
    for (long n = 0; n < rows; n++)
        choose(m, share_NE + n * m->experts);
    for (long e = 0; e < m->experts; e++) {
        long count = 0;
        for (long n = 0; n < rows; n++) {
            float share = share_NE[n * m->experts + e];
            if (share == 0)
                continue;
            for (long d = 0; d < width; d++)
                x_MD[count * width + d] = normed_ND[n * width + d] * share;
            chose_M[count++] = n;
        }
        if (!count)
            continue;
        matrix gate_up = pick(&l->experts_gate_up, e), down = pick(&l->experts_down, e);
        product(&gate_up, x_MD, both_MF, count);
        for (long i = 0; i < count; i++) {
            memcpy(gate_MF + i * inner, both_MF + 2 * i * inner, inner * sizeof(float));
            gate_with(gate_MF + i * inner, both_MF + (2 * i + 1) * inner, inner);
        }
        product(&down, gate_MF, x_MD, count);
        for (long i = 0; i < count; i++)
            for (long d = 0; d < width; d++)
                x_ND[chose_M[i] * width + d] += x_MD[i * width + d];
    }
}

/* New tokens of some sequences, one sequence after another, through all layers and the norm after
   them: x in, what is made of it out. The pages of sequence i in a layer begin at
   starts[layer * sequences + i]; its last tokens in the last page are the new ones, which are
   written here. Returns 1 if there is no memory. */
int step(const model *m, const layer *layers, const matrix *norm, const page *pages,
         const int64_t *starts, const int64_t *positions, const int64_t *lengths, float *x_ND,
         long sequences)
{
    long width = m->width, wide = m->heads * m->head, narrow = m->kept * m->head, rows = 0;
    long groups = m->heads / m->kept, queries = QUERIES + groups;
    for (long i = 0; i < sequences; i++)
        rows += lengths[i];
    long each = 3 * width + 2 * wide + 2 * narrow + 4 * m->inner + m->experts + m->head;
    float *normed_ND = malloc((rows * each + queries * (3 * m->head + SLICE + 2)) * sizeof(float));
    if (!normed_ND)
        return 1;
    float *q = normed_ND + rows * width, *k = q + rows * wide, *v = k + rows * narrow;
    float *y = v + rows * narrow, *turns = y + rows * wide, *scratch = turns + rows * m->head;
    gaze g = {.q_NW = normed_ND + rows * each};
    g.y_NW = g.q_NW + queries * m->head;
    g.part_NW = g.y_NW + queries * m->head;
    g.scores_NS = g.part_NW + queries * m->head;
    g.highest_N = g.scores_NS + queries * SLICE;
    g.total_N = g.highest_N + queries;
    for (long i = 0, n = 0; i < sequences; i++)
        for (long t = 0; t < lengths[i]; t++, n++)
            turns_at(m, positions[i] + t, turns + n * m->head);
    for (const layer *l = layers; l < layers + m->layers; l++) {
        rms_norm(&l->attention_norm, x_ND, normed_ND, rows, width, m->eps);
        product(&l->query, normed_ND, q, rows);
        product(&l->key, normed_ND, k, rows);
        product(&l->value, normed_ND, v, rows);
        for (long n = 0; l->rotates && n < rows; n++) {
            place(m, q + n * wide, m->heads, turns + n * m->head);
            place(m, k + n * narrow, m->kept, turns + n * m->head);
        }
        for (long i = 0, n = 0; i < sequences; n += lengths[i++]) {
            const int64_t *start = starts + (l - layers) * sequences + i;
            for (long t = 0; !l->rotates && m->floor > 0 && t < lengths[i]; t++)
                sharpen(m, q + (n + t) * wide, positions[i] + t);
            remember_all(m, pages + start[1] - 1, lengths[i], k + n * narrow, v + n * narrow);
            attend(m, &g, pages + start[0], start[1] - start[0], lengths[i], q + n * wide,
                   y + n * wide);
        }
        product(&l->output, y, scratch, rows);
        for (long d = 0; d < rows * width; d++)
            x_ND[d] += scratch[d];
        rms_norm(&l->feed_forward_norm, x_ND, normed_ND, rows, width, m->eps);
        add_feed_forward(l, normed_ND, x_ND, rows, scratch);
        if (l->router.weights)
            add_experts(m, l, normed_ND, x_ND, rows, scratch);
    }
    rms_norm(norm, x_ND, normed_ND, rows, width, m->eps);
    memcpy(x_ND, normed_ND, rows * width * sizeof(float));
    free(normed_ND);
    return 0;
}

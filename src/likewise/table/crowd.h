/* The cells of a row in bins, for sums of sigmoids against many limits.
 *
 * sigmoid(u + d) = sum_k a_k(u) d^k, so that the cells of a bin enter by their number and the sums of their powers
 * about its centre, and each limit takes a series a bin instead of a sigmoid a cell. From sigmoid' = s - s^2 follows
 *
 *     (k + 1) a_(k+1) = a_k (1 - 2 a_0) - sum_(0 < i < k) a_i a_(k-i),        a_0 = s,  a_1 = s (1 - s)
 *
 * in which nothing cancels. The nearest pole of the sigmoid is pi away: with bins of width 3/4 (in units of the
 * sigmoid's argument) and TERMS terms what is left out is at most (3/8 / pi)^8 = 4e-8 of a cell's part, at the edges of
 * bins: less than floats tell apart, and of sums no more than with narrower bins.
 */
#ifndef LIKEWISE_CROWD
#define LIKEWISE_CROWD

#include <string.h>

#include "exponential.h"

#define LANES 16
#define TERMS 8
#define WIDTH 0.75f
#define MOST_BINS 512
#define STRIP 512 /* cells that stay in the first cache */
#define APART 2
/* What a sigmoid lacks of zero or one farther away is below 1e-17 and counts as nothing: products of such numbers are
 * denormal, and cost many times what others do. */
#define FAR 40.0f
#define LEAST_FACTOR 1e-25f

/* The loop over a series' terms is the inner one, which no compiler turns into vectors by itself. */
typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));

typedef struct {
    int64_t count;                           /* of bins, a multiple of LANES: the last may be empty */
    float least, places;                     /* the least cell, and bins a unit of cells */
    float centre[MOST_BINS];                 /* in the cells' unit; sums and cells both go by the rounded ones */
    lanes moment[MOST_BINS / LANES][TERMS];  /* sums of the powers of (centre - cell) * rate */
    float series[MOST_BINS][TERMS];          /* of a function of the cells, in the same powers */
} crowd;

typedef struct {
    float sigmoid, slope; /* s and s (1 - s), neither of which cancels */
} pair;

static inline pair sigmoid(float x)
{
    const float away = x > 0 ? -x : x, found = exponential(away), small = away < -FAR ? 0.0f : found;
    const float inverse = 1.0f / (1.0f + small);
    const float above = x > 0 ? 1.0f : small; /* a choice of quotients would be divided twice */
    return (pair){above * inverse, small * inverse * inverse};
}

/* a_0 to a_8 about (limit - centre) * rate, of LANES centres. */
static inline void sigmoid_series(float limit, const float *centre, float rate, lanes *a)
{
    float sigmoids[LANES], slopes[LANES];
    for (int lane = 0; lane < LANES; lane++) {
        const pair first = sigmoid((limit - centre[lane]) * rate);
        sigmoids[lane] = first.sigmoid;
        slopes[lane] = first.slope;
    }
    memcpy(&a[0], sigmoids, sizeof *a);
    memcpy(&a[1], slopes, sizeof *a);
    const lanes w = 1.0f - 2.0f * a[0];
    a[2] = a[1] * w * (1.0f / 2);
    a[3] = (a[2] * w - a[1] * a[1]) * (1.0f / 3);
    a[4] = (a[3] * w - 2.0f * a[1] * a[2]) * (1.0f / 4);
    a[5] = (a[4] * w - 2.0f * a[1] * a[3] - a[2] * a[2]) * (1.0f / 5);
    a[6] = (a[5] * w - 2.0f * (a[1] * a[4] + a[2] * a[3])) * (1.0f / 6);
    a[7] = (a[6] * w - 2.0f * (a[1] * a[5] + a[2] * a[4]) - a[3] * a[3]) * (1.0f / 7);
    a[8] = (a[7] * w - 2.0f * (a[1] * a[6] + a[2] * a[5] + a[3] * a[4])) * (1.0f / 8);
}

/* The square of a series: q_0 to q_8. */
static inline void squared_series(const lanes *a, lanes *q)
{
    q[0] = a[0] * a[0];
    q[1] = 2.0f * a[0] * a[1];
    q[2] = 2.0f * a[0] * a[2] + a[1] * a[1];
    q[3] = 2.0f * (a[0] * a[3] + a[1] * a[2]);
    q[4] = 2.0f * (a[0] * a[4] + a[1] * a[3]) + a[2] * a[2];
    q[5] = 2.0f * (a[0] * a[5] + a[1] * a[4] + a[2] * a[3]);
    q[6] = 2.0f * (a[0] * a[6] + a[1] * a[5] + a[2] * a[4]) + a[3] * a[3];
    q[7] = 2.0f * (a[0] * a[7] + a[1] * a[6] + a[2] * a[5] + a[3] * a[4]);
    q[8] = 2.0f * (a[0] * a[8] + a[1] * a[7] + a[2] * a[6] + a[3] * a[5]) + a[4] * a[4];
}

static inline float total_of(lanes found)
{
    float sum = 0;
    for (int lane = 0; lane < LANES; lane++) sum += found[lane];
    return sum;
}

static inline float sum_of(const float *lanes)
{
    float sums[LANES];
    memcpy(sums, lanes, sizeof sums);
    for (int half = LANES / 2; half; half /= 2)
        for (int lane = 0; lane < half; lane++) sums[lane] += sums[lane + half];
    return sums[0];
}

/* Lay out the bins of a row; no if it is quicker to take cell by cell, or a cell is no number. */
static int bins_of(crowd *bins, const float *cells, int64_t columns, int64_t searches, float rate)
{
    if (columns * (2 * searches - 10) < 3 * LANES * searches) return 0;
    float low[LANES], high[LANES], wrong[LANES] = {0};
    int64_t i = 0;
    for (int lane = 0; lane < LANES; lane++) {
        low[lane] = (float)(1.0 / 0.0);
        high[lane] = -(float)(1.0 / 0.0);
    }
    for (; i + LANES <= columns; i += LANES)
        for (int lane = 0; lane < LANES; lane++) {
            const float cell = cells[i + lane], there = cell < (float)(1.0 / 0.0) ? cell : high[lane];
            low[lane] = cell < low[lane] ? cell : low[lane];
            high[lane] = there > high[lane] ? there : high[lane];
            wrong[lane] += cell != cell;
        }
    for (; i < columns; i++) {
        low[0] = cells[i] < low[0] ? cells[i] : low[0];
        high[0] = cells[i] < (float)(1.0 / 0.0) && cells[i] > high[0] ? cells[i] : high[0];
        wrong[0] += cells[i] != cells[i];
    }
    for (int lane = 1; lane < LANES; lane++) {
        low[0] = low[lane] < low[0] ? low[lane] : low[0];
        high[0] = high[lane] > high[0] ? high[lane] : high[0];
        wrong[0] += wrong[lane];
    }
    const float across = (high[0] - low[0]) * rate * (1 / WIDTH);
    if (wrong[0] > 0 || !(across >= 0 && across < MOST_BINS - 2)) return 0;
    bins->count = ((int64_t)across + LANES) / LANES * LANES;
    if (columns * (2 * searches - 10) < 3 * bins->count * searches) return 0;
    bins->least = low[0];
    bins->places = rate * (1 / WIDTH);
    for (int64_t bin = 0; bin < bins->count; bin++)
        bins->centre[bin] = bins->least + ((float)bin + 0.5f) / bins->places;
    return 1;
}

/* The bins of some cells and their places about the centres; cells that are out go to bin -1. */
static void place_cells(const crowd *bins, const float *cells, int64_t count, float rate, int32_t *bin, float *d)
{
    for (int64_t i = 0; i < count; i++) {
        const int in = cells[i] < (float)(1.0 / 0.0);
        const int32_t at = in ? (int32_t)((cells[i] - bins->least) * bins->places) : 0;
        d[i] = in ? (bins->centre[at] - cells[i]) * rate : 0;
        bin[i] = in ? at : -1;
    }
}

typedef float powers __attribute__((vector_size(TERMS * sizeof(float))));

/* Take the moments of a row's cells. */
static void fill_bins(crowd *bins, const float *cells, int64_t columns, float rate)
{
    const powers ones = {1, 0, 1, 0, 1, 0, 1, 0}, first = {0, 1, 0, 1, 0, 1, 0, 1};
    const powers no_squares = {1, 1, 0, 0, 1, 1, 0, 0}, squares = {0, 0, 1, 1, 0, 0, 1, 1};
    const powers no_fourths = {1, 1, 1, 1, 0, 0, 0, 0}, fourths = {0, 0, 0, 0, 1, 1, 1, 1};
    /* filled in turn, so that a cell needn't wait for the one before it; the last takes what is out */
    powers found[APART][MOST_BINS + 1];
    int32_t bin[STRIP];
    float place[STRIP];
    for (int part = 0; part < APART; part++) memset(found[part], 0, bins->count * sizeof *found[part]);
    for (int64_t begin = 0; begin < columns; begin += STRIP) {
        const int64_t count = columns - begin < STRIP ? columns - begin : STRIP;
        place_cells(bins, cells + begin, count, rate, bin, place);
        for (int64_t i = 0; i < count; i++) {
            const float d = place[i], d2 = d * d, d4 = d2 * d2;
            found[i % APART][bin[i] < 0 ? MOST_BINS : bin[i]] +=
                (ones + first * d) * (no_squares + squares * d2) * (no_fourths + fourths * d4);
        }
    }
    for (int64_t at = 0; at < bins->count; at++) {
        const powers sum = found[0][at] + found[1][at];
        for (int k = 0; k < TERMS; k++) bins->moment[at / LANES][k][at % LANES] = sum[k];
    }
}

/* Take in the series of a group of bins, to be read. */
static void lay_out(crowd *bins, int64_t group, const lanes *series)
{
    for (int lane = 0; lane < LANES; lane++)
        for (int k = 0; k < TERMS; k++) bins->series[group * LANES + lane][k] = series[k][lane];
}

/* out = the value of each cell's bin's series at the cell, zero where a cell is out. */
static void read_bins(const crowd *bins, const float *cells, int64_t columns, float rate, float *out)
{
    int32_t bin[STRIP];
    float place[STRIP];
    for (int64_t begin = 0; begin < columns; begin += STRIP) {
        const int64_t count = columns - begin < STRIP ? columns - begin : STRIP;
        place_cells(bins, cells + begin, count, rate, bin, place);
        for (int64_t i = 0; i < count; i++) {
            const float d = place[i], d2 = d * d, *c = bins->series[bin[i] < 0 ? 0 : bin[i]];
            const float sum = (c[0] + c[1] * d) + d2 * (c[2] + c[3] * d) +
                              d2 * d2 * ((c[4] + c[5] * d) + d2 * (c[6] + c[7] * d));
            out[begin + i] = bin[i] < 0 ? 0 : sum;
        }
    }
}

#endif

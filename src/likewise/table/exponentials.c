/* Exponentials and sigmoids of a tile, in one pass and in float; see exponentials.py and sigmoids.py. */
#include "exponential.h"
#include "share.h"

#define LANES 32

typedef struct {
    int64_t columns;
    const float *tile, *shift, *limit;
    float rate, factor, *out, *total;
} job;

static void exponentials_of_rows(const void *given, int64_t first, int64_t last)
{
    const job *all = given;
    const int64_t columns = all->columns;
    const float rate = all->rate, factor = all->factor;
    for (int64_t row = first; row < last; row++) {
        const float *cells = all->tile + row * columns, add = all->shift[row];
        const float limit = all->limit ? all->limit[row] : (float)(1.0 / 0.0);
        float *found = all->out + row * columns, lanes[LANES] = {0};
        double sum = 0;
        int64_t i = 0;
        for (; i + LANES <= columns; i += LANES)
            for (int lane = 0; lane < LANES; lane++) {
                const float all_of_it = exponential(rate * cells[i + lane] + add);
                const float value = cells[i + lane] >= limit ? 0.0f : all_of_it; /* so that NaN stays */
                found[i + lane] = value * factor;
                lanes[lane] += value;
            }
        for (; i < columns; i++) {
            const float value = cells[i] >= limit ? 0.0f : exponential(rate * cells[i] + add);
            found[i] = value * factor;
            sum += value;
        }
        for (int lane = 0; lane < LANES; lane++) sum += lanes[lane];
        all->total[row] += (float)sum;
    }
}

/* out = factor * exp(rate * cell + shift of the row), zero from the row's limit on (which may be null); total += the
 * sums. */
void exponentials(const float *tile, int64_t rows, int64_t columns, float rate, const float *shift,
                  const float *limit, float factor, float *out, float *total, int64_t threads)
{
    const job all = {.columns = columns, .tile = tile, .shift = shift, .limit = limit, .rate = rate, .factor = factor,
                     .out = out, .total = total};
    shared(exponentials_of_rows, &all, rows, threads);
}

typedef struct {
    int64_t columns;
    const float *tile, *before, *sum_before, *by_far;
    float rate, least, *out, *maximum, *total;
} log_sum_job;

static void log_sums_of_rows(const void *given, int64_t first, int64_t last)
{
    const log_sum_job *all = given;
    const int64_t columns = all->columns;
    const float rate = all->rate;
    for (int64_t row = first; row < last; row++) {
        const float *cells = all->tile + row * columns;
        float nearest[LANES], sums[LANES] = {0}, *found = all->out + row * columns, maximum = all->least;
        int64_t i = 0;
        for (int lane = 0; lane < LANES; lane++) nearest[lane] = cells[0];
        for (; i + LANES <= columns; i += LANES)
            for (int lane = 0; lane < LANES; lane++)
                nearest[lane] = cells[i + lane] < nearest[lane] ? cells[i + lane] : nearest[lane];
        for (; i < columns; i++) nearest[0] = cells[i] < nearest[0] ? cells[i] : nearest[0];
        for (int lane = 0; lane < LANES; lane++)
            maximum = -rate * nearest[lane] > maximum ? -rate * nearest[lane] : maximum;
        if (all->before) maximum = all->before[row] > maximum ? all->before[row] : maximum;
        for (i = 0; i + LANES <= columns; i += LANES)
            for (int lane = 0; lane < LANES; lane++) {
                const float value = exponential(-rate * cells[i + lane] - maximum);
                found[i + lane] = value;
                sums[lane] += value;
            }
        double sum = all->before ? all->sum_before[row] * exponential(all->before[row] - maximum) : 0;
        for (; i < columns; i++) sum += found[i] = exponential(-rate * cells[i] - maximum);
        for (int lane = 0; lane < LANES; lane++) sum += sums[lane];
        all->maximum[row] = maximum;
        all->total[row] = (float)sum;
    }
}

/* maximum: the largest -rate * cell, not below least, and with before that; out = exp(-rate * cell - maximum);
 * total: its sums, with those of before, which may be null. */
void log_sums(const float *tile, int64_t rows, int64_t columns, float rate, float least, const float *before,
              const float *sum_before, float *out, float *maximum, float *total, int64_t threads)
{
    const log_sum_job all = {.columns = columns, .tile = tile, .before = before, .sum_before = sum_before,
                             .rate = rate, .least = least, .out = out, .maximum = maximum, .total = total};
    shared(log_sums_of_rows, &all, rows, threads);
}

static void shares_of_rows(const void *given, int64_t first, int64_t last)
{
    const log_sum_job *all = given;
    for (int64_t row = first; row < last; row++) {
        /* a total is at least one, or zero where there is nothing, and then so are all exponentials */
        const float total = all->total[row], factor = -all->rate * all->by_far[row] / (total > 0.5f ? total : 0.5f);
        float *to = all->out + row * all->columns;
        for (int64_t i = 0; i < all->columns; i++) to[i] *= factor;
    }
}

/* out *= -rate * by_far / total of the row. */
void log_sum_slopes(float *out, int64_t rows, int64_t columns, float rate, const float *by_far, float *total,
                    int64_t threads)
{
    const log_sum_job all = {.columns = columns, .by_far = by_far, .rate = rate, .out = out, .total = total};
    shared(shares_of_rows, &all, rows, threads);
}

/* Sigmoids of (limit - cell) * rate: of each row's cells against each of its limits. */

#define STRIP 512 /* columns whose sums stay in the first cache */

typedef struct {
    int64_t columns, searches;
    const float *tile, *limits, *factor;
    float rate, *sums, *steep, *value, *out;
} comparisons;

typedef struct {
    float sigmoid, slope; /* s and s (1 - s), neither of which cancels */
} pair;

static inline pair sigmoid(float x)
{
    const float small = exponential(x > 0 ? -x : x), inverse = 1.0f / (1.0f + small);
    return (pair){x > 0 ? inverse : small * inverse, small * inverse * inverse};
}

static inline float sum_of(float *lanes)
{
    for (int half = LANES / 2; half; half /= 2)
        for (int lane = 0; lane < half; lane++) lanes[lane] += lanes[lane + half];
    return lanes[0];
}

/* A strip as long as STRIP, its end filled with cells that are out. */
static const float *strip_of(const float *cells, int64_t length, float *copy)
{
    if (length >= STRIP) return cells;
    for (int64_t i = 0; i < STRIP; i++) copy[i] = i < length ? cells[i] : (float)(1.0 / 0.0);
    return copy;
}

/* sums += sigmoids, steep += their slopes, by limit. */
static void ranks_of_rows(const void *given, int64_t first, int64_t last)
{
    const comparisons *all = given;
    float copy[STRIP];
    for (int64_t row = first; row < last; row++)
        for (int64_t begin = 0; begin < all->columns; begin += STRIP) {
            const float *cells = strip_of(all->tile + row * all->columns + begin, all->columns - begin, copy);
            for (int64_t at = row * all->searches; at < (row + 1) * all->searches; at++) {
                float sums[LANES] = {0}, steep[LANES] = {0};
                const float limit = all->limits[at], rate = all->rate;
                for (int64_t i = 0; i < STRIP; i += LANES)
                    for (int lane = 0; lane < LANES; lane++) {
                        const pair found = sigmoid((limit - cells[i + lane]) * rate);
                        sums[lane] += found.sigmoid;
                        steep[lane] += found.slope;
                    }
                all->sums[at] += sum_of(sums);
                all->steep[at] += sum_of(steep);
            }
        }
}

/* out = the slopes times factor, summed over the limits. */
static void slopes_of_rows(const void *given, int64_t first, int64_t last)
{
    const comparisons *all = given;
    float copy[STRIP];
    for (int64_t row = first; row < last; row++)
        for (int64_t begin = 0; begin < all->columns; begin += STRIP) {
            const int64_t left = all->columns - begin, length = left < STRIP ? left : STRIP;
            const float *cells = strip_of(all->tile + row * all->columns + begin, left, copy);
            float out[STRIP] = {0};
            for (int64_t at = row * all->searches; at < (row + 1) * all->searches; at++) {
                const float limit = all->limits[at], rate = all->rate, factor = all->factor[at];
                for (int64_t i = 0; i < STRIP; i++) out[i] += factor * sigmoid((limit - cells[i]) * rate).slope;
            }
            for (int64_t i = 0; i < length; i++) all->out[row * all->columns + begin + i] = out[i];
        }
}

/* With s the sigmoids: value += s^2 by row, sums += s^2 (1 - s) by limit, out = minus those by cell. */
static void ratios_of_rows(const void *given, int64_t first, int64_t last)
{
    const comparisons *all = given;
    float copy[STRIP];
    for (int64_t row = first; row < last; row++)
        for (int64_t begin = 0; begin < all->columns; begin += STRIP) {
            const int64_t left = all->columns - begin, length = left < STRIP ? left : STRIP;
            const float *cells = strip_of(all->tile + row * all->columns + begin, left, copy);
            float out[STRIP] = {0}, value[LANES] = {0};
            for (int64_t at = row * all->searches; at < (row + 1) * all->searches; at++) {
                float sums[LANES] = {0};
                const float limit = all->limits[at], rate = all->rate;
                for (int64_t i = 0; i < STRIP; i += LANES)
                    for (int lane = 0; lane < LANES; lane++) {
                        const pair found = sigmoid((limit - cells[i + lane]) * rate);
                        const float pull = found.sigmoid * found.slope;
                        value[lane] += found.sigmoid * found.sigmoid;
                        sums[lane] += pull;
                        out[i + lane] -= pull;
                    }
                all->sums[at] += sum_of(sums);
            }
            all->value[row] += sum_of(value);
            for (int64_t i = 0; i < length; i++) all->out[row * all->columns + begin + i] = out[i];
        }
}

void sigmoid_ranks(const float *tile, int64_t rows, int64_t columns, const float *limits, int64_t searches,
                   float rate, float *sums, float *steep, int64_t threads)
{
    const comparisons all = {.columns = columns, .searches = searches, .tile = tile, .limits = limits,
                             .rate = rate, .sums = sums, .steep = steep};
    shared(ranks_of_rows, &all, rows, threads);
}

void sigmoid_slopes(const float *tile, int64_t rows, int64_t columns, const float *limits, int64_t searches,
                    float rate, const float *factor, float *out, int64_t threads)
{
    const comparisons all = {.columns = columns, .searches = searches, .tile = tile, .limits = limits,
                             .rate = rate, .factor = factor, .out = out};
    shared(slopes_of_rows, &all, rows, threads);
}

void sigmoid_ratios(const float *tile, int64_t rows, int64_t columns, const float *limits, int64_t searches,
                    float rate, float *value, float *sums, float *out, int64_t threads)
{
    const comparisons all = {.columns = columns, .searches = searches, .tile = tile, .limits = limits,
                             .rate = rate, .value = value, .sums = sums, .out = out};
    shared(ratios_of_rows, &all, rows, threads);
}

/* Exponentials of a tile, in one pass and in float; see exponentials.py. */
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

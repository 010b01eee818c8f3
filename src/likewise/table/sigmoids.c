/* Sigmoids of (limit - cell) * rate, in float: of each row's cells against each of its limits; see sigmoids.py.
 *
 * A row with many limits is read by bins, see crowd.h; any other cell by cell.
 */
#include "crowd.h"
#include "share.h"

typedef struct {
    int64_t columns, searches;
    const float *tile, *limits, *factor;
    float rate, *sums, *steep, *value, *out;
} comparisons;

/* Up to STRIP cells, their number raised to one of LANES by cells that are out. */
static const float *strip_of(const float *cells, int64_t *length, float *copy)
{
    if (*length >= STRIP) {
        *length = STRIP;
        return cells;
    }
    memcpy(copy, cells, *length * sizeof *copy);
    while (*length % LANES) copy[(*length)++] = (float)(1.0 / 0.0);
    return copy;
}

static void ranks_by_cells(const comparisons *all, int64_t row)
{
    float copy[STRIP];
    for (int64_t begin = 0; begin < all->columns; begin += STRIP) {
        int64_t padded = all->columns - begin;
        const float *cells = strip_of(all->tile + row * all->columns + begin, &padded, copy);
        for (int64_t at = row * all->searches; at < (row + 1) * all->searches; at++) {
            float sums[LANES] = {0}, steep[LANES] = {0};
            const float limit = all->limits[at], rate = all->rate;
            for (int64_t i = 0; i < padded; i += LANES)
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

static void ranks_by_bins(const comparisons *all, int64_t row, crowd *bins)
{
    fill_bins(bins, all->tile + row * all->columns, all->columns, all->rate);
    for (int64_t at = row * all->searches; at < (row + 1) * all->searches; at++) {
        lanes sums = {0}, steep = {0}, a[TERMS + 1];
        for (int64_t group = 0; group < bins->count / LANES; group++) {
            const lanes *moment = bins->moment[group];
            sigmoid_series(all->limits[at], bins->centre + group * LANES, all->rate, a);
            for (int k = 0; k < TERMS; k++) {
                sums += a[k] * moment[k];
                steep += (float)(k + 1) * a[k + 1] * moment[k];
            }
        }
        all->sums[at] += total_of(sums);
        all->steep[at] += total_of(steep);
    }
}

/* sums += sigmoids, steep += their slopes, by limit. */
static void ranks_of_rows(const void *given, int64_t first, int64_t last)
{
    const comparisons *all = given;
    crowd bins;
    for (int64_t row = first; row < last; row++)
        if (bins_of(&bins, all->tile + row * all->columns, all->columns, all->searches, all->rate))
            ranks_by_bins(all, row, &bins);
        else
            ranks_by_cells(all, row);
}

static inline int counts_as_nothing(float factor)
{
    return factor < LEAST_FACTOR && factor > -LEAST_FACTOR;
}

static void slopes_by_cells(const comparisons *all, int64_t row)
{
    float copy[STRIP];
    for (int64_t begin = 0; begin < all->columns; begin += STRIP) {
        const int64_t left = all->columns - begin, length = left < STRIP ? left : STRIP;
        int64_t padded = left;
        const float *cells = strip_of(all->tile + row * all->columns + begin, &padded, copy);
        float out[STRIP] = {0};
        for (int64_t at = row * all->searches; at < (row + 1) * all->searches; at++) {
            const float limit = all->limits[at], rate = all->rate, factor = all->factor[at];
            if (counts_as_nothing(factor)) continue;
            for (int64_t i = 0; i < padded; i += LANES)
                for (int lane = 0; lane < LANES; lane++)
                    out[i + lane] += factor * sigmoid((limit - cells[i + lane]) * rate).slope;
        }
        for (int64_t i = 0; i < length; i++) all->out[row * all->columns + begin + i] = out[i];
    }
}

static void slopes_by_bins(const comparisons *all, int64_t row, crowd *bins)
{
    for (int64_t group = 0; group < bins->count / LANES; group++) {
        lanes series[TERMS] = {{0}}, a[TERMS + 1];
        for (int64_t at = row * all->searches; at < (row + 1) * all->searches; at++) {
            if (counts_as_nothing(all->factor[at])) continue;
            sigmoid_series(all->limits[at], bins->centre + group * LANES, all->rate, a);
            for (int k = 0; k < TERMS; k++) series[k] += all->factor[at] * (float)(k + 1) * a[k + 1];
        }
        lay_out(bins, group, series);
    }
    read_bins(bins, all->tile + row * all->columns, all->columns, all->rate, all->out + row * all->columns);
}

/* out = the slopes times factor, summed over the limits; factors below LEAST_FACTOR count as nothing. */
static void slopes_of_rows(const void *given, int64_t first, int64_t last)
{
    const comparisons *all = given;
    crowd bins;
    for (int64_t row = first; row < last; row++)
        if (bins_of(&bins, all->tile + row * all->columns, all->columns, all->searches, all->rate))
            slopes_by_bins(all, row, &bins);
        else
            slopes_by_cells(all, row);
}

static void ratios_by_cells(const comparisons *all, int64_t row)
{
    float copy[STRIP];
    for (int64_t begin = 0; begin < all->columns; begin += STRIP) {
        const int64_t left = all->columns - begin, length = left < STRIP ? left : STRIP;
        int64_t padded = left;
        const float *cells = strip_of(all->tile + row * all->columns + begin, &padded, copy);
        float out[STRIP] = {0}, value[LANES] = {0};
        for (int64_t at = row * all->searches; at < (row + 1) * all->searches; at++) {
            float sums[LANES] = {0};
            const float limit = all->limits[at], rate = all->rate;
            for (int64_t i = 0; i < padded; i += LANES)
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

/* s^2 (1 - s) is half the derivative of s^2. */
static void ratios_by_bins(const comparisons *all, int64_t row, crowd *bins)
{
    const float *cells = all->tile + row * all->columns, rate = all->rate;
    lanes value = {0};
    fill_bins(bins, cells, all->columns, rate);
    for (int64_t group = 0; group < bins->count / LANES; group++) {
        const lanes *moment = bins->moment[group];
        lanes series[TERMS] = {{0}}, a[TERMS + 1], square[TERMS + 1];
        for (int64_t at = row * all->searches; at < (row + 1) * all->searches; at++) {
            lanes sums = {0};
            sigmoid_series(all->limits[at], bins->centre + group * LANES, rate, a);
            squared_series(a, square);
            for (int k = 0; k < TERMS; k++) {
                const lanes pull = 0.5f * (float)(k + 1) * square[k + 1];
                value += square[k] * moment[k];
                sums += pull * moment[k];
                series[k] -= pull;
            }
            all->sums[at] += total_of(sums);
        }
        lay_out(bins, group, series);
    }
    all->value[row] += total_of(value);
    read_bins(bins, cells, all->columns, rate, all->out + row * all->columns);
}

/* With s the sigmoids: value += s^2 by row, sums += s^2 (1 - s) by limit, out = minus those by cell. */
static void ratios_of_rows(const void *given, int64_t first, int64_t last)
{
    const comparisons *all = given;
    crowd bins;
    for (int64_t row = first; row < last; row++)
        if (bins_of(&bins, all->tile + row * all->columns, all->columns, all->searches, all->rate))
            ratios_by_bins(all, row, &bins);
        else
            ratios_by_cells(all, row);
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

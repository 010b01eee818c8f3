/* Histograms of cells whose cells give to the two nodes they lie between; see bins.py.
 *
 * Compiled for float and for double: TYPE and NAME(x) are given on the second inclusion of this file.
 */
#ifndef TYPE

#include <math.h>
#include <stdint.h>

#include "share.h"

#define APART 4 /* histograms filled in turn, so that a cell needn't wait for the one before it */
#define MOST_NODES 4096

#define TYPE float
#define NAME(x) x##_float
#include "bins.c"
#undef TYPE
#undef NAME
#define TYPE double
#define NAME(x) x##_double
#include "bins.c"

#else

typedef struct {
    const TYPE *cells, *steps;
    int64_t columns, bins;
    double scale, *found;
    TYPE *out;
} NAME(bin_job);

static void NAME(counts_of_rows)(const void *given, int64_t first, int64_t last)
{
    const NAME(bin_job) *all = given;
    const int64_t bins = all->bins;
    double parts[APART][MOST_NODES];
    for (int64_t row = first; row < last; row++) {
        const TYPE *cells = all->cells + row * all->columns;
        for (int part = 0; part < APART; part++)
            for (int64_t node = 0; node <= bins; node++) parts[part][node] = 0;
        for (int64_t i = 0; i < all->columns; i++) {
            if (!(cells[i] < (TYPE)INFINITY)) continue;
            const double scaled = cells[i] * all->scale, place = scaled > bins ? bins : scaled > 0 ? scaled : 0;
            const int64_t below = place < bins - 1 ? (int64_t)place : bins - 1;
            double *part = parts[i % APART];
            part[below] += 1 - (place - below);
            part[below + 1] += place - below;
        }
        for (int part = 0; part < APART; part++)
            for (int64_t node = 0; node <= bins; node++) all->found[row * (bins + 1) + node] += parts[part][node];
    }
}

/* Add each row's cells to found (rows, bins + 1): node b is at b / scale. Infinite cells are left out, those beyond the
 * first or last node count there. */
void NAME(bin_counts)(const TYPE *cells, int64_t rows, int64_t columns, int64_t bins, double scale, double *found,
                      int64_t threads)
{
    const NAME(bin_job) all = {.cells = cells, .columns = columns, .bins = bins, .scale = scale, .found = found};
    shared(NAME(counts_of_rows), &all, rows, threads);
}

static void NAME(steps_of_rows)(const void *given, int64_t first, int64_t last)
{
    const NAME(bin_job) *all = given;
    const double most = all->bins - 1;
    for (int64_t row = first; row < last; row++) {
        const TYPE *cells = all->cells + row * all->columns, *steps = all->steps + row * all->bins;
        TYPE *out = all->out + row * all->columns;
        for (int64_t i = 0; i < all->columns; i++) {
            const double scaled = cells[i] * all->scale, place = scaled < most ? scaled : most;
            const TYPE step = steps[place > 0 ? (int32_t)place : 0];
            out[i] = cells[i] < (TYPE)INFINITY && scaled >= 0 ? step : 0;
        }
    }
}

/* What lies between two nodes of each cell: steps (rows, bins), or zero where a cell is infinite or below zero. */
void NAME(bin_steps)(const TYPE *cells, int64_t rows, int64_t columns, int64_t bins, double scale, const TYPE *steps,
                     TYPE *out, int64_t threads)
{
    const NAME(bin_job) all = {.cells = cells, .columns = columns, .bins = bins, .scale = scale, .steps = steps,
                               .out = out};
    shared(NAME(steps_of_rows), &all, rows, threads);
}

#endif

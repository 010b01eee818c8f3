/* Histograms of cells whose cells give to the two nodes they lie between; see bins.py.
 *
 * Compiled for float and for double: TYPE and NAME(x) are given on the second inclusion of this file.
 */
#ifndef TYPE

#include <math.h>
#include <stdint.h>

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

/* Add cells to found (bins + 1): node b is at b / scale. Infinite cells are left out, others end at the last node. */
void NAME(bin_counts)(const TYPE *cells, int64_t count, int64_t bins, double scale, double *found)
{
    double parts[APART][MOST_NODES];
    for (int part = 0; part < APART; part++)
        for (int64_t node = 0; node <= bins; node++) parts[part][node] = 0;
    for (int64_t i = 0; i < count; i++) {
        if (!(cells[i] < (TYPE)INFINITY)) continue;
        const double scaled = cells[i] * scale, place = scaled > bins ? bins : scaled;
        const int64_t below = place < bins - 1 ? (int64_t)place : bins - 1;
        double *part = parts[i % APART];
        part[below] += 1 - (place - below);
        part[below + 1] += place - below;
    }
    for (int part = 0; part < APART; part++)
        for (int64_t node = 0; node <= bins; node++) found[node] += parts[part][node];
}

/* What lies between two nodes of each cell: steps (bins), or zero where a cell is infinite. */
void NAME(bin_steps)(const TYPE *cells, int64_t count, int64_t bins, double scale, const TYPE *steps, TYPE *out)
{
    for (int64_t i = 0; i < count; i++) {
        const double scaled = cells[i] * scale, place = scaled < bins - 1 ? scaled : bins - 1;
        out[i] = cells[i] < (TYPE)INFINITY ? steps[(int32_t)place] : 0;
    }
}

#endif

/* What the hinges need of a tile and PyTorch takes many passes for; see hinges.py, which says what is meant.
 *
 * Compiled for float and for double: TYPE and NAME(x) are given on the second inclusion of this file.
 */
#ifndef TYPE

#include "share.h"

#define STRIP 512 /* columns whose counts stay in the first cache */

#define TYPE float
#define NAME(x) x##_float
#include "hinges.c"
#undef TYPE
#undef NAME
#define TYPE double
#define NAME(x) x##_double
#include "hinges.c"

#else

#include "cells.h"

typedef struct {
    int64_t columns, searches, start;
    const TYPE *tile, *limits, *middle;
    TYPE reach, *out, *below, *value;
    int64_t *place, *rank;
} NAME(job);

/* out = minus the number of limits above each cell; below += cells under each limit; value -= the hinges. */
static void NAME(count_rows)(const void *given, int64_t first, int64_t last)
{
    const NAME(job) *job = given;
    const int64_t columns = job->columns, searches = job->searches;
    for (int64_t row = first; row < last; row++) {
        const TYPE *tile = job->tile + row * columns, *limits = job->limits + row * searches;
        TYPE *out = job->out + row * columns;
        const TYPE middle = job->middle ? job->middle[row] : 0, floor_ = -job->reach;
        double total = 0;
        for (int64_t begin = 0; begin < columns; begin += STRIP) {
            const int64_t length = columns - begin < STRIP ? columns - begin : STRIP;
            const TYPE *cells = tile + begin;
            int32_t counts[STRIP] = {0};
            for (int64_t search = 0; search < searches; search++) {
                const TYPE limit = limits[search];
                int32_t found = 0;
                for (int64_t i = 0; i < length; i++) {
                    const int32_t under = cells[i] < limit;
                    counts[i] += under;
                    found += under;
                }
                if (job->below) job->below[row * searches + search] += (TYPE)found;
            }
            if (job->value) {
                TYPE lanes[16] = {0};
                int64_t i = 0;
                for (; i + 16 <= length; i += 16)
                    for (int lane = 0; lane < 16; lane++) {
                        const TYPE gap = middle - cells[i + lane];
                        lanes[lane] += (gap > floor_ ? gap : floor_) * (TYPE)counts[i + lane];
                    }
                for (; i < length; i++) {
                    const TYPE gap = middle - cells[i];
                    lanes[0] += (gap > floor_ ? gap : floor_) * (TYPE)counts[i];
                }
                for (int lane = 0; lane < 16; lane++) total += (double)lanes[lane];
            }
            for (int64_t i = 0; i < length; i++) out[begin + i] = -(TYPE)counts[i];
        }
        if (job->value) job->value[row] += (TYPE)total;
    }
}

/* out, place: the least cell above each limit and its column, kept where they are when none is less. */
static void NAME(search_rows)(const void *given, int64_t first, int64_t last)
{
    const NAME(job) *job = given;
    const int64_t columns = job->columns, searches = job->searches;
    for (int64_t row = first; row < last; row++) {
        const TYPE *tile = job->tile + row * columns;
        for (int64_t search = 0; search < searches; search++) {
            const TYPE limit = job->limits[row * searches + search];
            TYPE *best = job->out + row * searches + search;
            const TYPE least = NAME(least_above)(tile, columns, limit, *best);
            if (!(least < *best)) continue; /* a tie keeps the place of the tile before */
            int64_t at = 0; /* the first of equal ones: a strip that holds one, then the cell */
            for (int32_t here = 0; at + COMPARED <= columns; at += COMPARED) {
                for (int lane = 0; lane < COMPARED; lane++) here |= tile[at + lane] == least;
                if (here) break;
            }
            while (tile[at] != least) at++;
            *best = least;
            job->place[row * searches + search] = job->start + at;
        }
    }
}

/* rank += the cells that come before each member of a row: less than its own, or equal and before its place. */
static void NAME(rank_rows)(const void *given, int64_t first, int64_t last)
{
    const NAME(job) *job = given;
    for (int64_t row = first; row < last; row++)
        for (int64_t begin = 0; begin < job->columns; begin += STRIP) {
            const int64_t left = job->columns - begin, length = left < STRIP ? left : STRIP;
            const TYPE *cells = job->tile + row * job->start + begin;
            for (int64_t at = row * job->searches; at < (row + 1) * job->searches; at++) {
                const TYPE own = job->limits[at];
                const int64_t place = job->place[at];
                if (place < 0) continue;
                const int64_t split = place <= begin ? 0 : place - begin < length ? place - begin : length;
                int32_t before = 0, after = 0;
                for (int64_t i = 0; i < split; i++) before += cells[i] <= own;
                for (int64_t i = split; i < length; i++) after += cells[i] < own;
                job->rank[at] += before + after;
            }
        }
}

void NAME(ranks_below)(const TYPE *table, int64_t rows, int64_t stride, int64_t columns, const TYPE *own,
                       int64_t *place, int64_t members, int64_t *rank, int64_t threads)
{
    const NAME(job) whole = {.columns = columns, .searches = members, .start = stride, .tile = table,
                             .limits = own, .place = place, .rank = rank};
    shared(NAME(rank_rows), &whole, rows, threads);
}

void NAME(count_below)(const TYPE *tile, int64_t rows, int64_t columns, const TYPE *limits, int64_t searches,
                       const TYPE *middle, TYPE reach, TYPE *out, TYPE *below, TYPE *value, int64_t threads)
{
    const NAME(job) whole = {.columns = columns, .searches = searches, .tile = tile, .limits = limits,
                             .middle = middle, .reach = reach, .out = out, .below = below, .value = value};
    shared(NAME(count_rows), &whole, rows, threads);
}

void NAME(nearest_above)(const TYPE *tile, int64_t rows, int64_t columns, const TYPE *limits, int64_t searches,
                         int64_t start, TYPE *best, int64_t *place, int64_t threads)
{
    const NAME(job) whole = {.columns = columns, .searches = searches, .start = start, .tile = tile,
                             .limits = limits, .out = best, .place = place};
    shared(NAME(search_rows), &whole, rows, threads);
}

#endif

/* What both sides of a tile need of a table that equals its transpose; see symmetric.py.
 *
 * Compiled for float and for double: TYPE and NAME(x) are given on the second inclusion of this file.
 */
#ifndef TYPE

#include "share.h"

#define STRIP 32 /* cells that are looked at before one of them is taken */
#define COUNTED 256 /* columns whose limits stay in the first cache while all rows pass */

#define TYPE float
#define NAME(x) x##_float
#include "symmetric.c"
#undef TYPE
#undef NAME
#define TYPE double
#define NAME(x) x##_double
#include "symmetric.c"

#else

typedef struct {
    int64_t n, row, rows, column, columns, k, width, members, most;
    const TYPE *half, *slack, *low, *high;
    TYPE *tile, *bound, *value;
    const int32_t *member;
    int32_t *place, *count, *below, *times, *listed;
    int64_t *used;
} NAME(side_job);

/* Put a key in its place among those kept for a query, and drop what lies beyond the k-th and the slack. */
static void NAME(keep)(const NAME(side_job) *job, int64_t query, TYPE key, int64_t place)
{
    TYPE *value = job->value + query * job->width;
    int32_t *places = job->place + query * job->width, count = job->count[query], at = count++;
    for (; at > 0 && value[at - 1] > key; at--) {
        value[at] = value[at - 1];
        places[at] = places[at - 1];
    }
    value[at] = key;
    places[at] = (int32_t)place;
    if (count >= job->k) {
        const TYPE limit = value[job->k - 1] + job->slack[query];
        while (value[count - 1] > limit) count--;
        job->bound[query] = limit;
    }
    if (count == job->width) { /* so many can't be told apart that they must be looked for elsewhere */
        job->bound[query] = -(TYPE)(1.0 / 0.0);
        count = -1;
    }
    job->count[query] = count;
}

/* Keep, for the queries of some rows, the columns up to their bounds. */
static void NAME(near_of_rows)(const void *given, int64_t first, int64_t last)
{
    const NAME(side_job) *job = given;
    const TYPE *half = job->half + job->column;
    for (int64_t row = first; row < last; row++) {
        const TYPE *cells = job->tile + row * job->columns, *bound = job->bound + job->row + row;
        for (int64_t begin = 0; begin < job->columns; begin += STRIP) {
            const int64_t end = job->columns - begin < STRIP ? job->columns : begin + STRIP;
            const TYPE most = *bound;
            int32_t some = 0;
            for (int64_t i = begin; i < end; i++) some |= cells[i] + half[i] <= most;
            for (int64_t i = begin; some && i < end; i++)
                if (cells[i] + half[i] <= *bound)
                    NAME(keep)(job, job->row + row, cells[i] + half[i], job->column + i);
        }
    }
}

/* Keep, for the queries of some columns, the rows up to their bounds. */
static void NAME(near_of_columns)(const void *given, int64_t first, int64_t last)
{
    const NAME(side_job) *job = given;
    const TYPE *bound = job->bound + job->column;
    for (int64_t row = 0; row < job->rows; row++) {
        const TYPE *cells = job->tile + row * job->columns, half = job->half[job->row + row];
        for (int64_t begin = first; begin < last; begin += STRIP) {
            const int64_t end = last - begin < STRIP ? last : begin + STRIP;
            int32_t some = 0;
            for (int64_t i = begin; i < end; i++) some |= cells[i] + half <= bound[i];
            for (int64_t i = begin; some && i < end; i++)
                if (cells[i] + half <= bound[i])
                    NAME(keep)(job, job->column + i, cells[i] + half, job->row + row);
        }
    }
}

/* Take each row's members out of the tile: they are put in order among themselves by their distances. */
static void NAME(bar_members)(const void *given, int64_t first, int64_t last)
{
    const NAME(side_job) *job = given;
    for (int64_t row = first; row < last; row++)
        for (int64_t member = 0; member < job->members; member++) {
            const int64_t at = job->member[member * job->n + job->row + row] - job->column;
            if (at >= 0 && at < job->columns) job->tile[row * job->columns + at] = (TYPE)(1.0 / 0.0);
        }
}

/* A cell that may or may not come before a member: written down, unless the query has too many of them. */
static void NAME(list)(const NAME(side_job) *job, int64_t query, int64_t member, int64_t place)
{
    if (job->times[query] >= job->most) return;
    job->times[query]++;
    int32_t *at = job->listed + 3 * __atomic_fetch_add(job->used, 1, __ATOMIC_RELAXED);
    at[0] = (int32_t)query;
    at[1] = (int32_t)member;
    at[2] = (int32_t)place;
}

/* Count, for the members of some rows' queries, the columns that come before them. */
static void NAME(count_for_rows)(const void *given, int64_t first, int64_t last)
{
    const NAME(side_job) *job = given;
    const TYPE *half = job->half + job->column;
    for (int64_t row = first; row < last; row++)
        for (int64_t begin = 0; begin < job->columns; begin += COUNTED) {
            const int64_t length = job->columns - begin < COUNTED ? job->columns - begin : COUNTED;
            const TYPE *cells = job->tile + row * job->columns + begin;
            TYPE keys[COUNTED];
            for (int64_t i = 0; i < length; i++) keys[i] = cells[i] + half[begin + i];
            for (int64_t member = 0; member < job->members; member++) {
                const int64_t query = job->row + row, at = member * job->n + query;
                const TYPE low = job->low[at], high = job->high[at];
                int32_t under = 0, up_to = 0;
                for (int64_t i = 0; i < length; i++) {
                    under += keys[i] < low;
                    up_to += keys[i] <= high;
                }
                job->below[at] += under;
                if (up_to == under) continue;
                for (int64_t i = 0; i < length; i++)
                    if (keys[i] >= low && keys[i] <= high)
                        NAME(list)(job, query, member, job->column + begin + i);
            }
        }
}

/* Count, for the members of some columns' queries, the rows that come before them. */
static void NAME(count_for_columns)(const void *given, int64_t first, int64_t last)
{
    const NAME(side_job) *job = given;
    for (int64_t begin = first; begin < last; begin += COUNTED) {
        const int64_t length = last - begin < COUNTED ? last - begin : COUNTED;
        for (int64_t row = 0; row < job->rows; row++) {
            const TYPE *cells = job->tile + row * job->columns + begin, half = job->half[job->row + row];
            for (int64_t member = 0; member < job->members; member++) {
                const int64_t at = member * job->n + job->column + begin;
                const TYPE *low = job->low + at, *high = job->high + at;
                int32_t *below = job->below + at, some = 0;
                for (int64_t i = 0; i < length; i++) {
                    const TYPE key = cells[i] + half;
                    const int32_t under = key < low[i];
                    below[i] += under;
                    some |= (key <= high[i]) - under;
                }
                if (!some) continue;
                for (int64_t i = 0; i < length; i++)
                    if (cells[i] + half >= low[i] && cells[i] + half <= high[i])
                        NAME(list)(job, job->column + begin + i, member, job->row + row);
            }
        }
    }
}

void NAME(near_of_both)(TYPE *tile, int64_t row, int64_t rows, int64_t column, int64_t columns,
                        const TYPE *half, const TYPE *slack, TYPE *bound, int64_t k, int64_t width, TYPE *value,
                        int32_t *place, int32_t *count, int64_t threads)
{
    const NAME(side_job) job = {.row = row, .rows = rows, .column = column, .columns = columns, .tile = tile,
                                .half = half, .slack = slack, .bound = bound, .k = k, .width = width,
                                .value = value, .place = place, .count = count};
    shared(NAME(near_of_rows), &job, rows, threads);
    if (row != column) shared(NAME(near_of_columns), &job, columns, threads);
}

void NAME(count_of_both)(TYPE *tile, int64_t row, int64_t rows, int64_t column, int64_t columns,
                         const TYPE *half, int64_t n, int64_t members, const int32_t *member, const TYPE *low,
                         const TYPE *high, int32_t *below, int32_t *times, int64_t most, int32_t *listed, int64_t *used,
                         int64_t threads)
{
    const NAME(side_job) job = {.n = n, .row = row, .rows = rows, .column = column, .columns = columns,
                                .tile = tile, .half = half, .members = members, .member = member,
                                .low = low, .high = high, .below = below, .times = times, .most = most, .listed = listed, .used = used};
    shared(NAME(bar_members), &job, rows, threads);
    shared(NAME(count_for_rows), &job, rows, threads);
    if (row != column) shared(NAME(count_for_columns), &job, columns, threads);
}

#endif

/* Hinges of single cells with their sums by row, and by column where asked; see gaps.py.
 *
 * Compiled for float and for double: TYPE and NAME(x) are given on the second inclusion of this file.
 */
#ifndef TYPE

#include <stdlib.h>
#include <string.h>

#include "share.h"

#define LANES 32
#define HEIGHT 64 /* rows whose sums by column stand apart, so that threads don't meet */

#define TYPE float
#define NAME(x) x##_float
#include "gaps.c"
#undef TYPE
#undef NAME
#define TYPE double
#define NAME(x) x##_double
#include "gaps.c"

#else

typedef struct {
    const TYPE *tile;
    int64_t rows, columns;
    TYPE margin, *out, *row_value, *row_active, *column_value, *column_active;
    int64_t squared;
} NAME(gap_job);

/* LANES cells side by side, or the few that are left: what is given as a constant is decided when this is compiled. */
#define EACH(COUNT, BODY)                                                                                              \
    for (int64_t lane = 0; lane < (COUNT); lane++) {                                                                   \
        const TYPE gap = margin - cells[j + lane], held = gap > 0 ? gap : 0, some = gap > 0 ? 1 : 0;                   \
        const TYPE term = squared ? held * held * (TYPE)0.5 : held;                                                    \
        values[lane] += term;                                                                                          \
        actives[lane] += some;                                                                                         \
        BODY;                                                                                                          \
    }

static inline __attribute__((always_inline)) void NAME(gaps_of_row)(const NAME(gap_job) *all, int64_t row, int squared,
                                                                    int writes, TYPE *restrict by_column)
{
    const int64_t columns = all->columns;
    const TYPE *restrict cells = all->tile + row * columns, margin = all->margin;
    TYPE *restrict out = writes ? all->out + row * columns : 0, *restrict active = by_column ? by_column + columns : 0;
    TYPE values[LANES] = {0}, actives[LANES] = {0};
    int64_t j = 0;
    if (writes) {
        for (; j + LANES <= columns; j += LANES) EACH(LANES, out[j + lane] = squared ? -held : -some)
        EACH(columns - j, out[j + lane] = squared ? -held : -some)
    } else if (by_column) {
        for (; j + LANES <= columns; j += LANES) EACH(LANES, by_column[j + lane] += term; active[j + lane] += some)
        EACH(columns - j, by_column[j + lane] += term; active[j + lane] += some)
    } else {
        for (; j + LANES <= columns; j += LANES) EACH(LANES, )
        EACH(columns - j, )
    }
    for (int lane = 1; lane < LANES; lane++) {
        values[0] += values[lane];
        actives[0] += actives[lane];
    }
    if (all->row_value) all->row_value[row] += values[0];
    if (all->row_active) all->row_active[row] += actives[0];
}
#undef EACH

static void NAME(gaps_of_chunks)(const void *given, int64_t first, int64_t last)
{
    const NAME(gap_job) *all = given;
    for (int64_t chunk = first; chunk < last; chunk++) {
        TYPE *by_column = all->column_value ? all->column_value + chunk * 2 * all->columns : 0;
        if (by_column) memset(by_column, 0, 2 * all->columns * sizeof(TYPE));
        for (int64_t row = chunk * HEIGHT; row < (chunk + 1) * HEIGHT && row < all->rows; row++) {
            if (all->out && all->squared) NAME(gaps_of_row)(all, row, 1, 1, 0);
            else if (all->out) NAME(gaps_of_row)(all, row, 0, 1, 0);
            else if (all->squared) NAME(gaps_of_row)(all, row, 1, 0, by_column);
            else NAME(gaps_of_row)(all, row, 0, 0, by_column);
        }
    }
}

/* With the gaps max(0, margin - cell): out, the slopes of half their squares or of themselves; to the values are added
 * those terms, to the active ones how many aren't zero. All but the tile may be null; of out and the
 * sums by column one is. Gives 0 where memory fails. */
int64_t NAME(pair_gaps)(const TYPE *tile, int64_t rows, int64_t columns, TYPE margin, int64_t squared, TYPE *out,
                        TYPE *row_value, TYPE *row_active, TYPE *column_value, TYPE *column_active, int64_t threads)
{
    const int64_t chunks = (rows + HEIGHT - 1) / HEIGHT;
    NAME(gap_job) all = {.tile = tile, .rows = rows, .columns = columns, .margin = margin, .squared = squared, .out = out,
                         .row_value = row_value, .row_active = row_active};
    if (column_value && !(all.column_value = malloc(chunks * 2 * columns * sizeof(TYPE)))) return 0;
    shared(NAME(gaps_of_chunks), &all, chunks, threads);
    for (int64_t chunk = 0; column_value && chunk < chunks; chunk++) {
        const TYPE *found = all.column_value + chunk * 2 * columns;
        for (int64_t j = 0; j < columns; j++) {
            column_value[j] += found[j];
            if (column_active) column_active[j] += found[columns + j];
        }
    }
    free(all.column_value);
    return 1;
}

#endif

/* Distances and gradients of listed cells, one by one; see pairs.py.
 *
 * Compiled for float and for double: TYPE and NAME(x) are given on the second inclusion of this file.
 */
#ifndef TYPE

#include <math.h>

#include "share.h"

#define LANES 32
#define AHEAD 4 /* cells whose rows and columns are asked for before they are needed */

enum form { SQUARED, EUCLIDEAN, HALF_SQUARED, NEGATIVE_PRODUCT };

#define TYPE float
#define NAME(x) x##_float
#include "pairs.c"
#undef TYPE
#undef NAME
#define TYPE double
#define NAME(x) x##_double
#include "pairs.c"

#else

typedef struct {
    const TYPE *u, *v, *u_scale, *v_scale; /* scales are null where features enter as they lie */
    int64_t width, form;
    const int64_t *rows, *columns;
    TYPE *out;
} NAME(listed);

/* A feature times its scale, rounded as such: equal ones have no difference, to the bit. */
static const TYPE *NAME(feature)(const TYPE *all, const TYPE *scale, int64_t number, int64_t width, TYPE *copy)
{
    const TYPE *from = all + number * width;
    if (!scale) return from;
    for (int64_t i = 0; i < width; i++) copy[i] = from[i] * scale[number];
    return copy;
}

static void NAME(ask_for)(const TYPE *row, int64_t width)
{
    for (int64_t i = 0; i < width; i += (int64_t)(64 / sizeof(TYPE))) __builtin_prefetch(row + i);
}

static void NAME(distances_of)(const void *given, int64_t first, int64_t last)
{
    const NAME(listed) *all = given;
    const int64_t width = all->width;
    TYPE u_copy[width], v_copy[width];
    for (int64_t at = first; at < last; at++) {
        if (at + AHEAD < last) {
            NAME(ask_for)(all->u + all->rows[at + AHEAD] * width, width);
            NAME(ask_for)(all->v + all->columns[at + AHEAD] * width, width);
        }
        const TYPE *u = NAME(feature)(all->u, all->u_scale, all->rows[at], width, u_copy);
        const TYPE *v = NAME(feature)(all->v, all->v_scale, all->columns[at], width, v_copy);
        TYPE lanes[LANES] = {0};
        int64_t i = 0;
        if (all->form == NEGATIVE_PRODUCT) {
            for (; i + LANES <= width; i += LANES)
                for (int lane = 0; lane < LANES; lane++) lanes[lane] -= u[i + lane] * v[i + lane];
            for (; i < width; i++) lanes[0] -= u[i] * v[i];
        } else {
            for (; i + LANES <= width; i += LANES)
                for (int lane = 0; lane < LANES; lane++) {
                    const TYPE gap = u[i + lane] - v[i + lane];
                    lanes[lane] += gap * gap;
                }
            for (; i < width; i++) lanes[0] += (u[i] - v[i]) * (u[i] - v[i]);
        }
        for (int half = LANES / 2; half; half /= 2)
            for (int lane = 0; lane < half; lane++) lanes[lane] += lanes[lane + half];
        all->out[at] = all->form == EUCLIDEAN      ? (TYPE)sqrt(lanes[0])
                       : all->form == HALF_SQUARED ? lanes[0] / 2
                                                   : lanes[0];
    }
}

void NAME(pair_distances)(const TYPE *u, const TYPE *v, const TYPE *u_scale, const TYPE *v_scale,
                          int64_t width, int64_t form, const int64_t *rows, const int64_t *columns,
                          int64_t count, TYPE *out, int64_t threads)
{
    const NAME(listed) all = {u, v, u_scale, v_scale, width, form, rows, columns, out};
    shared(NAME(distances_of), &all, count, count * width < 1 << 16 ? 1 : threads);
}

/* Add what each cell's pull gives: pull (u - v) to its row's gradient and the opposite to its column's, or
 * -pull v and -pull u where the form is a product. column_gradient may be null. One thread: cells share rows. */
void NAME(pair_gradients)(const TYPE *u, const TYPE *v, const TYPE *u_scale, const TYPE *v_scale,
                          int64_t width, int64_t form, const int64_t *rows, const int64_t *columns,
                          const TYPE *pulls, int64_t count, TYPE *row_gradient, TYPE *column_gradient)
{
    TYPE u_copy[width], v_copy[width], gap[width];
    for (int64_t at = 0; at < count; at++) {
        const TYPE pull = pulls[at];
        if (pull == 0) continue;
        if (at + AHEAD < count) {
            NAME(ask_for)(u + rows[at + AHEAD] * width, width);
            NAME(ask_for)(v + columns[at + AHEAD] * width, width);
        }
        const TYPE *mine = NAME(feature)(u, u_scale, rows[at], width, u_copy);
        const TYPE *other = NAME(feature)(v, v_scale, columns[at], width, v_copy);
        TYPE *to_row = row_gradient + rows[at] * width;
        TYPE *to_column = column_gradient ? column_gradient + columns[at] * width : 0;
        if (form == NEGATIVE_PRODUCT) {
            for (int64_t i = 0; i < width; i++) to_row[i] -= pull * other[i];
            for (int64_t i = 0; to_column && i < width; i++) to_column[i] -= pull * mine[i];
            continue;
        }
        for (int64_t i = 0; i < width; i++) gap[i] = mine[i] - other[i];
        for (int64_t i = 0; i < width; i++) to_row[i] += pull * gap[i];
        for (int64_t i = 0; to_column && i < width; i++) to_column[i] -= pull * gap[i];
    }
}

#endif

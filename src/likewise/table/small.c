/* A table so small that one block holds it: everything but its products and the loss; see small.py.
 *
 * Compiled for float and for double: TYPE and NAME(x) are given on the second inclusion of this file.
 */
#ifndef TYPE

#include <string.h>

#include "share.h"

#define LANES 32
#define SIDE 16 /* cells a side of the squares that a table is added to its transpose in */
#define SMALL (1.0 / 128) /* below this part of |u|^2 + |v|^2 a product can't tell; as in product.py */

/* Each row's columns of its own class or id, in order, those that aren't near as -1 - j: listed, from start[row]
 * to start[row + 1]. Ids may be null; then those of equal number are one item where columns are rows.
 * Gives the number of near ones of the row that has most, and that of all, times 2^32. */
int64_t small_classes(const int64_t *row_codes, int64_t n, const int64_t *column_codes, int64_t m,
                      const int64_t *row_ids, const int64_t *column_ids, int64_t columns_are_rows,
                      int32_t *listed, int32_t *start)
{
    int64_t at = 0, longest = 0, total = 0;
    for (int64_t row = 0; row < n; row++) {
        const int64_t code = row_codes[row], id = row_ids ? row_ids[row] : 0;
        int64_t count = 0;
        start[row] = (int32_t)at;
        for (int64_t begin = 0; begin < m; begin += LANES) {
            const int64_t end = m - begin < LANES ? m : begin + LANES;
            int64_t some = 0;
            for (int64_t j = begin; j < end; j++) some |= column_codes[j] == code;
            if (column_ids)
                for (int64_t j = begin; j < end; j++) some |= column_ids[j] == id;
            if (!some) continue;
            for (int64_t j = begin; j < end; j++) {
                const int same = column_ids ? column_ids[j] == id : columns_are_rows && j == row;
                const int alike = column_codes[j] == code;
                if (alike || same) listed[at++] = (int32_t)(alike && !same ? j : -1 - j);
                count += alike && !same;
            }
        }
        total += count;
        longest = count > longest ? count : longest;
    }
    start[n] = (int32_t)at;
    return total << 32 | longest;
}

/* The near ones of small_classes as rows and columns, in order. */
void small_near(const int32_t *listed, const int32_t *start, int64_t n, int64_t *rows, int64_t *columns)
{
    int64_t found = 0;
    for (int64_t row = 0; row < n; row++)
        for (int64_t at = start[row]; at < start[row + 1]; at++) {
            if (listed[at] < 0) continue;
            rows[found] = row;
            columns[found++] = listed[at];
        }
}

/* sums[0]: of value * weight, the weights may be null; sums[1], sums[2]: of terms and active ones, which are
 * of kind 0 (bytes), 1 (floats), 2 (doubles) or 3 (64-bit integers). value and weights are floats or doubles. */
static double number_of(const void *array, int64_t kind, int64_t i)
{
    return kind == 0 ? ((const uint8_t *)array)[i] : kind == 1 ? ((const float *)array)[i]
           : kind == 2 ? ((const double *)array)[i] : (double)((const int64_t *)array)[i];
}

void small_sums(const void *value, const void *weights, int64_t kind, const void *terms, int64_t terms_kind,
                const void *active, int64_t active_kind, int64_t count, double *sums)
{
    sums[0] = sums[1] = sums[2] = 0;
    for (int64_t i = 0; i < count; i++) {
        sums[0] += number_of(value, kind, i) * (weights ? number_of(weights, kind, i) : 1);
        sums[1] += number_of(terms, terms_kind, i);
        sums[2] += number_of(active, active_kind, i);
    }
}

#define TYPE float
#define NAME(x) x##_float
#include "small.c"
#undef TYPE
#undef NAME
#define TYPE double
#define NAME(x) x##_double
#include "small.c"

#else

#include "cells.h"

/* Rows as they enter products, with their scales where at unit length, and their squares. */
static void NAME(enter)(const TYPE *given, int64_t count, int64_t width, int64_t unit, TYPE *entering,
                        TYPE *scale, TYPE *squares)
{
    for (int64_t row = 0; row < count; row++) {
        const TYPE *from = given + row * width, square = NAME(product)(from, from, width);
        squares[row] = unit ? square > 0 : square;
        if (!unit) continue;
        /* a zero row has no direction: it stays zero, and its scale makes its gradient zero too */
        const TYPE factor = scale[row] = square > 0 ? 1 / (TYPE)sqrt(square) : 0;
        for (int64_t i = 0; i < width; i++) entering[row * width + i] = from[i] * factor;
    }
}

/* Whether the mean of rows, given in the doubles of mean, is so large that products lose digits by it. */
int64_t NAME(mean_is_large)(const TYPE *rows, int64_t count, int64_t width, double *mean)
{
    double squares = 0, square = 0;
    memset(mean, 0, width * sizeof(double));
    for (int64_t row = 0; row < count; row++) {
        const TYPE *from = rows + row * width;
        for (int64_t i = 0; i < width; i++) mean[i] += from[i];
        squares += NAME(product)(from, from, width);
    }
    for (int64_t i = 0; i < width; i++) square += mean[i] * mean[i];
    return square / count * 4 > squares;
}

/* Bring features to unit length where unit, and take their mean: of columns, or of rows where columns is null.
 * Gives whether the mean is so large that products lose digits by it, and small_centre is to take it off. */
int64_t NAME(small_enter)(const TYPE *rows, int64_t n, const TYPE *columns, int64_t m, int64_t width,
                          int64_t form, int64_t unit, TYPE *u, TYPE *v, TYPE *row_scale, TYPE *column_scale,
                          TYPE *row_squares, TYPE *column_squares, TYPE *mean)
{
    NAME(enter)(rows, n, width, unit, u, row_scale, row_squares);
    if (columns) NAME(enter)(columns, m, width, unit, v, column_scale, column_squares);
    if (form == NEGATIVE_PRODUCT || m < 2) return 0;
    const TYPE *of = columns ? (unit ? v : columns) : unit ? u : rows;
    TYPE squares = 0;
    memset(mean, 0, width * sizeof(TYPE));
    for (int64_t row = 0; row < m; row++) {
        for (int64_t i = 0; i < width; i++) mean[i] += of[row * width + i];
        squares += (columns ? column_squares : row_squares)[row];
    }
    for (int64_t i = 0; i < width; i++) mean[i] /= m;
    return NAME(product)(mean, mean, width) * 4 > squares / m;
}

/* Take the mean off features, which entering may hold already, and give their new squares. */
void NAME(small_centre)(const TYPE *from, int64_t count, int64_t width, const TYPE *mean, TYPE *entering,
                        TYPE *squares)
{
    for (int64_t row = 0; row < count; row++) {
        TYPE *to = entering + row * width;
        for (int64_t i = 0; i < width; i++) to[i] = from[row * width + i] - mean[i];
        squares[row] = NAME(product)(to, to, width);
    }
}

/* Turn products (n, m) into distances of rows and columns (in which small ones are to be subtracted), infinite where not far; list the near ones, padded to longest.
 *
 * listed, start: of small_classes.
 * small: the cells taken by subtraction. Gives how many. */
int64_t NAME(small_distances)(const TYPE *rows, int64_t n, const TYPE *columns, int64_t m, int64_t width,
                              int64_t form, const TYPE *row_squares, const TYPE *column_squares,
                              const int32_t *listed, const int32_t *start, int64_t longest, TYPE *table,
                              TYPE *near, int64_t *place, uint8_t *valid, int32_t *small, TYPE *near_count,
                              TYPE *far_count, TYPE *scratch)
{
    const NAME(pairs) all = {rows, columns, width, form};
    const TYPE half = form == HALF_SQUARED ? (TYPE)0.5 : 1, out = (TYPE)INFINITY;
    int64_t found = 0;
    for (int64_t row = 0; row < n; row++) {
        TYPE *cells = table + row * m;
        if (form == NEGATIVE_PRODUCT)
            for (int64_t j = 0; j < m; j++) cells[j] = -cells[j];
        else
            for (int64_t j = 0; j < m; j++)
                cells[j] = ((row_squares[row] + column_squares[j]) - 2 * cells[j]) * half;
        int64_t slot = row * longest;
        for (int64_t at = start[row]; at < start[row + 1]; at++) {
            const int64_t j = listed[at] < 0 ? -1 - listed[at] : listed[at];
            TYPE distance = cells[j];
            cells[j] = out;
            if (listed[at] < 0) continue;
            if (form != NEGATIVE_PRODUCT &&
                distance <= (row_squares[row] + column_squares[j]) * (TYPE)SMALL * half) {
                distance = NAME(subtract)(&all, row, j, scratch);
                small[found++] = (int32_t)(row * m + j);
            }
            near[slot] = form == EUCLIDEAN ? (TYPE)sqrt(distance) : distance;
            place[slot] = j;
            valid[slot++] = 1;
        }
        near_count[row] = (TYPE)(slot - row * longest);
        far_count[row] = (TYPE)(m - (start[row + 1] - start[row]));
        for (; slot < (row + 1) * longest; slot++) {
            near[slot] = out;
            place[slot] = 0;
            valid[slot] = 0;
        }
        if (form == NEGATIVE_PRODUCT) continue;
        int32_t some = 0;
        for (int64_t j = 0; j < m; j++)
            some |= cells[j] <= (row_squares[row] + column_squares[j]) * (TYPE)SMALL * half;
        if (some)
            for (int64_t j = 0; j < m; j++)
                if (cells[j] <= (row_squares[row] + column_squares[j]) * (TYPE)SMALL * half) {
                    cells[j] = NAME(subtract)(&all, row, j, scratch);
                    small[found++] = (int32_t)(row * m + j);
                }
        if (form == EUCLIDEAN)
            for (int64_t j = 0; j < m; j++) cells[j] = (TYPE)sqrt(cells[j]);
    }
    return found;
}

/* a += its transpose, for a square of count a side. */
static void NAME(add_transpose)(TYPE *a, int64_t count)
{
    for (int64_t top = 0; top < count; top += SIDE)
        for (int64_t left = top; left < count; left += SIDE)
            for (int64_t i = top; i < count && i < top + SIDE; i++)
                for (int64_t j = left > i ? left : i; j < count && j < left + SIDE; j++)
                    a[i * count + j] = a[j * count + i] = a[i * count + j] + a[j * count + i];
}

/* Make of slopes (n, m) what is multiplied with the features: near slopes put in, scale, weights and the
 * form's factor on it, its sign turned. What small cells give is added to the gradients at once, which begin at zero
 * then. Where columns are rows the table is added to its transpose. row_sums, column_sums: minus what the
 * result adds up to, or null. */
void NAME(small_slopes)(const TYPE *rows, int64_t n, const TYPE *columns, int64_t m, int64_t width,
                        int64_t form, const TYPE *table, const TYPE *near, const int64_t *place,
                        const uint8_t *valid, int64_t longest, TYPE *slopes, const TYPE *near_slopes,
                        double near_scale, double scale, const TYPE *weights, const int32_t *small,
                        int64_t n_small, TYPE *row_gradient, TYPE *column_gradient, TYPE *row_sums,
                        TYPE *column_sums, TYPE *scratch)
{
    const NAME(pairs) all = {rows, columns, width, form};
    const int shared_sides = rows == columns;
    int64_t at = 0;
    if (n_small) memset(row_gradient, 0, n * width * sizeof(TYPE));
    if (n_small && column_gradient && !shared_sides) memset(column_gradient, 0, m * width * sizeof(TYPE));
    for (int64_t row = 0; row < n; row++) {
        const TYPE by = -(TYPE)scale * (weights ? weights[row] : 1) * (form == SQUARED ? 2 : 1), *distances = table + row * m;
        const TYPE near_by = by * (TYPE)near_scale;
        TYPE *to = slopes + row * m;
        if (form == EUCLIDEAN)
            for (int64_t j = 0; j < m; j++) to[j] = to[j] * by / distances[j];
        else
            for (int64_t j = 0; j < m; j++) to[j] *= by;
        for (int64_t slot = row * longest; slot < (row + 1) * longest; slot++)
            if (valid[slot])
                to[place[slot]] = near_slopes[slot] * near_by / (form == EUCLIDEAN ? near[slot] : 1);
        for (; at < n_small && small[at] < (row + 1) * m; at++) {
            const int64_t column = small[at] - row * m;
            const TYPE square = NAME(subtract)(&all, row, column, scratch);
            const TYPE pull = form == EUCLIDEAN && !(square > 0) ? 0 : -to[column]; /* zero at zero */
            TYPE *u = row_gradient + row * width, *v = column_gradient + column * width;
            to[column] = 0;
            for (int64_t i = 0; i < width; i++) u[i] += pull * scratch[i];
            if (column_gradient)
                for (int64_t i = 0; i < width; i++) v[i] -= pull * scratch[i];
        }
    }
    if (shared_sides) NAME(add_transpose)(slopes, n);
    if (column_sums) memset(column_sums, 0, m * sizeof(TYPE));
    for (int64_t row = 0; row < n && (row_sums || column_sums); row++) {
        const TYPE *to = slopes + row * m;
        TYPE lanes[LANES] = {0};
        int64_t j = 0;
        for (; j + LANES <= m; j += LANES)
            for (int lane = 0; lane < LANES; lane++) lanes[lane] -= to[j + lane];
        for (; j < m; j++) lanes[0] -= to[j];
        for (int lane = 1; lane < LANES; lane++) lanes[0] += lanes[lane];
        if (row_sums) row_sums[row] = lanes[0];
        for (j = 0; column_sums && j < m; j++) column_sums[j] -= to[j];
    }
}

/* The gradient of what was given from that of what entered, in place. entering is null where that is what
 * was given; sums is null where the squared forms don't need them, scale where not at unit length. */
void NAME(small_back)(TYPE *gradient, int64_t count, int64_t width, const TYPE *given, const TYPE *entering,
                      const TYPE *scale, const TYPE *sums)
{
    for (int64_t row = 0; row < count; row++) {
        const TYPE *from = given + row * width, *enters = (entering ? entering : given) + row * width;
        TYPE *to = gradient + row * width;
        if (sums)
            for (int64_t i = 0; i < width; i++) to[i] += sums[row] * enters[i];
        if (!scale) continue;
        const TYPE factor = scale[row], along = NAME(product)(to, from, width) * factor * factor;
        for (int64_t i = 0; i < width; i++) to[i] = (to[i] - along * from[i]) * factor;
    }
}

#endif

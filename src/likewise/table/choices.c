/* What miners choose on a table so small that one block holds it; see chosen.py, which says what is meant.
 *
 * A cell of the table comes from a product, which may put it on either side of another that is nearly equal. Where
 * that decides, both are taken by subtraction. Compiled for float and for double.
 */
#ifndef TYPE

#define TYPE float
#define NAME(x) x##_float
#include "choices.c"
#undef TYPE
#undef NAME
#define TYPE double
#define NAME(x) x##_double
#include "choices.c"

#else

#include "cells.h"

typedef struct {
    NAME(pairs) pairs;
    int64_t n, m, longest;
    const TYPE *table, *near;
    const int64_t *place;
    const uint8_t *valid;
    TYPE error; /* of a squared distance (halved in that form) or a product */
    TYPE *scratch;
} NAME(choice);

/* Twice what a distance of the table may be from the same by subtraction. */
static TYPE NAME(band)(const NAME(choice) *all, TYPE distance)
{
    if (all->pairs.form != EUCLIDEAN) return 2 * all->error;
    const TYPE root = (TYPE)sqrt(all->error), size = (TYPE)fabs(distance);
    const TYPE held = size > root ? size : root > (TYPE)1e-30 ? root : (TYPE)1e-30;
    return all->error / held;
}

static TYPE NAME(exact)(const NAME(choice) *all, int64_t row, int64_t column)
{
    const int64_t width = all->pairs.width;
    if (all->pairs.form == NEGATIVE_PRODUCT)
        return -NAME(product)(all->pairs.rows + row * width, all->pairs.columns + column * width, width);
    const TYPE found = NAME(subtract)(&all->pairs, row, column, all->scratch);
    return all->pairs.form == EUCLIDEAN ? (TYPE)sqrt(found) : found;
}

/* The list number of a row's farthest or nearest near cell, of equal ones the first; -1 where there is none. */
static int64_t NAME(extreme)(const NAME(choice) *all, int64_t row, int64_t farthest)
{
    const TYPE *near = all->near + row * all->longest, sign = farthest ? -1 : 1;
    const uint8_t *valid = all->valid + row * all->longest;
    int64_t best = -1, doubtful = 0;
    for (int64_t slot = 0; slot < all->longest; slot++)
        if (valid[slot] && (best < 0 || sign * near[slot] < sign * near[best])) best = slot;
    if (best < 0) return best;
    const TYPE least = sign * near[best], limit = least + NAME(band)(all, least);
    for (int64_t slot = 0; slot < all->longest; slot++) doubtful += valid[slot] && sign * near[slot] <= limit;
    if (doubtful < 2) return best;
    TYPE smallest = 0;
    best = -1;
    for (int64_t slot = 0; slot < all->longest; slot++) {
        if (!valid[slot] || !(sign * near[slot] <= limit)) continue;
        const TYPE exact = sign * NAME(exact)(all, row, all->place[row * all->longest + slot]);
        if (best < 0 || exact < smallest) {
            best = slot;
            smallest = exact;
        }
    }
    return best;
}

static int64_t NAME(place_of)(const TYPE *cells, TYPE value)
{
    int64_t at = 0;
    while (cells[at] != value) at++;
    return at;
}

/* The column of a row's nearest far cell that lies beyond a near cell; -1 where none does. */
static int64_t NAME(beyond)(const NAME(choice) *all, int64_t row, int64_t slot)
{
    const TYPE *cells = all->table + row * all->m, threshold = all->near[row * all->longest + slot];
    const TYPE band = NAME(band)(all, threshold), out = (TYPE)INFINITY;
    for (TYPE limit = threshold - band;;) {
        const TYPE least = NAME(least_above)(cells, all->m, limit, out);
        if (!(least < out)) return -1;
        const int64_t column = NAME(place_of)(cells, least);
        if (least > threshold + band) return column;
        if (NAME(exact)(all, row, column) > NAME(exact)(all, row, all->place[row * all->longest + slot]))
            return column;
        limit = least;
    }
}

static int64_t NAME(extreme_far)(const NAME(choice) *all, int64_t row, int64_t farthest)
{
    const TYPE *cells = all->table + row * all->m, out = (TYPE)INFINITY;
    int64_t best = -1;
    if (!farthest) {
        const TYPE least = NAME(least_above)(cells, all->m, -out, out);
        return least < out ? NAME(place_of)(cells, least) : -1;
    }
    for (int64_t j = 0; j < all->m; j++)
        if (cells[j] < out && (best < 0 || cells[j] > cells[best])) best = j;
    return best;
}

static NAME(choice) NAME(choice_of)(const TYPE *rows, int64_t n, const TYPE *columns, int64_t m, int64_t width,
                                    int64_t form, const TYPE *row_squares, const TYPE *column_squares, double error,
                                    const TYPE *near, const int64_t *place, const uint8_t *valid, int64_t longest,
                                    const TYPE *table, TYPE *scratch)
{
    TYPE largest_row = 0, largest_column = 0;
    for (int64_t i = 0; i < n; i++) largest_row = row_squares[i] > largest_row ? row_squares[i] : largest_row;
    for (int64_t j = 0; j < m; j++)
        largest_column = column_squares[j] > largest_column ? column_squares[j] : largest_column;
    const TYPE half = form == HALF_SQUARED ? (TYPE)0.5 : 1;
    return (NAME(choice)){{rows, columns, width, form}, n, m, longest, table, near, place, valid,
                          (TYPE)error * (largest_row + largest_column) * half, scratch};
}

/* For each row one far cell and, with near_choice 1 (farthest) or 2 (nearest), one near cell, by list number.
 * The far cell is the nearest, or with far_choice 1 the nearest beyond the chosen near one. kept: whether the row
 * has both; else both are 0. Distances are infinite where not kept; near_distance is null with near_choice 0. */
void NAME(choose_rows)(const TYPE *rows, int64_t n, const TYPE *columns, int64_t m, int64_t width, int64_t form,
                       const TYPE *row_squares, const TYPE *column_squares, double error, const TYPE *near,
                       const int64_t *place, const uint8_t *valid, int64_t longest, const TYPE *table, TYPE *scratch,
                       int64_t near_choice, int64_t far_choice, int64_t *slot, int64_t *far, uint8_t *kept,
                       TYPE *near_distance, TYPE *far_distance)
{
    const NAME(choice) all = NAME(choice_of)(rows, n, columns, m, width, form, row_squares, column_squares, error,
                                             near, place, valid, longest, table, scratch);
    for (int64_t row = 0; row < n; row++) {
        int64_t chosen = -1, other = -1;
        if (near_choice) chosen = NAME(extreme)(&all, row, near_choice == 1);
        else
            for (int64_t at = 0; at < longest && chosen < 0; at++) chosen = valid[row * longest + at] ? at : -1;
        if (chosen >= 0)
            other = far_choice ? NAME(beyond)(&all, row, chosen) : NAME(extreme_far)(&all, row, 0);
        kept[row] = other >= 0;
        slot[row] = kept[row] ? chosen : 0;
        far[row] = kept[row] ? other : 0;
        far_distance[row] = kept[row] ? table[row * m + other] : (TYPE)INFINITY;
        if (near_distance) near_distance[row] = kept[row] ? near[row * longest + chosen] : (TYPE)INFINITY;
    }
}

/* For each near cell the nearest far cell beyond it or, where none is and otherwise, the farthest there is: row,
 * list number, columns and distances, in the order of rows. Gives how many. */
int64_t NAME(choose_beyond)(const TYPE *rows, int64_t n, const TYPE *columns, int64_t m, int64_t width, int64_t form,
                            const TYPE *row_squares, const TYPE *column_squares, double error, const TYPE *near,
                            const int64_t *place, const uint8_t *valid, int64_t longest, const TYPE *table,
                            TYPE *scratch, int64_t otherwise, int64_t *row_of, int64_t *slot, int64_t *near_column,
                            int64_t *far, TYPE *near_distance, TYPE *far_distance)
{
    const NAME(choice) all = NAME(choice_of)(rows, n, columns, m, width, form, row_squares, column_squares, error,
                                             near, place, valid, longest, table, scratch);
    int64_t count = 0;
    for (int64_t row = 0; row < n; row++) {
        const int64_t farthest = otherwise ? NAME(extreme_far)(&all, row, 1) : -1;
        for (int64_t at = 0; at < longest; at++) {
            if (!valid[row * longest + at]) continue;
            int64_t found = NAME(beyond)(&all, row, at);
            if (found < 0) found = farthest;
            if (found < 0) continue;
            row_of[count] = row;
            slot[count] = at;
            near_column[count] = place[row * longest + at];
            far[count] = found;
            near_distance[count] = near[row * longest + at];
            far_distance[count++] = table[row * m + found];
        }
    }
    return count;
}

#endif

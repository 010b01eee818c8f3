/* Single cells and rows of cells, for TYPE and under NAME(x): included by each kernel once for each type. */
#ifndef LIKEWISE_CELLS
#define LIKEWISE_CELLS

#include <math.h>
#include <stdint.h>

#define ADDED 32 /* numbers added side by side */
#define COMPARED 64 /* columns compared side by side */

enum form { SQUARED, EUCLIDEAN, HALF_SQUARED, NEGATIVE_PRODUCT };

#endif

static inline TYPE NAME(product)(const TYPE *a, const TYPE *b, int64_t width)
{
    TYPE lanes[ADDED] = {0};
    int64_t i = 0;
    for (; i + ADDED <= width; i += ADDED)
        for (int lane = 0; lane < ADDED; lane++) lanes[lane] += a[i + lane] * b[i + lane];
    for (; i < width; i++) lanes[0] += a[i] * b[i];
    for (int half = ADDED / 2; half; half /= 2)
        for (int lane = 0; lane < half; lane++) lanes[lane] += lanes[lane + half];
    return lanes[0];
}

typedef struct {
    const TYPE *rows, *columns; /* not multiplied with scales here: equal rows have no difference, to the bit */
    int64_t width, form;
} NAME(pairs);

/* The difference of a row and a column by subtraction, and its distance (not yet a root). */
static inline TYPE NAME(subtract)(const NAME(pairs) *all, int64_t row, int64_t column, TYPE *difference)
{
    const TYPE *u = all->rows + row * all->width, *v = all->columns + column * all->width;
    for (int64_t i = 0; i < all->width; i++) difference[i] = u[i] - v[i];
    const TYPE square = NAME(product)(difference, difference, all->width);
    return all->form == HALF_SQUARED ? square / 2 : square;
}

/* The least of the cells above a limit, or least, if none is less. */
static inline TYPE NAME(least_above)(const TYPE *cells, int64_t length, TYPE limit, TYPE least)
{
    TYPE lanes[COMPARED];
    int64_t i = 0;
    for (int lane = 0; lane < COMPARED; lane++) lanes[lane] = least;
    for (; i + COMPARED <= length; i += COMPARED)
        for (int lane = 0; lane < COMPARED; lane++) {
            const TYPE cell = cells[i + lane] > limit ? cells[i + lane] : lanes[lane];
            lanes[lane] = cell < lanes[lane] ? cell : lanes[lane];
        }
    for (; i < length; i++) lanes[0] = cells[i] > limit && cells[i] < lanes[0] ? cells[i] : lanes[0];
    for (int half = COMPARED / 2; half; half /= 2)
        for (int lane = 0; lane < half; lane++)
            lanes[lane] = lanes[lane + half] < lanes[lane] ? lanes[lane + half] : lanes[lane];
    return lanes[0];
}

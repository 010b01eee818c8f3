/* Log-sum-exps of a tile by row and by column at once, and their slopes; see both.py.
 *
 * One exponential serves the row and the column of a cell, as long as one shift does for all of them.
 */
#include <stdlib.h>
#include <string.h>

#include "exponential.h"
#include "share.h"

#define HEIGHT 64   /* rows whose sums by column stand apart, so that threads don't meet */
#define SPREAD 60.0f /* how far from the largest logit a row's own may be: float keeps its digits */

typedef struct {
    const float *tile, *row_shift, *column_shift, *row_weight, *column_weight;
    int64_t rows, columns;
    float rate, middle, factor, *row_least, *column_least, *row_sum, *column_sum, *out;
    int together;
} both_job;

static inline int64_t least_of(int64_t a, int64_t b) { return a < b ? a : b; }

/* The least cell of each row, and of each column of HEIGHT rows. */
static void minima_of_chunks(const void *given, int64_t first, int64_t last)
{
    const both_job *all = given;
    const int64_t columns = all->columns;
    for (int64_t row = first * HEIGHT; row < least_of(last * HEIGHT, all->rows); row++) {
        const float *cells = all->tile + row * columns;
        float *by_column = all->column_least + row / HEIGHT * columns, lanes[16];
        if (row % HEIGHT == 0) memcpy(by_column, cells, columns * sizeof(float));
        int64_t j = 0;
        for (int lane = 0; lane < 16; lane++) lanes[lane] = cells[0];
        for (; j + 16 <= columns; j += 16)
            for (int lane = 0; lane < 16; lane++) {
                const float cell = cells[j + lane];
                lanes[lane] = cell < lanes[lane] ? cell : lanes[lane];
                by_column[j + lane] = cell < by_column[j + lane] ? cell : by_column[j + lane];
            }
        for (; j < columns; j++) {
            lanes[0] = cells[j] < lanes[0] ? cells[j] : lanes[0];
            by_column[j] = cells[j] < by_column[j] ? cells[j] : by_column[j];
        }
        for (int lane = 1; lane < 16; lane++) lanes[0] = lanes[lane] < lanes[0] ? lanes[lane] : lanes[0];
        all->row_least[row] = lanes[0];
    }
}

static void sums_of_chunks(const void *given, int64_t first, int64_t last)
{
    const both_job *all = given;
    const int64_t columns = all->columns;
    const float rate = all->rate, middle = all->middle;
    for (int64_t row = first * HEIGHT; row < least_of(last * HEIGHT, all->rows); row++) {
        const float *cells = all->tile + row * columns;
        float *by_column = all->column_sum + row / HEIGHT * columns, lanes[16] = {0};
        if (row % HEIGHT == 0) memset(by_column, 0, columns * sizeof(float));
        int64_t j = 0;
        for (; j + 16 <= columns; j += 16)
            for (int lane = 0; lane < 16; lane++) {
                const float value = exponential(-rate * cells[j + lane] - middle);
                lanes[lane] += value;
                by_column[j + lane] += value;
            }
        for (; j < columns; j++) {
            const float value = exponential(-rate * cells[j] - middle);
            lanes[0] += value;
            by_column[j] += value;
        }
        for (int lane = 1; lane < 16; lane++) lanes[0] += lanes[lane];
        all->row_sum[row] = lanes[0];
    }
}

/* The widest gap between the largest logit of all and that of a row or column that has one. */
static float widest(const float *least, int64_t count, float rate, float middle)
{
    float gap = 0;
    for (int64_t i = 0; i < count; i++) {
        const float own = middle + rate * least[i];
        if (least[i] < (float)(1.0 / 0.0) && own > gap) gap = own;
    }
    return gap;
}

/* Fold a sum of exp(logit - middle) into a running one of exp(logit - maximum), which becomes the larger of both
 * own maxima: so that a total is at least about one where there is anything. */
static void fold_sums(float *maximum, float *total, const float *least, const float *sum, int64_t count, float rate,
                      float middle)
{
    for (int64_t i = 0; i < count; i++) {
        if (!(least[i] < (float)(1.0 / 0.0))) continue;
        const float own = -rate * least[i], larger = own > maximum[i] ? own : maximum[i];
        total[i] = total[i] * exponential(maximum[i] - larger) + sum[i] * exponential(own - larger) *
                   /* exp(middle - own) in two steps would overflow at most at SPREAD */ (1.0f / exponential(own - middle));
        maximum[i] = larger;
    }
}

/* Fold a tile into the running log-sum-exp of its rows and of its columns: maxima, which begin below any logit, and
 * totals, which begin at zero. Gives 0, with nothing changed, where one shift doesn't do for all, or NaN is here. */
int64_t log_sums_both(const float *tile, int64_t rows, int64_t columns, float rate, float *row_maximum,
                      float *row_total, float *column_maximum, float *column_total, int64_t threads)
{
    const int64_t chunks = (rows + HEIGHT - 1) / HEIGHT, numbers = 2 * rows + 2 * (chunks + 1) * columns;
    float *room = malloc(numbers * sizeof(float));
    if (!room) return 0;
    both_job all = {.tile = tile, .rows = rows, .columns = columns, .rate = rate};
    all.row_least = room;
    all.row_sum = room + rows;
    all.column_least = room + 2 * rows;
    all.column_sum = all.column_least + (chunks + 1) * columns;
    shared(minima_of_chunks, &all, chunks, threads);
    float *least = all.column_least + chunks * columns, *sum = all.column_sum + chunks * columns;
    memcpy(least, all.column_least, columns * sizeof(float));
    for (int64_t chunk = 1; chunk < chunks; chunk++)
        for (int64_t j = 0; j < columns; j++) {
            const float cell = all.column_least[chunk * columns + j];
            least[j] = cell < least[j] ? cell : least[j];
        }
    float smallest = (float)(1.0 / 0.0);
    for (int64_t row = 0; row < rows; row++) smallest = all.row_least[row] < smallest ? all.row_least[row] : smallest;
    int64_t done = 1;
    if (smallest < (float)(1.0 / 0.0)) {
        all.middle = -rate * smallest;
        const float gap = widest(all.row_least, rows, rate, all.middle);
        done = gap <= SPREAD && widest(least, columns, rate, all.middle) <= SPREAD;
        if (done) {
            shared(sums_of_chunks, &all, chunks, threads);
            memcpy(sum, all.column_sum, columns * sizeof(float));
            for (int64_t chunk = 1; chunk < chunks; chunk++)
                for (int64_t j = 0; j < columns; j++) sum[j] += all.column_sum[chunk * columns + j];
            fold_sums(row_maximum, row_total, all.row_least, all.row_sum, rows, rate, all.middle);
            fold_sums(column_maximum, column_total, least, sum, columns, rate, all.middle);
        }
    }
    free(room);
    return done;
}

static void slopes_of_both(const void *given, int64_t first, int64_t last)
{
    const both_job *all = given;
    const int64_t columns = all->columns;
    const float rate = all->rate, middle = all->middle;
    for (int64_t row = first; row < last; row++) {
        const float *cells = all->tile + row * columns;
        float *out = all->out + row * columns;
        if (all->together) {
            const float mine = all->row_sum[row];
            for (int64_t j = 0; j < columns; j++)
                out[j] = exponential(-rate * cells[j] - middle) * (mine + all->column_sum[j]);
            continue;
        }
        const float mine = all->row_shift[row], by_row = all->factor * (all->row_weight ? all->row_weight[row] : 1);
        for (int64_t j = 0; j < columns; j++) {
            const float by_column = all->factor * (all->column_weight ? all->column_weight[j] : 1);
            const float logit = -rate * cells[j];
            out[j] = exponential(logit + mine) * by_row + exponential(logit + all->column_shift[j]) * by_column;
        }
    }
}

/* out = factor * (exp(-rate * cell + row_shift) * row_weight + the same of the column); weights may be null, shifts
 * minus infinity. */
void log_sum_slopes_both(const float *tile, int64_t rows, int64_t columns, float rate, float factor,
                         const float *row_shift, const float *row_weight, const float *column_shift,
                         const float *column_weight, float *out, int64_t threads)
{
    both_job all = {.tile = tile, .rows = rows, .columns = columns, .rate = rate, .factor = factor,
                    .row_shift = row_shift, .row_weight = row_weight, .column_shift = column_shift,
                    .column_weight = column_weight, .out = out};
    float lanes[16], *room = malloc((rows + columns) * sizeof(float));
    int64_t i = 0;
    for (int lane = 0; lane < 16; lane++) lanes[lane] = (float)(1.0 / 0.0);
    for (; i + 16 <= rows * columns; i += 16)
        for (int lane = 0; lane < 16; lane++) lanes[lane] = tile[i + lane] < lanes[lane] ? tile[i + lane] : lanes[lane];
    for (; i < rows * columns; i++) lanes[0] = tile[i] < lanes[0] ? tile[i] : lanes[0];
    for (int lane = 1; lane < 16; lane++) lanes[0] = lanes[lane] < lanes[0] ? lanes[lane] : lanes[0];
    all.middle = lanes[0] < (float)(1.0 / 0.0) ? -rate * lanes[0] : 0;
    all.together = room != 0;
    for (i = 0; i < rows; i++) all.together &= row_shift[i] + all.middle <= SPREAD;
    for (i = 0; i < columns; i++) all.together &= column_shift[i] + all.middle <= SPREAD;
    if (all.together) {
        all.row_sum = room;
        all.column_sum = room + rows;
        for (i = 0; i < rows; i++)
            room[i] = exponential(row_shift[i] + all.middle) * factor * (row_weight ? row_weight[i] : 1);
        for (i = 0; i < columns; i++)
            room[rows + i] = exponential(column_shift[i] + all.middle) * factor * (column_weight ? column_weight[i] : 1);
    }
    shared(slopes_of_both, &all, rows, threads);
    free(room);
}

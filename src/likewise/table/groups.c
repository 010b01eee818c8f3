/* One distance of each group of neighbouring columns, and the slopes back to the columns; see groups.py.
 *
 * A strip of whole groups stays in the first cache. Sums go over the groups of a strip at once, member by member,
 * so that none waits for the one before.
 */
#include <string.h>

#include "exponential.h"
#include "share.h"

#define STRIP 512
#define OUT (float)(1.0 / 0.0)

typedef struct {
    int64_t groups, size;
    float temperature;
    const float *tile, *pooled, *slopes;
    float *out;
} job;

static inline int64_t strip_of(const job *all, int64_t first)
{
    const int64_t most = all->size < STRIP ? STRIP / all->size : 1, left = all->groups - first;
    return left < most ? left : most;
}

static inline void least_of(const float *cells, int64_t groups, int64_t size, float *least)
{
    for (int64_t g = 0; g < groups; g++) least[g] = cells[g * size];
    for (int64_t k = 1; k < size; k++)
        for (int64_t g = 0; g < groups; g++)
            least[g] = cells[g * size + k] < least[g] ? cells[g * size + k] : least[g];
}

/* What each column of a strip weighs beside the nearest of its group, and the sums by group. */
static inline void weigh(const job *all, const float *cells, int64_t groups, float *least, float *weights,
                         float *total)
{
    const int64_t size = all->size;
    const float rate = -1 / all->temperature;
    least_of(cells, groups, size, least);
    for (int64_t g = 0; g < groups; g++)
        for (int64_t k = 0; k < size; k++) {
            const float gap = cells[g * size + k] - least[g];
            weights[g * size + k] = gap < OUT ? gap * rate : -OUT; /* infinity less itself is one that is out */
        }
    for (int64_t i = 0; i < groups * size; i++) weights[i] = exponential(weights[i]);
    memset(total, 0, groups * sizeof *total);
    for (int64_t k = 0; k < size; k++)
        for (int64_t g = 0; g < groups; g++) total[g] += weights[g * size + k];
}

static void soft_nearest_of_rows(const void *given, int64_t first, int64_t last)
{
    const job *all = given;
    const int64_t size = all->size;
    float least[STRIP], total[STRIP], sum[STRIP], weights[STRIP];
    for (int64_t row = first; row < last; row++)
        for (int64_t begin = 0, count; begin < all->groups; begin += count) {
            const float *cells = all->tile + (row * all->groups + begin) * size;
            float *to = all->out + row * all->groups + begin;
            count = strip_of(all, begin);
            weigh(all, cells, count, least, weights, total);
            memset(sum, 0, count * sizeof *sum);
            for (int64_t k = 0; k < size; k++)
                for (int64_t g = 0; g < count; g++)
                    sum[g] += weights[g * size + k] > 0 ? weights[g * size + k] * (cells[g * size + k] - least[g]) : 0;
            for (int64_t g = 0; g < count; g++) to[g] = total[g] > 0 ? least[g] + sum[g] / total[g] : OUT;
        }
}

/* out (rows, groups) = sum_k s_k d_k with s = softmax(-d / temperature) over the size columns of a group. */
void soft_nearest(const float *tile, int64_t rows, int64_t groups, int64_t size, float temperature, float *out,
                  int64_t threads)
{
    const job all = {.groups = groups, .size = size, .temperature = temperature, .tile = tile, .out = out};
    shared(soft_nearest_of_rows, &all, rows, threads);
}

static void soft_slopes_of_rows(const void *given, int64_t first, int64_t last)
{
    const job *all = given;
    const int64_t size = all->size;
    const float rate = 1 / all->temperature;
    float least[STRIP], total[STRIP], weights[STRIP];
    for (int64_t row = first; row < last; row++)
        for (int64_t begin = 0, count; begin < all->groups; begin += count) {
            const int64_t at = row * all->groups + begin;
            const float *cells = all->tile + at * size;
            float *to = all->out + at * size;
            count = strip_of(all, begin);
            weigh(all, cells, count, least, weights, total);
            for (int64_t g = 0; g < count; g++) {
                const float share = total[g] > 0 ? all->slopes[at + g] / total[g] : 0, pooled = all->pooled[at + g];
                for (int64_t k = 0; k < size; k++) {
                    const float weight = weights[g * size + k];
                    to[g * size + k] = weight > 0 ? weight * share * (1 - (cells[g * size + k] - pooled) * rate) : 0;
                }
            }
        }
}

/* out (rows, groups * size): slopes (rows, groups) by the pooled distances, turned into those by columns. */
void soft_nearest_slopes(const float *tile, int64_t rows, int64_t groups, int64_t size, float temperature,
                         const float *pooled, const float *slopes, float *out, int64_t threads)
{
    const job all = {.groups = groups, .size = size, .temperature = temperature, .tile = tile, .pooled = pooled,
                     .slopes = slopes, .out = out};
    shared(soft_slopes_of_rows, &all, rows, threads);
}

static void nearest_slopes_of_rows(const void *given, int64_t first, int64_t last)
{
    const job *all = given;
    for (int64_t at = first * all->groups; at < last * all->groups; at++) {
        const float *cells = all->tile + at * all->size, least = all->pooled[at];
        float *to = all->out + at * all->size;
        int64_t k = 0;
        while (k + 1 < all->size && cells[k] != least) k++;
        memset(to, 0, all->size * sizeof *to);
        to[k] = all->slopes[at];
    }
}

/* out (rows, groups * size): the slope of each group, for the first of its nearest columns. */
void nearest_slopes(const float *tile, int64_t rows, int64_t groups, int64_t size, const float *pooled,
                    const float *slopes, float *out, int64_t threads)
{
    const job all = {.groups = groups, .size = size, .tile = tile, .pooled = pooled, .slopes = slopes, .out = out};
    shared(nearest_slopes_of_rows, &all, rows, threads);
}

static void nearest_of_rows(const void *given, int64_t first, int64_t last)
{
    const job *all = given;
    for (int64_t row = first; row < last; row++)
        for (int64_t begin = 0, count; begin < all->groups; begin += count) {
            const int64_t at = row * all->groups + begin;
            count = strip_of(all, begin);
            least_of(all->tile + at * all->size, count, all->size, all->out + at);
        }
}

/* out (rows, groups): the least of each group. */
void nearest_of(const float *tile, int64_t rows, int64_t groups, int64_t size, float *out, int64_t threads)
{
    const job all = {.groups = groups, .size = size, .tile = tile, .out = out};
    shared(nearest_of_rows, &all, rows, threads);
}

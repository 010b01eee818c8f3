/* The least cell of every chunk of a row, and the cells up to a bound; see chunks.py.
 *
 * Compiled for float and for double: TYPE and NAME(x) are given on the second inclusion of this file.
 */
#ifndef TYPE

#include "share.h"

#define CHUNK 64
#define SIDE 16 /* CHUNK cells as four vectors, and as many chunks whose minima are taken together */

#define TYPE float
#define NAME(x) x##_float
#include "chunks.c"
#undef TYPE
#undef NAME
#define TYPE double
#define NAME(x) x##_double
#include "chunks.c"

#else

typedef struct {
    int64_t stride, chunks, out_stride, cells, width;
    const TYPE *table, *bound;
    TYPE *out;
    int64_t *place, *count;
} NAME(chunk_job);

static void NAME(minima_of_rows)(const void *given, int64_t first, int64_t last)
{
    const NAME(chunk_job) *job = given;
    for (int64_t row = first; row < last; row++)
        for (int64_t begin = 0; begin < job->chunks; begin += SIDE) {
            const int64_t count = job->chunks - begin < SIDE ? job->chunks - begin : SIDE;
            const TYPE *cells = job->table + row * job->stride + begin * CHUNK;
            TYPE least[SIDE][SIDE] = {{0}}, found[SIDE];
            for (int64_t chunk = 0; chunk < count; chunk++)
                for (int i = 0; i < SIDE; i++) {
                    const TYPE *cell = cells + chunk * CHUNK + i;
                    const TYPE a = cell[0] < cell[SIDE] ? cell[0] : cell[SIDE];
                    const TYPE b = cell[2 * SIDE] < cell[3 * SIDE] ? cell[2 * SIDE] : cell[3 * SIDE];
                    least[chunk][i] = a < b ? a : b;
                }
            for (int chunk = 0; chunk < SIDE; chunk++) found[chunk] = least[chunk][0];
            for (int i = 1; i < SIDE; i++)
                for (int chunk = 0; chunk < SIDE; chunk++)
                    found[chunk] = least[chunk][i] < found[chunk] ? least[chunk][i] : found[chunk];
            for (int64_t chunk = 0; chunk < count; chunk++)
                job->out[row * job->out_stride + begin + chunk] = found[chunk];
        }
}

/* The first width cells of each row up to its bound: their values, places, and how many there are in all. */
static void NAME(up_to_of_rows)(const void *given, int64_t first, int64_t last)
{
    const NAME(chunk_job) *job = given;
    for (int64_t row = first; row < last; row++) {
        const TYPE *cells = job->table + row * job->cells, bound = job->bound[row];
        int64_t count = 0;
        for (int64_t begin = 0; begin < job->cells; begin += SIDE) {
            const int64_t end = job->cells - begin < SIDE ? job->cells : begin + SIDE;
            int32_t some = 0;
            for (int64_t i = begin; i < end; i++) some |= cells[i] <= bound;
            if (!some) continue;
            for (int64_t i = begin; i < end; i++)
                if (cells[i] <= bound && cells[i] < (TYPE)(1.0 / 0.0)) {
                    if (count < job->width) {
                        job->out[row * job->width + count] = cells[i];
                        job->place[row * job->width + count] = i;
                    }
                    count++;
                }
        }
        job->count[row] = count;
    }
}

void NAME(chunk_minima)(const TYPE *table, int64_t rows, int64_t stride, int64_t chunks, TYPE *out,
                        int64_t out_stride, int64_t threads)
{
    const NAME(chunk_job) job = {.stride = stride, .chunks = chunks, .out_stride = out_stride, .table = table,
                                 .out = out};
    shared(NAME(minima_of_rows), &job, rows, threads);
}

void NAME(cells_up_to)(const TYPE *table, int64_t rows, int64_t cells, const TYPE *bound, int64_t width,
                       TYPE *out, int64_t *place, int64_t *count, int64_t threads)
{
    const NAME(chunk_job) job = {.cells = cells, .width = width, .table = table, .bound = bound, .out = out,
                                 .place = place, .count = count};
    shared(NAME(up_to_of_rows), &job, rows, threads);
}

#endif

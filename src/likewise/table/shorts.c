/* Keys of a few queries against rows held as whole numbers of 16 bits; see shorts.py.
 *
 * The rows lie in groups of GROUP, in each group column by column, so that one vector holds a column of several
 * rows. A group is read from memory once, for all queries; up to BLOCK of them share what was read.
 */
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#include "share.h"

#define GROUP 32
#define LANES 16
#define PARTS (GROUP / LANES)
#define BLOCK 8

typedef float floats __attribute__((vector_size(4 * LANES)));
typedef int32_t wholes __attribute__((vector_size(4 * LANES)));
typedef int16_t shorts __attribute__((vector_size(2 * LANES)));

static inline floats widened(const int16_t *given)
{
#ifdef __AVX512F__ /* in one step; GCC 12 goes through two halves by itself */
    return (floats)_mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i *)given)));
#else
    shorts some;
    memcpy(&some, given, sizeof some);
    return __builtin_convertvector(__builtin_convertvector(some, wholes), floats);
#endif
}

typedef struct {
    int64_t n, width, queries, stride;
    const int16_t *rows;
    const float *scaled, *offset;
    float *out;
} short_job;

/* Offset less product of one group with `count` queries, a constant wherever this is called. */
static inline __attribute__((always_inline)) void keys_of_group(const short_job *job, int64_t group,
                                                                int64_t query, const int count)
{
    floats sum[BLOCK][PARTS];
    for (int i = 0; i < count; i++)
        for (int part = 0; part < PARTS; part++) sum[i][part] = (floats){0};
    const int16_t *columns = job->rows + group * job->width * GROUP;
    const float *scaled = job->scaled + query * job->width;
    for (int64_t j = 0; j < job->width; j++) {
        floats column[PARTS];
        for (int part = 0; part < PARTS; part++) column[part] = widened(columns + j * GROUP + part * LANES);
        for (int i = 0; i < count; i++)
            for (int part = 0; part < PARTS; part++) sum[i][part] += column[part] * scaled[i * job->width + j];
    }
    const int64_t first = group * GROUP, left = job->n - first < GROUP ? job->n - first : GROUP;
    for (int i = 0; i < count; i++) {
        float *out = job->out + (query + i) * job->stride + first, found[GROUP];
        memcpy(found, sum[i], sizeof found);
        for (int64_t row = 0; row < left; row++) out[row] = job->offset[first + row] - found[row];
    }
}

static void keys_of_groups(const void *given, int64_t first, int64_t last)
{
    const short_job *job = given;
    for (int64_t group = first; group < last; group++) {
        int64_t query = 0;
        for (; query + 8 <= job->queries; query += 8) keys_of_group(job, group, query, 8);
        if (query + 4 <= job->queries) { keys_of_group(job, group, query, 4); query += 4; }
        if (query + 2 <= job->queries) { keys_of_group(job, group, query, 2); query += 2; }
        if (query < job->queries) keys_of_group(job, group, query, 1);
    }
}

void short_keys(const int16_t *rows, int64_t n, int64_t width, const float *scaled, int64_t queries,
                const float *offset, float *out, int64_t stride, int64_t threads)
{
    const short_job job = {.n = n, .width = width, .queries = queries, .stride = stride, .rows = rows,
                           .scaled = scaled, .offset = offset, .out = out};
    shared(keys_of_groups, &job, (n + GROUP - 1) / GROUP, threads);
}

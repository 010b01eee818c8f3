/* What softmaxes make of a row's few near cells and its far log-sum-exp; see softmax.py.
 *
 * Compiled for float and for double: TYPE and NAME(x) are given on the second inclusion of this file.
 */
#ifndef TYPE

#include <math.h>
#include <stdint.h>

#define TYPE float
#define NAME(x) x##_float
#define EXP expf
#define LOG logf
#define LOG_ONE_PLUS log1pf
#include "softmax.c"
#undef TYPE
#undef NAME
#undef EXP
#undef LOG
#undef LOG_ONE_PLUS
#define TYPE double
#define NAME(x) x##_double
#define EXP exp
#define LOG log
#define LOG_ONE_PLUS log1p
#include "softmax.c"

#else

/* Each near cell against the far ones: value and share by row, active terms, and the slopes; factor is minus
 * the derivative of the logits by the distances, by cell in factors or one for all. */
void NAME(pair_softmax)(const TYPE *logits, const uint8_t *valid, int64_t rows, int64_t count, const TYPE *far,
                        const TYPE *slopes, double slope, TYPE *value, TYPE *share, TYPE *active, TYPE *by_near)
{
    for (int64_t row = 0; row < rows; row++) {
        value[row] = share[row] = active[row] = 0;
        for (int64_t at = row * count; at < (row + 1) * count; at++) {
            by_near[at] = 0;
            if (!valid[at]) continue;
            const TYPE gap = far[row] - logits[at], less = EXP(gap > 0 ? -gap : gap);
            const TYPE term = (gap > 0 ? gap : 0) + LOG_ONE_PLUS(less), part = (gap > 0 ? 1 : less) / (1 + less);
            value[row] += term;
            share[row] += part;
            active[row] += term != 0;
            by_near[at] = part * -(slopes ? slopes[at] : (TYPE)slope);
        }
    }
}

/* The mean over a row's near cells of minus their log-probability among themselves and the far ones. */
void NAME(mean_softmax)(const TYPE *distances, const uint8_t *valid, int64_t rows, int64_t count,
                        const TYPE *near_count, const TYPE *far, double rate_, TYPE *value, TYPE *has,
                        TYPE *active, TYPE *by_far, TYPE *by_near)
{
    const TYPE rate = (TYPE)rate_;
    for (int64_t row = 0; row < rows; row++) {
        TYPE most = far[row], sum = 0, mean = 0;
        value[row] = by_far[row] = active[row] = 0;
        has[row] = near_count[row] > 0;
        for (int64_t at = row * count; at < (row + 1) * count; at++)
            if (valid[at]) {
                const TYPE logit = -rate * distances[at];
                by_near[at] = logit;
                most = logit > most ? logit : most;
                mean += logit;
            }
            else by_near[at] = 0;
        if (!(near_count[row] > 0)) continue;
        for (int64_t at = row * count; at < (row + 1) * count; at++)
            if (valid[at]) sum += EXP(by_near[at] - most);
        const TYPE total = most + LOG(sum + EXP(far[row] - most)), each = 1 / near_count[row];
        value[row] = total - mean * each;
        active[row] = value[row] != 0;
        by_far[row] = EXP(far[row] - total);
        for (int64_t at = row * count; at < (row + 1) * count; at++)
            if (valid[at]) by_near[at] = (EXP(by_near[at] - total) - each) * -rate;
    }
}

#endif

/* Hinges of one value an item, over all pairs of items of different grades; see grades.py.
 *
 * Compiled for float and for double: TYPE and NAME(x) are given on the second inclusion of this file.
 */
#ifndef TYPE

#include <stdint.h>

#define LANES 16

#define TYPE float
#define NAME(x) x##_float
#include "grades.c"
#undef TYPE
#undef NAME
#define TYPE double
#define NAME(x) x##_double
#include "grades.c"

#else

/* Of each item, against all of lower grade: value, the sum of max(0, margin - its + theirs); counts[0], counts[1]: how
 * many there are, and how many of them cost something. gradient, of the weighted sum, begins at zero; weights may be
 * null. */
void NAME(grade_hinges)(const TYPE *scores, const int64_t *grades, int64_t n, TYPE margin, const TYPE *weights,
                        TYPE *value, TYPE *gradient, int64_t *counts)
{
    for (int64_t row = 0; row < n; row++) {
        const int64_t grade = grades[row];
        const TYPE mine = scores[row], weight = weights ? weights[row] : 1;
        TYPE sums[LANES] = {0};
        int32_t lower[LANES] = {0}, active[LANES] = {0};
        for (int64_t begin = 0; begin < n; begin += LANES) {
            const int64_t length = n - begin < LANES ? n - begin : LANES;
            for (int64_t lane = 0; lane < length; lane++) {
                const int32_t below = grades[begin + lane] < grade;
                const TYPE gap = margin - (mine - scores[begin + lane]); /* of close ones exactly */
                const int32_t costs = below & (gap > 0);
                lower[lane] += below;
                active[lane] += costs;
                sums[lane] += costs ? gap : 0;
                gradient[begin + lane] += costs ? weight : 0;
            }
        }
        int64_t found = 0;
        TYPE total = 0;
        for (int lane = 0; lane < LANES; lane++) {
            counts[0] += lower[lane];
            found += active[lane];
            total += sums[lane];
        }
        counts[1] += found;
        value[row] = total;
        gradient[row] -= weight * (TYPE)found;
    }
}

#endif

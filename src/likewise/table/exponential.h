/* The exponential of a float, without a branch, so that loops of it become vector instructions.
 *
 * exp x = 2^n exp r with n = round(x / log 2) and r in [-0.35, 0.35], where the Taylor polynomial of degree 7
 * leaves less than 2^-26 of the value. What would be denormal, or is minus infinity, becomes zero: both cost
 * a vector unit many times what a number does.
 */
#ifndef LIKEWISE_EXPONENTIAL
#define LIKEWISE_EXPONENTIAL

#include <stdint.h>

#define LEAST -87.0f

static inline float exponential(float x)
{
    union { float value; int32_t bits; } power;
    const float held = x > LEAST ? x : LEAST;
    const float whole = (held * 1.44269504f + 12582912.0f) - 12582912.0f; /* adding 1.5 * 2^23 rounds */
    const float rest = (held - whole * 0.693359375f) + whole * 2.12194440e-4f;
    float sum = 1.0f / 5040;
    sum = sum * rest + 1.0f / 720;
    sum = sum * rest + 1.0f / 120;
    sum = sum * rest + 1.0f / 24;
    sum = sum * rest + 1.0f / 6;
    sum = sum * rest + 0.5f;
    sum = sum * rest + 1.0f;
    sum = sum * rest + 1.0f;
    power.bits = ((int32_t)whole + 127) << 23;
    return x > LEAST ? sum * power.value : x <= LEAST ? 0.0f : x; /* not a number stays that */
}

#endif

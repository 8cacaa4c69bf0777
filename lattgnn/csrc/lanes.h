// Vectors of consecutive cells and elementary functions of them.

#pragma once

#include <cstdint>
#if defined(__AVX__)
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16, UNROLL = 2, MAX_OUT = 12;  // 24 accumulators of 32 registers
#elif defined(__AVX__)
constexpr int LANES = 8, UNROLL = 2, MAX_OUT = 6;
#else
constexpr int LANES = 4, UNROLL = 2, MAX_OUT = 6;
#endif
// Sites computed together: two vectors give the processor independent work while a product is under
// way.
constexpr int GROUP = LANES * UNROLL;

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

inline vec load(const float* x) { return *reinterpret_cast<const vec*>(x); }
inline void store(float* x, vec v) { *reinterpret_cast<vec*>(x) = v; }
inline vec splat(float x) { return vec{} + x; }

// Minimum and maximum give the second argument where either is NaN, as the AVX instructions do.
// With AVX-512 the reciprocal is an estimate of 14 bits and one Newton step: error 2e-7, in half
// the time of a division.
#if defined(__AVX512F__)
inline vec smaller(vec a, vec b) { return (vec)_mm512_min_ps((__m512)a, (__m512)b); }
inline vec larger(vec a, vec b) { return (vec)_mm512_max_ps((__m512)a, (__m512)b); }
inline vec reciprocal(vec x) {
    const vec r = (vec)_mm512_rcp14_ps((__m512)x);
    return r + r * (1.0f - x * r);
}
inline vec sqrt(vec x) { return (vec)_mm512_sqrt_ps((__m512)x); }
#elif defined(__AVX__)
inline vec smaller(vec a, vec b) { return (vec)_mm256_min_ps((__m256)a, (__m256)b); }
inline vec larger(vec a, vec b) { return (vec)_mm256_max_ps((__m256)a, (__m256)b); }
inline vec reciprocal(vec x) { return 1.0f / x; }
inline vec sqrt(vec x) { return (vec)_mm256_sqrt_ps((__m256)x); }
#else
inline vec smaller(vec a, vec b) { return a < b ? a : b; }
inline vec larger(vec a, vec b) { return a > b ? a : b; }
inline vec reciprocal(vec x) { return 1.0f / x; }
inline vec sqrt(vec x) {
    vec r;
    for (int i = 0; i < LANES; i++) r[i] = __builtin_sqrtf(x[i]);
    return r;
}
#endif

// 2^y for y clamped to [-126, 126], relative error 1e-7: y = n + r with a whole number n, 2^r by a
// polynomial on [-1/2, 1/2], and n added to the exponent bits of the result.
inline vec exp2(vec y) {
    y = larger(splat(-126.0f), smaller(splat(126.0f), y));
    // 1.5 * 2^23: floats of this size are whole numbers, so the sum is rounded to the nearest one,
    // and the low bits of its representation are n.
    const vec shift = splat(12582912.0f);
    const vec shifted = y + shift;
    const vec r = y - (shifted - shift);
    vec p = splat(1.327647187318e-3f);
    p = p * r + 9.675541333479e-3f;
    p = p * r + 5.550713273867e-2f;
    p = p * r + 2.402211972386e-1f;
    p = p * r + 6.931469670645e-1f;
    p = p * r + 1.0f;
    // The exponent of a float begins at bit 23. The upper bits of `shifted` leave the word in the
    // shift.
    return reinterpret_cast<vec>(reinterpret_cast<ivec>(p) +
                                 (reinterpret_cast<ivec>(shifted) << 23));
}
constexpr float LOG2E = 1.44269504088896341f;
inline vec sigmoid(vec x) { return reciprocal(1.0f + exp2(x * -LOG2E)); }
inline vec tanh(vec x) { return 1.0f - 2.0f * reciprocal(1.0f + exp2(x * (2.0f * LOG2E))); }

}  // namespace

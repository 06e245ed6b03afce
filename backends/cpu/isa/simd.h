// Vectors of floats and of small integers at the ISA level this file is compiled for. Everything
// lives in the namespace RUNNEL_ISA (set by the build), so that code of different levels never
// merges; for the same reason only C headers and intrinsics are included.
#pragma once
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// RUNNEL_SIMD_BITS: 512, 256, 128 for NEON, or 0 for plain C++. Without BW, AVX-512's encoding of
// vpdpbusd serves 256 bits.
#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define RUNNEL_SIMD_BITS 512
#include "backends/cpu/isa/int8_avx512.h"
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define RUNNEL_SIMD_BITS 256
#include "backends/cpu/isa/int8_avx2.h"
#elif defined(__aarch64__)
#define RUNNEL_SIMD_BITS 128
#include "backends/cpu/isa/simd_neon.h"
#else
#define RUNNEL_SIMD_BITS 0
#include "backends/cpu/isa/simd_portable.h"
#endif

namespace runnel::cpu::RUNNEL_ISA {

/// Asks for the cache line at p, which need not exist.
static inline void prefetch(const void* p) {
  __builtin_prefetch(p);
}

/// The same, into the second cache.
static inline void prefetch_far(const void* p) {
  __builtin_prefetch(p, 0, 2);
}

/// Values [p, p + n), n < kLanes; the other lanes are zero.
static inline F load_first(const float* p, int64_t n) {
  float lanes[kLanes] = {};
  memcpy(lanes, p, static_cast<size_t>(n) * sizeof(float));
  return load(lanes);
}

static inline void store_first(float* p, F v, int64_t n) {
  float lanes[kLanes];
  store(lanes, v);
  memcpy(p, lanes, static_cast<size_t>(n) * sizeof(float));
}

/// e^x of N registers, error below 2 ulp; 0 below -87, e^88 above 88, NaN for NaN. N: a register
/// alone waits for each of its steps, a few side by side do not.
/// SOURCE: Cephes expf: x = n ln 2 + r, polynomial in r, scaled by 2^n.
template <int N>
static inline void exponentials(const F* x, F* out) {
  constexpr float kSteps[] = {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f,
                              1.6666665459e-1f, 5.0000001201e-1f};
  F n[N], r[N], p[N];
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) {
    const F clamped = max(set1(-87.0f), min(set1(88.0f), x[i]));
    n[i] = round(mul(clamped, set1(1.44269504088896341f)));
    r[i] = fma(n[i], set1(-0.693359375f), clamped);  // ln 2 in two parts
  }
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) {
    r[i] = fma(n[i], set1(2.12194440e-4f), r[i]);
    p[i] = set1(1.9875691500e-4f);
  }
#pragma GCC unroll 8
  for (const float step : kSteps)
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) p[i] = fma(p[i], r[i], set1(step));
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) {
    p[i] = fma(p[i], mul(r[i], r[i]), add(r[i], set1(1.0f)));
    out[i] = zero_where_less(x[i], set1(-87.0f), scale_by_power(p[i], n[i]));
  }
}
static inline F exponential(F x) {
  F out;
  exponentials<1>(&x, &out);
  return out;
}

}  // namespace runnel::cpu::RUNNEL_ISA

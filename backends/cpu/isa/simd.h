// Vectors of floats and of small integers at the ISA level this file is compiled for. Everything
// lives in the namespace RUNNEL_ISA (set by the build), so that code of different levels never
// merges; for the same reason only C headers and intrinsics are included.
#pragma once
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// RUNNEL_SIMD_BITS: 512, 256, 128 for NEON, or 0 for plain C++.
#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define RUNNEL_SIMD_BITS 512
#include "backends/cpu/isa/simd_avx512.h"
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define RUNNEL_SIMD_BITS 256
#include "backends/cpu/isa/simd_avx2.h"
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

/// e^x, error below 2 ulp; 0 below -87, e^88 above 88, NaN for NaN.
/// SOURCE: Cephes expf: x = n ln 2 + r, polynomial in r, scaled by 2^n.
static inline F exponential(F x) {
  const F clamped = max(set1(-87.0f), min(set1(88.0f), x));
  const F n = round(mul(clamped, set1(1.44269504088896341f)));
  F r = fma(n, set1(-0.693359375f), clamped);  // ln 2 in two parts
  r = fma(n, set1(2.12194440e-4f), r);
  F p = set1(1.9875691500e-4f);
  p = fma(p, r, set1(1.3981999507e-3f));
  p = fma(p, r, set1(8.3334519073e-3f));
  p = fma(p, r, set1(4.1665795894e-2f));
  p = fma(p, r, set1(1.6666665459e-1f));
  p = fma(p, r, set1(5.0000001201e-1f));
  p = fma(p, mul(r, r), add(r, set1(1.0f)));
  return zero_where_less(x, set1(-87.0f), mul(p, power_of_two(n)));
}

}  // namespace runnel::cpu::RUNNEL_ISA

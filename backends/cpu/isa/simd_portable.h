// Plain C++ with the compiler's 4-float vectors: any 64-bit CPU. int8 products are loops
// over arrays that the compiler vectorises.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

namespace runnel::cpu::RUNNEL_ISA {

typedef float F __attribute__((vector_size(16)));
typedef int32_t Ints __attribute__((vector_size(16)));
typedef uint32_t Bits __attribute__((vector_size(16)));
constexpr int kLanes = 4;
constexpr int kTileTokens = 2;

static inline F load(const float* p) {
  F v;
  memcpy(&v, p, sizeof v);
  return v;
}
static inline void store(float* p, F v) {
  memcpy(p, &v, sizeof v);
}
static inline F zero() {
  return F{};
}
static inline F set1(float v) {
  return F{v, v, v, v};
}
static inline F add(F a, F b) {
  return a + b;
}
static inline F sub(F a, F b) {
  return a - b;
}
static inline F mul(F a, F b) {
  return a * b;
}
static inline F div(F a, F b) {
  return a / b;
}
static inline F fma(F a, F b, F c) {
  return a * b + c;
}
static inline F choose(Ints where, F a, F b) {
  return reinterpret_cast<F>((reinterpret_cast<Ints>(a) & where) |
                             (reinterpret_cast<Ints>(b) & ~where));
}
static inline F max(F a, F b) {
  return choose(a > b, a, b);
}
static inline F min(F a, F b) {
  return choose(a < b, a, b);
}
static inline F abs(F a) {
  return reinterpret_cast<F>(reinterpret_cast<Bits>(a) & 0x7FFFFFFFu);
}
/// Nearest whole number, ties to even, for |a| < 2^22: adding 1.5 * 2^23 leaves no fraction bits.
static inline F round(F a) {
  return (a + 12582912.0f) - 12582912.0f;
}
/// value, but 0 in lanes where a < b.
static inline F zero_where_less(F a, F b, F value) {
  return choose(a < b, zero(), value);
}
/// value in lanes [lo, hi), other elsewhere.
static inline F keep_range(F value, int64_t lo, int64_t hi, F other) {
  const F lane = {0, 1, 2, 3};
  return choose((lane >= set1(static_cast<float>(lo))) & (lane < set1(static_cast<float>(hi))),
                value, other);
}
/// v * 2^n for whole n in [-126, 127].
static inline F scale_by_power(F v, F n) {
  // n + 127 lands in the low bits of the sum's mantissa.
  const Bits biased = reinterpret_cast<Bits>(n + (8388608.0f + 127.0f));
  return v * reinterpret_cast<F>(biased << 23);
}
/// Four f16 values, one per 32-bit lane. SOURCE: IEEE 754-2008, 3.4.
static inline F widen_f16(Bits half) {
  const Bits sign = (half & 0x8000u) << 16;
  const Bits magnitude = half & 0x7FFFu;
  // The exponent field moved to its f32 place is too small by 112, for subnormals too.
  F value = reinterpret_cast<F>(magnitude << 13) * 0x1p112f;
  const Ints special = magnitude >= 0x7C00u;
  value = choose(special, reinterpret_cast<F>((magnitude << 13) | 0x7F800000u), value);
  return reinterpret_cast<F>(reinterpret_cast<Bits>(value) | sign);
}
static inline F load_f16(const uint16_t* p) {
  return widen_f16(Bits{p[0], p[1], p[2], p[3]});
}
static inline F load_bf16(const uint16_t* p) {
  return reinterpret_cast<F>(Bits{p[0], p[1], p[2], p[3]} << 16);
}
/// f32 -> f16, nearest even; overflow becomes infinity, NaN stays NaN.
static inline uint16_t f16_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return static_cast<uint16_t>(sign | 0x7E00u);
  if (magnitude >= 0x477FF000u) return static_cast<uint16_t>(sign | 0x7C00u);
  if (magnitude < 0x38800000u) {  // subnormal half: the float adder rounds at 2^-24
    float shifted;
    memcpy(&shifted, &magnitude, sizeof shifted);
    shifted += 0.5f;
    memcpy(&bits, &shifted, sizeof bits);
    return static_cast<uint16_t>(sign | (bits - 0x3F000000u));
  }
  const uint32_t odd = (magnitude >> 13) & 1u;
  return static_cast<uint16_t>(sign | ((magnitude - 0x38000000u + 0xFFFu + odd) >> 13));
}
static inline void store_f16(uint16_t* p, F v) {
  for (int i = 0; i < kLanes; ++i) p[i] = f16_bits(v[i]);
}
static inline float f16_value(const uint8_t* p) {
  uint16_t bits;
  memcpy(&bits, p, sizeof bits);
  return widen_f16(Bits{bits, bits, bits, bits})[0];
}

/// Sum of the lanes.
static inline float sum(F v) {
  return (v[0] + v[2]) + (v[1] + v[3]);
}
static inline float largest(F v) {
  const float a = v[0] > v[2] ? v[0] : v[2], b = v[1] > v[3] ? v[1] : v[3];
  return a > b ? a : b;
}
/// Lane c of v[r] becomes lane r of v[c].
[[gnu::always_inline]] static inline void transpose(F* v) {
  const F a[4] = {v[0], v[1], v[2], v[3]};
  for (int c = 0; c < 4; ++c) v[c] = F{a[0][c], a[1][c], a[2][c], a[3][c]};
}

/// The nearest whole numbers. REQUIRES: within [-127, 127].
static inline void store_i8(int8_t* p, F v) {
  const F rounded = round(v);
  for (int i = 0; i < kLanes; ++i) p[i] = static_cast<int8_t>(rounded[i]);
}

// ---- one value at a time, for int8 dot products ----

static inline float multiply_add_one(float a, float b, float c) {
  return a * b + c;
}
static inline int32_t dot_signed(const int8_t* w, const int8_t* x, int n) {
  int32_t total = 0;
  for (int i = 0; i < n; ++i) total += w[i] * x[i];
  return total;
}

}  // namespace runnel::cpu::RUNNEL_ISA

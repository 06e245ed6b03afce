// NEON of every ARM64 CPU: 4 floats or 16 int8 values. Sums of int8 products take one instruction
// per 16 values where the level has dot products (FEAT_DotProd), else three.
#pragma once
#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

namespace runnel::cpu::RUNNEL_ISA {

using F = float32x4_t;
constexpr int kLanes = 4;
constexpr int kTileTokens = 6;  // float tile: 4 rows x 6 tokens = 24 of 32 registers
using I = int8x16_t;
using Dots = int32x4_t;

static inline F load(const float* p) {
  return vld1q_f32(p);
}
static inline void store(float* p, F v) {
  vst1q_f32(p, v);
}
static inline F zero() {
  return vdupq_n_f32(0.0f);
}
static inline F set1(float v) {
  return vdupq_n_f32(v);
}
static inline F add(F a, F b) {
  return vaddq_f32(a, b);
}
static inline F sub(F a, F b) {
  return vsubq_f32(a, b);
}
static inline F mul(F a, F b) {
  return vmulq_f32(a, b);
}
static inline F div(F a, F b) {
  return vdivq_f32(a, b);
}
static inline F fma(F a, F b, F c) {
  return vfmaq_f32(c, a, b);
}
/// b where either is NaN, as at every level: the instruction for maxima would give NaN.
static inline F max(F a, F b) {
  return vbslq_f32(vcgtq_f32(a, b), a, b);
}
static inline F min(F a, F b) {
  return vbslq_f32(vcltq_f32(a, b), a, b);
}
static inline F abs(F a) {
  return vabsq_f32(a);
}
static inline F round(F a) {
  return vrndnq_f32(a);
}
/// value, but 0 in lanes where a < b.
static inline F zero_where_less(F a, F b, F value) {
  return vbslq_f32(vcltq_f32(a, b), zero(), value);
}
/// value in lanes [lo, hi), other elsewhere.
static inline F keep_range(F value, int64_t lo, int64_t hi, F other) {
  const F lane = {0, 1, 2, 3};
  const uint32x4_t keep = vandq_u32(vcgeq_f32(lane, set1(static_cast<float>(lo))),
                                    vcltq_f32(lane, set1(static_cast<float>(hi))));
  return vbslq_f32(keep, value, other);
}
/// v * 2^n for whole n in [-126, 127].
static inline F scale_by_power(F v, F n) {
  const int32x4_t biased = vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127));
  return mul(v, vreinterpretq_f32_s32(vshlq_n_s32(biased, 23)));
}
static inline F load_f16(const uint16_t* p) {
  return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}
static inline F load_bf16(const uint16_t* p) {
  return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
}
static inline void store_f16(uint16_t* p, F v) {
  vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(v)));
}
static inline float f16_value(const uint8_t* p) {
  __fp16 value;
  memcpy(&value, p, sizeof value);
  return static_cast<float>(value);
}

/// Sum of the lanes.
static inline float sum(F v) {
  return vpadds_f32(vadd_f32(vget_low_f32(v), vget_high_f32(v)));
}
static inline float largest(F v) {
  float lane[kLanes];
  store(lane, v);
  const float a = lane[0] > lane[2] ? lane[0] : lane[2], b = lane[1] > lane[3] ? lane[1] : lane[3];
  return a > b ? a : b;
}

/// Lane c of v[r] becomes lane r of v[c].
[[gnu::always_inline]] static inline void transpose(F* v) {
  const F even_low = vzip1q_f32(v[0], v[2]), even_high = vzip2q_f32(v[0], v[2]);
  const F odd_low = vzip1q_f32(v[1], v[3]), odd_high = vzip2q_f32(v[1], v[3]);
  v[0] = vzip1q_f32(even_low, odd_low);
  v[1] = vzip2q_f32(even_low, odd_low);
  v[2] = vzip1q_f32(even_high, odd_high);
  v[3] = vzip2q_f32(even_high, odd_high);
}

// ---- int8 dot products: weights and activations are signed; weights of formats with an offset
// below 128 come with it ----

static inline I load_i8(const int8_t* p) {
  return vld1q_s8(p);
}
/// The nearest whole numbers. REQUIRES: within [-127, 127].
static inline void store_i8(int8_t* p, F v) {
  const int16x4_t words = vmovn_s32(vcvtnq_s32_f32(v));
  const int8x8_t bytes = vmovn_s16(vcombine_s16(words, words));
  vst1_lane_s32(reinterpret_cast<int32_t*>(p), vreinterpret_s32_s8(bytes), 0);
}
static inline I as_signed(uint8x16_t v) {
  return vreinterpretq_s8_u8(v);
}
/// dots plus 16 products, four or so of them in each lane.
static inline Dots add_products(Dots dots, I w, I x) {
#if defined(__ARM_FEATURE_DOTPROD)
  return vdotq_s32(dots, w, x);
#else  // two products of at most 128 * 127 fit 16 bits
  return vpadalq_s16(dots, vmlal_high_s8(vmull_s8(vget_low_s8(w), vget_low_s8(x)), w, x));
#endif
}
/// Lane j of the result = sum of the lanes of v[j], four of them.
static inline Dots sum_each(const Dots* v) {
  return vpaddq_s32(vpaddq_s32(v[0], v[1]), vpaddq_s32(v[2], v[3]));
}
/// dots, with what the offset of the stored weights added taken off.
template <int offset>
static inline Dots take_offset(Dots dots, Dots sums) {
  if constexpr (offset == 0 || offset >= 128) return dots;
  return vmlsq_n_s32(dots, sums, offset);
}
/// The scale of 32 values, for each group of a quarter (0 to 3) of 16 groups.
template <int group>
static inline F group_scales(const float* p, int quarter) {
  if constexpr (group == 32) return load(p + 4 * quarter);
  const float32x2_t pair = vld1_f32(p + 2 * quarter);
  return vcombine_f32(vdup_lane_f32(pair, 0), vdup_lane_f32(pair, 1));
}
static inline F to_float(Dots v) {
  return vcvtq_f32_s32(v);
}

}  // namespace runnel::cpu::RUNNEL_ISA

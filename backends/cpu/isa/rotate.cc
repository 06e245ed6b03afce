// Signed Hadamard transform of vectors of 64 values (quant/hadamard.h: the same bits): butterflies
// between lanes of a register, then between registers. 6 additions per value.
#include "backends/cpu/isa/functions.h"

namespace runnel::cpu::RUNNEL_ISA {
namespace {

constexpr int kValues = 64;
constexpr int kRegisters = kValues / kLanes;

/// Lanes i and i ^ distance change places.
template <int distance>
inline F swap_lanes(F v) {
#if RUNNEL_SIMD_BITS == 512
  if constexpr (distance == 8) return _mm512_shuffle_f32x4(v, v, 0x4E);
  if constexpr (distance == 4) return _mm512_shuffle_f32x4(v, v, 0xB1);
  if constexpr (distance == 2) return _mm512_permute_ps(v, 0x4E);
  if constexpr (distance == 1) return _mm512_permute_ps(v, 0xB1);
#elif RUNNEL_SIMD_BITS == 256
  if constexpr (distance == 4) return _mm256_permute2f128_ps(v, v, 1);
  if constexpr (distance == 2) return _mm256_permute_ps(v, 0x4E);
  if constexpr (distance == 1) return _mm256_permute_ps(v, 0xB1);
#elif RUNNEL_SIMD_BITS == 128
  if constexpr (distance == 2) return vextq_f32(v, v, 2);
  if constexpr (distance == 1) return vrev64q_f32(v);
#else
  if constexpr (distance == 2) return F{v[2], v[3], v[0], v[1]};
  if constexpr (distance == 1) return F{v[1], v[0], v[3], v[2]};
#endif
}

/// a + b in the lanes without bit `distance`, a - b (of the pair) in the others.
template <int distance>
inline void lane_stage(F* x) {
  if constexpr (distance < kLanes) {
    float lanes[kLanes];
    for (int i = 0; i < kLanes; ++i) lanes[i] = (i & distance) != 0 ? -1.0f : 1.0f;
    const F sign = load(lanes);
    for (int i = 0; i < kRegisters; ++i) x[i] = add(swap_lanes<distance>(x[i]), mul(sign, x[i]));
    lane_stage<2 * distance>(x);
  }
}

inline void transform(F* x) {
  lane_stage<1>(x);
  for (int distance = 1; distance < kRegisters; distance *= 2)
    for (int i = 0; i < kRegisters; ++i) {
      if ((i & distance) != 0) continue;
      const F a = x[i], b = x[i + distance];
      x[i] = add(a, b);
      x[i + distance] = sub(a, b);
    }
  for (int i = 0; i < kRegisters; ++i) x[i] = mul(x[i], set1(0.125f));
}

inline void flip(F* x, const float* signs) {
  for (int i = 0; i < kRegisters; ++i) x[i] = mul(x[i], load(signs + i * kLanes));
}

}  // namespace

void rotate(const RotateTask& task) {
  float signs[kValues];
  for (int i = 0; i < kValues; ++i) signs[i] = (task.signs >> i & 1) != 0 ? -1.0f : 1.0f;
  for (int64_t v = task.first; v < task.last; ++v) {
    F x[kRegisters];
    for (int i = 0; i < kRegisters; ++i) x[i] = load(task.x + v * kValues + i * kLanes);
    if (task.gains != nullptr)
      for (int i = 0; i < kRegisters; ++i)
        x[i] = mul(x[i], load(task.gains + v % task.n_gains * kValues + i * kLanes));
    if (task.transform) {
      if (!task.inverse) flip(x, signs);
      transform(x);
      if (task.inverse) flip(x, signs);
    }
    float* out = task.out + v * kValues;
    for (int i = 0; i < kRegisters; ++i) {
      if (task.round) {
        uint16_t half[kLanes];
        store_f16(half, x[i]);
        x[i] = load_f16(half);
      }
      store(out + i * kLanes, x[i]);
    }
  }
}

}  // namespace runnel::cpu::RUNNEL_ISA

// y = x W^T for f32, f16 and bf16 weights: 2 k flops and 4, 2 or 2 k bytes of weight per element.
// Tiles of kRows weight rows x up to kTileTokens tokens keep all sums in registers. Each element is
// one register of partial sums over k in steps of kLanes plus a scalar tail, in every tile shape,
// so a row's result does not depend on how many tokens come with it. Tokens are the outer loop:
// their tile stays in L1 while the task's weight rows come from L2.
#include "backends/cpu/isa/functions.h"

namespace runnel::cpu::RUNNEL_ISA {
namespace {

constexpr int kRows = 4;

struct WeightF32 {
  static constexpr int64_t kBytes = 4;
  static inline F load(const uint8_t* p) {
    return RUNNEL_ISA::load(reinterpret_cast<const float*>(p));
  }
  static inline float value(const uint8_t* p) { return *reinterpret_cast<const float*>(p); }
};
struct WeightF16 {
  static constexpr int64_t kBytes = 2;
  static inline F load(const uint8_t* p) { return load_f16(reinterpret_cast<const uint16_t*>(p)); }
  static inline float value(const uint8_t* p) { return f16_value(p); }
};
struct WeightBf16 {
  static constexpr int64_t kBytes = 2;
  static inline F load(const uint8_t* p) { return load_bf16(reinterpret_cast<const uint16_t*>(p)); }
  static inline float value(const uint8_t* p) {
    const uint32_t bits = static_cast<uint32_t>(*reinterpret_cast<const uint16_t*>(p)) << 16;
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
  }
};

// Weight rows [n, n + R) times tokens [t, t + T).
template <class W, int R, int T>
void tile(const MatmulTask& task, int64_t n, int64_t t0) {
  const uint8_t* w[R];
  const float* x[T];
  F acc[R][T];
  for (int r = 0; r < R; ++r) w[r] = task.w + (n + r) * task.w_stride;
  for (int t = 0; t < T; ++t) x[t] = reinterpret_cast<const float*>(x_row(task, t0 + t));
  for (int r = 0; r < R; ++r)
    for (int t = 0; t < T; ++t) acc[r][t] = zero();
  const int64_t whole = task.k - task.k % kLanes;
  for (int64_t k = 0; k < whole; k += kLanes) {
    F wk[R];
    for (int r = 0; r < R; ++r) wk[r] = W::load(w[r] + k * W::kBytes);
    for (int t = 0; t < T; ++t) {
      const F xk = load(x[t] + k);
      for (int r = 0; r < R; ++r) acc[r][t] = fma(wk[r], xk, acc[r][t]);
    }
  }
  for (int t = 0; t < T; ++t) {
    float* y = y_row(task, t0 + t) + n;
    for (int r = 0; r < R; ++r) {
      float tail = 0.0f;
      for (int64_t k = whole; k < task.k; ++k) tail += W::value(w[r] + k * W::kBytes) * x[t][k];
      y[r] = sum(acc[r][t]) + tail;
    }
  }
}

template <class W, int T>
void columns(const MatmulTask& task, int64_t t0) {
  int64_t n = 0;
  for (; n + kRows <= task.n_rows; n += kRows) tile<W, kRows, T>(task, n, t0);
  for (; n < task.n_rows; ++n) tile<W, 1, T>(task, n, t0);
}

template <class W>
void matmul(const MatmulTask& task) {
  int64_t t = 0;
  for (; t + kTileTokens <= task.n_tokens; t += kTileTokens) columns<W, kTileTokens>(task, t);
  if constexpr (kTileTokens > 3)
    for (; t + 3 <= task.n_tokens; t += 3) columns<W, 3>(task, t);
  if constexpr (kTileTokens > 2)
    for (; t + 2 <= task.n_tokens; t += 2) columns<W, 2>(task, t);
  for (; t < task.n_tokens; ++t) columns<W, 1>(task, t);
}

}  // namespace

void matmul_f32(const MatmulTask& task) {
  matmul<WeightF32>(task);
}
void matmul_f16(const MatmulTask& task) {
  matmul<WeightF16>(task);
}
void matmul_bf16(const MatmulTask& task) {
  matmul<WeightBf16>(task);
}

}  // namespace runnel::cpu::RUNNEL_ISA

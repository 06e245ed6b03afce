// y = x W^T for block formats of 32 values (q8_0, q4_0) with int8 activations (quantize32): per
// step of kBlocksPerStep blocks one integer dot, scaled by both blocks' scales, added to one
// register of partial sums per element. Tiles of 4 rows x 4 tokens unpack each weight block once
// per 4 tokens. The order of operations of an element is the same in every tile shape.
#include "backends/cpu/formats/q4_0.h"
#include "backends/cpu/formats/q8_0.h"
#include "backends/cpu/isa/functions.h"

namespace runnel::cpu::RUNNEL_ISA {
namespace {

constexpr int64_t kStep = 32 * kBlocksPerStep;  // values

#if defined(__AVX2__)
inline F no_sum() {
  return zero();
}
inline F scaled(F dot, F w_scale, const float* x_scale, F acc) {
  return fma(dot, mul(w_scale, load(x_scale)), acc);
}
inline float total(F acc) {
  return sum(acc);
}
#else
inline float no_sum() {
  return 0.0f;
}
inline float scaled(float dot, float w_scale, const float* x_scale, float acc) {
  return acc + dot * (w_scale * *x_scale);
}
inline float total(float acc) {
  return acc;
}
#endif

template <class Format, int R, int T, bool two>
inline void step(const uint8_t* const* w,
                 const uint8_t* const* x,
                 int64_t scales_at,
                 int64_t block,
                 Acc (*acc)[T]) {
  typename Format::Step weight[R];
  for (int r = 0; r < R; ++r)
    weight[r] = Format::template load_step<two>(w[r] + block * Format::kBlockBytes);
  for (int t = 0; t < T; ++t) {
    const I q = load_i8(reinterpret_cast<const int8_t*>(x[t]) + 32 * block);
    const float* scale = reinterpret_cast<const float*>(x[t] + scales_at) + kScaleCopies * block;
    const auto excess = Format::excess(q);
    for (int r = 0; r < R; ++r)
      acc[r][t] = scaled(Format::dot(weight[r].w, q, excess), weight[r].scale, scale, acc[r][t]);
  }
}

template <class Format, int R, int T>
void tile(const MatmulTask& task, int64_t n, int64_t t0) {
  const uint8_t *w[R], *x[T];
  Acc acc[R][T];
  for (int r = 0; r < R; ++r) w[r] = task.w + (n + r) * task.w_stride;
  for (int t = 0; t < T; ++t) x[t] = x_row(task, t0 + t);
  for (int r = 0; r < R; ++r)
    for (int t = 0; t < T; ++t) acc[r][t] = no_sum();
  const int64_t blocks = task.k / 32;
  const int64_t scales_at = (task.k + kBlock32Pad - 1) / kBlock32Pad * kBlock32Pad;
  int64_t block = 0;
  for (; block + kBlocksPerStep <= blocks; block += kBlocksPerStep)
    step<Format, R, T, true>(w, x, scales_at, block, acc);
  if (block < blocks) step<Format, R, T, false>(w, x, scales_at, block, acc);
  for (int t = 0; t < T; ++t)
    for (int r = 0; r < R; ++r) y_row(task, t0 + t)[n + r] = total(acc[r][t]);
}

template <class Format, int T>
void columns(const MatmulTask& task, int64_t t0) {
  int64_t n = 0;
  for (; n + 4 <= task.n_rows; n += 4) tile<Format, 4, T>(task, n, t0);
  for (; n < task.n_rows; ++n) tile<Format, 1, T>(task, n, t0);
}

template <class Format>
void matmul(const MatmulTask& task) {
  int64_t t = 0;
  for (; t + 4 <= task.n_tokens; t += 4) columns<Format, 4>(task, t);
  for (; t < task.n_tokens; ++t) columns<Format, 1>(task, t);
}

}  // namespace

void matmul_q8_0(const MatmulTask& task) {
  matmul<Q8_0>(task);
}
void matmul_q4_0(const MatmulTask& task) {
  matmul<Q4_0>(task);
}

}  // namespace runnel::cpu::RUNNEL_ISA

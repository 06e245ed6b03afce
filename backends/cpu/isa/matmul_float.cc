// y = x W^T for f32, f16 and bf16 weights: 2 k flops and 4, 2 or 2 k bytes of weight per element.
// Tiles of kRows weight rows x up to kTileTokens tokens keep all sums in registers. Each element is
// one register of partial sums over k in steps of kLanes plus a scalar tail, in every tile shape,
// so a row's result does not depend on how many tokens come with it. Tokens are the outer loop:
// their tile stays in L1 while the task's weight rows come from L2.
#include "backends/cpu/isa/functions.h"

namespace runnel::cpu::RUNNEL_ISA {
namespace {

constexpr int kRows = 4;
constexpr int64_t kGroups = 8;    // of kRows weight rows
constexpr int64_t kBlockK = 512;  // floats: 6 tokens of it take 12 of 32 KiB L1

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

// x of T tokens at k in [begin, end), k-major: one run of memory. Rows a power of two apart would
// fall on the same lines of the L1 cache.
template <int T>
inline void pack(const float* const* x, int64_t begin, int64_t end, float* packed) {
  for (int64_t k = begin; k < end; k += kLanes)
    for (int t = 0; t < T; ++t, packed += kLanes) store(packed, load(x[t] + k));
}

// acc[r][t] += products of k in [begin, end).
// ahead: bytes from each row to the one to ask memory for (one token: nothing else hides its time).
template <class W, int R, int T>
inline void accumulate(const uint8_t* const* w,
                       const float* packed,
                       int64_t begin,
                       int64_t end,
                       int64_t ahead,
                       F (*acc)[T]) {
  F sums[R][T];
  for (int r = 0; r < R; ++r)
    for (int t = 0; t < T; ++t) sums[r][t] = acc[r][t];
  for (int64_t k = begin; k < end; k += kLanes, packed += T * kLanes) {
    F wk[R];
    for (int r = 0; r < R; ++r) wk[r] = W::load(w[r] + k * W::kBytes);
    if constexpr (T == 1)
      for (int r = 0; r < R; ++r) prefetch(w[r] + k * W::kBytes + ahead);
    for (int t = 0; t < T; ++t) {
      const F xk = load(packed + t * kLanes);
      for (int r = 0; r < R; ++r) sums[r][t] = fma(wk[r], xk, sums[r][t]);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int t = 0; t < T; ++t) acc[r][t] = sums[r][t];
}

// Up to kGroups groups of R weight rows from row n on, times tokens [t0, t0 + T). k is cut into
// blocks so that the tokens' part stays in L1 for all groups; sums wait in memory in between.
template <class W, int R, int T>
void block(const MatmulTask& task, int64_t n, int64_t groups, int64_t t0) {
  F acc[kGroups][R][T];
  alignas(64) float packed[T == 1 ? 1 : kBlockK * T];
  const float* x[T];
  for (int t = 0; t < T; ++t) x[t] = reinterpret_cast<const float*>(x_row(task, t0 + t));
  for (int64_t g = 0; g < groups; ++g)
    for (int r = 0; r < R; ++r)
      for (int t = 0; t < T; ++t) acc[g][r][t] = zero();
  const int64_t whole = task.k - task.k % kLanes, step = T == 1 ? whole : kBlockK;
  for (int64_t begin = 0; begin < whole; begin += step) {
    const int64_t end = begin + step < whole ? begin + step : whole;
    if constexpr (T > 1) pack<T>(x, begin, end, packed);
    for (int64_t g = 0; g < groups; ++g) {
      const uint8_t* w[R];
      for (int r = 0; r < R; ++r) w[r] = task.w + (n + g * R + r) * task.w_stride;
      accumulate<W, R, T>(w, T == 1 ? x[0] : packed, begin, end, R * task.w_stride, acc[g]);
    }
  }
  for (int t = 0; t < T; ++t) {
    float* y = y_row(task, t0 + t) + n;
    for (int64_t row = 0; row < groups * R; ++row) {
      float tail = 0.0f;
      for (int64_t k = whole; k < task.k; ++k)
        tail += W::value(task.w + (n + row) * task.w_stride + k * W::kBytes) * x[t][k];
      y[row] = sum(acc[row / R][row % R][t]) + tail;
    }
  }
}

template <class W, int T>
void columns(const MatmulTask& task, int64_t t0) {
  int64_t n = 0;
  while (n + kRows <= task.n_rows) {
    const int64_t left = (task.n_rows - n) / kRows, groups = left < kGroups ? left : kGroups;
    block<W, kRows, T>(task, n, groups, t0);
    n += groups * kRows;
  }
  if (n < task.n_rows) block<W, 1, T>(task, n, task.n_rows - n, t0);
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

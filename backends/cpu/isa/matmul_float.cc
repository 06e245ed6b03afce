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

// acc[r][t] += products of k in [begin, end). ahead: see MatmulTask; of use with one token, where
// nothing else hides memory's time.
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
    if (T == 1 && ahead > 0)
      for (int r = 0; r < R; ++r) prefetch(w[r] + k * W::kBytes + ahead);
    for (int t = 0; t < T; ++t) {
      const F xk = load(packed + t * kLanes);
      for (int r = 0; r < R; ++r) sums[r][t] = fma(wk[r], xk, sums[r][t]);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int t = 0; t < T; ++t) acc[r][t] = sums[r][t];
}

// Products of the last values, fewer than a register.
template <class W>
inline float rest(const uint8_t* w, const float* x, int64_t begin, int64_t end) {
  float sum = 0.0f;
  for (int64_t k = begin; k < end; ++k) sum += W::value(w + k * W::kBytes) * x[k];
  return sum;
}

// Up to kGroups groups of R weight rows from row n on, times tokens [t0, t0 + T). k is cut into
// blocks so that the tokens' part stays in L1 for all groups; sums wait in memory in between.
template <class W, int R, int T>
void block(const MatmulTask& task, int64_t n, int64_t groups, int64_t t0) {
  F acc[kGroups][R][T];
  alignas(64) float packed[kBlockK * T];
  const float* x[T];
  for (int t = 0; t < T; ++t) x[t] = reinterpret_cast<const float*>(x_row(task, t0 + t));
  for (int64_t g = 0; g < groups; ++g)
    for (int r = 0; r < R; ++r)
      for (int t = 0; t < T; ++t) acc[g][r][t] = zero();
  const int64_t whole = task.k - task.k % kLanes;
  for (int64_t begin = 0; begin < whole; begin += kBlockK) {
    const int64_t end = begin + kBlockK < whole ? begin + kBlockK : whole;
    pack<T>(x, begin, end, packed);
    for (int64_t g = 0; g < groups; ++g) {
      const uint8_t* w[R];
      for (int r = 0; r < R; ++r) w[r] = task.w + (n + g * R + r) * task.w_stride;
      accumulate<W, R, T>(w, packed, begin, end, 0, acc[g]);
    }
  }
  for (int t = 0; t < T; ++t) {
    float* y = y_row(task, t0 + t) + n;
    for (int64_t row = 0; row < groups * R; ++row)
      y[row] = sum(acc[row / R][row % R][t]) +
               rest<W>(task.w + (n + row) * task.w_stride, x[t], whole, task.k);
  }
}

// The weight rows n, n + apart, ... times one token.
template <class W, int R>
void rows_apart(const MatmulTask& task, int64_t n, int64_t apart, int64_t t) {
  const auto* x = reinterpret_cast<const float*>(x_row(task, t));
  const uint8_t* w[R];
  F acc[R][1];
  for (int r = 0; r < R; ++r) {
    w[r] = task.w + (n + r * apart) * task.w_stride;
    acc[r][0] = zero();
  }
  const int64_t whole = task.k - task.k % kLanes;
  accumulate<W, R, 1>(w, x, 0, whole, task.ahead, acc);
  for (int r = 0; r < R; ++r)
    y_row(task, t)[n + r * apart] = sum(acc[r][0]) + rest<W>(w[r], x, whole, task.k);
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
  for (; t < task.n_tokens; ++t) {  // kRows streams far apart, as in matmul_rows.h
    const int64_t apart = task.n_rows / kRows;
    for (int64_t n = 0; n < apart; ++n) rows_apart<W, kRows>(task, n, apart, t);
    for (int64_t n = kRows * apart; n < task.n_rows; ++n) rows_apart<W, 1>(task, n, 0, t);
  }
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

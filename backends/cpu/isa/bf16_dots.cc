// Products of bf16 weights with activations rounded to bf16: 64 flops an instruction. Few tokens:
// weights as they lie in the file, a chain per lane. Many: panels [pair][32 rows][2] in the order
// of the chains; 8 loads feed 12 dots and nothing else is done in between.
#include "backends/cpu/isa/bf16_dots.h"

#include "backends/cpu/isa/panel_avx512.h"

namespace runnel::cpu::RUNNEL_ISA {
namespace {

using Order = ChainOrder<kBf16Chains>;
constexpr int64_t kLine = 32;  // values of a register
constexpr int64_t kPairBytes = 2 * sizeof(uint16_t);

inline F dot(F sum, I w, I x) {
  return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(w), reinterpret_cast<__m512bh>(x));
}
/// The first n values at p, zeros behind them.
inline I load_some(const void* p, int64_t n) {
  return _mm512_maskz_loadu_epi16(n >= kLine ? ~0u : (1u << n) - 1, p);
}

// R weight rows, `apart` rows from each other, times T tokens.
template <int R, int T>
void multiply_rows(const MatmulTask& task, int64_t n, int64_t apart, int64_t t0) {
  const uint8_t* w[R];
  const uint8_t* x[T];
  F sums[R][T];
  for (int r = 0; r < R; ++r) w[r] = task.w + (n + r * apart) * task.w_stride;
  for (int t = 0; t < T; ++t) x[t] = x_row(task, t0 + t);
  for (int r = 0; r < R; ++r)
    for (int t = 0; t < T; ++t) sums[r][t] = zero();
  const auto add_line = [&](int64_t i, auto load_weights) {
    I values[T];
    for (int t = 0; t < T; ++t) values[t] = _mm512_loadu_si512(x[t] + 2 * i);
    for (int r = 0; r < R; ++r) {
      const I weights = load_weights(w[r] + 2 * i);
      for (int t = 0; t < T; ++t) sums[r][t] = dot(sums[r][t], weights, values[t]);
    }
  };
  const int64_t whole = task.k / kLine * kLine, left = task.k - whole;
  for (int64_t i = 0; i < whole; i += kLine) {
    if (T == 1 && task.ahead > 0)
      for (int r = 0; r < R; ++r) prefetch(w[r] + 2 * i + task.ahead);
    add_line(i, [](const uint8_t* p) { return _mm512_loadu_si512(p); });
  }
  if (left > 0) add_line(whole, [left](const uint8_t* p) { return load_some(p, left); });
  for (int r = 0; r < R; ++r)
    for (int t = 0; t < T; ++t) y_row(task, t0 + t)[n + r * apart] = sum(sums[r][t]);
}

template <int T>
void multiply_panel(const PanelTask& task) {
  const auto* w = static_cast<const uint8_t*>(task.panel);
  const auto* x = static_cast<const uint8_t*>(task.x) - task.first * kPanelTokens * kPairBytes;
  Block<T> chain;
  const auto add_pair = [&](int64_t place, Block<T>& sums) {
    const uint8_t* pairs = w + place * kPanelRows * kPairBytes;
    const I first = _mm512_loadu_si512(pairs), second = _mm512_loadu_si512(pairs + 64);
#pragma GCC unroll 6
    for (int t = 0; t < T; ++t) {
      const I values = broadcast_word(
          reinterpret_cast<const int8_t*>(x + (place * kPanelTokens + t) * kPairBytes));
      sums.rows[0][t] = dot(sums.rows[0][t], first, values);
      sums.rows[1][t] = dot(sums.rows[1][t], second, values);
    }
  };
  if (sum_chains(task, Order((task.k + 1) / 2), reinterpret_cast<Block<T>*>(task.sums), chain,
                 add_pair))
    store_block(task, chain);
}

}  // namespace

void matmul_bf16_dots(const MatmulTask& task) {
  int64_t t = 0;
  for (; t + 4 <= task.n_tokens; t += 4) {
    int64_t n = 0;
    for (; n + 4 <= task.n_rows; n += 4) multiply_rows<4, 4>(task, n, 1, t);
    for (; n < task.n_rows; ++n) multiply_rows<1, 4>(task, n, 0, t);
  }
  for (; t < task.n_tokens; ++t) {
    const int64_t apart = task.n_rows / kStreams;
    for (int64_t n = 0; n < apart; ++n) multiply_rows<kStreams, 1>(task, n, apart, t);
    for (int64_t n = kStreams * apart; n < task.n_rows; ++n) multiply_rows<1, 1>(task, n, 0, t);
  }
}

void pack_bf16_panel(const uint8_t* w, int64_t w_stride, int64_t n_rows, int64_t k, void* panel) {
  const Order order((k + 1) / 2);
  for (int64_t row = 0; row < kPanelRows; row += 16)
    for (int64_t first = 0; first < order.n_groups; first += kBf16Chains) {
      F v[16];
      for (int64_t r = 0; r < 16; ++r)
        v[r] = row + r < n_rows ? _mm512_castsi512_ps(load_some(
                                      w + (row + r) * w_stride + first * kPairBytes, k - 2 * first))
                                : zero();
      transpose(v);
      for (int64_t i = 0; i < 16 && first + i < order.n_groups; ++i)
        _mm512_storeu_ps(
            static_cast<uint8_t*>(panel) + (order.place(first + i) * kPanelRows + row) * kPairBytes,
            v[i]);
    }
}

void bf16_panel(const PanelTask& task) {
  if (task.n_tokens > 4) return multiply_panel<6>(task);
  if (task.n_tokens > 2) return multiply_panel<4>(task);
  multiply_panel<2>(task);
}

}  // namespace runnel::cpu::RUNNEL_ISA

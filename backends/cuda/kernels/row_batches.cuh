// Batches of 32 keys from rows of f16, for attention of few tokens.
#pragma once
#include "backends/cuda/kernels/head_sums.cuh"

namespace runnel::cuda {

/// A batch of rows of one KV head in f16 pages; it lies in one of them. Lanes read eight values and
/// sixteen channels of keys at a time.
template <int kDim>
struct PageBatch {
  static constexpr KeyChannels kChannels = Codes<quant::KvFormat::kt2>::kChannels;
  static constexpr bool kByEight = true;
  const __half* rows[2];  // of key 0

  __device__ PageBatch(std::byte* const* const (&pages)[2], int head, int first)
      : rows{page_row<__half>(pages[0], first, head, kDim),
             page_row<__half>(pages[1], first, head, kDim)} {}

  /// Operands of products with four tokens of a key.
  __device__ void key(int i, int part, int c, std::uint32_t (&to)[4][2]) const {
    const auto* from = reinterpret_cast<const uint4*>(rows[0] + i * kDim + part * kPart + 16 * c);
#pragma unroll
    for (int m = 0; m < 4; m += 2) {
      const uint4 words = from[m / 2];
      to[m][0] = words.x, to[m][1] = words.y, to[m + 1][0] = words.z, to[m + 1][1] = words.w;
    }
  }
  __device__ void value(int i, int part, int g, std::uint32_t (&to)[4]) const {
    const uint4 words = *reinterpret_cast<const uint4*>(rows[1] + i * kDim + part * kPart + 8 * g);
    to[0] = words.x, to[1] = words.y, to[2] = words.z, to[3] = words.w;
  }
};

/// The same of rows beside tiles: in the window, or those of the step.
template <int kDim>
struct WindowBatch {
  static constexpr bool kByEight = false;
  KvWindow window[2];
  int head, first, last, start;  // last: a place that has a row; start: slot of key 0 in the ring
  KeyChannels channel;

  __device__ void begin(int first_key, int last_key) {
    first = first_key;
    last = last_key;
    start = (first + window[0].gap) % window[0].ring();
  }
  /// Of key i of the batch, where it is in the window.
  __device__ const __half* row(int half, int i) const {
    const KvWindow& w = window[half];
    const int at = start + i, ring = w.ring();
    const int slot =
        first + i < w.sinks ? first + i : quant::kKvSinkTokens + at - (at < ring ? 0 : ring);
    return w.slots_of(head) + std::int64_t{slot} * kDim;
  }
  __device__ bool kept(int i) const { return min(first + i, last) < window[0].split; }
  __device__ std::uint32_t two(int half, int i, int d) const {
    const int place = min(first + i, last);
    const __half2 both = __floats2half2_rn(window[half].value(place, head, d),
                                           window[half].value(place, head, d + 1));
    return reinterpret_cast<const std::uint32_t&>(both);
  }
  __device__ void key(int i, int part, int c, std::uint32_t (&to)[4][2]) const {
    const bool is_kept = kept(i);
    const __half* from = row(0, i) + part * kPart;
#pragma unroll
    for (int m = 0; m < 4; ++m) {
      const int d = channel(m, c);
      const uint2 four = is_kept
                             ? *reinterpret_cast<const uint2*>(from + d)
                             : uint2{two(0, i, part * kPart + d), two(0, i, part * kPart + d + 2)};
      to[m][0] = four.x, to[m][1] = four.y;
    }
  }
  __device__ void value(int i, int part, int g, std::uint32_t (&to)[4]) const {
    const bool is_kept = kept(i);
    const __half* from = row(1, i) + part * kPart;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int d = 16 * j + 2 * g;
      to[j] =
          is_kept ? *reinterpret_cast<const std::uint32_t*>(from + d) : two(1, i, part * kPart + d);
    }
  }
};

/// Takes the keys of a batch of rows that visible(key of the batch) says.
template <int kDim, class Batch, class Visible>
__device__ void take_rows(HeadSums<kDim>& sums, const Batch& batch, Visible visible) {
  constexpr int kParts = kDim / kPart;
  const int g = threadIdx.x % 32 / 4, c = threadIdx.x % 4, own = own_key(c);
  std::uint32_t v[8][4];
  const auto load_values = [&](int part) {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      batch.value(own + i, part, g, v[i]);
      if (!visible(own + i)) v[i][0] = v[i][1] = v[i][2] = v[i][3] = 0;
    }
  };
  float score[8], products[4][4] = {};
#pragma unroll
  for (int part = 0; part < kParts; ++part)
#pragma unroll
    for (int b = 0; b < 4; ++b) {
      std::uint32_t operand[4][2];
      batch.key(loaded_key(g) + b, part, c, operand);
      sums.multiply_key(part, operand, products[b]);
    }
  if (kParts == 1) load_values(0);
#pragma unroll
  for (int i = 0; i < 8; ++i) score[i] = visible(own + i) ? score_of(products, i) : -INFINITY;
  sums.soften(score, 1.0f);
  std::uint32_t a[2][4];
  const float ones[8] = {1, 1, 1, 1, 1, 1, 1, 1};
  sums.weigh(ones, a);
#pragma unroll
  for (int part = 0; part < kParts; ++part) {
    if (kParts > 1) load_values(part);
#pragma unroll
    for (int parity = 0; parity < 2; ++parity) {
      const std::uint32_t selector = parity == 0 ? 0x5410u : 0x7632u;
      std::uint32_t operand[4][2][2];
#pragma unroll
      for (int j = 0; j < 4; ++j)
#pragma unroll
        for (int i = 0; i < 4; ++i)
          operand[j][i / 2][i % 2] = permute(v[2 * i][j], v[2 * i + 1][j], selector);
      sums.add_values(part, parity, a, operand);
    }
  }
}

}  // namespace runnel::cuda

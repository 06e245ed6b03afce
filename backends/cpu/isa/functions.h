// The functions of one ISA level, gathered into its Kernels table by table.cc.
#pragma once
#include "backends/cpu/isa/kernels.h"
#include "backends/cpu/isa/simd.h"

namespace runnel::cpu::RUNNEL_ISA {

void matmul_f32(const MatmulTask& task);
void matmul_f16(const MatmulTask& task);
void matmul_bf16(const MatmulTask& task);
void quantize(const float* x, int64_t k, Chunk* out);
void pack_tile(const Chunk* rows,
               int64_t row_chunks,
               int64_t n_tokens,
               int group,
               int64_t k,
               uint8_t* tiles,
               int64_t piece_bytes);
void from_f16(const void* src, float* dst, int64_t n);
void from_bf16(const void* src, float* dst, int64_t n);
void to_f16(const float* src, void* dst, int64_t n);
void to_bf16(const float* src, void* dst, int64_t n);
void pack_bf16_tile(
    const uint16_t* rows, int64_t n_tokens, int64_t k, uint8_t* tiles, int64_t piece_bytes);
void add_rows(float* out, const float* a, const float* b, int64_t n);
void swiglu(float* out, const float* gate, const float* up, int64_t n);
void rms_norm(float* out, const float* x, const float* weight, int64_t n, float eps);
void rotate_half(float* out, const float* x, const float* cos_sin, int64_t n_pairs);
void multiply_add(float* out, const float* x, float factor, int64_t n);
int64_t argmax(const float* x, int64_t n);
void short_conv(const ConvTask& task);
void attention(const AttentionTask& task);
void tile_attention(const TileAttentionTask& task);
void page_bounds(const PageBoundsTask& task);
void seal(const SealTask& task);
void rotate(const RotateTask& task);
float read_floats(const float* p, int64_t n, int64_t ahead);
int64_t int8_chains(int64_t rounds);
int64_t bf16_chains_if_any(int64_t rounds);
int64_t f32_chains(int64_t rounds);

/// Products with weights of one quantised format.
template <class Format>
void matmul_rows(const MatmulTask& task);
template <class Format>
void pack_panel(const uint8_t* w, int64_t w_stride, int64_t n_rows, int64_t k, void* panel);
template <class Format>
void panel(const PanelTask& task);

/// Values of a token side by side in a tile.
#if defined(__ARM_FEATURE_MATMUL_INT8)
constexpr int kTileWord = 8;
#else
constexpr int kTileWord = 4;
#endif

/// Order of the groups in panels and tiles: chain by chain, and the chains so that the sums of
/// neighbours are halves, quarters and pairs of all chains.
template <int64_t chains>
struct ChainOrder {
  static constexpr int64_t kCount = chains;
  static constexpr int kLevels = chains == 8 ? 3 : 4;  // of the tree of sums
  int64_t first[chains];                               // place of each chain's first group
  int64_t n_groups;
  /// The chain in place j: the bits of j reversed.
  static inline int64_t chain(int64_t j) {
    const int64_t eight = (j & 1) << 2 | (j & 2) | (j >> 2 & 1);
    return chains == 8 ? eight : eight << 1 | j >> 3;
  }
  explicit inline ChainOrder(int64_t n) : n_groups(n) {
    for (int64_t j = 0, next = 0; j < chains; next += count(j++)) first[chain(j)] = next;
  }
  /// Groups of the chain in place j.
  inline int64_t count(int64_t j) const { return (n_groups + chains - 1 - chain(j)) / chains; }
  inline int64_t place(int64_t group) const { return first[group % chains] + group / chains; }
};
using PanelOrder = ChainOrder<kChains>;

/// Sums the groups [task.first, task.last) of all chains. Sums: the chain sums of a block of rows
/// and tokens; held [levels + 1]: the chain under way last. add_group(place, chain) adds one
/// group's products; returns true with the result in `chain` when all groups are in.
template <class Order, class Sums, class AddGroup>
inline bool sum_chains(
    const PanelTask& task, const Order& order, Sums* held, Sums& chain, const AddGroup& add_group) {
  int64_t j = 0, start = 0;
  while (task.first > 0 && start + order.count(j) <= task.first) start += order.count(j++);
  for (; j < Order::kCount; ++j) {
    const int64_t end = start + order.count(j);
    int64_t place = task.first > start ? task.first : start;
    if (place == task.last && task.last < order.n_groups) return false;
    if (place > start)
      chain = held[Order::kLevels];
    else
      chain.clear();
    for (const int64_t to = task.last < end ? task.last : end; place < to; ++place)
      add_group(place, chain);
    if (place < end) {
      held[Order::kLevels] = chain;
      return false;
    }
    int level = 0;
    for (; (j >> level) & 1; ++level) chain.add_to(held[level]);
    if (j + 1 < Order::kCount) held[level] = chain;
    start = end;
  }
  return true;
}

/// Row of x that token t reads.
static inline const uint8_t* x_row(const MatmulTask& task, int64_t t) {
  return task.x + (task.x_index ? task.x_index[t] : t) * task.x_stride;
}
/// Row of y that token t writes.
static inline float* y_row(const MatmulTask& task, int64_t t) {
  return task.y + (task.y_index ? task.y_index[t] : t) * task.y_stride;
}

}  // namespace runnel::cpu::RUNNEL_ISA

// The table of functions that every ISA level exports, and the plain structs they take. Included
// by ISA files and by baseline files alike: nothing here may generate code.
#pragma once
#include <stdint.h>

#include "backends/cpu/isa/ceilings.h"
#include "backends/cpu/isa/fast.h"
#include "backends/cpu/isa/tile_task.h"

namespace runnel::cpu {

/// y[t][n] = dot(x[t], w[n]) for n < n_rows, t < n_tokens. Each element is accumulated in the same
/// order whatever n_rows and n_tokens are.
struct MatmulTask {
  float* y;                // y[t] starts at y + y_index[t] * y_stride
  int64_t y_stride;        // floats
  const uint8_t* w;        // first weight row
  int64_t w_stride;        // bytes
  int64_t n_rows;          // weight rows
  int64_t k;               // values per row
  const uint8_t* x;        // f32 rows, or rows of Chunks or bf16 (rounds_input())
  int64_t x_stride;        // bytes; row of token t starts at x + x_index[t] * x_stride
  int64_t n_tokens;        // rows of x
  const int32_t* x_index;  // null: t
  const int32_t* y_index;  // null: t
  int64_t ahead;           // bytes before a weight's use to ask memory for it; 0: not at all
};
using MatmulFunction = void (*)(const MatmulTask& task);

/// Activations of a row for quantised weights: int8 with a scale per 32 values (largest magnitude /
/// 127). A row is its values padded with zeros to whole chunks.
inline constexpr int64_t kChunkValues = 512;
struct alignas(64) Chunk {
  int8_t q[kChunkValues];
  int8_t split[kChunkValues];  // of 4 x 32 values each the first halves, then the second halves
  int8_t pairs[kChunkValues];  // of 8 x 32 values each the even groups, then the odd, as split
  float scale[16];             // of 32 values each
  int32_t sum[16];             // of the q of 32 values each
  int32_t half_sum[32];        // of 16 values each
  float scaled_sum[16];        // scale * sum
  float scaled_half_sum[32];
};

/// Products with packed weights go through k in pieces that stay in the L1 cache, of so many
/// values.
inline constexpr int64_t piece_values(int group) {
  return group == 2 ? 256 : 512;
}
/// A tile: up to kPanelTokens tokens of a piece, in groups of `group` values, in the order of
/// PanelOrder. The tiles of all tokens follow each other; then those of the next piece. Groups of
/// two: [pair][kPanelTokens][2] bf16.
inline constexpr int64_t kPanelTokens = 6;
template <int group>
struct alignas(64) TileGroup {
  int8_t q[group * kPanelTokens];  // [group / 4][kPanelTokens][4]; i8mm: [group / 8][..][8]
  float scale[kPanelTokens];
  int32_t start[kPanelTokens];     // -128 * sum of q: packed weights are stored + 128
  float scaled_sum[kPanelTokens];  // scale * sum
};
inline constexpr int64_t tile_bytes(int group) {
  const auto bytes = group == 32   ? sizeof(TileGroup<32>)
                     : group == 16 ? sizeof(TileGroup<16>)
                                   : 2 * kPanelTokens * sizeof(uint16_t);
  return piece_values(group) / group * static_cast<int64_t>(bytes);
}

/// Weight rows packed together.
inline constexpr int64_t kPanelRows = 32;
/// Bytes of a packed panel: two per value of bf16; else one, and a scale and a minimum per 16.
inline constexpr int64_t panel_bytes(Fast format, int64_t k) {
  return kPanelRows * (format == Fast::bf16_dots ? (k + 1) / 2 * 4 : k + k / 16 * 8);
}

/// y[t][n] = dot(x[t], w[n]) for n < n_rows <= kPanelRows, t < n_tokens <= kPanelTokens, a piece at
/// a time: groups [first, last) in the order of PanelOrder. The last piece writes y.
struct PanelTask {
  float* y;           // y[t] starts at y + t * y_stride
  int64_t y_stride;   // floats
  const void* panel;  // from Kernels::pack_panel of the same format
  const void* x;      // the piece's tile
  int64_t k, n_rows, n_tokens;
  int64_t first, last;
  float* sums;  // [kPanelSums], 64-byte aligned; kept from piece to piece
};
/// The chain under way, and sums of 1, 2, 4 and 8 chains that wait for their neighbours.
inline constexpr int64_t kPanelSums = 5 * kPanelRows * kPanelTokens;

/// Causal attention of the query heads that share one KV head, for consecutive tokens. Keys are
/// taken page by page, so each row's result is independent of n_tokens.
struct AttentionTask {
  const float* q;             // [n_tokens][group][head_dim], token rows row_stride floats apart
  float* out;                 // same geometry
  int64_t row_stride;         // floats
  int64_t n_tokens;           // at most kAttentionRows / group, or 1
  int64_t group;              // query heads per KV head
  int64_t head_dim;           // values
  int64_t pos;                // position of the first token
  int64_t window;             // keys seen by a row, its own included; 0 = all
  const void* const* k_page;  // host address of each page
  const void* const* v_page;
  int64_t head_offset;  // elements from the page's start to this KV head
  int32_t half_pages;   // 1: pages hold f16, 0: f32
  float scale;
  /// With rows = n_tokens * group and dim = head_dim padded to 16, both rounded up to 16:
  /// 2 rows dim + 64 rows + 3 rows + 128 dim floats.
  float* scratch;
};
inline constexpr int64_t kAttentionRows = 64;
inline constexpr int64_t kPage = 64;  // tokens of a page

struct ConvTask {
  float* out;           // [n_tokens, d]
  const float* bcx;     // [n_tokens, 3d]: chunks B, C, x
  const float* filter;  // [d, taps]
  const float* bias;    // [d] or null
  float* ring;          // [ring_columns, d]
  int64_t d, taps, ring_columns, n_tokens;
  int64_t pos;          // position of the first token
  int64_t first, last;  // channels to compute
};

/// Functions of one ISA level. All of them work on the calling thread and allocate nothing.
struct Kernels {
  /// One per Fast format; bf16_dots only where the CPU has it.
  MatmulFunction matmul[kFastCount];
  /// x [k] f32 -> Chunks.
  void (*quantize)(const float* x, int64_t k, Chunk* out);
  /// Products of packed weights with tiles of tokens; null for formats and levels without them.
  /// pack_panel: weight rows as in MatmulTask, n_rows <= kPanelRows, to panel_bytes() bytes.
  void (*pack_panel[kFastCount])(
      const uint8_t* w, int64_t w_stride, int64_t n_rows, int64_t k, void* panel);
  void (*panel[kFastCount])(const PanelTask& task);
  /// rows: n_tokens <= kPanelTokens rows of Chunks, row_chunks apart -> a tile of each piece,
  /// piece_bytes apart.
  void (*pack_tile)(const Chunk* rows,
                    int64_t row_chunks,
                    int64_t n_tokens,
                    int group,
                    int64_t k,
                    uint8_t* tiles,
                    int64_t piece_bytes);
  /// The same for groups of two; rows: of bf16, padded_bf16(k) values apart.
  void (*pack_bf16_tile)(
      const uint16_t* rows, int64_t n_tokens, int64_t k, uint8_t* tiles, int64_t piece_bytes);
  /// n values of f16 or bf16 -> f32, and back (nearest even).
  void (*from_f16)(const void* src, float* dst, int64_t n);
  void (*from_bf16)(const void* src, float* dst, int64_t n);
  void (*to_f16)(const float* src, void* dst, int64_t n);
  void (*to_bf16)(const float* src, void* dst, int64_t n);
  void (*add)(float* out, const float* a, const float* b, int64_t n);
  /// out = gate / (1 + exp(-gate)) * up
  void (*swiglu)(float* out, const float* gate, const float* up, int64_t n);
  /// One group of n values: out = x / sqrt(mean(x^2) + eps) * weight. out may be x.
  void (*rms_norm)(float* out, const float* x, const float* weight, int64_t n, float eps);
  /// Rotates pairs (i, i + n_pairs) of one head; cos_sin: n_pairs cosines, then n_pairs sines.
  void (*rotate_half)(float* out, const float* x, const float* cos_sin, int64_t n_pairs);
  void (*multiply_add)(float* out, const float* x, float factor, int64_t n);  // out += factor * x
  /// Lowest index of the largest value.
  int64_t (*argmax)(const float* x, int64_t n);
  void (*short_conv)(const ConvTask& task);
  void (*attention)(const AttentionTask& task);
  void (*tile_attention)(const TileAttentionTask& task);
  void (*page_bounds)(const PageBoundsTask& task);
  void (*seal)(const SealTask& task);
  void (*rotate)(const RotateTask& task);
  CeilingLoops ceilings;
};

}  // namespace runnel::cpu

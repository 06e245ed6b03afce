// What kernels over a tiled KV cache are given. Layout of blocks and windows: quant/kv_format.h and
// quant/kv_tile.h (not included here: nothing in this folder may). Nothing here generates code.
#pragma once
#include <stdint.h>

namespace runnel::cpu {

/// Formats of tiles in the order of quant::KvFormat, which starts with plain rows.
enum class Tiles : uint8_t { plain, kt8, kt4, kt3, kt2, count };
inline constexpr int kTilesCount = static_cast<int>(Tiles::count);

inline constexpr int64_t kKvTokens = 16;
inline constexpr int64_t kKvChannels = 64;  // of a vector with one scale
inline constexpr int64_t kKvCodes = kKvTokens * kKvChannels;
inline constexpr int64_t kBlockTiles = 4;  // of a page
inline constexpr int64_t kSinkSlots = 16;  // of a window, before its ring

/// Keys or values of one KV head.
struct TiledRows {
  Tiles format;
  int64_t block_bytes, scales_offset;  // of a block of 64 channels
  const void* const* page;             // host address of each page; null: none are seen
  int64_t head_offset;                 // bytes from a page's start to this head's blocks
  const void* window;                  // [slots][head_dim] f16
  const float* step;                   // rows of the step, step_stride floats apart, f16 values
  int64_t step_stride;
};

/// The pages of tiles that a token sees: page 0, those in `pages`, and all from `from` on.
struct SeenPages {
  const int32_t* pages;  // ascending
  int32_t n, from;
};

/// How large the scores of a query with the keys of pages [0, n) may be (quant/kv_sparse.h).
struct PageBoundsTask {
  const float* q;  // [head_dim]
  int64_t head_dim;
  const void* const* page;  // host address of each page
  int64_t offset, n;        // bytes from there to the head's summary
  float radius_share;
  float* bound;  // [n]
};

/// Causal attention of the query heads that share one KV head, for consecutive tokens, over sinks,
/// tiles and recent rows. Each row's result depends on its position alone.
struct TileAttentionTask {
  const float* q;      // [n_tokens][group][head_dim], token rows row_stride floats apart
  float* out;          // same geometry
  int64_t row_stride;  // floats
  int64_t n_tokens;    // at most kAttentionRows / group, or 1
  int64_t group;       // query heads per KV head
  int64_t head_dim;    // a multiple of kKvChannels
  int64_t pos;         // place of the first token: its position less gap
  int64_t step_pos;    // place of the first row of TiledRows::step
  int64_t split;       // places before it are read from the window
  int64_t gap;         // positions that were dropped and have no place
  int64_t slots;       // of the window
  int64_t sinks, recent;
  float scale;
  TiledRows k, v;
  float* scratch;         // tile_attention_floats() floats
  const SeenPages* seen;  // of each token; null: all pages
};

/// Floats of scratch for `rows` rows (both rounded up to 16).
inline constexpr int64_t tile_attention_floats(int64_t rows, int64_t head_dim) {
  // As AttentionTask; then queries in two bytes and their sums; weights in two bytes, their sums,
  // and four numbers per row; unpacked keys and values of 64 channels, a byte each.
  return 2 * rows * head_dim + 64 * rows + 3 * rows + 128 * head_dim + 96 +  //
         rows * head_dim / 2 + rows * head_dim / kKvChannels + 52 * rows +   //
         2 * kBlockTiles * kKvCodes / 4 + 128;
}

/// Encodes one tile.
struct SealTask {
  Tiles format;
  bool is_keys;
  const float* x;  // [kKvTokens][kKvChannels]
  uint8_t* codes;
  uint8_t* scales;  // kKvTokens f16
};

/// Signed Hadamard transform of vectors [first, last) of 64 values, each step optional.
struct RotateTask {
  float* out;
  const float* x;      // may be out
  const float* gains;  // of n_gains vectors in turn, or null
  int64_t n_gains;
  int64_t first, last;
  uint64_t signs;
  bool inverse, transform, round;  // round: to f16
};

}  // namespace runnel::cpu

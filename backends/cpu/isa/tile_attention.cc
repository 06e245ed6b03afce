// Causal attention of one KV head's query heads over sinks, tiles and recent rows (quant/
// kv_format.h), one online softmax over blocks of 64 keys in ascending order.
// Tiles: queries and weights as integers, dot products on the levels as they lie in memory,
// unpacked once for all rows; the scales of keys go into the scores, those of values into the
// weights. Rows: as in attention.cc. Which keys a row sees as tiles depends on its position alone.
#include "backends/cpu/formats/kv_tiles.h"
#include "backends/cpu/isa/attention_rows.h"
#include "backends/cpu/isa/tile_dots.h"

namespace runnel::cpu::RUNNEL_ISA {
namespace {

// A block whose largest weight is below this share of the sum so far adds no values.
constexpr float kNegligible = 1e-6f;

// Scratch beside a Tile's. Two bytes per value where the format is finer than one byte's rounding:
// high * 128 + low for queries, high * 256 + low for weights.
struct Integers {
  int8_t *q_high, *q_low;    // [rows, head_dim]
  float *q_scale, *p_scale;  // [rows]
  int32_t* q_sum;            // [rows][part]
  uint8_t *p_high, *p_low;   // [rows, kPage]
  uint8_t *keys, *values;    // unpacked: [part][4 tiles]
  int64_t parts;
  bool fine_q, fine_p;
};

Integers divide_more(const TileAttentionTask& task, const Tile& tile, float* next) {
  const auto take = [&next](int64_t bytes) {
    auto* taken = reinterpret_cast<uint8_t*>(next);
    next += whole(bytes / 4);
    return taken;
  };
  const int64_t dh = task.head_dim;
  Integers n;
  n.parts = dh / kKvChannels;
  n.fine_q = task.k.format == Tiles::kt8;
  n.fine_p = task.v.format == Tiles::kt8;
  n.q_high = reinterpret_cast<int8_t*>(take(tile.rows * dh));
  n.q_low = reinterpret_cast<int8_t*>(take(tile.rows * dh));
  n.q_scale = reinterpret_cast<float*>(take(tile.rows * 4));
  n.p_scale = reinterpret_cast<float*>(take(tile.rows * 4));
  n.q_sum = reinterpret_cast<int32_t*>(take(tile.rows * n.parts * 4));
  n.p_high = take(tile.rows * kPage);
  n.p_low = take(tile.rows * kPage);
  n.keys = take(n.parts * kBlockTiles * kKvCodes);
  n.values = take(n.parts * kBlockTiles * kKvCodes);
  return n;
}

// Queries (already times the attention's scale) as integers.
void quantize_queries(const TileAttentionTask& task, const Tile& tile, const Integers& n) {
  const float limit = n.fine_q ? 16256.0f : 127.0f;  // 127 * 128
  for (int64_t r = 0; r < tile.rows; ++r) {
    const float* q = tile.q + r * tile.dim;
    F most = zero();
    for (int64_t i = 0; i < task.head_dim; i += kLanes) most = max(abs(load(q + i)), most);
    n.q_scale[r] = largest(most) / limit;
    const F inverse = set1(n.q_scale[r] > 0.0f ? 1.0f / n.q_scale[r] : 0.0f);
    for (int64_t part = 0; part < n.parts; ++part) {
      float rounded[kKvChannels];
      for (int64_t i = 0; i < kKvChannels; i += kLanes)
        store(rounded + i,
              round(min(max(mul(load(q + part * kKvChannels + i), inverse), set1(-limit)),
                        set1(limit))));
      int32_t sum = 0;
      for (int64_t i = 0; i < kKvChannels; ++i) {
        const auto value = static_cast<int32_t>(rounded[i]);
        const int64_t at = r * task.head_dim + part * kKvChannels + i;
        const int32_t high = n.fine_q ? (value + 64) >> 7 : value;
        n.q_high[at] = static_cast<int8_t>(high);
        n.q_low[at] = static_cast<int8_t>(n.fine_q ? value - 128 * high : 0);
        sum += value;
      }
      n.q_sum[r * n.parts + part] = sum;
    }
  }
}

const uint8_t* block_of(const TiledRows& rows, int64_t page, int64_t part) {
  return static_cast<const uint8_t*>(rows.page[page]) + rows.head_offset + part * rows.block_bytes;
}

void load_scales(const TiledRows& rows, const uint8_t* block, float* scales) {
  const auto* half = reinterpret_cast<const uint16_t*>(block + rows.scales_offset);
  for (int64_t i = 0; i < kPage; i += kLanes) store(scales + i, load_f16(half + i));
}

void fetch(const TiledRows& rows, int64_t page, int64_t parts) {
  const uint8_t* block = block_of(rows, page, 0);
  for (int64_t at = 0; at < parts * rows.block_bytes; at += 64) prefetch_far(block + at);
}

// Calls function.operator()<R>(row) for all rows.
template <class Function>
inline void for_tile_rows(int64_t n_rows, const Function& function) {
  int64_t r = 0;
  for (; r + kKvRows <= n_rows; r += kKvRows) function.template operator()<kKvRows>(r);
  if constexpr (kKvRows > 2)
    for (; r + 2 <= n_rows; r += 2) function.template operator()<2>(r);
  if constexpr (kKvRows > 1)
    for (; r < n_rows; ++r) function.template operator()<1>(r);
}

// Scores of R rows with all keys of a block, added to those of earlier parts.
template <int R>
void score_tiles(const TileAttentionTask& task,
                 const Tile& tile,
                 const Integers& n,
                 int64_t part,
                 const float* scales,
                 int64_t r0) {
  int32_t dots[R * kPage] = {};
  const int64_t at = r0 * task.head_dim + part * kKvChannels;
  const uint8_t* keys = n.keys + part * kBlockTiles * kKvCodes;
  add_key_dots<R>(keys, n.q_high + at, task.head_dim, dots);
  if (n.fine_q) {
    for (int32_t& dot : dots) dot *= 128;
    add_key_dots<R>(keys, n.q_low + at, task.head_dim, dots);
  }
  for (int64_t r = 0; r < R; ++r) {
    const int32_t offset = kKeyOffset * n.q_sum[(r0 + r) * n.parts + part];
    float whole_dots[kPage];
    for (int64_t i = 0; i < kPage; ++i)
      whole_dots[i] = static_cast<float>(dots[r * kPage + i] - offset);
    float* scores = tile.weight + (r0 + r) * kPage;
    const F q_scale = set1(n.q_scale[r0 + r]);
    for (int64_t i = 0; i < kPage; i += kLanes) {
      const F score = mul(mul(load(whole_dots + i), load(scales + i)), q_scale);
      store(scores + i, part == 0 ? score : add(load(scores + i), score));
    }
  }
}

// Weights times the scales of the values, as integers; no keys outside [lo, hi).
void quantize_weights(
    const Tile& tile, const Integers& n, const float* scales, int64_t r, int64_t lo, int64_t hi) {
  const float* weight = tile.weight + r * kPage;
  float scaled[kPage];
  F most = zero(), heaviest = zero();
  for (int64_t i = 0; i < kPage; i += kLanes) {
    const F w = load(weight + i);
    const F u = keep_range(mul(w, load(scales + i)), lo - i, hi - i, zero());
    heaviest = max(w, heaviest);
    most = max(u, most);
    store(scaled + i, u);
  }
  const float limit = n.fine_p ? 65535.0f : 255.0f, top = largest(most);
  const bool counts = top > 0.0f && largest(heaviest) >= kNegligible * tile.total[r];
  n.p_scale[r] = counts ? top / limit : 0.0f;
  const F inverse = set1(counts ? limit / top : 0.0f), bound = set1(limit);
  for (int64_t i = 0; i < kPage; i += kLanes) {
    const F rounded = round(min(mul(load(scaled + i), inverse), bound));
    store_weights(rounded, n.fine_p, n.p_high + r * kPage + i, n.p_low + r * kPage + i);
  }
}

template <int R>
void add_tile_values(const Tile& tile, const Integers& n, int64_t part, int64_t r0) {
  int32_t sums[R * kKvChannels];
  const uint8_t* values = n.values + part * kBlockTiles * kKvCodes;
  value_sums<R>(values, n.p_high + r0 * kPage, kPage, sums);
  if (n.fine_p) {
    int32_t low[R * kKvChannels];
    value_sums<R>(values, n.p_low + r0 * kPage, kPage, low);
    for (int64_t i = 0; i < R * kKvChannels; ++i) sums[i] = sums[i] * 256 + low[i];
  }
  for (int64_t r = 0; r < R; ++r) {
    float added[kKvChannels];
    for (int64_t i = 0; i < kKvChannels; ++i)
      added[i] = static_cast<float>(sums[r * kKvChannels + i]);
    float* out = tile.out + (r0 + r) * tile.dim + part * kKvChannels;
    const F shrink = set1(tile.shrink[r0 + r]), scale = set1(n.p_scale[r0 + r]);
    for (int64_t i = 0; i < kKvChannels; i += kLanes)
      store(out + i, fma(load(added + i), scale, mul(load(out + i), shrink)));
  }
}

int64_t sealed_before(const TileAttentionTask& task, int64_t position) {
  const int64_t old = position + 1 - task.recent;
  return old <= 0 ? 0 : old / kKvTokens * kKvTokens;
}

// The tiles of a page; a row sees those from lo to its own end.
void visit_tiles(
    const TileAttentionTask& task, const Tile& tile, const Integers& n, int64_t page, int64_t lo) {
  float scales[kPage];
  for (int64_t part = 0; part < n.parts; ++part) {
    const uint8_t* block = block_of(task.k, page, part);
    unpack_block(task.k.format, block, kKeyOffset, n.keys + part * kBlockTiles * kKvCodes);
    load_scales(task.k, block, scales);
    for_tile_rows(tile.rows,
                  [&]<int R>(int64_t r) { score_tiles<R>(task, tile, n, part, scales, r); });
  }
  bool some = false;
  for (int64_t part = 0; part < n.parts; ++part) {
    const uint8_t* block = block_of(task.v, page, part);
    load_scales(task.v, block, scales);
    for (int64_t r = 0; r < tile.rows; ++r) {
      const int64_t hi = clamp_key(sealed_before(task, task.pos + r / task.group) - page * kPage);
      if (part == 0) {
        if (lo < hi) {
          mask_scores(tile.weight + r * kPage, lo, hi);
          raise_maximum(tile, r);
          soften(tile, r);
        } else {
          pass_block(tile, r);
        }
      }
      quantize_weights(tile, n, scales, r, lo, hi);
      some = some || n.p_scale[r] > 0.0f || tile.shrink[r] != 1.0f;
    }
    if (!some) continue;
    unpack_block(task.v.format, block, 0, n.values + part * kBlockTiles * kKvCodes);
    for_tile_rows(tile.rows, [&]<int R>(int64_t r) { add_tile_values<R>(tile, n, part, r); });
  }
}

// Rows of f16 in the window or of f32 in the step.
struct RowSource {
  const TileAttentionTask& task;
  const TiledRows& rows;
  int64_t base;  // position of key 0

  inline F load_at(int64_t key, int64_t i) const {
    const int64_t position = base + key;
    if (position >= task.split)
      return load(rows.step + (position - task.step_pos) * rows.step_stride + i);
    const int64_t slot =
        position < task.sinks ? position : kSinkSlots + position % (task.slots - kSinkSlots);
    return load_f16(static_cast<const uint16_t*>(rows.window) + slot * task.head_dim + i);
  }
};

// Keys [lo, hi) as columns of tile.k: [dim, kPage]; a group of kLanes is filled up with the last.
void transpose_rows(const RowSource& source, const Tile& tile, int64_t lo, int64_t hi) {
  for (int64_t key = lo / kLanes * kLanes; key < hi; key += kLanes)
    for (int64_t i = 0; i < tile.dim; i += kLanes) {
      F block[kLanes];
      for (int64_t j = 0; j < kLanes; ++j) {
        const int64_t at = key + j;
        block[j] = source.load_at(at < lo ? lo : at >= hi ? hi - 1 : at, i);
      }
      transpose(block);
      for (int64_t j = 0; j < kLanes; ++j) store(tile.k + (i + j) * kPage + key, block[j]);
    }
}

// The rows of a page: sinks on page 0, and what a row does not see as tiles.
void visit_rows(const TileAttentionTask& task, const Tile& tile, int64_t page) {
  const int64_t base = page * kPage, end = task.pos + task.n_tokens;
  const int64_t sinks = page == 0 ? task.sinks : 0;
  const int64_t oldest = sealed_before(task, task.pos);  // of the first row: least of all
  const int64_t hi = base + kPage > oldest ? clamp_key(end - base) : sinks;
  const int64_t lo = sinks > 0 ? 0 : clamp_key(oldest - base);
  transpose_rows({task, task.k, base}, tile, lo, hi);
  for_rows(tile.rows, [&]<int R>(int64_t r) { score_rows<R>(tile, task.head_dim, r, lo, hi); });
  for (int64_t r = 0; r < tile.rows; ++r) {
    const int64_t position = task.pos + r / task.group;
    const int64_t row_lo = clamp_key(sealed_before(task, position) - base);
    const int64_t row_hi = clamp_key(position + 1 - base);
    const int64_t row_sinks = sinks < row_hi ? sinks : row_hi;
    if (row_lo >= row_hi && row_sinks <= 0) {
      pass_block(tile, r);
      continue;
    }
    float* scores = tile.weight + r * kPage;
    const F none = set1(-HUGE_VALF);
    for (int64_t key = 0; key < kPage; key += kLanes) {
      const F all = load(scores + key);
      store(scores + key, max(keep_range(all, row_lo - key, row_hi - key, none),
                              keep_range(all, -key, row_sinks - key, none)));
    }
    raise_maximum(tile, r);
    soften(tile, r);
  }
  const RowSource values{task, task.v, base};
  for (int64_t key = lo; key < hi; ++key)
    for (int64_t i = 0; i < tile.dim; i += kLanes)
      store(tile.v + key * tile.dim + i, values.load_at(key, i));
  const auto value_at = [&](int64_t key, int64_t i) { return load(tile.v + key * tile.dim + i); };
  for_rows(tile.rows, [&]<int R>(int64_t r) { add_value_rows<R>(tile, value_at, r, lo, hi); });
}

}  // namespace

void tile_attention(const TileAttentionTask& task) {
  float* rest;
  const Tile tile = divide(task, &rest);
  begin(task, tile);
  const Integers n = divide_more(task, tile, rest);
  quantize_queries(task, tile, n);
  const int64_t last = task.pos + task.n_tokens - 1;
  const int64_t sealed = sealed_before(task, last), oldest_row = sealed_before(task, task.pos);
  for (int64_t page = 0; page <= last / kPage; ++page) {
    const int64_t base = page * kPage;
    const int64_t lo = clamp_key(task.sinks - base), hi = clamp_key(sealed - base);
    if (lo < hi) {
      if (base + kPage < sealed) {
        fetch(task.k, page + 1, n.parts);
        fetch(task.v, page + 1, n.parts);
      }
      visit_tiles(task, tile, n, page, lo);
    }
    if ((page == 0 && task.sinks > 0) || base + kPage > oldest_row) visit_rows(task, tile, page);
  }
  finish(task, tile);
}

}  // namespace runnel::cpu::RUNNEL_ISA

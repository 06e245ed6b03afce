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
                 int64_t r) {
  const int64_t at = r * task.head_dim + part * kKvChannels;
  const Queries q{n.q_high + at, n.q_low + at,  task.head_dim, n.q_sum + r * n.parts + part,
                  n.parts,       n.q_scale + r, part == 0};
  const uint8_t* keys = n.keys + part * kBlockTiles * kKvCodes;
  if (n.fine_q)
    score_block<R, true>(keys, q, scales, tile.weight + r * kPage);
  else
    score_block<R, false>(keys, q, scales, tile.weight + r * kPage);
}

// Weights times the scales of the values, as integers; no keys outside [lo, hi).
void quantize_weights(
    const Tile& tile, const Integers& n, const float* scales, int64_t r, int64_t lo, int64_t hi) {
  const float* weight = tile.weight + r * kPage;
  const bool all = lo == 0 && hi == kPage;
  constexpr int kRegisters = kPage / kLanes;
  F scaled[kRegisters], most = zero(), heaviest = zero();
#pragma GCC unroll 16
  for (int i = 0; i < kRegisters; ++i) {
    const F w = load(weight + i * kLanes);
    scaled[i] = mul(w, load(scales + i * kLanes));
    if (!all) scaled[i] = keep_range(scaled[i], lo - i * kLanes, hi - i * kLanes, zero());
    heaviest = max(w, heaviest);
    most = max(scaled[i], most);
  }
  const float limit = n.fine_p ? 65535.0f : 255.0f, top = largest(most);
  const bool counts = top > 0.0f && largest(heaviest) >= kNegligible * tile.total[r];
  n.p_scale[r] = counts ? top / limit : 0.0f;
  const F inverse = set1(counts ? limit / top : 0.0f), bound = set1(limit);
#pragma GCC unroll 16
  for (int i = 0; i < kRegisters; ++i)
    store_weights(round(min(mul(scaled[i], inverse), bound)), n.fine_p,
                  n.p_high + r * kPage + i * kLanes, n.p_low + r * kPage + i * kLanes);
}

template <int R>
void add_tile_values(const Tile& tile, const Integers& n, int64_t part, int64_t r) {
  const Weights w{n.p_high + r * kPage, n.p_low + r * kPage, n.p_scale + r, tile.shrink + r,
                  tile.dim};
  const uint8_t* values = n.values + part * kBlockTiles * kKvCodes;
  float* out = tile.out + r * tile.dim + part * kKvChannels;
  if (n.fine_p)
    add_block<R, true>(values, w, out);
  else
    add_block<R, false>(values, w, out);
}

int64_t sealed_before(const TileAttentionTask& task, int64_t position) {
  const int64_t old = position + 1 - task.recent;
  return old <= 0 ? 0 : old / kKvTokens * kKvTokens;
}

// A page of tiles, the one after it, and the first key in tiles.
struct TilePage {
  int64_t index, next, lo;
};

// The tiles of a page; a row sees those from lo to its own end.
void visit_tiles(const TileAttentionTask& task,
                 const Tile& tile,
                 const Integers& n,
                 const TilePage& page) {
  float scales[kPage];
  for (int64_t part = 0; part < n.parts; ++part) {
    const uint8_t* block = block_of(task.k, page.index, part);
    unpack_block(task.k.format, block, block_of(task.k, page.next, part), kKeyOffset,
                 n.keys + part * kBlockTiles * kKvCodes);
    load_scales(task.k, block, scales);
    for_tile_rows(tile.rows,
                  [&]<int R>(int64_t r) { score_tiles<R>(task, tile, n, part, scales, r); });
  }
  const auto for_seen = [&](const auto& function) {
    for (int64_t t = 0, r = 0; t < task.n_tokens; ++t) {
      const int64_t hi = clamp_key(sealed_before(task, task.pos + t) - page.index * kPage);
      for (const int64_t end = r + task.group; r < end; ++r) function(r, hi);
    }
  };
  // In passes: within a row every step waits for the one before.
  for_seen([&](int64_t r, int64_t hi) {
    if (page.lo >= hi) return;
    if (page.lo > 0 || hi < kPage) mask_scores(tile.weight + r * kPage, page.lo, hi);
    raise_maximum(tile, r);
  });
  for_seen([&](int64_t r, int64_t hi) {
    if (page.lo < hi) return soften(tile, r);
    pass_block(tile, r);
  });
  bool some = false;
  for (int64_t part = 0; part < n.parts; ++part) {
    const uint8_t* block = block_of(task.v, page.index, part);
    load_scales(task.v, block, scales);
    for_seen([&](int64_t r, int64_t hi) {
      quantize_weights(tile, n, scales, r, page.lo, hi);
      some = some || n.p_scale[r] > 0.0f || tile.shrink[r] != 1.0f;
    });
    if (!some) continue;
    unpack_block(task.v.format, block, block_of(task.v, page.next, part), 0,
                 n.values + part * kBlockTiles * kKvCodes);
    for_tile_rows(tile.rows, [&]<int R>(int64_t r) { add_tile_values<R>(tile, n, part, r); });
  }
}

// Keys or values [lo, hi) of a block as rows of f16 in the window or of f32 in the step. Keys
// beside them, which only fill a register, are the nearest of them.
struct Rows {
  const void* row[kPage];
  bool half[kPage];
  int64_t dh;

  Rows(const TileAttentionTask& task, const TiledRows& rows, int64_t base, int64_t lo, int64_t hi)
      : dh(task.head_dim) {
    const int64_t ring = task.slots - kSinkSlots;
    int64_t turn = (base + lo) % ring;  // of the ring, at key `lo`
    for (int64_t key = lo; key < hi; ++key, turn = turn + 1 == ring ? 0 : turn + 1) {
      const int64_t position = base + key;
      half[key] = position < task.split;
      const int64_t slot = position < task.sinks ? position : kSinkSlots + turn;
      row[key] =
          half[key]
              ? static_cast<const void*>(static_cast<const uint16_t*>(rows.window) + slot * dh)
              : rows.step + (position - task.step_pos) * rows.step_stride;
    }
    for (int64_t key = lo / kLanes * kLanes; key < lo; ++key) copy(lo, key);
    for (int64_t key = hi; key % kLanes != 0; ++key) copy(hi - 1, key);
  }
  void copy(int64_t from, int64_t to) {
    row[to] = row[from];
    half[to] = half[from];
  }
  inline F load_at(int64_t key, int64_t i) const {
    return half[key] ? load_f16(static_cast<const uint16_t*>(row[key]) + i)
                     : load(static_cast<const float*>(row[key]) + i);
  }
  inline void block(int64_t key, int64_t i, F (&block)[kLanes]) const {
    for (int64_t j = 0; j < kLanes; ++j) block[j] = load_at(key + j, i);
    transpose(block);
  }
};

// Keys [lo, hi) as columns of tile.k: [dim, kPage].
void transpose_rows(const Rows& keys, const Tile& tile, int64_t lo, int64_t hi) {
  for (int64_t key = lo / kLanes * kLanes; key < hi; key += kLanes)
    for (int64_t i = 0; i < tile.dim; i += kLanes) {
      F block[kLanes];
      keys.block(key, i, block);
      for (int64_t j = 0; j < kLanes; ++j) store(tile.k + (i + j) * kPage + key, block[j]);
    }
}

// Scores of the rows of a page to weights; a row sees `sinks` and what it does not see as tiles.
void soften_page(const TileAttentionTask& task, const Tile& tile, int64_t base, int64_t sinks) {
  const F none = set1(-HUGE_VALF);
  const auto for_seen = [&](const auto& function) {
    for (int64_t r = 0; r < tile.rows; ++r) {
      const int64_t position = task.pos + r / task.group;
      const int64_t lo = clamp_key(sealed_before(task, position) - base);
      const int64_t hi = clamp_key(position + 1 - base);
      function(r, lo, hi, sinks < hi ? sinks : hi);
    }
  };
  for_seen([&](int64_t r, int64_t lo, int64_t hi, int64_t row_sinks) {
    if (lo >= hi && row_sinks <= 0) return;
    float* scores = tile.weight + r * kPage;
    for (int64_t key = 0; key < kPage; key += kLanes) {
      const F all = load(scores + key);
      store(scores + key, max(keep_range(all, lo - key, hi - key, none),
                              keep_range(all, -key, row_sinks - key, none)));
    }
    raise_maximum(tile, r);
  });
  for_seen([&](int64_t r, int64_t lo, int64_t hi, int64_t row_sinks) {
    if (lo < hi || row_sinks > 0) return soften(tile, r);
    pass_block(tile, r);
  });
}

// The rows of a page: sinks on page 0, and what some row does not see as tiles.
void visit_rows(const TileAttentionTask& task, const Tile& tile, int64_t page) {
  const int64_t base = page * kPage, end = task.pos + task.n_tokens;
  const int64_t sinks = page == 0 ? task.sinks : 0;
  const int64_t oldest = sealed_before(task, task.pos);  // of the first row: least of all
  const int64_t hi = base + kPage > oldest ? clamp_key(end - base) : sinks;
  const int64_t lo = sinks > 0 ? 0 : clamp_key(oldest - base);
  const Rows keys(task, task.k, base, lo, hi), values(task, task.v, base, lo, hi);
  if (tile.rows <= kRows) {
    for_few_rows(tile.rows, [&]<int R>(int64_t) { score_slots<R>(keys, tile, lo, hi); });
    soften_page(task, tile, base, sinks);
    const auto value_at = [&](int64_t key, int64_t i) { return values.load_at(key, i); };
    for_few_rows(tile.rows,
                 [&]<int R>(int64_t r) { add_value_rows<R>(tile, value_at, r, lo, hi); });
    return;
  }
  transpose_rows(keys, tile, lo, hi);
  for_rows(tile.rows, [&]<int R>(int64_t r) { score_rows<R>(tile, task.head_dim, r, lo, hi); });
  soften_page(task, tile, base, sinks);
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
      visit_tiles(task, tile, n, {page, base + kPage < sealed ? page + 1 : page, lo});
    }
    if ((page == 0 && task.sinks > 0) || base + kPage > oldest_row) visit_rows(task, tile, page);
  }
  finish(task, tile);
}

}  // namespace runnel::cpu::RUNNEL_ISA

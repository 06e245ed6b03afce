// Causal attention of one KV head's query heads over sinks, tiles and recent rows (quant/
// kv_format.h), one online softmax over blocks of 64 keys in ascending order.
// Tiles: queries and weights as integers, dot products on the levels as they lie in memory,
// unpacked once for all rows; the scales of keys go into the scores, those of values into the
// weights. Rows: as in attention.cc. Which keys a row sees as tiles depends on its position alone.
#include "backends/cpu/formats/kv_tiles.h"
#include "backends/cpu/isa/tile_dots.h"
#include "backends/cpu/isa/tile_rows.h"
#include "backends/cpu/isa/tile_softmax.h"

namespace runnel::cpu::RUNNEL_ISA {
namespace {

// Scratch beside a Tile's.
struct Integers {
  uint8_t* q;              // [rows][part][kPairBytes]
  float* q_scale;          // [rows]
  int32_t* q_sum;          // [rows][part]
  WeightBytes weights;     // [rows]
  BlockSums sums;          // [rows]
  uint8_t *keys, *values;  // unpacked: [4 tiles] of one part
  int64_t parts;
  bool fine_q, fine_p;
};

Integers divide_more(const TileAttentionTask& task, const Tile& tile, float* next) {
  const auto take = [&next](int64_t bytes) {
    auto* taken = reinterpret_cast<uint8_t*>(next);
    next += whole(bytes / 4);
    return taken;
  };
  Integers n;
  n.parts = task.head_dim / kKvChannels;
  n.fine_q = task.k.format == Tiles::kt8;
  n.fine_p = task.v.format == Tiles::kt8;
  n.q = take(tile.rows * n.parts * kPairBytes);
  n.q_scale = reinterpret_cast<float*>(take(tile.rows * 4));
  n.q_sum = reinterpret_cast<int32_t*>(take(tile.rows * n.parts * 4));
  n.weights.scale = reinterpret_cast<float*>(take(tile.rows * 4));
  n.weights.bytes = take(tile.rows * kPairBytes);
  n.sums.lanes = reinterpret_cast<float*>(take(tile.rows * 64));
  n.sums.counts = reinterpret_cast<bool*>(take(tile.rows * 4));
  memset(n.sums.lanes, 0, static_cast<size_t>(tile.rows) * 64);
  n.keys = take(kBlockTiles * kKvCodes);
  n.values = take(kBlockTiles * kKvCodes);
  return n;
}

// Queries (already times the attention's scale) as integers.
void quantize_queries(const TileAttentionTask& task, const Tile& tile, const Integers& n) {
  const float limit = n.fine_q ? kFineQuery : kCoarseQuery;
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
      int32_t value[kKvChannels], sum = 0;
      for (int64_t i = 0; i < kKvChannels; ++i) sum += value[i] = static_cast<int32_t>(rounded[i]);
      n.q_sum[r * n.parts + part] = sum;
      store_query(value, n.fine_q, n.q + (r * n.parts + part) * kPairBytes);
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

// Calls function.operator()<R>(row) for all rows, R at a time while there are as many.
template <int R, class Function>
inline void for_tile_rows(int64_t n_rows, const Function& function, int64_t r = 0) {
  for (; r + R <= n_rows; r += R) function.template operator()<R>(r);
  if constexpr (R > 1) for_tile_rows<R - 1>(n_rows, function, r);
}

// Scores of all rows with all keys of a block, added to those of earlier parts.
template <bool fine, bool in_page>
void score_tiles(const Tile& tile,
                 const Integers& n,
                 const uint8_t* keys,
                 Ahead& ahead,
                 int64_t part,
                 const float* scales) {
  for_tile_rows<kKvRows<fine>>(tile.rows, [&]<int R>(int64_t r) {
    const int64_t at = r * n.parts + part;
    const Queries q{n.q + at * kPairBytes, n.parts * kPairBytes,
                    n.q_sum + at,          n.parts,
                    n.q_scale + r,         part == 0};
    score_block<R, fine, in_page>(keys, ahead, q, scales, tile.weight + r * kPage);
  });
}

template <bool fine>
void add_tile_values(
    const Tile& tile, const Integers& n, const uint8_t* values, Ahead& ahead, int64_t part) {
  for_tile_rows<kKvRows<fine>>(tile.rows, [&]<int R>(int64_t r) {
    const WeightBytes w{n.weights.bytes + r * kPairBytes, n.weights.scale + r};
    float* out = tile.out + r * tile.dim + part * kKvChannels;
    add_block<R, fine>(values, ahead, w, tile.shrink + r, out, tile.dim);
  });
}

int64_t sealed_before(const TileAttentionTask& task, int64_t position) {
  const int64_t old = position + 1 - task.recent;
  return old <= 0 ? 0 : old / kKvTokens * kKvTokens;
}

// A page of tiles, the one after it, and the first key in tiles.
struct TilePage {
  int64_t index, next, lo;
};

bool sees(const SeenPages& seen, int64_t page) {
  if (page == 0 || page >= seen.from) return true;
  int32_t lo = 0, hi = seen.n;
  while (lo < hi) {
    const int32_t mid = lo + (hi - lo) / 2;
    if (seen.pages[mid] < page)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo < seen.n && seen.pages[lo] == page;
}

// The first page from `page` on that some token sees.
int64_t next_seen(const TileAttentionTask& task, int64_t page) {
  if (task.seen == nullptr) return page;
  for (;; ++page)
    for (int64_t t = 0; t < task.n_tokens; ++t)
      if (sees(task.seen[t], page)) return page;
}

// All that is fetched of a page's next one while it is worked on.
Ahead look_ahead(const TileAttentionTask& task,
                 const Tile& tile,
                 const Integers& n,
                 const TilePage& page) {
  const uint8_t *k = block_of(task.k, page.next, 0), *v = block_of(task.v, page.next, 0);
  const int64_t k_bytes = page.next == page.index ? 0 : n.parts * task.k.block_bytes;
  const int64_t v_bytes = page.next == page.index ? 0 : n.parts * task.v.block_bytes;
  // Calls: four per products of some rows, one per row and step of the softmax.
  const int64_t products = (tile.rows + kKvRows<false> - 1) / kKvRows<false>;
  const int64_t calls = n.parts * (8 * products + tile.rows) + tile.rows;
  const int64_t lines = ((k_bytes + v_bytes) / 64 + calls - 1) / calls;
  return {k, k + k_bytes, v, v + v_bytes, static_cast<int>(lines)};
}

// Few rows take keys of one byte as they lie in the page; for many it pays to unpack them first.
void score_page(const TileAttentionTask& task,
                const Tile& tile,
                const Integers& n,
                const uint8_t* block,
                int64_t part,
                Ahead& ahead) {
  float scales[kPage];
  load_scales(task.k, block, scales);
  if (task.k.format == Tiles::kt8 && (kKeyOffset == 0 || tile.rows <= 8))
    return score_tiles<true, true>(tile, n, block, ahead, part, scales);
  unpack_block(task.k.format, block, kKeyOffset, n.keys);
  if (n.fine_q) return score_tiles<true, false>(tile, n, n.keys, ahead, part, scales);
  score_tiles<false, false>(tile, n, n.keys, ahead, part, scales);
}

void add_page_values(const TileAttentionTask& task,
                     const Tile& tile,
                     const Integers& n,
                     const uint8_t* block,
                     int64_t part,
                     Ahead& ahead) {
  const uint8_t* values = block;
  if (task.v.format != Tiles::kt8) {
    unpack_block(task.v.format, block, 0, n.values);
    values = n.values;
  }
  if (n.fine_p) return add_tile_values<true>(tile, n, values, ahead, part);
  add_tile_values<false>(tile, n, values, ahead, part);
}

// The tiles of a page; a row sees those from lo to its own end.
void visit_tiles(const TileAttentionTask& task,
                 const Tile& tile,
                 const Integers& n,
                 const TilePage& page) {
  Ahead ahead = look_ahead(task, tile, n, page);
  for (int64_t part = 0; part < n.parts; ++part)
    score_page(task, tile, n, block_of(task.k, page.index, part), part, ahead);
  const auto for_seen = [&](const auto& function) {
    for (int64_t t = 0, r = 0; t < task.n_tokens; ++t) {
      const bool seen = task.seen == nullptr || sees(task.seen[t], page.index);
      const int64_t hi =
          seen ? clamp_key(sealed_before(task, task.pos + t) - page.index * kPage) : 0;
      for (const int64_t end = r + task.group; r < end; ++r) function(r, hi);
    }
  };
  for_seen([&](int64_t r, int64_t hi) {
    n.sums.counts[r] = false;
    tile.shrink[r] = 1.0f;
    if (page.lo >= hi) return;
    ahead.fetch();
    if (page.lo > 0 || hi < kPage) mask_scores(tile.weight + r * kPage, page.lo, hi);
    soften_block(tile, n.sums, r);
  });
  for (int64_t part = 0; part < n.parts; ++part) {
    const uint8_t* block = block_of(task.v, page.index, part);
    float scales[kPage];
    load_scales(task.v, block, scales);
    int64_t shared_hi = kPage;
    ValueScales shared = share_scales(scales, page.lo, shared_hi);
    bool some = false;
    for_seen([&](int64_t r, int64_t hi) {
      n.weights.scale[r] = 0.0f;
      some = some || n.sums.counts[r] || tile.shrink[r] != 1.0f;
      if (!n.sums.counts[r]) return;
      ahead.fetch();
      if (hi != shared_hi) shared = share_scales(scales, page.lo, shared_hi = hi);
      if (n.fine_p)
        quantize_block<true>(tile, shared, r, n.weights);
      else
        quantize_block<false>(tile, shared, r, n.weights);
    });
    if (some) add_page_values(task, tile, n, block, part, ahead);
  }
}

// Keys [lo, hi) of a page that are rows.
struct RowRange {
  int64_t base, lo, hi, sinks;
};

// Scores of the rows of a page to weights; a row sees `sinks` and what it does not see as tiles.
void soften_rows(const TileAttentionTask& task,
                 const Tile& tile,
                 const Integers& n,
                 const RowRange& range) {
  const F none = set1(-HUGE_VALF);
  const int64_t first = range.lo / kLanes * kLanes;
  for (int64_t r = 0; r < tile.rows; ++r) {
    const int64_t position = task.pos + r / task.group;
    const int64_t lo = clamp_key(sealed_before(task, position) - range.base);
    const int64_t hi = clamp_key(position + 1 - range.base);
    const int64_t sinks = range.sinks < hi ? range.sinks : hi;
    if (lo >= hi && sinks <= 0) {
      pass_block(tile, r);
      continue;
    }
    float* scores = tile.weight + r * kPage;
    for (int64_t key = first; key < range.hi; key += kLanes) {
      if (key >= lo && key + kLanes <= hi) continue;
      const F all = load(scores + key);
      store(scores + key, max(keep_range(all, lo - key, hi - key, none),
                              keep_range(all, -key, sinks - key, none)));
    }
    soften_keys(tile, n.sums, r, first, range.hi);
  }
}

// The rows of a page: sinks on page 0, and what some row does not see as tiles.
void visit_rows(const TileAttentionTask& task, const Tile& tile, const Integers& n, int64_t page) {
  const int64_t base = page * kPage, end = task.pos + task.n_tokens;
  const int64_t sinks = page == 0 ? task.sinks : 0;
  const int64_t oldest = sealed_before(task, task.pos);  // of the first row: least of all
  const int64_t hi = base + kPage > oldest ? clamp_key(end - base) : sinks;
  const int64_t lo = sinks > 0 ? 0 : clamp_key(oldest - base);
  const RowPlaces places(task, base, lo, hi);
  const Rows keys(places, task.k), values(places, task.v);
  if (tile.rows <= kRows) {
    for_few_rows(tile.rows, [&]<int R>(int64_t) { score_slots<R>(keys, tile, lo, hi); });
    soften_rows(task, tile, n, {base, lo, hi, sinks});
    const auto value_at = [&](int64_t key, int64_t i) { return values.load_at(key, i); };
    for_few_rows(tile.rows,
                 [&]<int R>(int64_t r) { add_value_rows<R>(tile, value_at, r, lo, hi); });
    return;
  }
  transpose_rows(keys, tile, lo, hi);
  for_rows(tile.rows, [&]<int R>(int64_t r) { score_rows<R>(tile, task.head_dim, r, lo, hi); });
  soften_rows(task, tile, n, {base, lo, hi, sinks});
  widen_rows(values, tile, lo, hi);
  const auto value_at = [&](int64_t key, int64_t i) { return load(tile.v + key * tile.dim + i); };
  for_rows(tile.rows, [&]<int R>(int64_t r) { add_value_rows<R>(tile, value_at, r, lo, hi); });
}

}  // namespace

void page_bounds(const PageBoundsTask& task) {
  F square = zero();
  for (int64_t i = 0; i < task.head_dim; i += kLanes)
    square = fma(load(task.q + i), load(task.q + i), square);
  const float reach = task.radius_share * __builtin_sqrtf(sum(square));
  for (int64_t p = 0; p < task.n; ++p) {
    const auto* row =
        reinterpret_cast<const uint16_t*>(static_cast<const uint8_t*>(task.page[p]) + task.offset);
    F dot = zero();
    for (int64_t i = 0; i < task.head_dim; i += kLanes)
      dot = fma(load(task.q + i), load_f16(row + i), dot);
    float radius[kLanes];
    store(radius, load_f16(row + task.head_dim));
    task.bound[p] = sum(dot) + reach * radius[0];
  }
}

void tile_attention(const TileAttentionTask& task) {
  float* rest;
  const Tile tile = divide(task, &rest);
  begin(task, tile);
  const Integers n = divide_more(task, tile, rest);
  quantize_queries(task, tile, n);
  const int64_t last = task.pos + task.n_tokens - 1;
  const int64_t sealed = sealed_before(task, last), oldest_row = sealed_before(task, task.pos);
  for (int64_t page = 0, next; page <= last / kPage; page = next) {
    const int64_t base = page * kPage;
    const int64_t lo = clamp_key(task.sinks - base), hi = clamp_key(sealed - base);
    next = next_seen(task, page + 1);
    if (lo < hi && task.k.page != nullptr)
      visit_tiles(task, tile, n, {page, next * kPage < sealed ? next : page, lo});
    if ((page == 0 && task.sinks > 0) || base + kPage > oldest_row) visit_rows(task, tile, n, page);
  }
  for (int64_t r = 0; r < tile.rows; ++r) settle(tile, n.sums, r);
  finish(task, tile);
}

}  // namespace runnel::cpu::RUNNEL_ISA

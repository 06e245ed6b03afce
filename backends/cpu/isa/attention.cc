// Causal attention of one KV head's query heads for a tile of tokens, online softmax over pages of
// 64 keys: 4 * rows * keys * head_dim flops, each page read once per tile. A page is first widened
// to f32 in scratch, keys transposed to [head_dim][64], while the next page is fetched (the few
// rows of a token alone take both straight from the page, in the same order); then
//   scores: tiles of rows x registers of keys, dimensions in ascending order, no horizontal sums;
//   values: tiles of rows x registers of head_dim, keys in ascending order.
#include "backends/cpu/isa/attention_rows.h"

namespace runnel::cpu::RUNNEL_ISA {
namespace {

// The slots of one KV head in a page and in the next one (in the last page: the same again), which
// is fetched little by little: more requests than a core can have under way hold up its own loads.
template <bool half>
struct Slots {
  static constexpr int64_t kBytes = half ? 2 : 4;
  const uint8_t *first, *next;

  inline F load_at(int64_t i) const {
    if constexpr (half)
      return load_f16(reinterpret_cast<const uint16_t*>(first) + i);
    else
      return load(reinterpret_cast<const float*>(first) + i);
  }
  inline float value_at(int64_t i) const {
    if constexpr (half)
      return f16_value(first + 2 * i);
    else
      return reinterpret_cast<const float*>(first)[i];
  }
  /// Asks for elements [i, i + n) of the next page.
  template <int64_t n>
  inline void fetch(int64_t i) const {
#pragma GCC unroll 16
    for (int64_t at = 0; at < n * kBytes; at += 64) prefetch_far(next + i * kBytes + at);
  }
};

// Keys and values of a page. Both are fetched ahead with the keys.
template <bool half>
struct Page {
  Slots<half> keys, values;
  int64_t dh;

  [[gnu::always_inline]] inline void block(int64_t key, int64_t i, F (&block)[kLanes]) const {
#pragma GCC unroll 16
    for (int j = 0; j < kLanes; ++j) block[j] = keys.load_at((key + j) * dh + i);
    transpose(block);
    const int64_t at = key * dh + i * kLanes;
    keys.template fetch<kLanes * kLanes>(at);
    values.template fetch<kLanes * kLanes>(at);
  }
};

// Slots of keys [lo, hi), widened to whole groups of kLanes keys, as columns of k: [dim, kPage].
template <bool half>
void transpose_keys(const Page<half>& page, const Tile& tile, int64_t lo, int64_t hi) {
  const int64_t dh = page.dh;
  for (int64_t key = lo / kLanes * kLanes; key < hi; key += kLanes) {
    int64_t i = 0;
    for (; i + kLanes <= dh; i += kLanes) {
      F block[kLanes];
      page.block(key, i, block);
      for (int j = 0; j < kLanes; ++j) store(tile.k + (i + j) * kPage + key, block[j]);
    }
    for (; i < dh; ++i)
      for (int64_t j = key; j < key + kLanes; ++j)
        tile.k[i * kPage + j] = page.keys.value_at(j * dh + i);
  }
}

// Slots [lo, hi) as f32 rows of dim floats.
template <bool half>
void widen_values(const Page<half>& page, const Tile& tile, int64_t lo, int64_t hi) {
  const int64_t dh = page.dh;
  for (int64_t key = lo; key < hi; ++key) {
    float* row = tile.v + key * tile.dim;
    int64_t i = 0;
    for (; i + kLanes <= dh; i += kLanes) store(row + i, page.values.load_at(key * dh + i));
    for (; i < tile.dim; ++i) row[i] = i < dh ? page.values.value_at(key * dh + i) : 0.0f;
  }
}

// Calls function(row, lo, hi) for all rows with the keys [lo, hi) of the page that they see.
template <class Function>
inline void for_seen_keys(const AttentionTask& task, int64_t base, const Function& function) {
  for (int64_t t = 0; t < task.n_tokens; ++t) {
    const int64_t end = task.pos + t + 1 - base;
    const int64_t lo = task.window > 0 ? clamp_key(end - task.window) : 0, hi = clamp_key(end);
    for (int64_t r = t * task.group; r < (t + 1) * task.group; ++r) function(r, lo, hi);
  }
}

// Scores to weights. In two passes: within a row every step waits for the one before.
void soften_rows(const AttentionTask& task, const Tile& tile, int64_t base) {
  for_seen_keys(task, base, [&](int64_t r, int64_t lo, int64_t hi) {
    if (lo >= hi) return;
    mask_scores(tile.weight + r * kPage, lo, hi);
    raise_maximum(tile, r);
  });
  for_seen_keys(task, base, [&](int64_t r, int64_t lo, int64_t hi) {
    if (lo < hi) return soften(tile, r);
    pass_block(tile, r);
  });
}

template <bool half>
void visit_page(const AttentionTask& task, const Tile& tile, int64_t index, bool last) {
  const int64_t base = index * kPage, dh = task.head_dim;
  const int64_t reach = task.window > 0 ? task.window - 1 : task.pos + task.n_tokens;
  // Keys that some row of the tile sees.
  const int64_t lo = clamp_key(task.pos - reach - base);
  const int64_t hi = clamp_key(task.pos + task.n_tokens - base);
  const auto slots = [&](const void* const* pages) {
    const int64_t at = task.head_offset * Slots<half>::kBytes;
    return Slots<half>{static_cast<const uint8_t*>(pages[index]) + at,
                       static_cast<const uint8_t*>(pages[last ? index : index + 1]) + at};
  };
  const Page<half> page{slots(task.k_page), slots(task.v_page), dh};
  if (tile.rows <= kRows && dh % kLanes == 0) {
    for_few_rows(tile.rows, [&]<int R>(int64_t) { score_slots<R>(page, tile, lo, hi); });
    soften_rows(task, tile, base);
    const auto value_at = [&](int64_t key, int64_t i) { return page.values.load_at(key * dh + i); };
    for_few_rows(tile.rows,
                 [&]<int R>(int64_t r) { add_value_rows<R>(tile, value_at, r, lo, hi); });
  } else {
    transpose_keys(page, tile, lo, hi);
    for_rows(tile.rows, [&]<int R>(int64_t r) { score_rows<R>(tile, dh, r, lo, hi); });
    soften_rows(task, tile, base);
    widen_values(page, tile, lo, hi);
    const auto value_at = [&](int64_t key, int64_t i) { return load(tile.v + key * tile.dim + i); };
    for_rows(tile.rows, [&]<int R>(int64_t r) { add_value_rows<R>(tile, value_at, r, lo, hi); });
  }
}

}  // namespace

void attention(const AttentionTask& task) {
  float* unused;
  const Tile tile = divide(task, &unused);
  begin(task, tile);
  const auto visit = task.half_pages != 0 ? visit_page<true> : visit_page<false>;
  const int64_t first_key = task.window > 0 ? task.pos - task.window + 1 : 0;
  const int64_t last_page = (task.pos + task.n_tokens - 1) / kPage;
  for (int64_t page = first_key > 0 ? first_key / kPage : 0; page <= last_page; ++page)
    visit(task, tile, page, page == last_page);
  finish(task, tile);
}

}  // namespace runnel::cpu::RUNNEL_ISA

// Causal attention of one KV head's query heads for a tile of tokens, online softmax over pages of
// 64 keys: 4 * rows * keys * head_dim flops, each page read once per tile. A page is first widened
// to f32 in scratch, keys transposed to [head_dim][64], while the next page is fetched (the few
// rows of a token alone take both straight from the page, in the same order); then
//   scores: tiles of rows x registers of keys, dimensions in ascending order, no horizontal sums;
//   values: tiles of rows x registers of head_dim, keys in ascending order.
// A row walks the same pages in the same order whatever the tile holds besides: keys outside its
// range get weight zero, pages wholly outside are skipped.
// SOURCE: Milakov and Gimelshein, arXiv:1805.02867.
#include "backends/cpu/isa/functions.h"

namespace runnel::cpu::RUNNEL_ISA {
namespace {

// Rows and registers of a tile: 6 x 4 of 32 registers, 4 x 2 or 2 x 2 of 16.
constexpr bool kHas32 = RUNNEL_SIMD_BITS == 512 || RUNNEL_SIMD_BITS == 128;
constexpr int kRows = kHas32 ? 6 : kLanes == 8 ? 4 : 2;
constexpr int kColumns = kHas32 ? 4 : 2;

inline int64_t padded(int64_t head_dim) {
  return (head_dim + kLanes - 1) / kLanes * kLanes;
}
inline int64_t clamp_key(int64_t key) {
  return key < 0 ? 0 : key > kPage ? kPage : key;
}

// Scratch of a tile; every array starts at a multiple of 16 floats.
struct Tile {
  int64_t rows, dim;                // dim: padded head_dim
  float *q, *out, *weight;          // [rows, dim], [rows, dim], [rows, kPage]
  float *maximum, *total, *shrink;  // [rows]
  float *k, *v;                     // [dim, kPage], [kPage, dim]
};

inline int64_t whole(int64_t floats) {
  return (floats + 15) / 16 * 16;
}

Tile divide(const AttentionTask& task) {
  Tile tile;
  tile.rows = task.n_tokens * task.group;
  tile.dim = padded(task.head_dim);
  float* next = task.scratch;
  const auto take = [&next](int64_t floats) {
    float* taken = next;
    next += whole(floats);
    return taken;
  };
  tile.q = take(tile.rows * tile.dim);
  tile.out = take(tile.rows * tile.dim);
  tile.weight = take(tile.rows * kPage);
  tile.maximum = take(tile.rows);
  tile.total = take(tile.rows);
  tile.shrink = take(tile.rows);
  tile.k = take(kPage * tile.dim);
  tile.v = take(kPage * tile.dim);
  return tile;
}

// Row r of a tile: token r / group, head r % group.
inline int64_t offset_of(const AttentionTask& task, int64_t r) {
  return r / task.group * task.row_stride + r % task.group * task.head_dim;
}

void begin(const AttentionTask& task, const Tile& tile) {
  for (int64_t r = 0; r < tile.rows; ++r) {
    const float* q = task.q + offset_of(task, r);
    for (int64_t i = 0; i < tile.dim; ++i) {
      tile.q[r * tile.dim + i] = i < task.head_dim ? q[i] * task.scale : 0.0f;
      tile.out[r * tile.dim + i] = 0.0f;
    }
    tile.maximum[r] = -HUGE_VALF;
    tile.total[r] = 0.0f;
  }
}

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

// Scores of R rows with C registers of keys from `key` on.
template <int R, int C>
void score(const Tile& tile, int64_t dh, int64_t r0, int64_t key) {
  F acc[R][C];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) acc[r][c] = zero();
  const float *q = tile.q + r0 * tile.dim, *k = tile.k + key;
  for (int64_t i = 0; i < dh; ++i, k += kPage) {
    F keys[C];
    for (int c = 0; c < C; ++c) keys[c] = load(k + c * kLanes);
    for (int r = 0; r < R; ++r) {
      const F value = set1(q[r * tile.dim + i]);
      for (int c = 0; c < C; ++c) acc[r][c] = fma(value, keys[c], acc[r][c]);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) store(tile.weight + (r0 + r) * kPage + key + c * kLanes, acc[r][c]);
}

template <int R>
void score_rows(const Tile& tile, int64_t dh, int64_t r, int64_t lo, int64_t hi) {
  constexpr int64_t kStep = kColumns * kLanes;
  for (int64_t key = lo / kStep * kStep; key < hi; key += kStep)
    score<R, kColumns>(tile, dh, r, key);
}

// The same for all R rows of a tile, without the way through scratch: pays for a token alone.
template <int R, bool half>
void score_slots(const Page<half>& page, const Tile& tile, int64_t lo, int64_t hi) {
  const int64_t dh = page.dh;
  for (int64_t key = lo / kLanes * kLanes; key < hi; key += kLanes) {
    F acc[R];
    for (int r = 0; r < R; ++r) acc[r] = zero();
    for (int64_t i = 0; i < dh; i += kLanes) {
      F block[kLanes];
      page.block(key, i, block);
#pragma GCC unroll 16
      for (int j = 0; j < kLanes; ++j)
#pragma GCC unroll 6
        for (int r = 0; r < R; ++r)
          acc[r] = fma(set1(tile.q[r * tile.dim + i + j]), block[j], acc[r]);
    }
    for (int r = 0; r < R; ++r) store(tile.weight + r * kPage + key, acc[r]);
  }
}

// Gives the keys outside [lo, hi) no weight.
void mask_scores(float* scores, int64_t lo, int64_t hi) {
  const F none = set1(-HUGE_VALF);
  for (int64_t key = 0; key < kPage; key += kLanes)
    if (key < lo || key + kLanes > hi)
      store(scores + key, keep_range(load(scores + key), lo - key, hi - key, none));
}

// The largest score of row r, known from now on; its shrink is the maximum before.
void raise_maximum(const Tile& tile, int64_t r) {
  const float* score = tile.weight + r * kPage;
  F most = load(score);
  for (int64_t i = kLanes; i < kPage; i += kLanes) most = max(most, load(score + i));
  const float page_maximum = largest(most), before = tile.maximum[r];
  tile.shrink[r] = before;
  tile.maximum[r] = page_maximum > before ? page_maximum : before;
}

// Turns scores into weights relative to the row's running maximum.
void soften(const Tile& tile, int64_t r) {
  float* weight = tile.weight + r * kPage;
  const float maximum = tile.maximum[r], before = tile.shrink[r];
  F total = zero();
  for (int64_t i = 0; i < kPage; i += kLanes) {
    const F w = exponential(sub(load(weight + i), set1(maximum)));
    store(weight + i, w);
    total = add(total, w);
  }
  // The same function as the weights: the first page's shrink is e^-infinity = 0; e^0 is 1.
  float shrink[kLanes] = {1.0f};
  if (maximum != before) store(shrink, exponential(set1(before - maximum)));
  tile.shrink[r] = shrink[0];
  tile.total[r] = tile.total[r] * shrink[0] + sum(total);
}

// out[r] = out[r] * shrink[r] + sum over keys [lo, hi) of weight[r][key] * v[key].
// value_at(key, i): kLanes values of a slot.
template <int R, int C, class Values>
void add_values(
    const Tile& tile, const Values& value_at, int64_t r0, int64_t c0, int64_t lo, int64_t hi) {
  F acc[R][C];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c)
      acc[r][c] =
          mul(load(tile.out + (r0 + r) * tile.dim + c0 + c * kLanes), set1(tile.shrink[r0 + r]));
  for (int64_t key = lo; key < hi; ++key) {
    F value[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) value[c] = value_at(key, c0 + c * kLanes);
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const F weight = set1(tile.weight[(r0 + r) * kPage + key]);
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) acc[r][c] = fma(weight, value[c], acc[r][c]);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) store(tile.out + (r0 + r) * tile.dim + c0 + c * kLanes, acc[r][c]);
}

template <int R, class Values>
void add_value_rows(const Tile& tile, const Values& value_at, int64_t r, int64_t lo, int64_t hi) {
  int64_t c = 0;
  for (; c + kColumns * kLanes <= tile.dim; c += kColumns * kLanes)
    add_values<R, kColumns>(tile, value_at, r, c, lo, hi);
  for (; c < tile.dim; c += kLanes) add_values<R, 1>(tile, value_at, r, c, lo, hi);
}

// Calls function.operator()<R>(row) for all rows, most of them kRows at a time.
template <class Function>
inline void for_rows(int64_t n_rows, const Function& function) {
  int64_t r = 0;
  for (; r + kRows <= n_rows; r += kRows) function.template operator()<kRows>(r);
  if constexpr (kRows > 4)
    for (; r + 4 <= n_rows; r += 4) function.template operator()<4>(r);
  if constexpr (kRows > 2)
    for (; r + 2 <= n_rows; r += 2) function.template operator()<2>(r);
  for (; r < n_rows; ++r) function.template operator()<1>(r);
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
    memset(tile.weight + r * kPage, 0, sizeof(float) * kPage);  // nothing here for this row
    tile.shrink[r] = 1.0f;
  });
}

// Calls function.operator()<n_rows>(0). REQUIRES: 1 <= n_rows <= R.
template <int R = kRows, class Function>
inline void for_few_rows(int64_t n_rows, const Function& function) {
  if constexpr (R > 1)
    if (n_rows < R) return for_few_rows<R - 1>(n_rows, function);
  function.template operator()<R>(0);
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
  const Tile tile = divide(task);
  begin(task, tile);
  const auto visit = task.half_pages != 0 ? visit_page<true> : visit_page<false>;
  const int64_t first_key = task.window > 0 ? task.pos - task.window + 1 : 0;
  const int64_t last_page = (task.pos + task.n_tokens - 1) / kPage;
  for (int64_t page = first_key > 0 ? first_key / kPage : 0; page <= last_page; ++page)
    visit(task, tile, page, page == last_page);
  for (int64_t r = 0; r < tile.rows; ++r) {
    float* out = task.out + offset_of(task, r);
    const float factor = 1.0f / tile.total[r];
    for (int64_t i = 0; i < task.head_dim; ++i) out[i] = tile.out[r * tile.dim + i] * factor;
  }
}

}  // namespace runnel::cpu::RUNNEL_ISA

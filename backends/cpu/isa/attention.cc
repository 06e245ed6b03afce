// Causal attention of one KV head's query heads for a tile of tokens, online softmax over pages of
// 64 keys: 4 * rows * keys * head_dim flops, each page read once per tile. A page is first widened
// to f32 in scratch (rows padded to whole registers), then
//   scores: per row, kLanes keys at a time, one register of partial sums per key;
//   values: tiles of 4 rows x kColumns registers, keys in ascending order.
// A row walks the same pages in the same order whatever the tile holds besides: keys outside its
// range get weight zero, pages wholly outside are skipped.
// SOURCE: Milakov and Gimelshein, arXiv:1805.02867.
#include "backends/cpu/isa/functions.h"

namespace runnel::cpu::RUNNEL_ISA {
namespace {

constexpr int kColumns = RUNNEL_SIMD_BITS == 512 || RUNNEL_SIMD_BITS == 128
                             ? 4
                             : 2;  // registers of head_dim per value tile

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
  float *k, *v;                     // [kPage, dim]
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

// Keys [first, last) of a page of one KV head as f32 rows of dim floats.
const float* widen(const AttentionTask& task,
                   const Tile& tile,
                   const void* page,
                   int64_t first,
                   int64_t last,
                   float* scratch) {
  const int64_t dh = task.head_dim;
  if (!task.half_pages && dh == tile.dim) return static_cast<const float*>(page) + task.head_offset;
  for (int64_t key = first; key < last; ++key) {
    const int64_t at = task.head_offset + key * dh;
    float* row = scratch + key * tile.dim;
    if (task.half_pages)
      from_f16(static_cast<const uint16_t*>(page) + at, row, dh);
    else
      memcpy(row, static_cast<const float*>(page) + at, static_cast<size_t>(dh) * sizeof(float));
    for (int64_t i = dh; i < tile.dim; ++i) row[i] = 0.0f;
  }
  return scratch;
}

// Scores of one row with keys [lo, hi) of a page; -infinity for the others.
void score(const float* q, const float* k, int64_t dim, int64_t lo, int64_t hi, float* scores) {
  const F none = set1(-HUGE_VALF);
  for (int64_t key = 0; key < kPage; key += kLanes) {
    if (key + kLanes <= lo || key >= hi) {
      store(scores + key, none);
      continue;
    }
    F acc[kLanes];
    for (int j = 0; j < kLanes; ++j) acc[j] = zero();
    const float* rows = k + key * dim;
    for (int64_t i = 0; i < dim; i += kLanes) {
      const F part = load(q + i);
      for (int j = 0; j < kLanes; ++j) acc[j] = fma(part, load(rows + j * dim + i), acc[j]);
    }
    store(scores + key, keep_range(sum_each(acc), lo - key, hi - key, none));
  }
}

// Turns scores into weights relative to the row's running maximum.
void soften(const Tile& tile, int64_t r) {
  float* weight = tile.weight + r * kPage;
  F most = load(weight);
  for (int64_t i = kLanes; i < kPage; i += kLanes) most = max(most, load(weight + i));
  const float page_maximum = largest(most), before = tile.maximum[r];
  const float maximum = page_maximum > before ? page_maximum : before;
  F total = zero();
  for (int64_t i = 0; i < kPage; i += kLanes) {
    const F w = exponential(sub(load(weight + i), set1(maximum)));
    store(weight + i, w);
    total = add(total, w);
  }
  // Through the vector function: the first page's shrink is e^-infinity = 0.
  float shrink[kLanes];
  store(shrink, exponential(set1(before - maximum)));
  tile.maximum[r] = maximum;
  tile.shrink[r] = shrink[0];
  tile.total[r] = tile.total[r] * shrink[0] + sum(total);
}

// out[r] = out[r] * shrink[r] + sum over keys [lo, hi) of weight[r][key] * v[key].
template <int R, int C>
void add_values(const Tile& tile, const float* v, int64_t r0, int64_t c0, int64_t lo, int64_t hi) {
  F acc[R][C];
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c)
      acc[r][c] =
          mul(load(tile.out + (r0 + r) * tile.dim + c0 + c * kLanes), set1(tile.shrink[r0 + r]));
  for (int64_t key = lo; key < hi; ++key) {
    F value[C];
    for (int c = 0; c < C; ++c) value[c] = load(v + key * tile.dim + c0 + c * kLanes);
    for (int r = 0; r < R; ++r) {
      const F weight = set1(tile.weight[(r0 + r) * kPage + key]);
      for (int c = 0; c < C; ++c) acc[r][c] = fma(weight, value[c], acc[r][c]);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c) store(tile.out + (r0 + r) * tile.dim + c0 + c * kLanes, acc[r][c]);
}

template <int R>
void add_value_rows(const Tile& tile, const float* v, int64_t r, int64_t lo, int64_t hi) {
  int64_t c = 0;
  for (; c + kColumns * kLanes <= tile.dim; c += kColumns * kLanes)
    add_values<R, kColumns>(tile, v, r, c, lo, hi);
  for (; c < tile.dim; c += kLanes) add_values<R, 1>(tile, v, r, c, lo, hi);
}

void visit_page(const AttentionTask& task, const Tile& tile, int64_t page) {
  const int64_t base = page * kPage;
  const int64_t reach = task.window > 0 ? task.window - 1 : task.pos + task.n_tokens;
  // Keys that some row of the tile sees.
  const int64_t lo = clamp_key(task.pos - reach - base);
  const int64_t hi = clamp_key(task.pos + task.n_tokens - base);
  const float* k = widen(task, tile, task.k_page[page], lo, hi, tile.k);
  const float* v = widen(task, tile, task.v_page[page], lo, hi, tile.v);
  for (int64_t r = 0; r < tile.rows; ++r) {
    const int64_t pos = task.pos + r / task.group;
    const int64_t row_lo = clamp_key(pos - reach - base), row_hi = clamp_key(pos + 1 - base);
    if (row_lo < row_hi) {
      score(tile.q + r * tile.dim, k, tile.dim, row_lo, row_hi, tile.weight + r * kPage);
      soften(tile, r);
    } else {  // nothing here for this row
      memset(tile.weight + r * kPage, 0, sizeof(float) * kPage);
      tile.shrink[r] = 1.0f;
    }
  }
  int64_t r = 0;
  for (; r + 4 <= tile.rows; r += 4) add_value_rows<4>(tile, v, r, lo, hi);
  for (; r < tile.rows; ++r) add_value_rows<1>(tile, v, r, lo, hi);
}

}  // namespace

void attention(const AttentionTask& task) {
  const Tile tile = divide(task);
  begin(task, tile);
  const int64_t first_key = task.window > 0 ? task.pos - task.window + 1 : 0;
  const int64_t last_page = (task.pos + task.n_tokens - 1) / kPage;
  for (int64_t page = first_key > 0 ? first_key / kPage : 0; page <= last_page; ++page)
    visit_page(task, tile, page);
  for (int64_t r = 0; r < tile.rows; ++r) {
    float* out = task.out + offset_of(task, r);
    const float factor = 1.0f / tile.total[r];
    for (int64_t i = 0; i < task.head_dim; ++i) out[i] = tile.out[r * tile.dim + i] * factor;
  }
}

}  // namespace runnel::cpu::RUNNEL_ISA

// The side of a Cache that session files see: its states as units that can be copied out and in.
#include <algorithm>
#include <cstring>

#include "runtime/cache/cache.h"

namespace runnel {
namespace {

/// Zeroes rows [0, first) and [end, n) of every matrix [n, row] in `bytes`: what a rolled back
/// conversation left there must not get into a file.
void keep_rows(std::span<std::byte> bytes,
               std::size_t row,
               std::int64_t n,
               std::int64_t first,
               std::int64_t end) {
  const auto at = [row](std::int64_t i) { return static_cast<std::size_t>(i) * row; };
  for (std::size_t matrix = 0; matrix < bytes.size(); matrix += at(n)) {
    std::memset(bytes.data() + matrix, 0, at(first));
    std::memset(bytes.data() + matrix + at(end), 0, at(n - end));
  }
}

/// Keeps tiles [first, end) of every block in a page.
void keep_tiles(const StateInfo& info,
                std::int64_t first,
                std::int64_t end,
                std::span<std::byte> page) {
  const std::size_t block = quant::kv_block_bytes(info.tiles);
  const std::size_t codes = quant::kv_scales_offset(info.tiles);
  for (std::size_t at = 0; at < page.size(); at += block) {
    const std::span<std::byte> one = page.subspan(at, block);
    keep_rows(one.first(codes), codes / quant::kKvBlockTiles, quant::kKvBlockTiles, first, end);
    keep_rows(one.subspan(codes), (block - codes) / quant::kKvBlockTiles, quant::kKvBlockTiles,
              first, end);
  }
}

std::size_t row_bytes(const StateInfo& info) {
  return quant::row_bytes(info.dtype, static_cast<std::size_t>(info.shape.cols()));
}

}  // namespace

Anchor Cache::point(std::size_t when) const {
  if (when != kNow) return anchors_[when];
  return {rings_, kv_end_, resume_from_ == kv_end_ ? conv_low_ : kNoColumns, window_low_};
}

Extent Cache::extent(std::size_t when) const {
  if (next_index() != size()) return {};  // half computed again is as good as nothing
  const Anchor at = point(when);
  Extent held{at.end, 0, 0};
  // After a rollback an anchor may have too few columns to go on from: a replay is due.
  if (at.end - at.conv_low >= std::min(at.end, options_.conv_kernel - 1) && ring_columns_ > 0)
    held.columns = std::min(at.end - at.conv_low, ring_columns_);
  if (window_ > 0) held.rows = at.end - at.window_low;
  return held;
}

bool Cache::possible(const Extent& extent) const {
  const std::int64_t slots = extent.slots;
  const std::int64_t columns = std::max<std::int64_t>(0, options_.conv_kernel - 1);
  if (extent.columns != 0 && (extent.columns < std::min(slots, columns) ||
                              extent.columns > std::min(slots, ring_columns_)))
    return false;
  if (extent.rows < 0 || extent.rows > std::min(slots, window_)) return false;
  const bool replays = options_.n_conv_layers > 0 && extent.columns == 0;
  const std::int64_t resume = replays ? replay_from(slots) : slots;
  return window_ == 0 || slots - extent.rows <= sealed_at(resume);
}

std::int64_t Cache::n_units(std::size_t state, std::size_t when) const {
  const StateKind kind = states_[state].info.kind;
  const Extent held = extent(when);
  if (kind == StateKind::conv) return held.columns;
  if (kind == StateKind::kv_window) return held.slots > 0 ? 1 : 0;
  return when == kNow ? (held.slots + kPageTokens - 1) / kPageTokens : 0;
}

std::size_t Cache::unit_bytes(std::size_t state) const {
  const StateInfo& info = states_[state].info;
  return info.kind == StateKind::conv ? row_bytes(info) : states_[state].bytes;
}

BufferView Cache::unit_view(const UnitId& id) const {
  const State& s = states_[id.state];
  const std::size_t bytes = unit_bytes(id.state);
  if (is_paged(s.info.kind))
    return {pages_[static_cast<std::size_t>(id.unit)]->parts[s.home].get(), s.offset, bytes};
  const Anchor at = point(id.when);
  Buffer* rings = at.rings->parts[s.home].get();
  if (s.info.kind == StateKind::kv_window) return {rings, s.offset, bytes};
  const std::int64_t position = at.end - extent(id.when).columns + id.unit + gap();
  const auto slot = static_cast<std::size_t>(position % ring_columns_);
  return {rings, s.offset + slot * bytes, bytes};
}

Status Cache::read_unit(const UnitId& id, std::span<std::byte> bytes) const {
  RUNNEL_TRY(memory_.read(states_[id.state].home, unit_view(id), bytes));
  const StateInfo& info = states_[id.state].info;
  if (info.kind == StateKind::conv) return {};
  const std::int64_t first = id.unit * kPageTokens;
  const std::int64_t sinks = options_.kv.sink_tokens();
  if (info.kind == StateKind::kv_window) {
    keep_window(info, point(id.when), bytes);
  } else if (info.kind == StateKind::kv_summary) {
    if (first + kPageTokens > sealed_at(kv_end_)) std::ranges::fill(bytes, std::byte{0});
  } else if (info.tiles == quant::KvFormat::plain) {
    keep_rows(bytes, row_bytes(info), kPageTokens, 0, std::min(kPageTokens, kv_end_ - first));
  } else {
    const auto tile = [first](std::int64_t slot) {
      return std::clamp<std::int64_t>((slot - first) / quant::kKvTileTokens, 0,
                                      quant::kKvBlockTiles);
    };
    keep_tiles(info, tile(sinks), std::max(tile(sinks), tile(sealed_at(kv_end_))), bytes);
  }
  return {};
}

/// Keeps what a window holds of sinks and of the newest rows.
void Cache::keep_window(const StateInfo& info, const Anchor& at, std::span<std::byte> bytes) const {
  const std::int64_t slots = info.shape[1], sinks = options_.kv.sink_tokens();
  const std::size_t row = row_bytes(info);
  std::vector<bool> held(static_cast<std::size_t>(slots));
  for (std::int64_t i = 0; i < std::min(sinks, at.end); ++i)
    held[static_cast<std::size_t>(i)] = true;
  for (std::int64_t i = std::max(at.window_low, sinks); i < at.end; ++i)
    held[static_cast<std::size_t>(quant::kv_window_slot(i, slots, sinks, gap()))] = true;
  for (std::size_t from = 0; from < bytes.size(); from += row)
    if (!held[from / row % held.size()]) std::memset(bytes.data() + from, 0, row);
}

Status Cache::write_unit(const UnitId& id, std::span<const std::byte> bytes) {
  return memory_.write(states_[id.state].home, unit_view(id), bytes);
}

std::int64_t Cache::n_slots(std::int64_t n_tokens) const {
  if (!options_.shift) return n_tokens;
  return n_tokens - (shift_at(*options_.shift, n_tokens - 1).hole_end - kept());
}

Status Cache::restore(std::span<const TokenId> tokens, const Extent& extent) {
  check(tokens_.empty() && pages_.empty(), "Cache::restore: not empty");
  check(possible(extent), "Cache::restore: impossible extent");
  const auto n_tokens = static_cast<std::int64_t>(tokens.size());
  if (options_.shift) {
    shift_ = shift_at(*options_.shift, n_tokens - 1);
    if (extent.slots == 0) shift_ = epoch_begin(shift_.epoch);
  }
  RUNNEL_TRY(reserve(extent.slots));
  tokens_.assign(tokens.begin(), tokens.end());
  kv_end_ = extent.slots;
  conv_low_ = extent.columns > 0 || kv_end_ == 0 ? kv_end_ - extent.columns : kNoColumns;
  window_low_ = kv_end_ - extent.rows;
  sealed_ = window_ > 0 ? sealed_at(kv_end_) : 0;
  plan_resume();
  return {};
}

Status Cache::restore_anchor(const Extent& extent) {
  check(extent.slots <= kv_end_ && possible(extent), "Cache::restore_anchor: impossible extent");
  RUNNEL_ASSIGN(std::unique_ptr<StateBlock> rings, memory_.allocate(ring_bytes_));
  const std::int64_t low = extent.columns > 0 ? extent.slots - extent.columns : kNoColumns;
  anchors_.push_back({std::move(rings), extent.slots, low, extent.slots - extent.rows});
  return {};
}

}  // namespace runnel

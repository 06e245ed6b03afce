// The side of a Cache that session files see: its states as units that can be copied out and in.
#include <algorithm>
#include <cstring>

#include "runtime/cache/cache.h"

namespace runnel {
namespace {

/// Zeroes the rows of tokens >= n_valid in a page [G, kPageTokens, dh]: what a rolled back
/// conversation left there must not get into a file.
void blank_rows(const StateInfo& info, std::int64_t n_valid, std::span<std::byte> page) {
  const std::size_t row = quant::row_bytes(info.dtype, static_cast<std::size_t>(info.shape[2]));
  const auto valid = static_cast<std::size_t>(n_valid), rows = std::size_t{kPageTokens};
  for (std::size_t g = 0; g < static_cast<std::size_t>(info.shape[0]); ++g)
    std::memset(page.data() + (g * rows + valid) * row, 0, (rows - valid) * row);
}

}  // namespace

std::int64_t Cache::n_columns() const {
  if (ring_columns_ == 0 || conv_low_ == kNoColumns || resume_from_ != kv_end_) return 0;
  return std::min(kv_end_ - conv_low_, ring_columns_);
}

std::int64_t Cache::n_units(std::size_t state) const {
  if (states_[state].info.kind == StateKind::conv) return n_columns();
  return (kv_end_ + kPageTokens - 1) / kPageTokens;
}

std::size_t Cache::unit_bytes(std::size_t state) const {
  const StateInfo& info = states_[state].info;
  if (info.kind != StateKind::conv) return states_[state].bytes;
  return quant::row_bytes(info.dtype, static_cast<std::size_t>(info.shape.cols()));
}

BufferView Cache::unit_view(std::size_t state, std::int64_t unit) const {
  const State& s = states_[state];
  const std::size_t bytes = unit_bytes(state);
  if (s.info.kind != StateKind::conv)
    return {pages_[static_cast<std::size_t>(unit)].get(), s.offset, bytes};
  const std::int64_t position = kv_end_ - n_columns() + unit + gap();
  const auto slot = static_cast<std::size_t>(position % ring_columns_);
  return {rings_.get(), s.offset + slot * bytes, bytes};
}

Status Cache::read_unit(std::size_t state, std::int64_t unit, std::span<std::byte> bytes) const {
  RUNNEL_TRY(backend_.download(bytes, unit_view(state, unit)));
  const StateInfo& info = states_[state].info;
  const std::int64_t n_valid = kv_end_ - unit * kPageTokens;
  if (info.kind != StateKind::conv && n_valid < kPageTokens) blank_rows(info, n_valid, bytes);
  return {};
}

Status Cache::write_unit(std::size_t state, std::int64_t unit, std::span<const std::byte> bytes) {
  return backend_.upload(unit_view(state, unit), bytes);
}

std::int64_t Cache::n_slots(std::int64_t n_tokens) const {
  if (!options_.shift) return n_tokens;
  return n_tokens - (shift_at(*options_.shift, n_tokens - 1).hole_end - kept());
}

std::int64_t Cache::least_columns(std::int64_t n_slots) const {
  return std::min(n_slots, std::max<std::int64_t>(0, options_.conv_kernel - 1));
}

Status Cache::restore(std::span<const TokenId> tokens,
                      std::int64_t n_slots,
                      std::int64_t n_columns) {
  check(tokens_.empty() && pages_.empty(), "Cache::restore: not empty");
  const auto n_tokens = static_cast<std::int64_t>(tokens.size());
  if (options_.shift) {
    shift_ = shift_at(*options_.shift, n_tokens - 1);
    if (n_slots == 0) shift_ = {shift_.epoch, 0, shift_.epoch};
  }
  RUNNEL_TRY(reserve(n_slots));
  tokens_.assign(tokens.begin(), tokens.end());
  kv_end_ = resume_from_ = n_slots;
  conv_low_ = kv_end_ - n_columns;
  if (options_.n_conv_layers > 0 && n_columns == 0) plan_replay();
  return {};
}

}  // namespace runnel

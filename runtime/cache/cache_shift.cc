// What a Cache does when it is full.
#include <algorithm>

#include "runtime/cache/cache.h"

namespace runnel {

Result<std::int64_t> Cache::begin_step(std::int64_t end_index, std::int64_t most) {
  std::int64_t end = end_index - dropped();
  if (options_.shift) {
    while (next_index() >= shift_limit(*options_.shift, shift_)) apply_shift();
    end = std::min(end_index, shift_limit(*options_.shift, shift_)) - dropped();
  }
  const std::int64_t n = std::min(end - resume_from_, most);
  RUNNEL_TRY(reserve(std::max(kv_end_, resume_from_ + n)));
  return n;
}

/// Drops the oldest pages behind the kept ones, or begins a new epoch, or both.
void Cache::apply_shift() {
  const Shift next = next_shift(*options_.shift, shift_);
  const std::int64_t gone = next.hole_end - shift_.hole_end;
  const auto first = pages_.begin() + kept() / kPageTokens;
  pages_.erase(first, first + gone / kPageTokens);
  anchors_.clear();  // they speak of slots
  kv_end_ -= gone;
  resume_from_ -= gone;
  if (conv_low_ != kNoColumns) conv_low_ -= gone;
  replay_start_ -= gone;
  sealed_ = std::max<std::int64_t>(0, sealed_ - gone);
  window_low_ = std::max<std::int64_t>(0, window_low_ - gone);
  const bool new_epoch = next.epoch != shift_.epoch;
  shift_ = next;
  rebind();
  if (new_epoch) start_over(shift_.epoch, kept());
}

/// Back to the beginning of an epoch: at most the kept tokens have their KV.
void Cache::start_over(std::int64_t epoch, std::int64_t kv_end) {
  anchors_.clear();  // they speak of slots
  shift_ = epoch_begin(epoch);
  kv_end_ = kv_end;
  sealed_ = std::min(sealed_, kv_end_ / quant::kKvTileTokens * quant::kKvTileTokens);
  conv_low_ = kNoColumns;
  plan_resume();
}

void Cache::set_kept(std::int64_t n_tokens) {
  if (!options_.shift) return;
  const std::int64_t pages = std::max<std::int64_t>(1, (n_tokens + kPageTokens - 1) / kPageTokens);
  if (pages * kPageTokens == kept()) return;
  const std::int64_t common = std::min({size(), kept(), pages * kPageTokens});
  const bool had_hole = dropped() > 0;
  options_.shift->kept = pages * kPageTokens;
  shift_ = no_shift(*options_.shift);
  if (had_hole) start_over(shift_.epoch, common);
}

}  // namespace runnel

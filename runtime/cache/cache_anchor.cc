// Anchors of a Cache of tiles: where a rollback beyond its windows goes on from.
#include <algorithm>

#include "runtime/cache/cache.h"

namespace runnel {

void Cache::place_anchor() {
  // Closer to the last one than this, a rollback to here is served by that one.
  constexpr std::int64_t kApart = quant::kKvTileTokens;
  if (window_ == 0 || next_index() != size() || resume_from_ != kv_end_) return;
  if (kv_end_ < (anchors_.empty() ? 0 : anchors_.back().end) + kApart) return;
  auto copy = memory_.allocate(ring_bytes_);
  if (!copy.ok() || !memory_.copy(**copy, *rings_).ok()) return;
  if (anchors_.size() == kAnchors) anchors_.erase(anchors_.begin());
  anchors_.push_back({*std::move(copy), kv_end_, conv_low_, window_low_});
}

/// The one from which least is computed again with KV wanted up to `end`; null: none helps.
const Anchor* Cache::anchor_for(std::int64_t end) const {
  const auto helps = [&](const Anchor& anchor) {
    return resume_at(std::min(end, anchor.end), anchor.conv_low, anchor.window_low) >= 0;
  };
  const auto found = std::find_if(anchors_.rbegin(), anchors_.rend(), helps);
  return found == anchors_.rend() ? nullptr : &*found;
}

/// Goes on from an anchor before kv_end_, or from the beginning.
void Cache::return_to_anchor() {
  const Anchor* anchor = anchor_for(kv_end_);
  if (anchor != nullptr && memory_.copy(*rings_, *anchor->rings).ok()) {
    kv_end_ = std::min(kv_end_, anchor->end);
    conv_low_ = anchor->conv_low;
    window_low_ = anchor->window_low;
  } else {
    kv_end_ = conv_low_ = window_low_ = 0;
  }
  sealed_ = std::min(sealed_, sealed_at(kv_end_));
}

/// After tokens behind kv_end_ were forgotten: anchors stand for those before it only.
void Cache::clip_anchors() {
  for (Anchor& anchor : anchors_) anchor.end = std::min(anchor.end, kv_end_);
  std::erase_if(anchors_, [&](const Anchor& anchor) {
    return resume_at(anchor.end, anchor.conv_low, anchor.window_low) < 0;
  });
}

std::int64_t Cache::keeps(std::int64_t n) const {
  if (n > next_index() || dropped() > 0) return 0;
  if (resume_at(n, conv_low_, window_low_) >= 0) return n;
  const Anchor* anchor = anchor_for(n);
  return anchor == nullptr ? 0 : std::min(n, anchor->end);
}

}  // namespace runnel

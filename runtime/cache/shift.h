// Where tokens lie when a sequence outgrows its cache: the first tokens stay, the oldest whole
// pages behind them are dropped, and the sequence goes on at the position it had reached. A pure
// function of the index of the token, so that the same tokens give the same results however they
// came in.
//
//   index     place in the sequence, dropped tokens included: 0, 1, 2, ...
//   slot      place in the cache: tokens kept, then tokens from hole_end on
//   position  what rotary embeddings see. Keys keep the position they were computed at, so after a
//             drop position = slot + gap; a dropped token is simply not attended
//
// At the model's last position the newest tokens are computed anew, at positions that begin right
// behind the kept ones (gap 0): an epoch. What came before its first token no longer matters.
#pragma once
#include <algorithm>
#include <cstdint>

#include "runtime/graph/graph.h"

namespace runnel {

/// Least number of tokens behind the kept ones: half of them go at a time, and the other half must
/// hold what a replay of the convolutions needs.
inline constexpr std::int64_t kLeastLoose = 4 * kPageTokens;

/// Sizes in tokens, whole pages all but max_position. REQUIRES: valid().
struct ShiftPlan {
  std::int64_t slots = 0;         // tokens the cache holds
  std::int64_t kept = 0;          // first tokens, never dropped
  std::int64_t max_position = 0;  // positions the model knows
  /// Dropped at a time: half of what may be dropped, so that it happens rarely.
  std::int64_t drop() const { return (slots - kept) / kPageTokens / 2 * kPageTokens; }
  bool valid() const {
    return slots % kPageTokens == 0 && kept % kPageTokens == 0 && kept >= kPageTokens &&
           kept <= slots - kLeastLoose && slots <= max_position;
  }
  bool operator==(const ShiftPlan&) const = default;
};

struct Shift {
  std::int64_t hole_end = 0;  // tokens [kept, hole_end) are dropped; == kept: none
  std::int64_t gap = 0;
  std::int64_t epoch = 0;  // hole_end when positions were last counted anew
  bool operator==(const Shift&) const = default;
};

/// Positions counted anew, from the token at index `epoch` on.
inline Shift epoch_begin(std::int64_t epoch) {
  return {epoch, 0, epoch};
}

/// Before anything is dropped.
inline Shift no_shift(const ShiftPlan& plan) {
  return epoch_begin(plan.kept);
}

/// First index that does not fit the cache, or the positions, as they are.
inline std::int64_t shift_limit(const ShiftPlan& plan, const Shift& now) {
  return std::min(plan.slots, plan.max_position - now.gap) + now.hole_end - plan.kept;
}

/// What makes room for the token at shift_limit().
inline Shift next_shift(const ShiftPlan& plan, const Shift& now) {
  Shift next = now;
  if (plan.slots <= plan.max_position - now.gap) {
    next.hole_end += plan.drop();
    next.gap += plan.drop();
  }
  if (shift_limit(plan, next) > shift_limit(plan, now)) return next;
  return epoch_begin(next.hole_end);
}

/// The shift under which the token at `index` is computed.
inline Shift shift_at(const ShiftPlan& plan, std::int64_t index) {
  Shift shift = no_shift(plan);
  while (index >= shift_limit(plan, shift)) shift = next_shift(plan, shift);
  return shift;
}

/// Index of the first token that is computed under `shift`. REQUIRES: shift_at() gives it
/// somewhere.
inline std::int64_t shift_begin(const ShiftPlan& plan, const Shift& shift) {
  std::int64_t begin = 0;
  for (Shift at = no_shift(plan); at != shift; at = next_shift(plan, at))
    begin = shift_limit(plan, at);
  return begin;
}

}  // namespace runnel

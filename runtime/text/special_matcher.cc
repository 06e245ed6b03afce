#include "runtime/text/special_matcher.h"

namespace runnel {

void SpecialMatcher::add(std::string_view text, TokenId id) {
  if (text.empty() || text.size() > kMaxBytes) return;
  std::uint32_t node = 0;
  for (const char c : text) {
    const auto next = static_cast<std::uint32_t>(ids_.size());
    node = edges_.insert(PairTable::key(node, static_cast<std::uint8_t>(c)), next);
    if (node == next) ids_.push_back(-1);
  }
  if (ids_[node] < 0) ids_[node] = id;
  starts_[static_cast<std::uint8_t>(text[0])] = true;
}

SpecialMatcher::Match SpecialMatcher::find(std::string_view text, std::size_t from) const {
  for (std::size_t pos = from; pos < text.size(); ++pos) {
    if (!starts_[static_cast<std::uint8_t>(text[pos])]) continue;
    Match match;
    std::uint32_t node = 0;
    for (std::size_t i = pos; i < text.size(); ++i) {
      node = edges_.find(PairTable::key(node, static_cast<std::uint8_t>(text[i])));
      if (node == PairTable::kNone) break;
      if (ids_[node] >= 0) match = {pos, i + 1 - pos, ids_[node]};
    }
    if (match.id >= 0) return match;
  }
  return {text.size(), 0, -1};
}

}  // namespace runnel

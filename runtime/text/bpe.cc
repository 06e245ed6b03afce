#include "runtime/text/bpe.h"

#include <algorithm>
#include <functional>

namespace runnel {
namespace {

constexpr std::uint32_t kNone = PairTable::kNone;

std::uint64_t pair_key(TokenId left, TokenId right) {
  return PairTable::key(static_cast<std::uint32_t>(left), static_cast<std::uint32_t>(right));
}

}  // namespace

void BpeMerges::add(TokenId left, TokenId right, TokenId merged) {
  ranks_.insert(pair_key(left, right), static_cast<std::uint32_t>(merged_.size()));
  merged_.push_back(merged);
}

/// Looks up the merge of a symbol with its right neighbour; no merge has an id of -1.
void BpeMerges::rank_pair(BpeScratch& scratch, std::uint32_t index) const {
  BpeSymbol& left = scratch.symbols[index];
  left.rank = kNone;
  if (left.next == kNone) return;
  left.rank = ranks_.find(pair_key(left.id, scratch.symbols[left.next].id));
}

void BpeMerges::merge(std::span<const TokenId> bytes,
                      BpeScratch& scratch,
                      std::vector<TokenId>& out) const {
  if (bytes.empty()) return;
  std::vector<BpeSymbol>& symbols = scratch.symbols;
  std::vector<std::uint64_t>& queue = scratch.queue;
  const auto n = static_cast<std::uint32_t>(bytes.size());
  symbols.resize(n);
  queue.clear();
  for (std::uint32_t i = 0; i < n; ++i)
    symbols[i] = {bytes[i], i - 1, i + 1 < n ? i + 1 : kNone, kNone};  // 0 - 1 == kNone
  const auto enqueue = [&](std::uint32_t index) {
    rank_pair(scratch, index);
    if (symbols[index].rank == kNone) return false;
    queue.push_back(PairTable::key(symbols[index].rank, index));
    return true;
  };
  for (std::uint32_t i = 0; i + 1 < n; ++i) enqueue(i);
  const std::greater<std::uint64_t> least_first;
  std::make_heap(queue.begin(), queue.end(), least_first);

  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end(), least_first);
    const auto index = static_cast<std::uint32_t>(queue.back());
    const auto rank = static_cast<std::uint32_t>(queue.back() >> 32);
    queue.pop_back();
    BpeSymbol& left = symbols[index];
    if (left.rank != rank) continue;  // a neighbour was merged meanwhile
    BpeSymbol& right = symbols[left.next];
    left.id = merged_[rank];
    left.next = right.next;
    right.rank = kNone;
    if (left.next != kNone) symbols[left.next].prev = index;
    if (enqueue(index)) std::push_heap(queue.begin(), queue.end(), least_first);
    if (left.prev != kNone && enqueue(left.prev))
      std::push_heap(queue.begin(), queue.end(), least_first);
  }
  for (std::uint32_t i = 0; i != kNone; i = symbols[i].next) out.push_back(symbols[i].id);
}

}  // namespace runnel

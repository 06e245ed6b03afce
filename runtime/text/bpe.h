// Byte pair merging: joins the neighbouring symbols of a pre-token by the rank of their merge.
// Filled once, then read by any number of threads; each thread brings its own BpeScratch.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/text/hash_table.h"
#include "runtime/text/tokenizer.h"

namespace runnel {

/// One piece of a pre-token while it is merged: a doubly linked list in an array.
struct BpeSymbol {
  TokenId id = -1;         // -1: a byte without a token; never merges
  std::uint32_t prev = 0;  // index; 2^32-1 at the ends
  std::uint32_t next = 0;
  std::uint32_t rank = 0;  // of the merge with `next`; 2^32-1 when there is none
};

/// Reused between calls so that merging allocates only when a longer pre-token comes.
struct BpeScratch {
  std::vector<BpeSymbol> symbols;
  std::vector<std::uint64_t> queue;  // (rank, symbol index), a binary heap, least first
};

class BpeMerges {
 public:
  /// Adds the next merge; its rank is the number of earlier ones. A pair that is already there
  /// keeps its rank. REQUIRES: ids >= 0; fewer than 2^31 merges.
  void add(TokenId left, TokenId right, TokenId merged);
  /// Merges `bytes` (token ids of single bytes, -1 where the vocabulary has none) and appends what
  /// is left to `out`. The pair of least rank first, of equal pairs the leftmost; O(n log n).
  /// REQUIRES: bytes.size() < 2^32 - 1.
  /// SOURCE: Sennrich et al. 2016, algorithm 1, with the tie order of the common implementations.
  void merge(std::span<const TokenId> bytes, BpeScratch& scratch, std::vector<TokenId>& out) const;

 private:
  void rank_pair(BpeScratch& scratch, std::uint32_t index) const;
  PairTable ranks_;              // (left, right) -> rank
  std::vector<TokenId> merged_;  // [n_merges] by rank
};

}  // namespace runnel

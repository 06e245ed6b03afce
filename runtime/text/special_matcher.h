// Finds special tokens in text: the leftmost one, and of those that start there the longest.
// Filled once, then read by any number of threads.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/text/hash_table.h"
#include "runtime/text/tokenizer.h"

namespace runnel {

class SpecialMatcher {
 public:
  /// Longer texts are never recognised; it bounds the time per byte of text. Real special tokens
  /// have fewer than 40 bytes.
  static constexpr std::size_t kMaxBytes = 256;

  /// Adds a token. Of equal texts the first one wins; empty and overlong texts are left out.
  void add(std::string_view text, TokenId id);

  struct Match {
    std::size_t pos = 0;  // text.size() when nothing was found
    std::size_t n_bytes = 0;
    TokenId id = -1;  // -1 when nothing was found
  };
  /// The first special token at or after `from`. Bytes that start no token cost one table look-up.
  Match find(std::string_view text, std::size_t from) const;

 private:
  PairTable edges_;                 // (node, byte) -> node of the trie of all texts
  std::vector<TokenId> ids_{-1};    // [n_nodes] token that ends at the node, or -1
  std::array<bool, 256> starts_{};  // bytes that begin a token
};

}  // namespace runnel

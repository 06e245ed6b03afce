// The tokens of a model file: bytes, kinds and look-up. Read once, then immutable and thread-safe.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/io/gguf.h"
#include "runtime/text/bpe.h"
#include "runtime/text/hash_table.h"
#include "runtime/text/tokenizer.h"

namespace runnel {

class Vocabulary {
 public:
  Vocabulary() = default;
  Vocabulary(Vocabulary&&) = default;  // no copy: look-ups point into arena_
  Vocabulary& operator=(Vocabulary&&) = default;
  /// Reads tokenizer.ggml.tokens and token_type; copies what it needs. ERRORS: not_found, corrupt,
  /// unsupported (more than 2^24 tokens).
  static Result<Vocabulary> read(const GgufFile& file);
  /// Reads tokenizer.ggml.merges. ERRORS: corrupt, naming the merge.
  Result<BpeMerges> read_merges(const GgufFile& file) const;

  std::int32_t size() const { return static_cast<std::int32_t>(bytes_.size()); }
  bool holds(TokenId id) const { return id >= 0 && id < size(); }
  /// REQUIRES (both): holds(id).
  std::string_view bytes(TokenId id) const { return bytes_[static_cast<std::size_t>(id)]; }
  TokenKind kind(TokenId id) const { return kinds_[static_cast<std::size_t>(id)]; }
  /// First token of any kind with these bytes, or -1.
  TokenId find(std::string_view text) const { return all_.find(text); }
  /// First normal token with these bytes, or -1. Text alone never becomes a token of another kind.
  TokenId find_piece(std::string_view text) const { return pieces_.find(text); }
  /// Token of one byte: a normal token, else one of kind byte ("<0x0A>"), else -1.
  TokenId byte_token(std::uint8_t byte) const { return byte_tokens_[byte]; }

 private:
  Status read_kinds(const GgufFile& file);
  void read_bytes(const std::vector<std::string_view>& texts);
  std::vector<char> arena_;              // what bytes_ points into
  std::vector<std::string_view> bytes_;  // [n_vocab]
  std::vector<TokenKind> kinds_;         // [n_vocab]
  TextTable all_, pieces_;
  std::array<TokenId, 256> byte_tokens_{};
};

}  // namespace runnel

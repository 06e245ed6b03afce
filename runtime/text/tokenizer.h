// Byte-level BPE tokenizer with the pre-tokenizers of the LFM2/Llama-3, Qwen2 and GPT-2 families.
// Immutable after load, thread-safe, no device types.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/io/gguf.h"

namespace runnel {

using TokenId = std::int32_t;

/// SOURCE: GGUF specification, tokenizer.ggml.token_type.
enum class TokenKind : std::uint8_t {
  normal = 1,
  unknown = 2,
  control = 3,
  user_defined = 4,
  unused = 5,
  byte = 6
};

enum class Bos : std::uint8_t {
  never,
  always,
  as_model
};                                                      // as_model: tokenizer.ggml.add_bos_token
enum class Specials : std::uint8_t { as_text, parse };  // parse: "<|im_end|>" in text is the token

struct EncodeOptions {
  Bos bos = Bos::never;
  /// parse: special tokens are recognised. A text that already starts with BOS gets no second one.
  Specials specials = Specials::as_text;
};

class Tokenizer {
 public:
  /// Reads tokenizer.ggml.*. ERRORS: not_found (no tokenizer in the file), corrupt, unsupported
  /// (model or pre-tokenizer unknown and no pattern given). Unknown "pre" with a
  /// `runnel.tokenizer.pattern` uses PCRE2.
  static Result<Tokenizer> load(const GgufFile& file);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  /// Token ids of `text` (any bytes; invalid UTF-8 is encoded byte by byte). Roughly linear in its
  /// length.
  std::vector<TokenId> encode(std::string_view text, EncodeOptions options) const;
  /// Raw bytes of one token (control tokens: their text). Empty for an id out of range.
  std::string_view bytes(TokenId id) const;
  /// Bytes of all ids joined; may hold broken UTF-8 when cut inside a character. `skip`: drop
  /// control tokens.
  enum class Controls : std::uint8_t { keep, skip };
  std::string decode(std::span<const TokenId> ids, Controls controls) const;

  std::int32_t n_vocab() const;
  TokenKind kind(TokenId id) const;
  TokenId bos() const;  // -1 when the model has none
  TokenId eos() const;
  TokenId pad() const;
  bool adds_bos() const;
  /// End of generation: eos, eot, <|im_end|>, <|endoftext|> and the like.
  bool is_eog(TokenId id) const;
  /// The id whose text is exactly `text`, or -1.
  TokenId find(std::string_view text) const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

}  // namespace runnel

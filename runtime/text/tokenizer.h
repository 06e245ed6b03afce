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

/// as_model: what tokenizer.ggml.add_bos_token says; without it only the Llama-3 family adds BOS.
enum class Bos : std::uint8_t { never, always, as_model };
/// parse: "<|im_end|>" in the text is the token; as_text: it is ten ordinary characters.
enum class Specials : std::uint8_t { as_text, parse };

struct EncodeOptions {
  /// A text that already starts with BOS (parsed) gets no second one; a model without BOS none.
  Bos bos = Bos::never;
  /// Control and unknown tokens are recognised in the text only with Specials::parse: use as_text
  /// for what a user typed. user_defined tokens (added, not special) are always recognised.
  Specials specials = Specials::as_text;
};

class Tokenizer {
 public:
  /// Reads tokenizer.ggml.{model, pre, tokens, token_type, merges, bos/eos/eot/eom/unknown/
  /// padding_token_id, add_bos_token} and runnel.tokenizer.{pattern, ignore_merges, eog_ids}; keeps
  /// no view of the file. Without ignore_merges only the Llama-3 family has it.
  /// ERRORS: not_found (no tokenizer in the file), unsupported (model or pre-tokenizer unknown and
  /// no pattern given), corrupt (names the key and element; ids of -1 or 2^32-1 mean "none").
  /// A merge of pieces that are not in the vocabulary is left out; of equal tokens the first wins.
  static Result<Tokenizer> load(const GgufFile& file);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  /// Token ids of `text` (any bytes; invalid UTF-8 is encoded byte by byte); O(n log n). A byte
  /// without a token gives the unknown token, or nothing when the model has none. A pre-token of
  /// more than 16 MiB is cut.
  std::vector<TokenId> encode(std::string_view text, EncodeOptions options) const;
  /// Raw bytes of one token: the text of control and user_defined tokens and of tokens that are
  /// not byte-level strings as it stands in the file. Empty for an id out of range.
  std::string_view bytes(TokenId id) const;
  /// Bytes of all ids joined; may hold broken UTF-8 when cut inside a character. `skip`: drop
  /// control tokens.
  enum class Controls : std::uint8_t { keep, skip };
  std::string decode(std::span<const TokenId> ids, Controls controls) const;

  std::int32_t n_vocab() const;
  TokenKind kind(TokenId id) const;  // unused for an id out of range
  TokenId bos() const;               // -1 when the model has none
  TokenId eos() const;
  TokenId pad() const;
  bool adds_bos() const;
  /// End of generation: eos, eot, eom, runnel.tokenizer.eog_ids and the control tokens <|im_end|>,
  /// <|endoftext|>, <|eot_id|>, <|end|>, <|end_of_text|>, </s>.
  bool is_eog(TokenId id) const;
  /// The first id whose bytes() are exactly `text`, or -1.
  TokenId find(std::string_view text) const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

}  // namespace runnel

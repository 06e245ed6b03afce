// tokenizer.json (byte-level BPE of the tokenizers library) as the arrays GGUF wants.
// Plain data, immutable after reading, thread-safe.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "converters/json.h"
#include "runtime/base/status.h"
#include "runtime/io/gguf_writer.h"

namespace runnel::converters {

/// Values of tokenizer.ggml.token_type. SOURCE: GGUF specification.
enum class TokenType : std::int32_t { normal = 1, control = 3, user_defined = 4, unused = 5 };

inline constexpr std::int64_t kMaxVocabulary = 1 << 22;

struct HfTokenizer {
  std::vector<std::string> tokens;  // by id; holes are "[PADn]"
  std::vector<TokenType> types;     // by id
  std::vector<std::string> merges;  // "left right", best first
  std::string pre;                  // tokenizer.ggml.pre
  std::string pattern;              // raw regex when pre is "default"
  bool ignore_merges = false;       // a piece that is a token is taken whole
  bool nfc = false;                 // text is brought to Unicode NFC first
  bool add_space_prefix = false;
  std::optional<std::string> first;  // special token put before a text
  std::optional<std::string> last;   // ... and behind it
  std::unordered_map<std::string, std::int32_t> ids;

  /// The id of a token's text, or nothing.
  std::optional<std::int32_t> find(const std::string& text) const;
};

/// `n_vocab`: rows of the embedding, the number of tokens written. `llama3_pre`: name of the
/// LFM2/Llama-3 pattern for this architecture. ERRORS: corrupt, unsupported (not byte-level BPE, a
/// normalizer or pre-tokenizer GGUF cannot express).
Result<HfTokenizer> read_tokenizer(const Json& json,
                                   std::int64_t n_vocab,
                                   std::string_view llama3_pre);

/// Sets tokenizer.ggml.{model, pre, tokens, token_type, merges} and runnel.tokenizer.*.
void set_tokenizer_keys(const HfTokenizer& tokenizer, GgufWriter& meta);

}  // namespace runnel::converters

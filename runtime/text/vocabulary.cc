#include "runtime/text/vocabulary.h"

#include <optional>
#include <string>

#include "runtime/text/byte_level.h"

namespace runnel {
namespace {

constexpr std::size_t kMaxTokens = 1 << 24;  // the largest vocabularies have 2^18

/// The byte that a token of kind byte stands for ("<0x0A>"), or -1.
int named_byte(std::string_view text) {
  if (text.size() != 6 || text.substr(0, 3) != "<0x" || text[5] != '>') return -1;
  int value = 0;
  for (const char c : text.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                             : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

/// Appends the bytes of a token to `out`; true when text may be encoded with it.
bool append_token(std::string_view text, TokenKind kind, std::string& out) {
  if (kind == TokenKind::normal && byte_level_decode(text, out)) return true;
  const int byte = kind == TokenKind::byte ? named_byte(text) : -1;
  if (byte >= 0)
    out += static_cast<char>(byte);
  else
    out += text;
  return false;
}

}  // namespace

Result<Vocabulary> Vocabulary::read(const GgufFile& file) {
  RUNNEL_ASSIGN(const auto texts, file.get_strings("tokenizer.ggml.tokens"));
  if (!texts) return Status(Code::not_found, "tokenizer.ggml.tokens is missing");
  if (texts->empty()) return Status(Code::corrupt, "tokenizer.ggml.tokens is empty");
  if (texts->size() > kMaxTokens)
    return Status(Code::unsupported, "tokenizer.ggml.tokens has more than 2^24 elements");
  Vocabulary vocabulary;
  vocabulary.kinds_.assign(texts->size(), TokenKind::normal);
  RUNNEL_TRY(vocabulary.read_kinds(file));
  vocabulary.read_bytes(*texts);
  return vocabulary;
}

Status Vocabulary::read_kinds(const GgufFile& file) {
  RUNNEL_ASSIGN(const auto kinds, file.get_ints("tokenizer.ggml.token_type"));
  if (!kinds) return {};
  if (kinds->size() != kinds_.size())
    return Status(Code::corrupt, "tokenizer.ggml.token_type has " + std::to_string(kinds->size()) +
                                     " elements for " + std::to_string(kinds_.size()) + " tokens");
  for (std::size_t i = 0; i < kinds->size(); ++i) {
    const std::int64_t kind = (*kinds)[i];
    if (kind < 0 || kind > static_cast<std::int64_t>(TokenKind::byte))
      return Status(Code::corrupt, "tokenizer.ggml.token_type[" + std::to_string(i) + "] is " +
                                       std::to_string(kind));
    if (kind != 0) kinds_[i] = static_cast<TokenKind>(kind);  // 0 = undefined
  }
  return {};
}

void Vocabulary::read_bytes(const std::vector<std::string_view>& texts) {
  std::string joined;
  std::vector<std::size_t> ends(texts.size());
  std::vector<std::uint8_t> is_piece(texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i) {
    is_piece[i] = append_token(texts[i], kinds_[i], joined);
    ends[i] = joined.size();
  }
  arena_.assign(joined.begin(), joined.end());
  bytes_.resize(texts.size());
  for (std::size_t i = 0, start = 0; i < texts.size(); start = ends[i++])
    bytes_[i] = std::string_view(arena_.data() + start, ends[i] - start);
  pieces_ = TextTable(bytes_, is_piece);
  all_ = TextTable(bytes_, std::vector<std::uint8_t>(texts.size(), 1));

  byte_tokens_.fill(-1);
  for (TokenId id = size() - 1; id >= 0; --id)
    if (kind(id) == TokenKind::byte && named_byte(texts[static_cast<std::size_t>(id)]) >= 0)
      byte_tokens_[static_cast<std::uint8_t>(bytes(id)[0])] = id;
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const TokenId id = find_piece(std::string_view(&c, 1));
    if (id >= 0) byte_tokens_[static_cast<std::size_t>(byte)] = id;
  }
}

Result<BpeMerges> Vocabulary::read_merges(const GgufFile& file) const {
  RUNNEL_ASSIGN(const auto merges, file.get_strings("tokenizer.ggml.merges"));
  if (!merges) return Status(Code::corrupt, "tokenizer.ggml.merges is missing");
  BpeMerges made;
  std::string joined;
  for (std::size_t i = 0; i < merges->size(); ++i) {
    const std::string_view text = (*merges)[i];
    const std::size_t space = text.find(' ', 1);
    if (space == std::string_view::npos || space + 1 == text.size())
      return Status(Code::corrupt,
                    "tokenizer.ggml.merges[" + std::to_string(i) + "] is not two pieces");
    joined.clear();
    if (!byte_level_decode(text.substr(0, space), joined)) continue;
    const std::size_t n_left = joined.size();
    if (!byte_level_decode(text.substr(space + 1), joined)) continue;
    const std::string_view both = joined;
    const TokenId left = find_piece(both.substr(0, n_left));
    const TokenId right = find_piece(both.substr(n_left));
    const TokenId merged = find_piece(both);
    if (left >= 0 && right >= 0 && merged >= 0) made.add(left, right, merged);
  }
  return made;
}

}  // namespace runnel

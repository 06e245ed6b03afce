#include "runtime/text/tokenizer.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "runtime/text/bpe.h"
#include "runtime/text/pre_tokenizer.h"
#include "runtime/text/special_matcher.h"
#include "runtime/text/vocabulary.h"

namespace runnel {
namespace {

constexpr std::size_t kMaxPieceBytes = 16 << 20;  // merging needs 24 bytes of memory for each

constexpr std::string_view kEndNames[] = {"<|im_end|>", "<|endoftext|>",   "<|eot_id|>",
                                          "<|end|>",    "<|end_of_text|>", "</s>"};

/// A token id of the file: -1 when the key is absent or says "none".
Result<TokenId> read_id(const GgufFile& file, std::string_view key, const Vocabulary& vocabulary) {
  RUNNEL_ASSIGN(const auto value, file.get_int(key));
  if (!value || *value == -1 || *value == 0xFFFFFFFF) return TokenId{-1};
  if (*value < 0 || *value >= vocabulary.size())
    return Status(Code::corrupt, std::string(key) + " is " + std::to_string(*value) + " with " +
                                     std::to_string(vocabulary.size()) + " tokens");
  return static_cast<TokenId>(*value);
}

}  // namespace

struct Tokenizer::Impl {
  Vocabulary vocabulary;
  BpeMerges merges;
  PreTokenizer pre_tokenizer;
  SpecialMatcher user_defined;  // recognised always
  SpecialMatcher specials;      // recognised with Specials::parse: those and control tokens
  std::vector<std::uint8_t> ends_generation;  // [n_vocab]
  TokenId bos = -1, eos = -1, pad = -1, unknown = -1;
  bool adds_bos = false;
  bool ignore_merges = false;

  struct Scratch {
    BpeScratch bpe;
    std::vector<TokenId> bytes;     // one token per byte of a pre-token
    std::vector<std::size_t> ends;  // of pre-tokens
  };

  Status read_ids(const GgufFile& file);
  Status read_switches(const GgufFile& file);
  void collect_specials();
  void encode_text(std::string_view text, Scratch& scratch, std::vector<TokenId>& ids) const;
  void encode_piece(std::string_view piece, Scratch& scratch, std::vector<TokenId>& ids) const;
};

Status Tokenizer::Impl::read_ids(const GgufFile& file) {
  RUNNEL_ASSIGN(bos, read_id(file, "tokenizer.ggml.bos_token_id", vocabulary));
  RUNNEL_ASSIGN(eos, read_id(file, "tokenizer.ggml.eos_token_id", vocabulary));
  RUNNEL_ASSIGN(pad, read_id(file, "tokenizer.ggml.padding_token_id", vocabulary));
  RUNNEL_ASSIGN(unknown, read_id(file, "tokenizer.ggml.unknown_token_id", vocabulary));
  RUNNEL_ASSIGN(const TokenId eot, read_id(file, "tokenizer.ggml.eot_token_id", vocabulary));
  RUNNEL_ASSIGN(const TokenId eom, read_id(file, "tokenizer.ggml.eom_token_id", vocabulary));
  ends_generation.assign(static_cast<std::size_t>(vocabulary.size()), 0);
  for (const TokenId id : {eos, eot, eom})
    if (id >= 0) ends_generation[static_cast<std::size_t>(id)] = 1;
  for (TokenId id = 0; id < vocabulary.size(); ++id)
    if (vocabulary.kind(id) == TokenKind::control &&
        std::ranges::find(kEndNames, vocabulary.bytes(id)) != std::end(kEndNames))
      ends_generation[static_cast<std::size_t>(id)] = 1;
  RUNNEL_ASSIGN(const auto more, file.get_ints("runnel.tokenizer.eog_ids"));
  for (const std::int64_t id : more.value_or(std::vector<std::int64_t>{})) {
    if (id < 0 || id >= vocabulary.size())
      return Status(Code::corrupt, "runnel.tokenizer.eog_ids holds " + std::to_string(id) +
                                       " with " + std::to_string(vocabulary.size()) + " tokens");
    ends_generation[static_cast<std::size_t>(id)] = 1;
  }
  return {};
}

Status Tokenizer::Impl::read_switches(const GgufFile& file) {
  const bool llama3 = pre_tokenizer.family() == PreTokenizer::Family::llama3;
  RUNNEL_ASSIGN(const auto add_bos, file.get_bool("tokenizer.ggml.add_bos_token"));
  RUNNEL_ASSIGN(const auto whole, file.get_bool("runnel.tokenizer.ignore_merges"));
  adds_bos = bos >= 0 && add_bos.value_or(llama3);
  ignore_merges = whole.value_or(llama3);
  return {};
}

void Tokenizer::Impl::collect_specials() {
  for (TokenId id = 0; id < vocabulary.size(); ++id) {
    const TokenKind kind = vocabulary.kind(id);
    if (kind == TokenKind::user_defined) user_defined.add(vocabulary.bytes(id), id);
    if (kind == TokenKind::user_defined || kind == TokenKind::control || kind == TokenKind::unknown)
      specials.add(vocabulary.bytes(id), id);
  }
}

/// One pre-token.
void Tokenizer::Impl::encode_piece(std::string_view piece,
                                   Scratch& scratch,
                                   std::vector<TokenId>& ids) const {
  if (ignore_merges) {
    if (const TokenId id = vocabulary.find_piece(piece); id >= 0) {
      ids.push_back(id);
      return;
    }
  }
  const std::size_t first = ids.size();
  bool complete = true;
  scratch.bytes.clear();
  for (const char c : piece) {
    scratch.bytes.push_back(vocabulary.byte_token(static_cast<std::uint8_t>(c)));
    complete = complete && scratch.bytes.back() >= 0;
  }
  merges.merge(scratch.bytes, scratch.bpe, ids);
  if (complete) return;
  const auto fresh = ids.begin() + static_cast<std::ptrdiff_t>(first);
  if (unknown >= 0)
    std::replace(fresh, ids.end(), -1, unknown);
  else
    ids.erase(std::remove(fresh, ids.end(), -1), ids.end());
}

/// Text without special tokens.
void Tokenizer::Impl::encode_text(std::string_view text,
                                  Scratch& scratch,
                                  std::vector<TokenId>& ids) const {
  scratch.ends.clear();
  pre_tokenizer.split(text, scratch.ends);
  std::size_t start = 0;
  for (const std::size_t end : scratch.ends) {
    for (; end - start > kMaxPieceBytes; start += kMaxPieceBytes)
      encode_piece(text.substr(start, kMaxPieceBytes), scratch, ids);
    encode_piece(text.substr(start, end - start), scratch, ids);
    start = end;
  }
}

Result<Tokenizer> Tokenizer::load(const GgufFile& file) {
  RUNNEL_ASSIGN(const auto model, file.get_string("tokenizer.ggml.model"));
  if (!model) return Status(Code::not_found, "tokenizer.ggml.model is missing");
  if (*model != "gpt2")
    return Status(Code::unsupported,
                  "tokenizer model \"" + std::string(model->substr(0, 100)) + "\" is unknown");
  RUNNEL_ASSIGN(Vocabulary vocabulary, Vocabulary::read(file));
  RUNNEL_ASSIGN(BpeMerges merges, vocabulary.read_merges(file));
  RUNNEL_ASSIGN(const auto name, file.get_string("tokenizer.ggml.pre"));
  RUNNEL_ASSIGN(const auto pattern, file.get_string("runnel.tokenizer.pattern"));
  RUNNEL_ASSIGN(PreTokenizer pre_tokenizer, PreTokenizer::make(name, pattern));
  std::unique_ptr<Impl> impl(
      new Impl{std::move(vocabulary), std::move(merges), std::move(pre_tokenizer), {}, {}, {}});
  RUNNEL_TRY(impl->read_ids(file));
  RUNNEL_TRY(impl->read_switches(file));
  impl->collect_specials();
  return Tokenizer(std::move(impl));
}

Tokenizer::Tokenizer(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

std::vector<TokenId> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  const bool parse = options.specials == Specials::parse;
  const SpecialMatcher& matcher = parse ? impl_->specials : impl_->user_defined;
  Impl::Scratch scratch;
  std::vector<TokenId> ids;
  const bool wants_bos =
      bos() >= 0 && (options.bos == Bos::always || (options.bos == Bos::as_model && adds_bos()));
  if (wants_bos) ids.push_back(bos());
  for (std::size_t pos = 0; pos < text.size();) {
    const SpecialMatcher::Match match = matcher.find(text, pos);
    const bool starts_with_bos = parse && match.pos == 0 && match.id == bos();
    impl_->encode_text(text.substr(pos, match.pos - pos), scratch, ids);
    pos = match.pos + match.n_bytes;
    if (match.id >= 0 && !(wants_bos && starts_with_bos)) ids.push_back(match.id);
  }
  return ids;
}

std::string_view Tokenizer::bytes(TokenId id) const {
  return impl_->vocabulary.holds(id) ? impl_->vocabulary.bytes(id) : std::string_view{};
}

std::string Tokenizer::decode(std::span<const TokenId> ids, Controls controls) const {
  std::string text;
  for (const TokenId id : ids)
    if (controls == Controls::keep || kind(id) != TokenKind::control) text += bytes(id);
  return text;
}

std::int32_t Tokenizer::n_vocab() const {
  return impl_->vocabulary.size();
}

TokenKind Tokenizer::kind(TokenId id) const {
  return impl_->vocabulary.holds(id) ? impl_->vocabulary.kind(id) : TokenKind::unused;
}

TokenId Tokenizer::bos() const {
  return impl_->bos;
}
TokenId Tokenizer::eos() const {
  return impl_->eos;
}
TokenId Tokenizer::pad() const {
  return impl_->pad;
}
bool Tokenizer::adds_bos() const {
  return impl_->adds_bos;
}

bool Tokenizer::is_eog(TokenId id) const {
  return impl_->vocabulary.holds(id) && impl_->ends_generation[static_cast<std::size_t>(id)] != 0;
}

TokenId Tokenizer::find(std::string_view text) const {
  return impl_->vocabulary.find(text);
}

}  // namespace runnel

#include "converters/hf_tokenizer.h"

#include <algorithm>

#include "converters/hf_pre_tokenizer.h"
#include "runtime/base/quote.h"

namespace runnel::converters {
namespace {

constexpr std::string_view kFile = "tokenizer.json";

// Puts a token at its id. The same text twice at one id is how added tokens repeat the vocabulary.
Status place(const std::string& text, const Json& id, TokenType type, HfTokenizer* out) {
  const auto n_vocab = static_cast<std::int64_t>(out->tokens.size());
  const bool in_range =
      id.is_number_integer() && id.get<std::int64_t>() >= 0 && id.get<std::int64_t>() < n_vocab;
  if (!in_range)
    return Status(Code::corrupt, "tokenizer.json: token " + runnel::quote(text) +
                                     " has no id below " + std::to_string(n_vocab) +
                                     ", the rows of the embedding");
  const auto index = id.get<std::size_t>();
  if (out->types[index] != TokenType::unused && out->tokens[index] != text)
    return Status(Code::corrupt, "tokenizer.json: tokens " + runnel::quote(out->tokens[index]) +
                                     " and " + runnel::quote(text) + " have the same id");
  out->tokens[index] = text;
  out->types[index] = type;
  out->ids[text] = static_cast<std::int32_t>(index);
  return {};
}

Status read_vocabulary(const Fields& model, HfTokenizer* out) {
  const Json* vocab = model.find("vocab");
  if (vocab == nullptr || !vocab->is_object()) return model.bad("vocab", "is not an object");
  out->ids.reserve(vocab->size());
  for (auto at = vocab->begin(); at != vocab->end(); ++at)
    RUNNEL_TRY(place(at.key(), at.value(), TokenType::normal, out));
  return {};
}

Status read_added_tokens(const Fields& root, HfTokenizer* out) {
  const Json* list = root.find("added_tokens");
  if (list == nullptr) return {};
  if (!list->is_array()) return root.bad("added_tokens", "is not an array");
  for (const Json& item : *list) {
    RUNNEL_ASSIGN(const Fields token, Fields::of(item, "tokenizer.json: added_tokens"));
    RUNNEL_ASSIGN(const auto content, token.get_string("content"));
    RUNNEL_ASSIGN(const bool special, token.bool_or("special", false));
    const Json* id = token.find("id");
    if (!content || content->empty() || id == nullptr)
      return token.bad("content", "or 'id' is missing");
    const TokenType type = special ? TokenType::control : TokenType::user_defined;
    RUNNEL_TRY(place(*content, *id, type, out));
  }
  return {};
}

// "a b" or ["a", "b"]. GGUF joins with one space, so neither half may hold one.
Result<std::string> read_merge(const Fields& model, const Json& item) {
  if (item.is_string()) {
    const auto& text = item.get_ref<const std::string&>();
    const std::size_t space = text.find(' ');
    if (space != std::string::npos && space > 0 && space + 1 < text.size() &&
        text.find(' ', space + 1) == std::string::npos)
      return text;
  } else if (item.is_array() && item.size() == 2 && item[0].is_string() && item[1].is_string()) {
    const auto& left = item[0].get_ref<const std::string&>();
    const auto& right = item[1].get_ref<const std::string&>();
    if (!left.empty() && !right.empty() && (left + right).find(' ') == std::string::npos)
      return left + " " + right;
  }
  return model.bad("merges", "holds something that is no pair of tokens");
}

Status read_merges(const Fields& model, HfTokenizer* out) {
  const Json* merges = model.find("merges");
  if (merges == nullptr || !merges->is_array()) return model.bad("merges", "is not an array");
  out->merges.reserve(merges->size());
  for (const Json& item : *merges) {
    RUNNEL_ASSIGN(std::string merge, read_merge(model, item));
    out->merges.push_back(std::move(merge));
  }
  return {};
}

Status check_model(const Fields& model) {
  RUNNEL_ASSIGN(const auto type, model.get_string("type"));
  if (type ? *type != "BPE" : model.find("merges") == nullptr)
    return Status(Code::unsupported, "tokenizer.json: model " + runnel::quote(type.value_or("")) +
                                         "; only byte-level BPE");
  RUNNEL_ASSIGN(const bool byte_fallback, model.bool_or("byte_fallback", false));
  if (byte_fallback)
    return Status(Code::unsupported,
                  "tokenizer.json: SentencePiece-style BPE (byte_fallback); only byte-level BPE");
  for (const std::string_view key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    RUNNEL_ASSIGN(const auto text, model.get_string(key));
    if (text && !text->empty())
      return Status(Code::unsupported, "tokenizer.json: model: '" + std::string(key) + "'");
  }
  return {};
}

// The special tokens a template puts around a text. Depth is bounded by parse_json().
Status read_post_processor(const Json& json, HfTokenizer* out) {
  RUNNEL_ASSIGN(const Fields step, Fields::of(json, "tokenizer.json: post_processor"));
  RUNNEL_ASSIGN(const auto type, step.get_string("type"));
  const bool sequence = type == "Sequence";
  if (!sequence && type != "TemplateProcessing") return {};
  const Json* list = step.find(sequence ? "processors" : "single");
  if (list == nullptr || !list->is_array())
    return step.bad(sequence ? "processors" : "single", "is not an array");
  bool seen_text = false;
  for (const Json& item : *list) {
    if (sequence) {
      RUNNEL_TRY(read_post_processor(item, out));
      continue;
    }
    RUNNEL_ASSIGN(const Fields piece, Fields::of(item, "tokenizer.json: post_processor"));
    RUNNEL_ASSIGN(const auto special, piece.get_object("SpecialToken"));
    if (!special) {
      seen_text = true;
      continue;
    }
    RUNNEL_ASSIGN(auto id, special->get_string("id"));
    if (!id) return special->bad("id", "is missing");
    std::optional<std::string>& end = seen_text ? out->last : out->first;
    if (!end) end = std::move(id);
  }
  return {};
}

}  // namespace

std::optional<std::int32_t> HfTokenizer::find(const std::string& text) const {
  const auto at = ids.find(text);
  if (at == ids.end()) return std::nullopt;
  return at->second;
}

Result<HfTokenizer> read_tokenizer(const Json& json,
                                   std::int64_t n_vocab,
                                   std::string_view llama3_pre) {
  RUNNEL_ASSIGN(const Fields root, Fields::of(json, kFile));
  RUNNEL_ASSIGN(const auto model, root.get_object("model"));
  if (!model) return root.bad("model", "is missing");
  RUNNEL_TRY(check_model(*model));
  if (n_vocab > kMaxVocabulary)
    return Status(Code::unsupported, "tokenizer.json: a vocabulary of more than 4 million tokens");
  HfTokenizer out;
  out.tokens.resize(static_cast<std::size_t>(n_vocab));
  out.types.resize(out.tokens.size(), TokenType::unused);
  RUNNEL_TRY(read_vocabulary(*model, &out));
  RUNNEL_TRY(read_added_tokens(root, &out));
  RUNNEL_TRY(read_merges(*model, &out));
  RUNNEL_ASSIGN(out.ignore_merges, model->bool_or("ignore_merges", false));
  RUNNEL_TRY(read_normalizer(root, &out));
  RUNNEL_TRY(read_pre_tokenizer(root, llama3_pre, &out));
  if (const Json* post = root.find("post_processor")) RUNNEL_TRY(read_post_processor(*post, &out));
  for (std::size_t i = 0; i < out.tokens.size(); ++i)
    if (out.types[i] == TokenType::unused) out.tokens[i] = "[PAD" + std::to_string(i) + "]";
  return out;
}

void set_tokenizer_keys(const HfTokenizer& tokenizer, GgufWriter& meta) {
  const std::vector<std::string_view> tokens(tokenizer.tokens.begin(), tokenizer.tokens.end());
  const std::vector<std::string_view> merges(tokenizer.merges.begin(), tokenizer.merges.end());
  std::vector<std::int32_t> types;
  types.reserve(tokenizer.types.size());
  for (const TokenType type : tokenizer.types) types.push_back(static_cast<std::int32_t>(type));
  meta.set_string("tokenizer.ggml.model", "gpt2");
  meta.set_string("tokenizer.ggml.pre", tokenizer.pre);
  meta.set_strings("tokenizer.ggml.tokens", tokens);
  meta.set_i32s("tokenizer.ggml.token_type", types);
  meta.set_strings("tokenizer.ggml.merges", merges);
  if (tokenizer.add_space_prefix) meta.set_bool("tokenizer.ggml.add_space_prefix", true);
  if (!tokenizer.pattern.empty()) meta.set_string("runnel.tokenizer.pattern", tokenizer.pattern);
  if (tokenizer.nfc) meta.set_string("runnel.tokenizer.normalizer", "nfc");
  // The names of these two imply it; other readers know no key for it.
  const bool implied = tokenizer.pre == "lfm2" || tokenizer.pre == "llama-bpe";
  if (tokenizer.ignore_merges != implied)
    meta.set_bool("runnel.tokenizer.ignore_merges", tokenizer.ignore_merges);
}

}  // namespace runnel::converters

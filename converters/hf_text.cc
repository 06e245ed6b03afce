#include "converters/hf_text.h"

#include <cmath>
#include <filesystem>
#include <optional>

#include "converters/hf_special.h"
#include "converters/hf_tokenizer.h"
#include "runtime/base/mapped_file.h"
#include "runtime/base/quote.h"

namespace runnel::converters {
namespace {

constexpr std::size_t kMaxTemplateBytes = 1 << 20;

/// A JSON file of the checkpoint, when it is there. fields() borrows from the object.
class OptionalFile {
 public:
  Status load(const std::string& dir, const std::string& name) {
    RUNNEL_ASSIGN(json_, read_json_if_present(dir, name));
    if (!json_) return {};
    RUNNEL_ASSIGN(fields_, Fields::of(*json_, name));
    return {};
  }
  const Fields* get() const { return fields_ ? &*fields_ : nullptr; }

 private:
  std::optional<Json> json_;
  std::optional<Fields> fields_;
};

Status set_template(GgufWriter& meta, const std::string& key, std::string_view text) {
  if (text.size() > kMaxTemplateBytes)
    return Status(Code::corrupt, "chat template larger than 1 MiB");
  if (!text.empty()) meta.set_string(key, text);
  return {};
}

// "chat_template": text, or [{"name": ..., "template": ...}].
Status set_templates_of(const Fields& file, GgufWriter& meta) {
  const Json* value = file.find("chat_template");
  if (value == nullptr) return {};
  const std::string key = "tokenizer.chat_template";
  if (value->is_string()) return set_template(meta, key, value->get_ref<const std::string&>());
  if (!value->is_array()) return file.bad("chat_template", "is neither text nor a list");
  for (const Json& item : *value) {
    RUNNEL_ASSIGN(const Fields named, Fields::of(item, file.what() + ": chat_template"));
    RUNNEL_ASSIGN(const auto name, named.get_string("name"));
    RUNNEL_ASSIGN(const auto text, named.get_string("template"));
    if (!name || !text) return named.bad("name", "or 'template' is missing");
    if (name->empty() || name->size() > 64 || runnel::quote(*name) != "'" + *name + "'")
      return named.bad("name", "is no short plain text");
    RUNNEL_TRY(set_template(meta, *name == "default" ? key : key + "." + *name, *text));
  }
  return {};
}

// chat_template.jinja counts before chat_template.json and tokenizer_config.json.
Status set_chat_template(const std::string& dir, const Fields* tokenizer_config, GgufWriter& meta) {
  if (tokenizer_config != nullptr) RUNNEL_TRY(set_templates_of(*tokenizer_config, meta));
  OptionalFile json;
  RUNNEL_TRY(json.load(dir, "chat_template.json"));
  if (json.get() != nullptr) RUNNEL_TRY(set_templates_of(*json.get(), meta));
  auto file = MappedFile::open(dir + "/chat_template.jinja");
  if (!file.ok()) return file.status().code() == Code::not_found ? Status() : file.status();
  const auto bytes = file->bytes();
  return set_template(meta, "tokenizer.chat_template",
                      {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

/// One sampling hint: the key there, our key, and the values that make sense.
struct SamplingHint {
  std::string_view from, to;
  double low, high;
  enum class As : std::uint8_t { f32, u32 } as;
};
constexpr SamplingHint kSamplingHints[] = {
    {"temperature", "temperature", 0, 100, SamplingHint::As::f32},
    {"top_k", "top_k", 0, 1e6, SamplingHint::As::u32},
    {"top_p", "top_p", 1e-6, 1, SamplingHint::As::f32},
    {"min_p", "min_p", 0, 1, SamplingHint::As::f32},
    {"repetition_penalty", "repeat_penalty", 0.01, 100, SamplingHint::As::f32},
};

Status set_sampling(const Fields& generation, GgufWriter& meta, std::vector<std::string>* notes) {
  for (const SamplingHint& hint : kSamplingHints) {
    RUNNEL_ASSIGN(const std::optional<double> value, generation.get_float(hint.from));
    if (!value) continue;
    if (!(*value >= hint.low && *value <= hint.high)) {
      notes->push_back(generation.what() + ": '" + std::string(hint.from) +
                       "' is out of range, left out");
      continue;
    }
    const std::string key = "runnel.sampling." + std::string(hint.to);
    if (hint.as == SamplingHint::As::u32) {
      meta.set_u32(key, static_cast<std::uint32_t>(*value));
    } else {
      meta.set_f32(key, static_cast<float>(*value));
    }
  }
  return {};
}

}  // namespace

Result<std::vector<std::string>> set_text_keys(const std::string& dir,
                                               const Fields& config,
                                               std::int64_t n_vocab,
                                               std::string_view llama3_pre,
                                               GgufWriter& meta) {
  std::vector<std::string> notes;
  OptionalFile generation, tokenizer_config, special_tokens_map;
  RUNNEL_TRY(generation.load(dir, "generation_config.json"));
  RUNNEL_TRY(tokenizer_config.load(dir, "tokenizer_config.json"));
  RUNNEL_TRY(special_tokens_map.load(dir, "special_tokens_map.json"));
  RUNNEL_ASSIGN(const std::optional<Json> json, read_json_if_present(dir, "tokenizer.json"));
  if (json) {
    RUNNEL_ASSIGN(const HfTokenizer tokenizer, read_tokenizer(*json, n_vocab, llama3_pre));
    set_tokenizer_keys(tokenizer, meta);
    const SpecialSources sources{&config, generation.get(), tokenizer_config.get(),
                                 special_tokens_map.get()};
    RUNNEL_TRY(set_special_tokens(sources, tokenizer, meta, &notes));
    RUNNEL_TRY(set_chat_template(dir, tokenizer_config.get(), meta));
  } else {
    std::error_code error;
    for (const char* name : {"tokenizer.model", "spiece.model"})
      if (std::filesystem::exists(dir + "/" + name, error))
        return Status(Code::unsupported,
                      std::string(name) + ": a SentencePiece tokenizer without tokenizer.json");
    notes.push_back("no tokenizer.json: the model works with token ids only");
  }
  if (generation.get() != nullptr) RUNNEL_TRY(set_sampling(*generation.get(), meta, &notes));
  return notes;
}

}  // namespace runnel::converters

#include "converters/hf_pre_tokenizer.h"

#include <array>
#include <string>
#include <vector>

#include "runtime/base/quote.h"

namespace runnel::converters {
namespace {

/// A pattern that GGUF files name instead of spelling it. SOURCE: the tokenizer.json files of the
/// models. An empty name stands for the architecture's own name of the Llama-3 pattern.
struct KnownPattern {
  std::string_view name;
  std::string_view regex;
};
constexpr auto kKnownPatterns = std::to_array<KnownPattern>({
    {"", R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
         R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
    {"qwen2", R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
              R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
    {"gpt-2", R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)"},
});

/// What the steps of a pre-tokenizer say together.
struct Steps {
  std::vector<std::string> patterns;
  bool byte_level = false;
  bool byte_level_regex = false;
  bool prefix_space = false;
};

Status unsupported(std::string_view what) {
  return Status(Code::unsupported, "tokenizer.json: pre_tokenizer: " + std::string(what));
}

Status read_split(const Fields& step, Steps* steps) {
  RUNNEL_ASSIGN(const auto pattern, step.get_object("pattern"));
  if (!pattern) return step.bad("pattern", "is missing");
  RUNNEL_ASSIGN(const auto regex, pattern->get_string("Regex"));
  if (!regex) return unsupported("a split without a regular expression");
  RUNNEL_ASSIGN(const auto behavior, step.get_string("behavior"));
  RUNNEL_ASSIGN(const bool invert, step.bool_or("invert", false));
  // Both mean: every match is a piece.
  const bool pieces = (behavior == "Isolated" && !invert) || (behavior == "Removed" && invert);
  if (!pieces) return unsupported("split behaviour " + runnel::quote(behavior.value_or("")));
  steps->patterns.push_back(*regex);
  return {};
}

// Depth is bounded by parse_json().
Status read_step(const Json& json, Steps* steps) {
  RUNNEL_ASSIGN(const Fields step, Fields::of(json, "tokenizer.json: pre_tokenizer"));
  RUNNEL_ASSIGN(const auto type, step.get_string("type"));
  if (!type) return step.bad("type", "is missing");
  if (*type == "Sequence") {
    const Json* list = step.find("pretokenizers");
    if (list == nullptr || !list->is_array()) return step.bad("pretokenizers", "is not an array");
    for (const Json& item : *list) RUNNEL_TRY(read_step(item, steps));
    return {};
  }
  if (*type == "Split") return read_split(step, steps);
  if (*type != "ByteLevel") return unsupported("step " + runnel::quote(*type));
  RUNNEL_ASSIGN(steps->byte_level_regex, step.bool_or("use_regex", true));
  RUNNEL_ASSIGN(steps->prefix_space, step.bool_or("add_prefix_space", false));
  steps->byte_level = true;
  return {};
}

}  // namespace

Status read_pre_tokenizer(const Fields& root, std::string_view llama3_pre, HfTokenizer* out) {
  const Json* json = root.find("pre_tokenizer");
  if (json == nullptr) return unsupported("none, so this is no byte-level BPE");
  Steps steps;
  RUNNEL_TRY(read_step(*json, &steps));
  if (!steps.byte_level) return unsupported("no ByteLevel step");
  out->add_space_prefix = steps.prefix_space;
  if (steps.patterns.size() + (steps.byte_level_regex ? 1 : 0) != 1)
    return unsupported("needs exactly one pattern");
  if (steps.byte_level_regex) {
    out->pre = "gpt-2";
    return {};
  }
  for (const KnownPattern& known : kKnownPatterns) {
    if (steps.patterns.front() != known.regex) continue;
    out->pre = known.name.empty() ? llama3_pre : known.name;
    return {};
  }
  out->pre = "default";
  out->pattern = steps.patterns.front();
  return {};
}

Status read_normalizer(const Fields& root, HfTokenizer* out) {
  RUNNEL_ASSIGN(const auto normalizer, root.get_object("normalizer"));
  if (!normalizer) return {};
  RUNNEL_ASSIGN(const auto type, normalizer->get_string("type"));
  if (!type) return normalizer->bad("type", "is missing");
  if (*type != "NFC")
    return Status(Code::unsupported, "tokenizer.json: normalizer " + runnel::quote(*type));
  out->nfc = true;
  return {};
}

}  // namespace runnel::converters

#include "converters/hf_special.h"

#include <algorithm>
#include <optional>

namespace runnel::converters {
namespace {

using Ids = std::vector<std::int32_t>;

/// Looks things up in all the files, noting ids that cannot be.
class Specials {
 public:
  Specials(const SpecialSources& sources,
           const HfTokenizer& tokenizer,
           std::vector<std::string>* notes)
      : sources_(sources), tokenizer_(tokenizer), notes_(notes) {}

  /// The id whose text `key` gives ("bos_token": "text" or {"content": "text"}).
  Result<Ids> by_text(std::string_view key) const {
    for (const Fields* file : {sources_.tokenizer_config, sources_.special_tokens_map}) {
      const Json* value = file == nullptr ? nullptr : file->find(key);
      if (value == nullptr) continue;
      if (value->is_object()) {
        const auto content = value->find("content");
        if (content == value->end()) return file->bad(key, "has no 'content'");
        value = &*content;
      }
      if (!value->is_string()) return file->bad(key, "is not a string");
      const auto id = tokenizer_.find(value->get_ref<const std::string&>());
      if (id) return Ids{*id};
    }
    return Ids{};
  }

  /// The ids that `key` lists, a number or an array, in the first file that has it.
  Result<Ids> by_id(std::string_view key) const {
    for (const Fields* file : {sources_.generation, sources_.config}) {
      RUNNEL_ASSIGN(Ids ids, ids_in(file, key));
      if (!ids.empty()) return ids;
    }
    return Ids{};
  }

  Result<Ids> ids_in(const Fields* file, std::string_view key) const {
    const Json* value = file == nullptr ? nullptr : file->find(key);
    if (value == nullptr) return Ids{};
    const bool list = value->is_array();
    std::vector<std::int64_t> numbers;
    if (list) {
      RUNNEL_ASSIGN(auto several, file->get_ints(key));
      numbers = several.value_or(std::vector<std::int64_t>());
    } else {
      RUNNEL_ASSIGN(const auto one, file->get_int(key));
      numbers.push_back(one.value_or(-1));
    }
    Ids ids;
    const auto n_vocab = static_cast<std::int64_t>(tokenizer_.tokens.size());
    for (const std::int64_t id : numbers) {
      if (id >= 0 && id < n_vocab) {
        ids.push_back(static_cast<std::int32_t>(id));
      } else {
        notes_->push_back(file->what() + ": '" + std::string(key) + "' " + std::to_string(id) +
                          " is outside the vocabulary, left out");
      }
    }
    return ids;
  }

 private:
  const SpecialSources& sources_;
  const HfTokenizer& tokenizer_;
  std::vector<std::string>* notes_;
};

// A chat's end-of-turn token, when the vocabulary has one that is no ordinary text.
std::optional<std::int32_t> find_end_of_turn(const HfTokenizer& tokenizer) {
  for (const char* text :
       {"<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "<|end_of_turn|>"}) {
    const auto id = tokenizer.find(text);
    if (id && tokenizer.types[static_cast<std::size_t>(*id)] != TokenType::normal) return id;
  }
  return std::nullopt;
}

void add_unique(Ids* ids, const Ids& more) {
  for (const std::int32_t id : more)
    if (std::ranges::find(*ids, id) == ids->end()) ids->push_back(id);
}

// The explicit setting, else what the post-processor does with this token.
Result<bool> adds(const Fields* tokenizer_config,
                  std::string_view key,
                  const std::optional<std::string>& template_token,
                  const std::string& token) {
  const bool fallback = template_token && *template_token == token;
  if (tokenizer_config == nullptr) return fallback;
  return tokenizer_config->bool_or(key, fallback);
}

void set_id(GgufWriter& meta, std::string_view name, const Ids& ids) {
  if (ids.empty()) return;
  meta.set_u32("tokenizer.ggml." + std::string(name) + "_token_id",
               static_cast<std::uint32_t>(ids.front()));
}

}  // namespace

Status set_special_tokens(const SpecialSources& sources,
                          const HfTokenizer& tokenizer,
                          GgufWriter& meta,
                          std::vector<std::string>* notes) {
  const Specials specials(sources, tokenizer, notes);
  RUNNEL_ASSIGN(Ids bos, specials.by_text("bos_token"));
  if (bos.empty()) {
    RUNNEL_ASSIGN(bos, specials.by_id("bos_token_id"));
  }
  RUNNEL_ASSIGN(Ids pad, specials.by_text("pad_token"));
  if (pad.empty()) {
    RUNNEL_ASSIGN(pad, specials.by_id("pad_token_id"));
  }
  RUNNEL_ASSIGN(Ids ends, specials.by_id("eos_token_id"));
  RUNNEL_ASSIGN(const Ids config_ends, specials.ids_in(sources.config, "eos_token_id"));
  RUNNEL_ASSIGN(const Ids text_end, specials.by_text("eos_token"));
  add_unique(&ends, config_ends);
  add_unique(&ends, text_end);
  const Ids eos = ends;
  set_id(meta, "bos", bos);
  set_id(meta, "eos", eos);
  set_id(meta, "padding", pad);
  if (const auto end_of_turn = find_end_of_turn(tokenizer)) {
    set_id(meta, "eot", {*end_of_turn});
    add_unique(&ends, {*end_of_turn});
  }
  if (ends.size() > 1) meta.set_i32s("runnel.tokenizer.eog_ids", ends);
  const auto text_of = [&](const Ids& ids) {
    return ids.empty() ? std::string() : tokenizer.tokens[static_cast<std::size_t>(ids.front())];
  };
  RUNNEL_ASSIGN(const bool add_bos,
                adds(sources.tokenizer_config, "add_bos_token", tokenizer.first, text_of(bos)));
  RUNNEL_ASSIGN(const bool add_eos,
                adds(sources.tokenizer_config, "add_eos_token", tokenizer.last, text_of(eos)));
  meta.set_bool("tokenizer.ggml.add_bos_token", add_bos && !bos.empty());
  meta.set_bool("tokenizer.ggml.add_eos_token", add_eos && !eos.empty());
  return {};
}

}  // namespace runnel::converters

// C API: tokenising, templates, and describing a model file.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "quant/mix.h"
#include "runtime/api/error.h"
#include "runtime/api/handles.h"
#include "runtime/text/detokenizer.h"

using namespace runnel;  // NOLINT: a file of extern "C" functions
using runnel::api::guarded;
using runnel::api::missing;
using Json = nlohmann::ordered_json;

namespace {

Result<const Tokenizer*> tokenizer_of(const runnel_engine* engine) {
  if (engine == nullptr) return missing("engine");
  const Tokenizer* tokenizer = engine->engine->tokenizer();
  if (tokenizer == nullptr) return Status(Code::unsupported, "the model has no tokenizer");
  return tokenizer;
}

std::string dump(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

/// A metadata value; long arrays are shown as their beginning and length.
Json key_json(const GgufFile& file, const GgufKey& key) {
  constexpr std::size_t kShown = 8;
  const GgufType type = key.type == GgufType::array ? key.element_type : key.type;
  Json values = Json::array();
  if (type == GgufType::array) return "nested array";
  if (type == GgufType::string) {
    if (key.type == GgufType::string) return std::string((*file.get_string(key.name)).value_or(""));
    const auto strings = file.get_strings(key.name);
    if (!strings.ok()) return "unreadable";
    for (std::size_t i = 0; i < std::min(kShown, (**strings).size()); ++i)
      values.push_back((**strings)[i]);
  } else if (type == GgufType::f32 || type == GgufType::f64) {
    const auto floats = file.get_floats(key.name);
    if (!floats.ok()) return "unreadable";
    if (key.type != GgufType::array) return (**floats)[0];
    for (std::size_t i = 0; i < std::min(kShown, (**floats).size()); ++i)
      values.push_back((**floats)[i]);
  } else {
    const auto ints = file.get_ints(key.name);
    if (!ints.ok()) return "unreadable";
    if (key.type == GgufType::boolean) return (**ints)[0] != 0;
    if (key.type != GgufType::array) return (**ints)[0];
    const std::size_t all = key.count <= 64 ? (**ints).size() : std::min(kShown, (**ints).size());
    for (std::size_t i = 0; i < all; ++i) values.push_back((**ints)[i]);
  }
  if (values.size() == key.count) return values;
  return Json{{"count", key.count}, {"first", values}};
}

Json describe(const GgufFile& file, bool with_tensors) {
  Json out;
  out["format"] = "gguf";
  out["version"] = file.version();
  out["file_bytes"] = file.file_bytes();
  Json metadata = Json::object();
  for (const GgufKey& key : file.keys()) metadata[std::string(key.name)] = key_json(file, key);
  std::uint64_t parameters = 0, bytes = 0;
  Json types = Json::object(), tensors = Json::array();
  for (const GgufTensor& tensor : file.tensors()) {
    const auto name = std::string(quant::info(tensor.dtype).name);
    parameters += static_cast<std::uint64_t>(tensor.shape.elems());
    bytes += tensor.data.size();
    types[name] = types.value(name, 0) + 1;
    std::vector<std::int64_t> dims(tensor.shape.dim.begin(),
                                   tensor.shape.dim.begin() + tensor.shape.rank);
    if (with_tensors)
      tensors.push_back(
          {{"name", tensor.name}, {"type", name}, {"shape", dims}, {"bytes", tensor.data.size()}});
  }
  out["n_parameters"] = parameters;
  out["n_tensors"] = file.tensors().size();
  out["tensor_bytes"] = bytes;
  out["bits_per_weight"] =
      parameters == 0
          ? 0.0
          : std::round(800.0 * static_cast<double>(bytes) / static_cast<double>(parameters)) /
                100.0;
  out["tensor_types"] = types;
  const Result<Model> model = Model::load(file);
  out["loads"] = model.ok();
  if (!model.ok()) out["load_error"] = model.status().message();
  out["metadata"] = metadata;
  if (with_tensors) out["tensors"] = tensors;
  return out;
}

}  // namespace

extern "C" {

runnel_status runnel_tokenize(const runnel_engine* engine,
                              const char* text,
                              size_t n_bytes,
                              uint32_t flags,
                              int32_t* ids,
                              size_t capacity,
                              size_t* n_ids) {
  return guarded([&]() -> Status {
    RUNNEL_ASSIGN(const Tokenizer* const tokenizer, tokenizer_of(engine));
    if (text == nullptr && n_bytes > 0) return missing("text");
    if (n_ids == nullptr) return missing("n_ids");
    if (ids == nullptr && capacity > 0) return missing("ids");
    EncodeOptions options;
    options.bos = (flags & RUNNEL_TOKENS_BOS) != 0         ? Bos::always
                  : (flags & RUNNEL_TOKENS_MODEL_BOS) != 0 ? Bos::as_model
                                                           : Bos::never;
    if ((flags & RUNNEL_TOKENS_SPECIAL) != 0) options.specials = Specials::parse;
    const std::vector<TokenId> made = tokenizer->encode({text, n_bytes}, options);
    *n_ids = made.size();
    std::copy_n(made.begin(), std::min(capacity, made.size()), ids);
    return {};
  });
}

runnel_status runnel_detokenize(
    const runnel_engine* engine, const int32_t* ids, size_t n_ids, uint32_t flags, char** text) {
  return guarded([&]() -> Status {
    if (text == nullptr) return missing("text");
    *text = nullptr;
    RUNNEL_ASSIGN(const Tokenizer* const tokenizer, tokenizer_of(engine));
    if (ids == nullptr && n_ids > 0) return missing("ids");
    const auto controls = (flags & RUNNEL_TOKENS_SPECIAL) != 0 ? Tokenizer::Controls::keep
                                                               : Tokenizer::Controls::skip;
    Detokenizer detokenizer;
    std::string whole = detokenizer.push(tokenizer->decode({ids, n_ids}, controls));
    whole += detokenizer.flush();
    return api::copy_text(whole, text);
  });
}

runnel_status runnel_apply_template(const runnel_engine* engine,
                                    const runnel_message* messages,
                                    size_t n_messages,
                                    const char* tools_json,
                                    int32_t add_generation_prompt,
                                    char** text) {
  return guarded([&]() -> Status {
    if (text == nullptr) return missing("text");
    *text = nullptr;
    if (engine == nullptr) return missing("engine");
    RUNNEL_ASSIGN(const Json json, api::to_messages(messages, n_messages));
    RUNNEL_ASSIGN(const Json tools, api::to_tools(tools_json));
    RUNNEL_ASSIGN(const std::string prompt,
                  engine->engine->render_chat(json, tools, add_generation_prompt != 0));
    return api::copy_text(prompt, text);
  });
}

runnel_status runnel_engine_template(const runnel_engine* engine, char** text) {
  return guarded([&]() -> Status {
    if (text == nullptr) return missing("text");
    *text = nullptr;
    if (engine == nullptr) return missing("engine");
    const std::string_view source = engine->engine->template_source();
    if (source.empty()) return Status(Code::not_found, "the model has no chat template");
    return api::copy_text(std::string(source), text);
  });
}

runnel_status runnel_inspect_json(const char* path, uint32_t flags, char** json) {
  return guarded([&]() -> Status {
    if (json == nullptr) return missing("json");
    *json = nullptr;
    if (path == nullptr) return missing("path");
    RUNNEL_ASSIGN(const GgufFile file, GgufFile::open(path));
    return api::copy_text(dump(describe(file, (flags & RUNNEL_INSPECT_TENSORS) != 0)), json);
  });
}

}  // extern "C"

// runnel tokenize -m FILE (-p TEXT | -f FILE) [--bos] [--special]: ids on one line, or JSON with
// pieces.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "apps/app.h"

namespace runnel::app {
namespace {

struct TokenizeFlags {
  ModelFlags model;
  std::string text, file;
  bool bos = false, special = false, json = false, count = false;
};

void print_json(const runnel_engine* engine, const std::vector<std::int32_t>& ids) {
  nlohmann::ordered_json json;
  json["ids"] = ids;
  json["pieces"] = nlohmann::ordered_json::array();
  for (const std::int32_t& id : ids) {
    char* piece = nullptr;
    must(runnel_detokenize(engine, &id, 1, RUNNEL_TOKENS_SPECIAL, &piece));
    json["pieces"].push_back(TextPtr(piece).get());
  }
  std::puts(json.dump().c_str());
}

void run(const TokenizeFlags& flags, bool from_file) {
  const std::string text = from_file ? read_file(flags.file) : flags.text;
  const EnginePtr engine = open_engine(flags.model);
  const auto ids = tokenize(
      engine.get(), text,
      static_cast<unsigned>(flags.bos ? RUNNEL_TOKENS_BOS : RUNNEL_TOKENS_PLAIN) |
          static_cast<unsigned>(flags.special ? RUNNEL_TOKENS_SPECIAL : RUNNEL_TOKENS_PLAIN));
  if (flags.json) return print_json(engine.get(), ids);
  if (flags.count) {
    std::printf("%zu\n", ids.size());
    return;
  }
  for (std::size_t i = 0; i < ids.size(); ++i) std::printf(i == 0 ? "%d" : " %d", ids[i]);
  std::puts("");
}

}  // namespace

void declare_tokenize(CLI::App& verb) {
  auto flags = std::make_shared<TokenizeFlags>();
  add_model_flags(verb, flags->model, ModelFlag::required);
  auto* source = verb.add_option_group("text", "where the text comes from");
  source->add_option("-p,--prompt", flags->text, "the text");
  CLI::Option* file =
      source->add_option("-f,--file", flags->file, "a file, \"-\" for standard input");
  source->require_option(1);
  verb.add_flag("--bos", flags->bos, "begin with BOS");
  verb.add_flag("--special", flags->special, "recognise special tokens in the text");
  verb.add_flag("--count", flags->count, "only the number of tokens");
  verb.add_flag("--json", flags->json, "JSON with ids and pieces");
  verb.callback([flags, file] { run(*flags, file->count() > 0); });
}

}  // namespace runnel::app

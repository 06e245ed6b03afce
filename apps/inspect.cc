// runnel inspect FILE [--json] [--tensors]
#include <cstdio>
#include <nlohmann/json.hpp>

#include "apps/app.h"

namespace runnel::app {
namespace {

using Json = nlohmann::ordered_json;

struct InspectFlags {
  std::string file;
  bool json = false, tensors = false;
};

std::string one_line(const Json& value) {
  constexpr std::size_t kWidth = 100;
  std::string text = value.is_string() ? value.get<std::string>()
                                       : value.dump(-1, ' ', false, Json::error_handler_t::replace);
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  if (text.size() > kWidth) {
    std::size_t cut = kWidth;
    while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) --cut;
    text = text.substr(0, cut) + "...";
  }
  return text;
}

void run(const InspectFlags& flags) {
  char* text = nullptr;
  must(runnel_inspect_json(flags.file.c_str(),
                           flags.tensors ? RUNNEL_INSPECT_TENSORS : RUNNEL_INSPECT_METADATA, &text),
       flags.file);
  const TextPtr owner(text);
  if (flags.json) {
    std::puts(text);
    return;
  }
  const Json json = Json::parse(text);
  for (const auto& [key, value] : json.items())
    if (key != "metadata" && key != "tensors")
      std::printf("%-18s %s\n", key.c_str(), one_line(value).c_str());
  std::puts("\nmetadata");
  for (const auto& [key, value] : json["metadata"].items())
    std::printf("  %-44s %s\n", key.c_str(), one_line(value).c_str());
  if (!flags.tensors) return;
  std::puts("\ntensors");
  for (const Json& tensor : json["tensors"])
    std::printf("  %-44s %-7s %-20s %12llu\n", tensor["name"].get<std::string>().c_str(),
                tensor["type"].get<std::string>().c_str(), tensor["shape"].dump().c_str(),
                tensor["bytes"].get<unsigned long long>());
}

}  // namespace

void declare_inspect(CLI::App& verb) {
  auto flags = std::make_shared<InspectFlags>();
  verb.add_option("file", flags->file, "model file (GGUF)")->required();
  verb.add_flag("--json", flags->json, "one JSON document on stdout");
  verb.add_flag("--tensors", flags->tensors, "list every tensor");
  verb.callback([flags] { run(*flags); });
}

}  // namespace runnel::app

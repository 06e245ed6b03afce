// runnel devices [--json]
#include <cstdio>
#include <nlohmann/json.hpp>

#include "apps/app.h"

namespace runnel::app {

void declare_devices(CLI::App& verb) {
  auto json = std::make_shared<bool>(false);
  verb.add_flag("--json", *json, "one JSON document on stdout");
  verb.callback([json] {
    char* text = nullptr;
    must(runnel_devices_json(&text));
    const TextPtr owner(text);
    if (*json) {
      std::puts(text);
      return;
    }
    for (const auto& device : nlohmann::ordered_json::parse(text))
      std::printf("%-12s %-12s %s\n", device["name"].get<std::string>().c_str(),
                  device["available"].get<bool>() ? "available" : "unavailable",
                  device.value("description", device["summary"].get<std::string>()).c_str());
  });
}

}  // namespace runnel::app

// The files in data/ beside these tests.
#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "tests/unit/temp_dir.h"

namespace runnel::test {

/// A file of data/ as it is.
inline std::string read_data(const std::string& name) {
  return read_file(RUNNEL_SOURCE_DIR "/tests/unit/text/data/" + name);
}

/// The same parsed; "discarded" where it is no JSON.
inline nlohmann::ordered_json read_data_json(const std::string& name) {
  return nlohmann::ordered_json::parse(read_data(name), nullptr, false);
}

}  // namespace runnel::test

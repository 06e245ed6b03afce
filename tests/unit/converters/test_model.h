// Small Hugging Face checkpoints for the converter tests: load one, change it, save it, convert it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "converters/convert.h"
#include "converters/json.h"
#include "runtime/io/gguf.h"
#include "tests/unit/temp_dir.h"

namespace runnel::converters::test {

using runnel::test::TempDir;
using runnel::test::write_file;

/// Whether the message of an error has this text in it.
inline bool mentions(const Status& status, std::string_view text) {
  return status.message().find(text) != std::string::npos;
}

struct TestTensor {
  std::string dtype;  // BF16, F16 or F32
  std::vector<std::int64_t> shape;
  std::string data;

  std::vector<float> values() const;
};

/// A tensor of deterministic values that are exact in every float format.
TestTensor make_tensor(std::string dtype, std::vector<std::int64_t> shape, int seed);

using TestTensors = std::map<std::string, TestTensor>;

/// A safetensors file image.
std::string safetensors_image(const TestTensors& tensors);

struct TestModel {
  Json config;
  TestTensors tensors;
  std::map<std::string, std::string> files;  // further files: name -> content

  /// tests/models/NAME.
  static TestModel load(std::string_view name);
  /// Writes config.json, model.safetensors and the files.
  void save(const TempDir& dir) const;
  /// Gives every tensor name `from...` the prefix `to`.
  void rename_prefix(std::string_view from, std::string_view to);
};

struct Converted {
  TempDir dir;
  Status status;
  ConvertSummary summary;
  std::optional<GgufFile> file;  // when status is ok

  explicit Converted(const TestModel& model, std::string_view recipe = "f32");
  std::vector<float> values(std::string_view tensor) const;  // empty when absent
  std::string shape(std::string_view tensor) const;          // "[2, 3]", "absent"
  std::int64_t integer(std::string_view key) const;          // -999 when absent
  double number(std::string_view key) const;                 // -999 when absent
  std::string text(std::string_view key) const;              // "absent"
};

std::vector<float> tensor_values(const GgufFile& file, std::string_view name);

}  // namespace runnel::converters::test

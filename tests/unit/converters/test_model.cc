#include "tests/unit/converters/test_model.h"

#include <cstring>
#include <fstream>
#include <sstream>

#include "converters/safetensors.h"
#include "quant/codecs.h"
#include "quant/half.h"
#include "runtime/base/mapped_file.h"

namespace runnel::converters::test {

namespace {

std::optional<quant::DType> dtype_of(std::string_view name) {
  if (name == "BF16") return quant::DType::bf16;
  if (name == "F16") return quant::DType::f16;
  if (name == "F32") return quant::DType::f32;
  return std::nullopt;
}

}  // namespace

std::vector<float> TestTensor::values() const {
  const quant::DType type = *dtype_of(dtype);
  std::vector<float> out(data.size() / quant::info(type).block_bytes);
  std::vector<float> aligned((data.size() + 3) / 4);
  std::memcpy(aligned.data(), data.data(), data.size());
  quant::codec(type).decode_row(reinterpret_cast<const std::byte*>(aligned.data()), out.data(),
                                static_cast<std::int64_t>(out.size()));
  return out;
}

TestTensor make_tensor(std::string dtype, std::vector<std::int64_t> shape, int seed) {
  std::int64_t n = 1;
  for (const std::int64_t dim : shape) n *= dim;
  const quant::DType type = *dtype_of(dtype);
  std::string data(static_cast<std::size_t>(n) * quant::info(type).block_bytes, '\0');
  std::uint32_t state = static_cast<std::uint32_t>(seed) * 2654435761u + 1;
  for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
    state = state * 1664525u + 1013904223u;
    const float value = (static_cast<float>(state >> 25) - 64.0f) / 64.0f;  // 7 bits
    if (type == quant::DType::f32) {
      std::memcpy(data.data() + 4 * i, &value, 4);
    } else {
      const std::uint16_t half =
          type == quant::DType::f16 ? quant::f32_to_f16(value) : quant::f32_to_bf16(value);
      std::memcpy(data.data() + 2 * i, &half, 2);
    }
  }
  return {std::move(dtype), std::move(shape), std::move(data)};
}

std::string safetensors_image(const TestTensors& tensors) {
  Json header;
  header["__metadata__"] = {{"format", "pt"}};
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    header[name] = {{"dtype", tensor.dtype},
                    {"shape", tensor.shape},
                    {"data_offsets", {data.size(), data.size() + tensor.data.size()}}};
    data += tensor.data;
  }
  std::string text = header.dump();
  const std::uint64_t size = text.size();
  std::string image(8, '\0');
  std::memcpy(image.data(), &size, 8);
  return image + text + data;
}

TestModel TestModel::load(std::string_view name) {
  const std::string dir = std::string(RUNNEL_SOURCE_DIR "/tests/models/") + std::string(name);
  TestModel model;
  std::stringstream text;
  text << std::ifstream(dir + "/config.json").rdbuf();
  model.config = Json::parse(text.str());
  const auto checkpoint = Checkpoint::open(dir);
  check(checkpoint.ok(), "golden model opens");
  for (const SourceTensor& tensor : checkpoint->tensors()) {
    const auto bytes = checkpoint->data(tensor);
    model.tensors[tensor.name] = {tensor.dtype_name,
                                  tensor.shape,
                                  {reinterpret_cast<const char*>(bytes.data()), bytes.size()}};
  }
  return model;
}

void TestModel::save(const TempDir& dir) const {
  write_file(dir / "config.json", config.dump());
  write_file(dir / "model.safetensors", safetensors_image(tensors));
  for (const auto& [name, content] : files) write_file(dir / name, content);
}

void TestModel::rename_prefix(std::string_view from, std::string_view to) {
  TestTensors renamed;
  for (auto& [name, tensor] : tensors) {
    const bool matches = name.starts_with(from);
    renamed[matches ? std::string(to) + name.substr(from.size()) : name] = std::move(tensor);
  }
  tensors = std::move(renamed);
}

Converted::Converted(const TestModel& model, std::string_view recipe) {
  model.save(dir);
  ConvertOptions options;
  options.hf_dir = dir.path();
  options.out_path = dir / "out.gguf";
  options.recipe = recipe;
  options.n_threads = 1;
  Result<ConvertSummary> result = convert(options);
  status = result.status();
  if (!result.ok()) return;
  summary = *result;
  Result<GgufFile> opened = GgufFile::open(options.out_path);
  status = opened.status();
  if (opened.ok()) file = *opened;
}

std::vector<float> tensor_values(const GgufFile& file, std::string_view name) {
  const GgufTensor* tensor = file.tensor(name);
  if (tensor == nullptr) return {};
  std::vector<float> out(static_cast<std::size_t>(tensor->shape.elems()));
  quant::codec(tensor->dtype)
      .decode_row(tensor->data.data(), out.data(), static_cast<std::int64_t>(out.size()));
  return out;
}

std::vector<float> Converted::values(std::string_view tensor) const {
  return file ? tensor_values(*file, tensor) : std::vector<float>();
}

std::string Converted::shape(std::string_view name) const {
  const GgufTensor* tensor = file ? file->tensor(name) : nullptr;
  return tensor == nullptr ? "absent" : tensor->shape.to_string();
}

std::int64_t Converted::integer(std::string_view key) const {
  if (!file) return -999;
  const auto value = file->get_int(key);
  return value.ok() ? value->value_or(-999) : -998;
}

double Converted::number(std::string_view key) const {
  if (!file) return -999;
  const auto value = file->get_float(key);
  return value.ok() ? value->value_or(-999) : -998;
}

std::string Converted::text(std::string_view key) const {
  if (!file) return "absent";
  const auto value = file->get_string(key);
  return value.ok() ? std::string(value->value_or("absent")) : "bad";
}

}  // namespace runnel::converters::test

#include "converters/quantize.h"

#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <string>

#include "converters/imatrix.h"
#include "quant/mix.h"
#include "runtime/io/gguf_writer.h"
#include "tests/unit/converters/test_model.h"

using namespace runnel;
using namespace runnel::converters;
using namespace runnel::converters::test;

namespace {

struct Quantized {
  TempDir dir;
  Status status;
  std::optional<GgufFile> file;
  std::vector<std::string> notes;

  Quantized(const std::string& in, std::string_view recipe, const std::string& imatrix = "") {
    QuantizeOptions options;
    options.in_path = in;
    options.out_path = dir / "out.gguf";
    options.recipe = recipe;
    options.n_threads = 1;
    options.imatrix_path = imatrix;
    const auto summary = quantize(options);
    if (summary.ok()) notes = summary->notes;
    status = summary.status();
    if (!summary.ok()) return;
    auto opened = GgufFile::open(options.out_path);
    status = opened.status();
    if (opened.ok()) file = *opened;
  }
};

double relative_error(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    error += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  return a.size() == b.size() ? std::sqrt(error / norm) : 1e9;
}

// The writer leaves split.* out, so the keys are written under names that are patched afterwards.
void patch_split_keys(const std::string& path) {
  std::string image = runnel::test::read_file(path);
  for (std::size_t at = 0; (at = image.find("SPLIT.", at)) != std::string::npos; ++at)
    image.replace(at, 5, "split");
  write_file(path, image);
}

// One file of a split model with the tensors first..last of `in`.
void write_shard(
    const GgufFile& in, const std::string& path, int index, std::size_t first, std::size_t last) {
  GgufWriter writer;
  if (index == 0)
    for (const GgufKey& key : in.keys()) writer.set_raw(key);
  writer.set_u32("SPLIT.no", static_cast<std::uint32_t>(index));
  writer.set_u32("SPLIT.count", 2);
  writer.set_i32("SPLIT.tensors.count", static_cast<std::int32_t>(in.tensors().size()));
  for (std::size_t i = first; i < last; ++i) {
    const GgufTensor& tensor = in.tensors()[i];
    REQUIRE(writer.add_tensor(tensor.name, tensor.dtype, tensor.shape).ok());
  }
  REQUIRE(writer.begin_file(path).ok());
  for (std::size_t i = first; i < last; ++i) REQUIRE(writer.write(in.tensors()[i].data).ok());
  REQUIRE(writer.finish().ok());
  patch_split_keys(path);
}

}  // namespace

TEST_CASE("Quantize turns any type into any type within its error bound") {
  TestModel model = TestModel::load("tiny-llama");
  model.tensors["model.layers.0.mlp.down_proj.weight"] = make_tensor("BF16", {128, 256}, 4);
  const Converted source(model, "bf16");
  REQUIRE(source.status.ok());
  const std::vector<float> original = source.values("blk.0.ffn_down.weight");  // 256 wide
  for (const quant::Recipe& recipe : quant::recipes()) {
    CAPTURE(recipe.name);
    const Quantized there(source.dir / "out.gguf", recipe.name);
    REQUIRE_MESSAGE(there.status.ok(), there.status.message());
    const quant::DType type = there.file->tensor("blk.0.ffn_down.weight")->dtype;
    const double bound = 1.5 * static_cast<double>(quant::info(type).error_bound);
    CHECK(relative_error(tensor_values(*there.file, "blk.0.ffn_down.weight"), original) <= bound);
    CHECK(there.file->get_int("general.file_type")->value_or(-1) == recipe.gguf_file_type);
    CHECK(there.file->tensor("blk.0.attn_norm.weight")->dtype == quant::DType::f32);
    const Quantized back(there.dir / "out.gguf", "f32");  // dequantises exactly
    REQUIRE(back.status.ok());
    for (const GgufTensor& tensor : back.file->tensors()) {
      CHECK(tensor.dtype == quant::DType::f32);
      CHECK(tensor_values(*back.file, tensor.name) == tensor_values(*there.file, tensor.name));
    }
  }
}

TEST_CASE("Quantize gives what converting directly gives") {
  const TestModel model = TestModel::load("tiny-lfm2");
  const Converted direct(model, "q4_k_m");
  const Converted source(model, "f32");
  const Quantized after(source.dir / "out.gguf", "q4_k_m");
  REQUIRE(direct.status.ok());
  REQUIRE(after.status.ok());
  REQUIRE(direct.file->tensors().size() == after.file->tensors().size());
  for (std::size_t i = 0; i < after.file->tensors().size(); ++i) {
    const GgufTensor& a = after.file->tensors()[i];
    const GgufTensor& b = direct.file->tensors()[i];
    CHECK(a.name == b.name);
    CHECK(a.dtype == b.dtype);
    CHECK(std::ranges::equal(a.data, b.data));
  }
}

TEST_CASE("Quantize copies metadata but not what describes formats and files") {
  GgufWriter writer;
  writer.set_string("general.architecture", "lfm2");
  writer.set_u32("general.file_type", 0);
  writer.set_i32s("some.array", std::vector<std::int32_t>{1, -2});
  writer.set_string("tokenizer.chat_template", "{{ x }}");
  writer.set_f32("runnel.sampling.min_p", 0.5f);
  REQUIRE(writer.add_tensor("a.weight", quant::DType::f32, {2, 32}).ok());
  const TempDir dir;
  REQUIRE(writer.begin_file(dir / "in.gguf").ok());
  const std::vector<float> values(64, 0.25f);
  REQUIRE(writer.write(std::as_bytes(std::span(values))).ok());
  REQUIRE(writer.finish().ok());
  const Quantized out(dir / "in.gguf", "q8_0");
  REQUIRE_MESSAGE(out.status.ok(), out.status.message());
  CHECK((*out.file->get_ints("some.array"))->back() == -2);
  CHECK(**out.file->get_string("tokenizer.chat_template") == "{{ x }}");
  CHECK(**out.file->get_float("runnel.sampling.min_p") == 0.5);
  CHECK(**out.file->get_int("general.file_type") == 7);
  CHECK(**out.file->get_int("general.quantization_version") == 2);
  CHECK(out.file->tensor("a.weight")->dtype == quant::DType::q8_0);
}

TEST_CASE("Quantize joins a split model") {
  const Converted source(TestModel::load("tiny-lfm2"), "bf16");
  const TempDir dir;
  const std::size_t n = source.file->tensors().size();
  write_shard(*source.file, dir / "m-00001-of-00002.gguf", 0, 0, n / 2);
  write_shard(*source.file, dir / "m-00002-of-00002.gguf", 1, n / 2, n);
  const Quantized out(dir / "m-00001-of-00002.gguf", "q8_0");
  REQUIRE_MESSAGE(out.status.ok(), out.status.message());
  CHECK(out.file->tensors().size() == n);
  CHECK(out.file->find("split.count") == nullptr);
  CHECK(out.file->find("split.no") == nullptr);
  const Quantized whole(source.dir / "out.gguf", "q8_0");
  CHECK(tensor_values(*out.file, "blk.3.ffn_down.weight") ==
        tensor_values(*whole.file, "blk.3.ffn_down.weight"));
  QuantizeOptions options;
  options.in_path = dir / "m-00001-of-00002.gguf";
  options.out_path = dir / "m-00002-of-00002.gguf";
  options.recipe = "q8_0";
  CHECK(quantize(options).status().code() == Code::invalid_argument);
}

TEST_CASE("Quantize refuses its own input, unknown types and formats it cannot write") {
  const Converted source(TestModel::load("tiny-qwen3"), "bf16");
  QuantizeOptions options;
  options.in_path = source.dir / "out.gguf";
  options.out_path = source.dir / "out.gguf";
  options.recipe = "q8_0";
  CHECK(quantize(options).status().code() == Code::invalid_argument);
  std::filesystem::create_hard_link(source.dir / "out.gguf", source.dir / "hard.gguf");
  options.out_path = source.dir / "hard.gguf";
  CHECK(quantize(options).status().code() == Code::invalid_argument);
  CHECK(Quantized(options.in_path, "nvfp4").status.code() == Code::unsupported);
  CHECK(Quantized(options.in_path, "").status.code() == Code::invalid_argument);
  CHECK(Quantized(options.in_path, "q9").status.code() == Code::invalid_argument);
  CHECK(Quantized(source.dir / "none.gguf", "q8_0").status.code() == Code::not_found);
  CHECK_FALSE(Quantized(source.dir / "config.json", "q8_0").status.ok());
}

TEST_CASE("Quantize leaves nothing behind when it is stopped") {
  const Converted source(TestModel::load("tiny-qwen3"), "bf16");
  const std::size_t before = source.dir.size();
  QuantizeOptions options;
  options.in_path = source.dir / "out.gguf";
  options.out_path = source.dir / "q.gguf";
  options.recipe = "q4_0";
  int n_calls = 0;
  options.progress = [&](double, std::string_view) { return ++n_calls < 3; };
  CHECK(quantize(options).status().code() == Code::cancelled);
  CHECK(n_calls == 3);
  CHECK(source.dir.size() == before);
}

TEST_CASE("Quantize weighs errors by an importance matrix") {
  const TestModel model = TestModel::load("tiny-llama");
  const Converted source(model, "f32");
  REQUIRE(source.status.ok());
  const GgufTensor* tensor = source.file->tensor("blk.0.ffn_up.weight");
  const auto n_in = static_cast<std::size_t>(tensor->shape.cols());
  std::vector<float> inputs(n_in, 0.1f);
  for (std::size_t i = 0; i < n_in; i += 4) inputs[i] = 10.0f;
  Imatrix imatrix;
  Imatrix::Rows rows;
  rows.weight = "blk.0.ffn_up.weight";
  rows.n_rows = 1;
  rows.n_in = tensor->shape.cols();
  rows.values = inputs.data();
  imatrix.add(rows);
  imatrix.datasets = {"some.txt"};
  REQUIRE(imatrix.write(source.dir / "im.gguf").ok());

  const Quantized plain(source.dir / "out.gguf", "q4_0");
  const Quantized weighted(source.dir / "out.gguf", "q4_0", source.dir / "im.gguf");
  REQUIRE(plain.status.ok());
  REQUIRE_MESSAGE(weighted.status.ok(), weighted.status.message());
  const std::vector<float> original = source.values("blk.0.ffn_up.weight");
  const auto weighted_error = [&](const Quantized& file) {
    const std::vector<float> values = tensor_values(*file.file, "blk.0.ffn_up.weight");
    double error = 0;
    for (std::size_t i = 0; i < values.size(); ++i)
      error += std::pow((values[i] - original[i]) * inputs[i % n_in], 2);
    return error;
  };
  CHECK(weighted_error(weighted) < 0.9 * weighted_error(plain));
  CHECK(tensor_values(*weighted.file, "blk.1.ffn_up.weight") ==
        tensor_values(*plain.file, "blk.1.ffn_up.weight"));
  CHECK(plain.notes.empty());
  CHECK(weighted.notes.size() > 1);  // every matrix but one is unknown to it
  CHECK(**weighted.file->get_string("quantize.imatrix.file") == "im.gguf");
  CHECK(**weighted.file->get_string("quantize.imatrix.dataset") == "some.txt");
  CHECK(**weighted.file->get_int("quantize.imatrix.entries_count") == 1);
}

TEST_CASE("Quantize refuses the importance matrix of another model") {
  const Converted source(TestModel::load("tiny-llama"), "f32");
  const std::vector<float> inputs(32, 1.0f);
  Imatrix imatrix;
  Imatrix::Rows rows;
  rows.weight = "blk.0.ffn_up.weight";
  rows.n_rows = 1;
  rows.n_in = 32;
  rows.values = inputs.data();
  imatrix.add(rows);
  REQUIRE(imatrix.write(source.dir / "im.gguf").ok());
  const Quantized other(source.dir / "out.gguf", "q4_0", source.dir / "im.gguf");
  CHECK(other.status.code() == Code::invalid_argument);
  CHECK(other.status.message().find("another model") != std::string::npos);
  CHECK(other.dir.size() == 0);
  const Quantized none(source.dir / "out.gguf", "q4_0", source.dir / "out.gguf");
  CHECK(none.status.code() == Code::invalid_argument);
}

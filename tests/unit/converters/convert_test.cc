#include "converters/convert.h"

#include <doctest/doctest.h>

#include <cstring>
#include <filesystem>
#include <string>

#include "quant/half.h"
#include "tests/unit/converters/test_model.h"

using namespace runnel;
using namespace runnel::converters;
using namespace runnel::converters::test;

namespace {

ConvertOptions options_for(const TempDir& dir) {
  ConvertOptions options;
  options.hf_dir = dir.path();
  options.out_path = dir / "out.gguf";
  options.n_threads = 2;
  return options;
}

// A value of a 16-bit tensor made something special.
void set_first(TestTensor& tensor, std::uint16_t bits) {
  std::memcpy(tensor.data.data(), &bits, 2);
}

}  // namespace

TEST_CASE("Convert reads shards like a single file") {
  const TestModel model = TestModel::load("tiny-lfm2-autoff");
  const Converted whole(model, "bf16");
  const TempDir dir;
  TestTensors first, second;
  Json index;
  for (const auto& [name, tensor] : model.tensors) {
    const bool to_first = first.size() <= second.size();
    (to_first ? first : second)[name] = tensor;
    index["weight_map"][name] = to_first ? "m-1-of-2.safetensors" : "m-2-of-2.safetensors";
  }
  write_file(dir / "config.json", model.config.dump());
  write_file(dir / "m-1-of-2.safetensors", safetensors_image(first));
  write_file(dir / "m-2-of-2.safetensors", safetensors_image(second));
  write_file(dir / "model.safetensors.index.json", index.dump());
  REQUIRE(convert(options_for(dir)).ok());
  const auto file = GgufFile::open(dir / "out.gguf");
  REQUIRE(file.ok());
  REQUIRE(file->tensors().size() == whole.file->tensors().size());
  for (const GgufTensor& tensor : file->tensors()) {
    CAPTURE(tensor.name);
    CHECK(tensor_values(*file, tensor.name) == whole.values(tensor.name));
  }
}

TEST_CASE("Convert gives every thread count the same file") {
  const TempDir dir;
  TestModel::load("tiny-lfm2moe").save(dir);
  std::string images[2];
  for (int i = 0; i < 2; ++i) {
    ConvertOptions options = options_for(dir);
    options.recipe = "q4_0";
    options.n_threads = i == 0 ? 1 : 5;
    REQUIRE(convert(options).ok());
    images[i] = runnel::test::read_file(options.out_path);
  }
  CHECK(images[0].size() > 100'000);
  CHECK(images[0] == images[1]);
}

TEST_CASE("Convert reads f32, f16 and unaligned data") {
  TestModel model = TestModel::load("tiny-qwen3");
  model.tensors["model.layers.0.mlp.up_proj.weight"] = make_tensor("F32", {256, 128}, 3);
  model.tensors["model.layers.0.mlp.down_proj.weight"] = make_tensor("F16", {128, 256}, 4);
  std::string image = safetensors_image(model.tensors);
  std::uint64_t header = 0;
  std::memcpy(&header, image.data(), 8);
  const std::uint64_t padding = header % 2 == 0 ? 1 : 2;  // data starts at an odd offset
  image.insert(8 + header, padding, ' ');
  header += padding;
  std::memcpy(image.data(), &header, 8);
  model.files["model.safetensors"] = image;
  for (const char* recipe : {"f32", "q8_0", "bf16"}) {
    CAPTURE(recipe);
    const Converted out(model, recipe);
    REQUIRE_MESSAGE(out.status.ok(), out.status.message());
    const std::vector<float> expected =
        model.tensors["model.layers.0.mlp.down_proj.weight"].values();
    const std::vector<float> values = out.values("blk.0.ffn_down.weight");
    REQUIRE(values.size() == expected.size());
    float worst = 0;
    for (std::size_t i = 0; i < values.size(); ++i)
      worst = std::max(worst, std::fabs(values[i] - expected[i]));
    CHECK(worst <= (std::string(recipe) == "q8_0" ? 0.01f : 0.0f));
  }
  const Converted exact(model, "f32");
  CHECK(exact.values("blk.0.ffn_up.weight") ==
        model.tensors["model.layers.0.mlp.up_proj.weight"].values());
}

TEST_CASE("Convert leaves nothing behind when it is stopped or fails") {
  const TempDir dir;
  TestModel model = TestModel::load("tiny-qwen3");
  model.save(dir);
  const std::size_t before = dir.size();
  ConvertOptions options = options_for(dir);
  int n_calls = 0;
  options.progress = [&](double, std::string_view) { return ++n_calls < 5; };
  CHECK(convert(options).status().code() == Code::cancelled);
  CHECK(n_calls == 5);
  CHECK(dir.size() == before);

  options.progress = nullptr;
  set_first(model.tensors["model.layers.1.mlp.up_proj.weight"], 0x7FC0);  // NaN
  model.save(dir);
  options.recipe = "q4_0";
  const Status status = convert(options).status();
  CHECK(status.code() == Code::corrupt);
  CHECK(status.message().find("blk.1.ffn_up.weight") != std::string::npos);
  CHECK(dir.size() == before);

  options.recipe = "bf16";  // has NaN
  CHECK(convert(options).ok());
  CHECK(dir.size() == before + 1);
}

TEST_CASE("Convert keeps an older output when it fails") {
  const TempDir dir;
  TestModel::load("tiny-qwen3").save(dir);
  write_file(dir / "out.gguf", "older");
  ConvertOptions options = options_for(dir);
  options.progress = [](double, std::string_view) { return false; };
  CHECK_FALSE(convert(options).ok());
  CHECK(runnel::test::read_file(dir / "out.gguf") == "older");
}

TEST_CASE("Convert refuses values too large for f16") {
  TestModel model = TestModel::load("tiny-qwen3");
  set_first(model.tensors["model.layers.1.mlp.up_proj.weight"], quant::f32_to_bf16(1e6f));
  const Converted out(model, "f16");
  CHECK(out.status.code() == Code::unsupported);
  CHECK(out.status.message().find("bf16") != std::string::npos);
  CHECK(Converted(model, "bf16").status.ok());
}

TEST_CASE("Convert reports growing fractions that end at one") {
  const TempDir dir;
  TestModel::load("tiny-qwen3").save(dir);
  ConvertOptions options = options_for(dir);
  double last = 0;
  bool grows = true;
  std::string first_name;
  options.progress = [&](double fraction, std::string_view tensor) {
    grows &= fraction > last;
    last = fraction;
    if (first_name.empty()) first_name = tensor;
    return true;
  };
  REQUIRE(convert(options).ok());
  CHECK(grows);
  CHECK(last == 1.0);
  CHECK(first_name == "token_embd.weight");
}

TEST_CASE("Convert refuses bad recipes and bad paths before writing") {
  const TempDir dir;
  TestModel::load("tiny-qwen3").save(dir);
  ConvertOptions options = options_for(dir);
  options.recipe = "q5_x";
  const Status unknown = convert(options).status();
  CHECK(unknown.code() == Code::invalid_argument);
  CHECK(unknown.message().find("q4_k_m") != std::string::npos);
  options.recipe = "nvfp4";
  CHECK(convert(options).status().code() == Code::unsupported);
  options.recipe = "bf16";
  options.out_path = "";
  CHECK(convert(options).status().code() == Code::invalid_argument);
  options.out_path = dir / "model.safetensors";
  CHECK(convert(options).status().code() == Code::invalid_argument);
  std::filesystem::create_symlink(dir / "model.safetensors", dir / "link");
  options.out_path = dir / "link";
  CHECK(convert(options).status().code() == Code::invalid_argument);
  options.out_path = dir / "none/out.gguf";
  CHECK_FALSE(convert(options).ok());
  options = options_for(dir);
  options.hf_dir = dir / "none";
  CHECK(convert(options).status().code() == Code::not_found);
  CHECK(dir.size() == 3);
}

TEST_CASE("Convert names the model after its config or its directory") {
  TestModel model = TestModel::load("tiny-qwen3");
  model.config["_name_or_path"] = "LiquidAI/LFM2-350M";
  CHECK(Converted(model).text("general.name") == "LFM2-350M");
  model.config["_name_or_path"] = "/a/b/";
  CHECK(Converted(model).text("general.name") == "b");
  model.config["_name_or_path"] = "";
  const Converted out(model);
  CHECK(out.text("general.name") == std::filesystem::path(out.dir.path()).filename().string());
}

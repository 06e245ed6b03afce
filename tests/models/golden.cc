#include "tests/models/golden.h"

#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include <doctest/doctest.h>

#include "converters/convert.h"
#include "converters/safetensors.h"
#include "quant/half.h"
#include "runtime/base/env.h"
#include "runtime/io/gguf_writer.h"

namespace runnel::tests {
namespace {

namespace fs = std::filesystem;

/// Removed with everything in it when the process ends.
struct TemporaryFolder {
  fs::path path = fs::temp_directory_path() / ("runnel-models-" + std::to_string(getpid()));
  TemporaryFolder() { fs::create_directories(path); }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

/// theta_i / bf16(theta_i), the divisors that turn exact frequencies into the reference's.
std::vector<float> rounding_factors(const RopeAttr& rope) {
  std::vector<float> factors;
  for (int i = 0; i < rope.rotary_dim / 2; ++i) {
    const double exact = std::pow(static_cast<double>(rope.theta), -2.0 * i / rope.rotary_dim);
    const float rounded = quant::bf16_to_f32(quant::f32_to_bf16(static_cast<float>(exact)));
    factors.push_back(static_cast<float>(exact / static_cast<double>(rounded)));
  }
  return factors;
}

/// Copies the model file and adds the reference's RoPE frequencies.
Status add_rounded_frequencies(const std::string& from, const std::string& to) {
  RUNNEL_ASSIGN(const GgufFile file, GgufFile::open(from));
  RUNNEL_ASSIGN(const Model model, Model::load(file));
  const std::vector<float> factors = rounding_factors(model.config.rope);
  GgufWriter writer;
  for (const GgufKey& key : file.keys()) writer.set_raw(key);
  for (const GgufTensor& tensor : file.tensors())
    RUNNEL_TRY(writer.add_tensor(tensor.name, tensor.dtype, tensor.shape));
  const Shape shape{static_cast<std::int64_t>(factors.size())};
  RUNNEL_TRY(writer.add_tensor("rope_freqs.weight", DType::f32, shape));
  RUNNEL_TRY(writer.begin_file(to));
  for (const GgufTensor& tensor : file.tensors()) RUNNEL_TRY(writer.write(tensor.data));
  RUNNEL_TRY(writer.write(std::as_bytes(std::span(factors))));
  return writer.finish();
}

fs::path source_folder(const std::string& model) {
  return fs::path(RUNNEL_SOURCE_DIR) / "tests" / "models" / model;
}

}  // namespace

std::span<const char* const> tiny_models() {
  static const char* const kModels[] = {"tiny-lfm2", "tiny-lfm2-autoff", "tiny-lfm2moe",
                                        "tiny-llama", "tiny-qwen3"};
  return kModels;
}

std::string converted(const std::string& model, const std::string& recipe) {
  static TemporaryFolder folder;
  static std::map<std::string, std::string> made;
  std::string& path = made[model + "/" + recipe];
  if (!path.empty()) return path;
  path = (folder.path / (model + "-" + recipe + ".gguf")).string();
  converters::ConvertOptions options;
  options.hf_dir = source_folder(model).string();
  options.out_path = path + ".exact";
  options.recipe = recipe;
  const auto summary = converters::convert(options);
  REQUIRE_MESSAGE(summary.ok(), summary.status().message());
  const Status added = add_rounded_frequencies(options.out_path, path);
  REQUIRE_MESSAGE(added.ok(), added.message());
  return path;
}

std::unique_ptr<Engine> load_engine(const std::string& path,
                                    const std::string& backend,
                                    int n_threads) {
  Result<GgufFile> file = GgufFile::open(path);
  REQUIRE_MESSAGE(file.ok(), file.status().message());
  EngineOptions options;
  options.backend = backend;
  options.n_threads = n_threads;
  options.fallback = Fallback::error;
  Result<std::unique_ptr<Engine>> engine = Engine::create(*std::move(file), options);
  REQUIRE_MESSAGE(engine.ok(), engine.status().message());
  return *std::move(engine);
}

std::unique_ptr<Session> new_session(Engine& engine, SessionOptions options) {
  Result<std::unique_ptr<Session>> session = Session::create(engine, options);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  return *std::move(session);
}

std::vector<GoldenCase> golden_cases(const std::string& model) {
  std::ifstream in(source_folder(model) / "golden.json");
  const auto json = nlohmann::json::parse(in);
  const Result<MappedFile> file =
      MappedFile::open((source_folder(model) / "golden.safetensors").string());
  REQUIRE(file.ok());
  const auto tensors = converters::parse_safetensors(file->bytes(), "golden");
  REQUIRE(tensors.ok());
  std::vector<GoldenCase> cases;
  for (const auto& entry : json["cases"]) {
    GoldenCase golden{entry["ids"], entry["rows"], {}};
    for (const converters::SourceTensor& tensor : *tensors) {
      if (tensor.name != entry["tensor"].get<std::string>()) continue;
      golden.logits.resize(tensor.bytes / sizeof(float));
      std::memcpy(golden.logits.data(), file->bytes().data() + tensor.offset, tensor.bytes);
    }
    REQUIRE(!golden.logits.empty());
    cases.push_back(std::move(golden));
  }
  return cases;
}

void append(Session& session, std::span<const TokenId> ids) {
  const Status status = session.append(ids);
  REQUIRE_MESSAGE(status.ok(), status.message());
}

std::vector<float> last_logits(const Session& session) {
  const auto logits = session.logits();
  REQUIRE_MESSAGE(logits.ok(), logits.status().message());
  return {logits->begin(), logits->end()};
}

std::vector<float> all_logits(Session& session, std::span<const TokenId> ids) {
  std::vector<float> rows;
  const Status ran =
      session.evaluate(ids, [&](std::int64_t, std::int64_t, std::span<const float> logits) {
        rows.insert(rows.end(), logits.begin(), logits.end());
        return true;
      });
  REQUIRE_MESSAGE(ran.ok(), ran.message());
  return rows;
}

double error_in_deviations(std::span<const float> a, std::span<const float> b) {
  REQUIRE(a.size() == b.size());
  double sum = 0, squares = 0, worst = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    sum += b[i];
    squares += static_cast<double>(b[i]) * b[i];
    worst = std::max(worst, std::fabs(static_cast<double>(a[i]) - b[i]));
    if (!std::isfinite(a[i])) worst = HUGE_VAL;
  }
  const double n = static_cast<double>(b.size());
  return worst / std::sqrt(squares / n - sum / n * (sum / n));
}

std::vector<TokenId> random_ids(std::size_t n, std::int64_t n_vocab, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<TokenId> ids(n);
  for (TokenId& id : ids) id = static_cast<TokenId>(random() % static_cast<std::uint64_t>(n_vocab));
  return ids;
}

std::vector<std::string> usable_backends() {
  std::vector<std::string> names;
  const auto asked = env("RUNNEL_TEST_BACKENDS");
  for (const BackendInfo& row : backend_registry()) {
    const bool named =
        asked && ("," + *asked + ",").find("," + std::string(row.name) + ",") != std::string::npos;
    const bool by_itself =
        row.chosen_by_itself != nullptr ? row.chosen_by_itself() : row.available();
    if (asked ? named && row.available() : by_itself) names.emplace_back(row.name);
  }
  return names;
}

}  // namespace runnel::tests

// A model on a device with memory of its own, wholly or in part: the same logits, states where they
// belong, and what does not fit stays on the host.
#include "runtime/session/offload.h"

#include <array>

#include <doctest/doctest.h>

#include "runtime/session/session.h"
#include "tests/unit/models/files.h"
#include "tests/unit/offload/device.h"
#include "tests/unit/temp_dir.h"

namespace runnel {

/// This program's backends: the device, and the reference as the host.
std::span<const BackendInfo> backend_registry() {
  static const std::array<BackendInfo, 2> kBackends{
      BackendInfo{"device", "for tests", [] { return true; },
                  [](const BackendOptions& options) -> Result<std::unique_ptr<Backend>> {
                    RUNNEL_ASSIGN(auto inner, reference::backend_info().create(options));
                    return std::unique_ptr<Backend>(
                        std::make_unique<tests::HiddenDevice>(std::move(inner)));
                  },
                  nullptr, false},
      reference::backend_info()};
  return kBackends;
}

namespace tests {
namespace {

struct Run {
  std::vector<float> logits;
  std::vector<std::string> warnings;
  int device_steps = 0;
};

/// One layer with heads of 64 channels, so that it can have tiles.
std::vector<TensorSpec> wide_lfm2() {
  std::vector<TensorSpec> tensors = small_lfm2();
  for (TensorSpec& tensor : tensors) {
    if (tensor.name == "blk.1.attn_q.weight") tensor.shape = {128, 64};
    if (tensor.name == "blk.1.attn_k.weight" || tensor.name == "blk.1.attn_v.weight")
      tensor.shape = {64, 64};
    if (tensor.name == "blk.1.attn_output.weight") tensor.shape = {64, 128};
    if (tensor.name.find("_norm.weight") != std::string::npos &&
        tensor.name.find("attn_q") + tensor.name.find("attn_k") != 2 * std::string::npos)
      tensor.shape = {64};
  }
  return tensors;
}

GgufFile file() {
  return make_file(
      wide_lfm2(),
      [](GgufWriter& writer) {
        write_small_keys(writer);
        writer.set_u32("lfm2.attention.key_length", 64);
        writer.set_u32("lfm2.attention.value_length", 64);
      },
      Fill::varied);
}

std::unique_ptr<Engine> engine_on(const std::string& backend,
                                  int gpu_layers,
                                  std::vector<std::string>* warnings = nullptr) {
  EngineOptions options;
  options.backend = backend;
  options.gpu_layers = gpu_layers;
  if (warnings != nullptr)
    options.log = Log([warnings](LogLevel, std::string_view line) { warnings->emplace_back(line); },
                      LogLevel::warn);
  auto engine = Engine::create(file(), options);
  REQUIRE_MESSAGE(engine.ok(), engine.status().message());
  return *std::move(engine);
}

std::vector<TokenId> ids(std::size_t n) {
  std::vector<TokenId> made(n);
  for (std::size_t i = 0; i < n; ++i) made[i] = static_cast<TokenId>(i * 37 % 96);
  return made;
}

std::unique_ptr<Session> session_of(Engine& engine, const char* kv, std::int64_t context = 512) {
  SessionOptions options;
  options.context_size = context;
  options.kv = *quant::parse_kv_policy(kv);
  auto session = Session::create(engine, options);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  return *std::move(session);
}

std::vector<float> logits_of(Session& session) {
  const auto logits = session.logits();
  REQUIRE(logits.ok());
  return {logits->begin(), logits->end()};
}

Run run(const std::string& backend, int gpu_layers, const char* kv) {
  Run result;
  const int before = HiddenDevice::n_steps;
  const auto engine = engine_on(backend, gpu_layers, &result.warnings);
  const auto session = session_of(*engine, kv);
  REQUIRE(session->append(ids(200)).ok());
  REQUIRE(session->truncate(150).ok());
  REQUIRE(session->append(ids(3)).ok());
  result.logits = logits_of(*session);
  result.device_steps = HiddenDevice::n_steps - before;
  return result;
}

}  // namespace

TEST_CASE("Offload: any number of layers on the device gives the host's logits") {
  for (const char* kv : {"f16", "kv4"}) {
    const Run host = run("reference", -1, kv);
    CHECK(host.device_steps == 0);
    REQUIRE(host.logits.front() != host.logits.back());
    for (const int layers : {-1, 0, 1, 2, 5}) {
      CAPTURE(kv);
      CAPTURE(layers);
      const Run split = run("device", layers, kv);
      CHECK(split.logits == host.logits);
      CHECK((split.device_steps > 0) == (layers != 0));
      CHECK(split.warnings.empty());
    }
  }
}

TEST_CASE("Offload: an op that the device lacks takes along all that share its state") {
  const Run host = run("reference", -1, "kv4");
  HiddenDevice::lacks = {Op::tile_attention};
  const Run split = run("device", -1, "kv4");
  HiddenDevice::lacks = {};
  CHECK(split.logits == host.logits);
  CHECK(split.device_steps > 0);
  // Attention itself, and the two that write what it reads.
  for (const char* op : {"op=tile_attention", "op=kv_seal", "op=kv_window"})
    CHECK(std::ranges::any_of(split.warnings, [&](const std::string& line) {
      return line.find(op) != std::string::npos;
    }));
}

TEST_CASE("Offload: an op that fails only when it is compiled moves to the host") {
  const Run host = run("reference", -1, "f16");
  HiddenDevice::broken = {Op::matmul, Op::matmul_swiglu};
  const Run split = run("device", -1, "f16");
  HiddenDevice::broken = HiddenDevice::lacks = {};
  CHECK(split.logits == host.logits);
  CHECK(split.device_steps > 0);
  CHECK(std::ranges::any_of(split.warnings, [](const std::string& line) {
    return line.find("op=matmul ") != std::string::npos;
  }));
}

TEST_CASE("Offload: the device hears early of a prompt's step, and then of its answer's") {
  HiddenDevice::expected.clear();
  const auto engine = engine_on("device", -1);
  CHECK(HiddenDevice::expected == std::vector<std::int64_t>{512});
  const auto session = session_of(*engine, "f16");
  REQUIRE(session->append(ids(100)).ok());
  CHECK(HiddenDevice::expected.back() == 1);
}

TEST_CASE("Offload: long steps where the device wants them and has the memory") {
  const auto steps_and_logits = [](int layers, const char* kv) {
    const auto engine = engine_on("device", layers);
    const auto session = session_of(*engine, kv, 1000);
    const int before = HiddenDevice::n_steps;
    REQUIRE(session->append(ids(900)).ok());
    return std::pair(HiddenDevice::n_steps - before, logits_of(*session));
  };
  for (const char* kv : {"f16", "kv4"}) {
    CAPTURE(kv);
    const auto usual = steps_and_logits(-1, kv);
    CHECK(usual.first == 2);
    HiddenDevice::step = 2048;
    CHECK(steps_and_logits(-1, kv) == std::pair(1, usual.second));
    CHECK(steps_and_logits(1, kv).first == 2);
    HiddenDevice::free = 4 << 20;
    CHECK(steps_and_logits(-1, kv) == usual);
    HiddenDevice::free = std::numeric_limits<std::size_t>::max();
    HiddenDevice::step = 512;
  }
}

TEST_CASE("Offload: what does not fit the device's memory stays on the host") {
  const Run host = run("reference", -1, "f16");
  HiddenDevice::free = 4 << 20;
  CHECK(run("device", -1, "f16").warnings.empty());
  HiddenDevice::free = 1000;
  const Run none = run("device", -1, "f16");
  HiddenDevice::free = std::numeric_limits<std::size_t>::max();
  CHECK(none.logits == host.logits);
  CHECK(none.device_steps == 0);
  REQUIRE(none.warnings.size() == 1);
  CHECK(none.warnings[0].find("layers=0") != std::string::npos);
}

TEST_CASE("Offload: sessions are forked, saved and go on across backends") {
  const test::TempDir dir;
  for (const char* kv : {"f16", "kv4"}) {
    const auto split = engine_on("device", 1);
    const auto session = session_of(*split, kv);
    REQUIRE(session->append(ids(200)).ok());
    const auto child = session->fork();
    REQUIRE(child.ok());
    REQUIRE(session->save(dir / "s", "").ok());
    const auto host = engine_on("reference", -1);
    const auto restored = session_of(*host, kv);
    REQUIRE(restored->load(dir / "s").ok());
    for (Session* one : {session.get(), child->get(), restored.get()})
      REQUIRE(one->append(ids(5)).ok());
    CHECK(logits_of(**child) == logits_of(*session));
    CHECK(logits_of(*restored) == logits_of(*session));
  }
}

}  // namespace tests
}  // namespace runnel

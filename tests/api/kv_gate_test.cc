// A preset of the KV cache whose recorded damage is too large is refused, unless forced.
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "runtime/io/gguf_writer.h"
#include "tests/api/handles.h"

namespace runnel::tests {
namespace {

/// The demo model with a record of its own.
std::vector<std::byte> recorded_demo(float kv4, float kv2, std::uint32_t version) {
  const auto file = GgufFile::open(demo_path());
  REQUIRE(file.ok());
  GgufWriter writer;
  for (const GgufKey& key : file->keys()) writer.set_raw(key);
  writer.set_u32("runnel.kv.version", version);
  writer.set_f32("runnel.kv.kl.kv4", kv4);
  writer.set_f32("runnel.kv.kl.kv2", kv2);
  for (const GgufTensor& tensor : file->tensors())
    REQUIRE(writer.add_tensor(tensor.name, tensor.dtype, tensor.shape).ok());
  REQUIRE(writer.begin_memory().ok());
  for (const GgufTensor& tensor : file->tensors()) REQUIRE(writer.write(tensor.data).ok());
  REQUIRE(writer.finish().ok());
  return writer.take_memory();
}

runnel_status open(const std::vector<std::byte>& image, runnel_engine** engine) {
  runnel_engine_options options;
  runnel_engine_options_init(&options);
  options.model_data = image.data();
  options.model_bytes = image.size();
  return runnel_engine_create(&options, engine);
}

runnel_status start(runnel_engine* engine, const char* kv, int force) {
  runnel_session_options options;
  runnel_session_options_init(&options);
  options.kv = kv;
  options.kv_force = force;
  options.context_size = 256;
  runnel_session* session = nullptr;
  const runnel_status status = runnel_session_create(engine, &options, &session);
  CHECK((session == nullptr) == (status != RUNNEL_OK));
  runnel_session_destroy(session);
  return status;
}

}  // namespace

TEST_CASE("KV gate: a preset past its gate is refused and says why, unless forced") {
  const std::vector<std::byte> image = recorded_demo(0.01f, 0.5f, 1);
  runnel_engine* engine = nullptr;
  REQUIRE_MESSAGE(open(image, &engine) == RUNNEL_OK, runnel_last_error());
  const EnginePtr owner{engine, runnel_engine_destroy};
  for (const char* fine : {"f16", "kv4", "kv8", "k2v2"}) CHECK(start(engine, fine, 0) == RUNNEL_OK);
  CHECK(start(engine, "kv2", 0) == RUNNEL_ERROR_UNSUPPORTED);
  for (const char* part : {"kv2", "0.5", "0.1", "kv_force", "--kv-force"})
    CHECK_MESSAGE(std::strstr(runnel_last_error(), part) != nullptr, runnel_last_error());
  CHECK(start(engine, "kv2", 1) == RUNNEL_OK);
}

TEST_CASE("KV gate: a bad record is an error of the file") {
  runnel_engine* engine = nullptr;
  CHECK(open(recorded_demo(std::nanf(""), 0.1f, 1), &engine) == RUNNEL_ERROR_CORRUPT);
  CHECK(std::strstr(runnel_last_error(), "runnel.kv.kl.kv4") != nullptr);
  CHECK(open(recorded_demo(0.1f, 0.1f, 9), &engine) == RUNNEL_ERROR_UNSUPPORTED);
  CHECK(std::strstr(runnel_last_error(), "runnel.kv.version") != nullptr);
  CHECK(engine == nullptr);
}

}  // namespace runnel::tests

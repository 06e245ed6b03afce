#include "runtime/io/kv_calibration.h"

#include <cmath>
#include <functional>
#include <limits>

#include <doctest/doctest.h>

namespace runnel {
namespace {

GgufFile file_with(const std::function<void(GgufWriter&)>& keys) {
  GgufWriter writer;
  keys(writer);
  REQUIRE(writer.begin_memory().ok());
  REQUIRE(writer.finish().ok());
  auto file = GgufFile::own(writer.take_memory());
  REQUIRE_MESSAGE(file.ok(), file.status().message());
  return *std::move(file);
}

/// What reading says of a good record after `change`.
Status read_changed(const std::function<void(GgufWriter&)>& change, std::int64_t head_dim = 64) {
  const GgufFile file = file_with([&](GgufWriter& writer) {
    KvCalibration good;
    good.v_folded = true;
    good.kl[0] = 0.001;
    good.write(writer);
    change(writer);
  });
  return KvCalibration::read(file, head_dim).status();
}

void check_corrupt(const Status& status, const char* key) {
  CHECK(status.code() == Code::corrupt);
  CHECK_MESSAGE(status.message().find(key) != std::string::npos, status.message());
}

}  // namespace

TEST_CASE("KvCalibration: what is written is read again; a plain file has none") {
  KvCalibration record;
  record.v_folded = record.balanced = true;
  record.text_tokens = 5000;
  record.kl[2] = 0.25;
  record.streaming = {0, 0b101, std::uint64_t{1} << 63};
  const auto found = KvCalibration::read(file_with([&](GgufWriter& w) { record.write(w); }), 128);
  REQUIRE(found.ok());
  CHECK(found->present);
  CHECK(found->v_folded);
  CHECK(found->balanced);
  CHECK(found->text_tokens == 5000);
  CHECK(found->kl[2] == 0.25);
  CHECK_FALSE(found->kl[0]);
  CHECK(found->streaming == record.streaming);
  const auto none = KvCalibration::read(file_with([](GgufWriter&) {}), 80);
  REQUIRE(none.ok());
  CHECK_FALSE(none->present);
}

TEST_CASE("KvCalibration: hostile values are named") {
  CHECK(read_changed([](GgufWriter&) {}).ok());
  for (const float kl : {std::nanf(""), std::numeric_limits<float>::infinity(), -0.1f})
    check_corrupt(read_changed([&](GgufWriter& w) { w.set_f32("runnel.kv.kl.kv4", kl); }),
                  "runnel.kv.kl.kv4");
  const float two[] = {0.1f, 0.2f};
  check_corrupt(read_changed([&](GgufWriter& w) { w.set_f32s("runnel.kv.kl.kv2", two); }),
                "runnel.kv.kl.kv2");
  check_corrupt(read_changed([](GgufWriter& w) { w.set_string("runnel.kv.kl.kv8", "low"); }),
                "runnel.kv.kl.kv8");
  check_corrupt(read_changed([](GgufWriter& w) { w.set_u32("runnel.kv.v_folded", 2); }),
                "runnel.kv.v_folded");
  check_corrupt(read_changed([](GgufWriter& w) { w.set_i32("runnel.kv.text_tokens", -1); }),
                "runnel.kv.text_tokens");
  for (const std::int32_t head : {-1, std::numeric_limits<std::int32_t>::max()})
    check_corrupt(read_changed([&](GgufWriter& w) {
                    w.set_i32s("runnel.kv.streaming", {&head, 1});
                  }),
                  "runnel.kv.streaming");
  check_corrupt(read_changed([](GgufWriter& w) { w.set_string("runnel.kv.streaming", "0"); }),
                "runnel.kv.streaming");
  check_corrupt(read_changed([](GgufWriter& w) { w.set_string("runnel.kv.version", "1"); }),
                "runnel.kv.version");
  check_corrupt(read_changed([](GgufWriter&) {}, 80), "runnel.kv.v_folded");
  const Status newer = read_changed([](GgufWriter& w) { w.set_u32("runnel.kv.version", 2); });
  CHECK(newer.code() == Code::unsupported);
  const GgufFile bare = file_with([](GgufWriter& w) { w.set_bool("runnel.kv.v_folded", true); });
  check_corrupt(KvCalibration::read(bare, 64).status(), "runnel.kv.version");
}

TEST_CASE("KvCalibration: a cache is refused only past its gate") {
  KvCalibration record;
  for (const quant::KvPreset& preset : quant::kKvPresets)
    CHECK(record.check(*quant::parse_kv_policy(preset.name)).ok());
  for (std::size_t i = 0; i < record.kl.size(); ++i) {
    const quant::KvPreset& preset = quant::kKvPresets[i];
    const quant::KvPolicy policy = *quant::parse_kv_policy(preset.name);
    record.kl[i] = preset.max_kl;
    CHECK(record.check(policy).ok());
    record.kl[i] = preset.max_kl * 1.01;
    const Status refused = record.check(policy);
    CHECK(refused.code() == Code::unsupported);
    CHECK(refused.message().find(preset.name) != std::string::npos);
    CHECK(refused.message().find("force") != std::string::npos);
  }
  CHECK(record.check(quant::plain_kv(quant::DType::f16)).ok());
  CHECK(record.check(*quant::parse_kv_policy("k2v2")).ok());        // never measured
  CHECK_FALSE(record.check(*quant::parse_kv_policy("k8v4")).ok());  // kv6 by another name
}

}  // namespace runnel

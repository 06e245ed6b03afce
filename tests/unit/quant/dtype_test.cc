#include "quant/dtype.h"

#include <doctest/doctest.h>

#include <map>
#include <string>

#include "quant/codecs.h"

namespace runnel::quant {
namespace {

TEST_CASE("DType, HasTheIdsAndSizesOfGguf") {
  struct Expected {
    std::uint32_t id;
    int elems;
    int bytes;
  };
  const std::map<std::string, Expected> expected = {
      {"f32", {0, 1, 4}},         {"f16", {1, 1, 2}},       {"bf16", {30, 1, 2}},
      {"i32", {26, 1, 4}},        {"q4_0", {2, 32, 18}},    {"q4_1", {3, 32, 20}},
      {"q5_0", {6, 32, 22}},      {"q5_1", {7, 32, 24}},    {"q8_0", {8, 32, 34}},
      {"q2_k", {10, 256, 84}},    {"q3_k", {11, 256, 110}}, {"q4_k", {12, 256, 144}},
      {"q5_k", {13, 256, 176}},   {"q6_k", {14, 256, 210}}, {"iq4_nl", {20, 32, 18}},
      {"iq4_xs", {23, 256, 136}}, {"tq1_0", {34, 256, 54}}, {"tq2_0", {35, 256, 66}},
      {"mxfp4", {39, 32, 17}},    {"nvfp4", {40, 64, 36}},
  };
  REQUIRE(kDTypes.size() == expected.size());
  for (const DTypeInfo& row : kDTypes) {
    CAPTURE(row.name);
    const Expected& want = expected.at(std::string(row.name));
    CHECK(row.gguf_id == want.id);
    CHECK(row.block_elems == want.elems);
    CHECK(row.block_bytes == want.bytes);
  }
}

TEST_CASE("DType, IsFoundByNameAndByGgufId") {
  for (const DTypeInfo& row : kDTypes) {
    CHECK(find_dtype(row.name) == row.type);
    CHECK(find_gguf_type(row.gguf_id) == row.type);
    CHECK(codec(row.type).type == row.type);
    CHECK((codec(row.type).encode_row != nullptr) == row.encodes);
  }
  CHECK_FALSE(find_dtype("q9_k").has_value());
  CHECK_FALSE(find_dtype("").has_value());
  CHECK_FALSE(find_gguf_type(9).has_value());  // q8_1 holds activations, never weights
  CHECK(row_bytes(DType::q6_k, 1024) == 840);
  CHECK(row_bytes(DType::f16, 3) == 6);
}

}  // namespace
}  // namespace runnel::quant

// What the encoders promise: bounded error, better than rounding, importance, exactness.
#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <random>

#include "tests/unit/quant/plain_rounding.h"
#include "tests/unit/quant/rows.h"

namespace runnel::quant {
namespace {

TEST_CASE("encode_row, StaysWithinTheErrorBoundOnGaussianData") {
  for (const DTypeInfo& row : kDTypes) {
    if (!row.encodes) continue;
    CAPTURE(row.name);
    for (const float deviation : {1.0f, 0.8f, 0.03f}) {
      const Row values = gaussian_row(1 << 15, deviation);
      CHECK(relative_error(values, through(row.type, values)) <= row.error_bound);
    }
  }
}

TEST_CASE("encode_row, ErrorBoundIsTight") {
  // A bound that an encoder halves would not notice when the encoder gets worse.
  const Row values = gaussian_row(1 << 15);
  for (const DType type : lossy_types()) {
    CAPTURE(info(type).name);
    CHECK(relative_error(values, through(type, values)) >= 0.93 * info(type).error_bound);
  }
}

TEST_CASE("encode_row, BeatsPlainRounding") {
  struct Expected {
    DType type;
    double at_most;  // our error over that of plain rounding; measured plus about 2 %
  };
  const Expected expected[] = {
      {DType::q4_0, 0.960},  {DType::q4_1, 0.900},  {DType::q5_0, 0.950},   {DType::q5_1, 0.895},
      {DType::q8_0, 0.900},  {DType::q2_k, 0.810},  {DType::q3_k, 0.945},   {DType::q4_k, 0.900},
      {DType::q5_k, 0.920},  {DType::q6_k, 0.890},  {DType::iq4_nl, 0.935}, {DType::iq4_xs, 0.940},
      {DType::tq1_0, 0.560}, {DType::tq2_0, 0.560}, {DType::mxfp4, 0.980},
  };
  CHECK(std::size(expected) == lossy_types().size());
  const Row values = gaussian_row(1 << 14, 0.7f, 5);
  for (const Expected& row : expected) {
    CAPTURE(info(row.type).name);
    const double ours = relative_error(values, through(row.type, values));
    const double plain = relative_error(values, plain_rounding(row.type, values));
    CHECK(ours / plain <= row.at_most);
  }
}

TEST_CASE("encode_row, ImportanceMovesTheErrorAway") {
  const Row values = gaussian_row(1 << 13, 1.0f, 3);
  Row importance(values.size());
  for (std::size_t i = 0; i < importance.size(); ++i) importance[i] = i % 4 == 0 ? 100.0f : 1.0f;
  const auto error_where = [&](const Row& other, bool important) {
    double error = 0;
    for (std::size_t i = 0; i < values.size(); ++i)
      if ((i % 4 == 0) == important) error += std::pow(other[i] - values[i], 2);
    return error;
  };
  for (const DType type : lossy_types()) {
    CAPTURE(info(type).name);
    const Row uniform = through(type, values);
    const Row weighted = through(type, values, importance.data());
    // mxfp4 can only choose its power of two, and the ternary formats one scale for 256 values
    const bool rigid = type == DType::mxfp4 || info(type).scheme == Scheme::ternary;
    const double factor = rigid ? 1.0 : 0.9;
    CHECK(error_where(weighted, true) < factor * error_where(uniform, true));
    CHECK(error_where(weighted, false) > error_where(uniform, false));
  }
}

TEST_CASE("encode_row, OnlyTheRatioOfImportanceCounts") {
  const Row values = gaussian_row(8192, 1.0f, 4);
  Row importance = gaussian_row(8192, 1.0f, 5);
  for (float& weight : importance) weight *= weight;
  Row larger = importance;
  for (float& weight : larger) weight *= 1024.0f;
  for (const DType type : lossy_types()) {
    CAPTURE(info(type).name);
    CHECK(encode(type, values, importance.data()) == encode(type, values, larger.data()));
    CHECK(encode(type, values, importance.data()) != encode(type, values));
  }
}

TEST_CASE("encode_row, UselessImportanceMeansNone") {
  const Row values = gaussian_row(512, 1.0f, 6);
  for (const float useless : {0.0f, -1.0f, NAN}) {
    const Row importance(values.size(), useless);
    for (const DType type : lossy_types()) {
      CAPTURE(info(type).name);
      CHECK(encode(type, values, importance.data()) == encode(type, values));
    }
  }
  Row infinite(values.size(), 1.0f);
  infinite[100] = INFINITY;
  for (const DType type : lossy_types())
    for (const float value : through(type, values, infinite.data())) CHECK(std::isfinite(value));
}

TEST_CASE("encode_row, AnUnimportantOutlierCostsNothing") {
  Row values = gaussian_row(256, 1.0f, 7);
  Row importance(256, 1.0f);
  values[40] = 1000.0f;
  importance[40] = 0.0f;
  Row rest = values;
  rest[40] = 0;
  for (const DType type : lossy_types()) {
    CAPTURE(info(type).name);
    Row result = through(type, values, importance.data());
    result[40] = 0;
    CHECK(relative_error(rest, result) < 1.25 * info(type).error_bound);
  }
}

// A row that `type` holds exactly: random codes under scales that are exact in every format.
Row representable_row(DType type, unsigned seed) {
  std::mt19937 engine(seed);
  Row row(512);
  for (std::size_t i = 0; i < row.size(); ++i) {
    const std::size_t in_part = i % 16;
    const auto draw = [&](int levels) {  // the outermost levels occur in every part
      if (in_part == 0) return 0;
      if (in_part == 1) return levels - 1;
      return static_cast<int>(engine() % static_cast<unsigned>(levels));
    };
    int value = 0;
    switch (type) {
      case DType::q4_0:
        value = draw(16) - 8;
        break;
      case DType::q4_1:
        value = draw(16) - 5;
        break;
      case DType::q5_0:
        value = draw(32) - 16;
        break;
      case DType::q5_1:
        value = draw(32) + 9;
        break;
      case DType::q8_0:
        value = draw(255) - 127;
        break;
      case DType::q2_k:
        value = 15 * draw(4) - 15;
        break;
      case DType::q3_k:
        value = 32 * (draw(8) - 4);
        break;
      case DType::q4_k:
        value = 63 * draw(16) - 63;
        break;
      case DType::q5_k:
        value = 63 * draw(32) - 63;
        break;
      case DType::q6_k:
        value = 128 * (draw(64) - 32);
        break;
      case DType::iq4_nl:
        value = (draw(2) != 0 ? 113 : -127);
        break;
      case DType::iq4_xs:
        value = 32 * (draw(2) != 0 ? 113 : -127);
        break;
      case DType::mxfp4:
        value = draw(5) - 2;
        break;
      default:
        value = draw(3) - 1;
        break;
    }
    row[i] = static_cast<float>(value) * 0x1p-9f;
  }
  return row;
}

TEST_CASE("encode_row, ExactlyRepresentableRowsComeBackExactly") {
  for (const DType type : lossy_types())
    for (unsigned seed = 0; seed < 20; ++seed) {
      CAPTURE(info(type).name);
      CAPTURE(seed);
      const Row row = representable_row(type, seed);
      CHECK(through(type, row) == row);
    }
}

TEST_CASE("encode_row, PlainFormatsConvertByTheStandard") {
  const Row row = {0.0f, -0.0f, 1.0f, -2.5f, 65504.0f, 1e-7f, 1.0f + 0x1p-12f};
  CHECK(through(DType::f32, row) == row);
  CHECK(through(DType::f16, row)[6] == 1.0f);
  CHECK(through(DType::f16, row)[4] == 65504.0f);
  CHECK(through(DType::bf16, row)[4] == 65536.0f);
  CHECK(std::isnan(through(DType::f16, {NAN})[0]));
  CHECK(through(DType::f16, {1e6f})[0] == INFINITY);
}

}  // namespace
}  // namespace runnel::quant

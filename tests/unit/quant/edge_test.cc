// Rows that no model should hold but some file will.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "quant/search.h"
#include "tests/unit/quant/rows.h"

namespace runnel::quant {
namespace {

constexpr float kMax = std::numeric_limits<float>::max();

bool all_finite(const Row& row) {
  return std::all_of(row.begin(), row.end(), [](float v) { return std::isfinite(v); });
}

TEST_CASE("encode_row, ZerosComeBackAsZeros") {
  const Row zeros(512, 0.0f);
  const Row negative_zeros(512, -0.0f);
  for (const DType type : lossy_types()) {
    CAPTURE(info(type).name);
    CHECK(through(type, zeros) == zeros);
    CHECK(through(type, negative_zeros) == zeros);
  }
}

TEST_CASE("encode_row, NanCountsAsZero") {
  Row row = gaussian_row(512, 1.0f, 8);
  Row clean = row;
  for (const std::size_t i : {0u, 33u, 255u, 300u}) {
    row[i] = NAN;
    clean[i] = 0;
  }
  for (const DType type : lossy_types()) {
    CAPTURE(info(type).name);
    CHECK(encode(type, row) == encode(type, clean));
  }
  const Row nothing(256, NAN);
  for (const DType type : lossy_types()) CHECK(through(type, nothing) == Row(256, 0.0f));
}

TEST_CASE("encode_row, InfinityStaysFinite") {
  for (const float bad : {INFINITY, -INFINITY, kMax, -kMax, 1e30f}) {
    Row one = gaussian_row(256, 1.0f, 9);
    one[17] = bad;
    const Row all(256, bad);
    Row mixed(256, bad);
    for (std::size_t i = 0; i < 256; i += 2) mixed[i] = -bad;
    for (const DType type : lossy_types()) {
      CAPTURE(info(type).name);
      CAPTURE(bad);
      CHECK(all_finite(through(type, one)));
      CHECK(all_finite(through(type, all)));
      CHECK(all_finite(through(type, mixed)));
      CHECK(std::signbit(through(type, all)[5]) == std::signbit(bad));
    }
  }
}

TEST_CASE("encode_row, ConstantsSurvive") {
  for (const float value : {1.0f, -1.0f, 0.37f, -0.37f, 1e-3f, 5000.0f}) {
    const Row row(256, value);
    for (const DType type : lossy_types()) {
      CAPTURE(info(type).name);
      CAPTURE(value);
      // E2M1 under a power of two has steps of up to half; scales of 0.001 are subnormal in f16.
      const double others = std::fabs(value) < 0.01f ? 0.011 : 1e-3;
      const double tolerance = type == DType::mxfp4 ? 0.21 : others;
      CHECK(relative_error(row, through(type, row)) < tolerance);
    }
  }
}

TEST_CASE("encode_row, KeepsItsErrorAtEveryMagnitude") {
  for (int exponent = -45; exponent <= 13; ++exponent) {
    const Row row = gaussian_row(512, std::ldexp(1.0f, exponent), 10);
    double power = 0;
    for (const float value : row) power += static_cast<double>(value) * value;
    for (const DType type : lossy_types()) {
      CAPTURE(info(type).name);
      CAPTURE(exponent);
      const double error = relative_error(row, through(type, row));
      // The smallest f16 scale, times half the gap between the inner levels of iq4.
      const bool uneven = type == DType::iq4_nl || type == DType::iq4_xs;
      const double granule = 0x1p-24 * (uneven ? 6 : 1) * std::sqrt(512.0 / power);
      CHECK(error <= std::min(1.0, 1.1 * info(type).error_bound) + granule);
    }
  }
}

TEST_CASE("encode_row, DenormalsAreHarmless") {
  Row row(256, 1e-40f);
  row[3] = -1e-45f;
  row[200] = 1e-38f;
  for (const DType type : lossy_types()) {
    CAPTURE(info(type).name);
    for (const float value : through(type, row)) CHECK(std::fabs(value) < 1e-37f);
  }
  const Row exact(32, std::ldexp(1.0f, -128));  // mxfp4 reaches that far
  CHECK(through(DType::mxfp4, exact) == exact);
}

TEST_CASE("encode_row, EachBlockStandsAlone") {
  Row row = gaussian_row(512, 1.0f, 11);
  Row importance(512, 1.0f);
  for (std::size_t i = 0; i < 512; ++i) importance[i] = static_cast<float>(1 + i % 7);
  const Row half(row.begin() + 256, row.end());
  for (const DType type : lossy_types()) {
    CAPTURE(info(type).name);
    const Bytes whole = encode(type, row, importance.data());
    const Bytes second = encode(type, half, importance.data() + 256);
    CHECK(Bytes(whole.end() - static_cast<std::ptrdiff_t>(second.size()), whole.end()) == second);
  }
}

TEST_CASE("scale_bits, IsFiniteAndRoundsSubnormalsUp") {
  CHECK(scale_bits(0.0f) == 0);
  CHECK(scale_bits(1.0f) == 0x3C00);
  CHECK(scale_bits(1e9f) == 0x7BFF);
  CHECK(scale_bits(-1e9f) == 0xFBFF);
  CHECK(scale_bits(1e-12f) == 1);
  CHECK(scale_bits(-1e-12f) == 0x8001);
  CHECK(scale_bits(2.25f * 0x1p-24f) == 3);
  CHECK(scale_bits(0x1p-14f) == 0x0400);
}

}  // namespace
}  // namespace runnel::quant

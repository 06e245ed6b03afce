// Every decoder against a second implementation that works out one element from its index alone,
// in double precision, on random bytes. All results must agree bit by bit.
#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

#include "tests/unit/quant/rows.h"

namespace runnel::quant {
namespace {

// Reads fields of one block.
struct Fields {
  const std::byte* at;
  int u8(int i) const { return static_cast<int>(at[i]); }
  int i8(int i) const { return u8(i) < 128 ? u8(i) : u8(i) - 256; }
  int u16(int i) const { return u8(i) | u8(i + 1) << 8; }
  int bit(int byte, int n) const { return u8(byte) >> n & 1; }
  int nibble(int byte, bool high) const { return high ? u8(byte) >> 4 : u8(byte) & 15; }
  double half(int i) const {
    const int bits = u16(i);
    const double sign = bits >= 0x8000 ? -1.0 : 1.0;
    const int exponent = bits >> 10 & 31;
    const int mantissa = bits & 1023;
    if (exponent == 31)
      return mantissa != 0 ? std::numeric_limits<double>::quiet_NaN()
                           : sign * std::numeric_limits<double>::infinity();
    return sign *
           (exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25));
  }
};

int nibble32(const Fields& f, int first, int n) {
  return f.nibble(first + n % 16, n >= 16);
}

int pair256(const Fields& f, int first, int n) {
  const int h = n / 128;
  const int r = n % 128;
  return f.u8(first + 32 * h + r % 32) >> (2 * (r / 32)) & 3;
}

int scale6(const Fields& f, int first, int j) {
  if (j < 4) return f.u8(first + j) & 63;
  return (f.u8(first + j + 4) & 15) | f.u8(first + j - 4) >> 6 << 4;
}

int minimum6(const Fields& f, int first, int j) {
  if (j < 4) return f.u8(first + j + 4) & 63;
  return f.u8(first + j + 4) >> 4 | f.u8(first + j) >> 6 << 4;
}

int nibble256(const Fields& f, int first, int n) {
  return f.nibble(first + 32 * (n / 64) + n % 32, n % 64 >= 32);
}

constexpr int kLevels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                             1,    13,   25,  38,  53,  69,  89,  113};
constexpr int kFloat4[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

double ternary(int byte, int k) {
  int power = 1;
  for (int i = 0; i < k; ++i) power *= 3;
  return (byte * power % 256 * 3 >> 8) - 1;
}

double nvfp4_scale(int bits) {
  const int exponent = bits >> 3 & 15;
  const int mantissa = bits & 7;
  if (bits == 0 || bits == 0x7F) return 0;
  return 0.5 *
         (exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(1 + mantissa / 8.0, exponent - 7));
}

double q3_k(const Fields& f, int n) {
  const int j = n / 16;
  const int low = j < 8 ? f.u8(96 + j) & 15 : f.u8(96 + j - 8) >> 4;
  const int high = f.u8(96 + 8 + j % 4) >> (2 * (j / 4)) & 3;
  return f.half(108) * ((low | high << 4) - 32) *
         (pair256(f, 32, n) - (f.bit(n % 32, n / 32) != 0 ? 0 : 4));
}

double q6_k(const Fields& f, int n) {
  const int h = n / 128;
  const int r = n % 128;
  const int low = r < 64 ? f.u8(64 * h + r) & 15 : f.u8(64 * h + r - 64) >> 4;
  return f.half(208) * f.i8(192 + n / 16) * ((low | pair256(f, 128, n) << 4) - 32);
}

double iq4_xs(const Fields& f, int n) {
  const int j = n / 32;
  const int scale = f.nibble(4 + j / 2, j % 2 == 1) | (f.u16(2) >> (2 * j) & 3) << 4;
  return f.half(0) * (scale - 32) * kLevels[nibble32(f, 8 + 16 * j, n % 32)];
}

double tq1_0(const Fields& f, int n) {
  if (n < 160) return f.half(52) * ternary(f.u8(n % 32), n / 32);
  if (n < 240) return f.half(52) * ternary(f.u8(32 + (n - 160) % 16), (n - 160) / 16);
  return f.half(52) * ternary(f.u8(48 + (n - 240) % 4), (n - 240) / 4);
}

double nvfp4(const Fields& f, int n) {
  const int i = n % 16;
  return kFloat4[f.nibble(4 + 8 * (n / 16) + i % 8, i >= 8)] * nvfp4_scale(f.u8(n / 16));
}

double affine_k(const Fields& f, int n, int code) {
  return f.half(0) * scale6(f, 4, n / 32) * code - f.half(2) * minimum6(f, 4, n / 32);
}

// The value of element n of the block.
double element(DType type, const Fields& f, int n) {
  switch (type) {
    case DType::f32:
      return std::bit_cast<float>(f.u16(0) | f.u16(2) << 16);
    case DType::f16:
      return f.half(0);
    case DType::bf16:
      return std::bit_cast<float>(f.u16(0) << 16);
    case DType::i32:
      return static_cast<float>(std::bit_cast<std::int32_t>(f.u16(0) | f.u16(2) << 16));
    case DType::q4_0:
      return (nibble32(f, 2, n) - 8) * f.half(0);
    case DType::q4_1:
      return nibble32(f, 4, n) * f.half(0) + f.half(2);
    case DType::q5_0:
      return ((nibble32(f, 6, n) | f.bit(2 + n / 8, n % 8) << 4) - 16) * f.half(0);
    case DType::q5_1:
      return (nibble32(f, 8, n) | f.bit(4 + n / 8, n % 8) << 4) * f.half(0) + f.half(2);
    case DType::q8_0:
      return f.i8(2 + n) * f.half(0);
    case DType::q2_k:
      return f.half(80) * (f.u8(n / 16) & 15) * pair256(f, 16, n) -
             f.half(82) * (f.u8(n / 16) >> 4);
    case DType::q3_k:
      return q3_k(f, n);
    case DType::q4_k:
      return affine_k(f, n, nibble256(f, 16, n));
    case DType::q5_k:
      return affine_k(f, n, nibble256(f, 48, n) | f.bit(16 + n % 32, n / 32) << 4);
    case DType::q6_k:
      return q6_k(f, n);
    case DType::iq4_nl:
      return f.half(0) * kLevels[nibble32(f, 2, n)];
    case DType::iq4_xs:
      return iq4_xs(f, n);
    case DType::tq1_0:
      return tq1_0(f, n);
    case DType::tq2_0:
      return (pair256(f, 0, n) - 1) * f.half(64);
    case DType::mxfp4:
      return kFloat4[nibble32(f, 1, n)] * std::ldexp(1.0, f.u8(0) - 128);
    case DType::nvfp4:
      return nvfp4(f, n);
    case DType::count:
      break;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

TEST_CASE("decode_row, AgreesWithTheFormulaOfEachElementOnRandomBytes") {
  std::mt19937 engine(2);
  for (const DTypeInfo& row : kDTypes) {
    CAPTURE(row.name);
    const std::size_t blocks = row.block_elems == 1 ? 4096 : 400;
    Bytes bytes(blocks * row.block_bytes);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(engine() & 255);
    const Row values = decode(row.type, bytes);
    int wrong = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const Fields fields{bytes.data() + i / row.block_elems * row.block_bytes};
      const auto expected =
          static_cast<float>(element(row.type, fields, static_cast<int>(i % row.block_elems)));
      const bool same = std::isnan(expected) ? std::isnan(values[i]) : values[i] == expected;
      wrong += !same;
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("decode_row, NeedsNoAlignment") {
  for (const DTypeInfo& row : kDTypes) {
    CAPTURE(row.name);
    Bytes shifted(row.block_bytes + 1u);
    for (std::size_t i = 0; i < shifted.size(); ++i) shifted[i] = static_cast<std::byte>(i % 61);
    Row values(row.block_elems);
    codec(row.type).decode_row(shifted.data() + 1, values.data(), row.block_elems);
    const Row expected = decode(row.type, Bytes(shifted.begin() + 1, shifted.end()));
    CHECK(values == expected);
  }
}

}  // namespace
}  // namespace runnel::quant

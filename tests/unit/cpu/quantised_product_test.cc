// Products of rounded activations are exact but for f32 sums: against the definition in doubles,
// from the same int8 or bf16 activations. The conformance program compares with products of
// unrounded activations, so it cannot see a small error of a kernel; this test can.
#include <cmath>

#include "quant/half.h"
#include "tests/unit/cpu/runner.h"

using namespace runnel;            // NOLINT: a test
using namespace runnel::cpu_test;  // NOLINT: a test

namespace {

constexpr std::int64_t kRows = 37, kTokens = 9;
constexpr DType kTypes[] = {DType::q8_0, DType::q4_0,   DType::q4_1, DType::q5_0,
                            DType::q5_1, DType::iq4_nl, DType::q2_k, DType::q3_k,
                            DType::q4_k, DType::q5_k,   DType::q6_k, DType::iq4_xs};

std::int64_t columns(DType type) {  // not a multiple of any kernel's chunk
  return quant::info(type).block_elems == 256 ? 1280 : type == DType::bf16 ? 1115 : 1120;
}

Build product(DType type) {
  return [type](Program& p) {
    const ValueId x = p.input(columns(type));
    return std::vector<ValueId>{p.node(Op::matmul, {x, p.weight({kRows, columns(type)}, type)})};
  };
}

/// The row with each 32 values rounded to whole multiples of their largest magnitude / 127.
std::vector<double> rounded(const float* x, std::int64_t k) {
  std::vector<double> values(static_cast<std::size_t>(k));
  for (std::int64_t i = 0; i < k; i += 32) {
    float most = 0;
    for (std::int64_t j = i; j < i + 32; ++j) most = std::max(most, std::abs(x[j]));
    const float scale = most / 127.0f, inverse = 1.0f / scale;
    for (std::int64_t j = i; j < i + 32; ++j)
      values[static_cast<std::size_t>(j)] =
          std::nearbyint(x[j] * inverse) * static_cast<double>(scale);
  }
  return values;
}

std::vector<double> rounded_to_bf16(const float* x, std::int64_t k) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < k; ++i)
    values.push_back(static_cast<double>(quant::bf16_to_f32(quant::f32_to_bf16(x[i]))));
  return values;
}

/// Largest error of product() at a level, as a share of the sum of its terms' magnitudes.
template <class Round>
double worst_error(DType type, const std::string& isa, const Round& round) {
  const std::int64_t k = columns(type);
  const Floats x = gaussian(kTokens * k, 1);  // seeds: the order in which product() asks
  const std::vector<std::byte> w = encoded({kRows, k}, type, 2);
  const std::size_t row_bytes = quant::row_bytes(type, static_cast<std::size_t>(k));
  const Floats got = run({isa, 2}, product(type), kTokens, kTokens)[0];
  Floats weights(static_cast<std::size_t>(k));
  double worst = 0;
  for (std::int64_t n = 0; n < kRows; ++n) {
    quant::codec(type).decode_row(w.data() + static_cast<std::size_t>(n) * row_bytes,
                                  weights.data(), k);
    for (std::int64_t t = 0; t < kTokens; ++t) {
      const std::vector<double> values = round(x.data() + t * k, k);
      double sum = 0, size = 0;
      for (std::size_t i = 0; i < values.size(); ++i) {
        sum += values[i] * weights[i];
        size += std::abs(values[i] * weights[i]);
      }
      worst = std::max(worst, std::abs(sum - got[static_cast<std::size_t>(t * kRows + n)]) / size);
    }
  }
  return worst;
}

}  // namespace

// f32 rounds to 6e-8; a formula's terms of opposite sign cost some of it.
TEST_CASE("A quantised product is the product of the rounded activations") {
  for (DType type : kTypes)
    for (const std::string& isa : levels()) {
      CAPTURE(quant::info(type).name);
      CAPTURE(isa);
      CHECK(worst_error(type, isa, rounded) < 1e-6);
    }
}

TEST_CASE("Instructions for bf16 multiply the activations rounded to bf16") {
  for (const std::string& isa : levels())
    if (isa == "avx512bf16") CHECK(worst_error(DType::bf16, isa, rounded_to_bf16) < 1e-6);
}

TEST_CASE("Quantised products have the same bits at all levels with fused multiply-add") {
  for (DType type : kTypes) {
    CAPTURE(quant::info(type).name);
    Floats first;
    for (const std::string& isa : levels()) {
      if (isa == "baseline") continue;
      for (const std::int64_t chunk : {kTokens, std::int64_t{3}}) {  // panels, rows
        const Floats got = run({isa, 1}, product(type), kTokens, chunk)[0];
        if (first.empty()) first = got;
        CHECK(same_bits(first, got));
      }
    }
  }
}

TEST_CASE("The largest dots of every format are exact") {
  struct Extreme {
    DType type;
    std::vector<std::size_t> factors;  // bytes of a block where f16 are; all other bits are set
  };
  const Extreme extremes[] = {{DType::q4_0, {0}},      {DType::q4_1, {0, 2}}, {DType::q5_0, {0}},
                              {DType::q5_1, {0, 2}},   {DType::q8_0, {0}},    {DType::iq4_nl, {0}},
                              {DType::q2_k, {80, 82}}, {DType::q3_k, {108}},  {DType::q4_k, {0, 2}},
                              {DType::q5_k, {0, 2}},   {DType::q6_k, {208}},  {DType::iq4_xs, {0}}};
  for (const Extreme& extreme : extremes) {
    CAPTURE(quant::info(extreme.type).name);
    const std::int64_t k = columns(extreme.type);
    std::vector<std::byte> row(quant::row_bytes(extreme.type, static_cast<std::size_t>(k)),
                               std::byte{0xFF});
    for (std::size_t at = 0; at < row.size(); at += quant::info(extreme.type).block_bytes)
      for (const std::size_t factor : extreme.factors) {
        row[at + factor] = std::byte{0};
        row[at + factor + 1] = std::byte{0x3C};  // 1
      }
    Floats weights(static_cast<std::size_t>(k));
    quant::codec(extreme.type).decode_row(row.data(), weights.data(), k);
    double wanted = 0;
    for (const float weight : weights) wanted += static_cast<double>(weight);
    for (const std::string& isa : levels())
      for (const std::int64_t chunk : {kTokens, std::int64_t{3}, std::int64_t{1}}) {
        CAPTURE(isa);
        CAPTURE(chunk);
        const Build build = [&](Program& p) {
          const ValueId x = p.input(k), w = p.weight({kRows, k}, extreme.type);
          for (std::size_t i = 0; i < p.inputs[0].bytes.size(); i += sizeof(float)) {
            const float value =
                i / sizeof(float) / static_cast<std::size_t>(k) % 2 == 0 ? 1.0f : -1.0f;
            std::memcpy(p.inputs[0].bytes.data() + i, &value, sizeof value);
          }
          for (std::size_t r = 0; r < kRows; ++r)
            std::copy(row.begin(), row.end(),
                      p.weights[0].bytes.begin() +
                          static_cast<std::ptrdiff_t>(p.weights[0].skew + r * row.size()));
          return std::vector<ValueId>{p.node(Op::matmul, {x, w})};
        };
        const Floats got = run({isa, 1}, build, kTokens, chunk)[0];
        for (std::size_t i = 0; i < got.size(); ++i) {
          const double sign = i / kRows % 2 == 0 ? 1 : -1;
          CHECK(std::abs(got[i] - sign * wanted) <= 1e-5 * std::abs(wanted));
        }
      }
  }
}

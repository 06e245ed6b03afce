// Reference kernels without state, against small examples by hand and formulas in f64.
#include <cmath>
#include <string>

#include "tests/unit/reference/rig.h"

using namespace runnel;
using namespace runnel::reference_test;

TEST_CASE("Reference.EmbedPicksRows") {
  Rig rig(3);
  const ValueId ids = rig.input({3}, DType::i32);
  const ValueId table = rig.weight({4, 2}, {0, 1, 10, 11, 20, 21, 30, 31}, DType::f16);
  const ValueId x = rig.node(Op::embed, {table, ids});
  rig.set<std::int32_t>(ids, {3, 0, 99});
  rig.run(0, 2);  // the third id is not used
  CHECK(rig.get(x, 6) == Floats{30, 31, 0, 1, 0, 0});
  const Status status = rig.try_run({0, 3, 0, 0});
  CHECK(status.code() == Code::invalid_argument);
  CHECK(status.message() == "token id 99 is outside the vocabulary of 4");
  rig.set<std::int32_t>(ids, {-1});
  CHECK(rig.try_run({0, 1, 0, 0}).code() == Code::invalid_argument);
}

TEST_CASE("Reference.RmsNormByHand") {
  Rig rig;
  const ValueId x = rig.input({1, 4});
  const ValueId w = rig.weight({2}, {2, 10});
  const ValueId y = rig.node(Op::rms_norm, {x, w}, RmsNormAttr{0.0f});
  rig.set<float>(x, {3, 3, 1, -7});  // root mean squares: 3 and 5
  rig.run(0, 1);
  const Floats got = rig.get(y, 4);
  CHECK(got[0] == doctest::Approx(2.0));
  CHECK(got[1] == doctest::Approx(10.0));
  CHECK(got[2] == doctest::Approx(0.4));
  CHECK(got[3] == doctest::Approx(-14.0));
}

TEST_CASE("Reference.RmsNormAddsEps") {
  Rig rig;
  const ValueId x = rig.input({1, 2});
  const ValueId y = rig.node(Op::rms_norm, {x, rig.weight({2}, {1, 1})}, RmsNormAttr{3.0f});
  rig.set<float>(x, {1, -1});  // sqrt(1 + 3) = 2
  rig.run(0, 1);
  CHECK(rig.get(y, 2) == Floats{0.5f, -0.5f});
}

TEST_CASE("Reference.MatmulMatchesDoublePrecision") {
  constexpr int kRows = 3, kOut = 5, kInner = 77;
  Rig rig(kRows);
  const Floats w = gaussian(kOut * kInner, 1), x = gaussian(kRows * kInner, 2), b = gaussian(5, 3);
  const ValueId in = rig.input({kRows, kInner});
  const ValueId y = rig.node(Op::matmul, {in, rig.weight({kOut, kInner}, w), rig.weight({5}, b)});
  rig.set(in, x);
  rig.run(0, kRows);
  std::vector<double> expected;
  for (std::size_t t = 0; t < kRows; ++t)
    for (std::size_t n = 0; n < kOut; ++n) {
      double sum = b[n];
      for (std::size_t k = 0; k < kInner; ++k)
        sum += static_cast<double>(x[t * kInner + k]) * w[n * kInner + k];
      expected.push_back(sum);
    }
  CHECK(distance(rig.get(y, kRows * kOut), expected) < 1e-5);
}

TEST_CASE("Reference.MatmulDecodesEveryFormat") {
  for (const quant::DTypeInfo& row : quant::kDTypes) {
    if (!row.encodes) continue;
    CAPTURE(std::string(row.name));
    Rig rig;
    const Floats w = gaussian(2 * 512, 1), x = gaussian(512, 2);
    const ValueId in = rig.input({1, 512});
    const ValueId y = rig.node(Op::matmul, {in, rig.weight({2, 512}, w, row.type)});
    rig.set(in, x);
    rig.run(0, 1);
    Floats decoded(1024);
    quant::codec(row.type).decode_row(rig.mapped[0].data() + 1, decoded.data(), 1024);
    std::vector<double> expected(2, 0.0);
    for (std::size_t i = 0; i < 1024; ++i)
      expected[i / 512] += static_cast<double>(decoded[i]) * x[i % 512];
    CHECK(distance(rig.get(y, 2), expected) < 1e-4);
  }
}

TEST_CASE("Reference.SwigluAndAddByHand") {
  Rig rig;
  const ValueId gate = rig.input({1, 3}), up = rig.input({1, 3});
  const ValueId y = rig.node(Op::swiglu, {gate, up}), sum = rig.node(Op::add, {gate, up});
  rig.set<float>(gate, {0, 1, -200});
  rig.set<float>(up, {5, 2, 3});
  rig.run(0, 1);
  CHECK(rig.get(sum, 3) == Floats{5, 3, -197});
  const Floats got = rig.get(y, 3);
  CHECK(got[0] == 0);
  CHECK(got[1] == doctest::Approx(2 / (1 + std::exp(-1.0))));
  CHECK(got[2] == doctest::Approx(0));
}

TEST_CASE("Reference.RopeRotatesByTheAngle") {
  for (RopeStyle style : {RopeStyle::half, RopeStyle::interleaved})
    for (const bool factors : {false, true}) {
      CAPTURE(static_cast<int>(style));
      CAPTURE(factors);
      constexpr std::int64_t kHeads = 2, kHeadDim = 6, kRotary = 4;
      Rig rig(2);
      const ValueId x = rig.input({2, kHeads * kHeadDim});
      std::vector<ValueId> in{x};
      if (factors) in.push_back(rig.weight({2}, {1, 8}));
      const RopeAttr attr{100.0f, kHeadDim, kRotary, style, 0.0f};
      const ValueId y = rig.node(Op::rope, in, attr);
      const Floats values = gaussian(2 * kHeads * kHeadDim, 5);
      rig.set(x, values);
      rig.run(7, 2);
      std::vector<double> expected(values.begin(), values.end());
      for (std::size_t t = 0; t < 2; ++t)
        for (std::size_t head = 0; head < kHeads; ++head)
          for (std::size_t i = 0; i < 2; ++i) {
            // theta 100 over 4 rotating dims: speeds 1 and 1/10, the second divided by 8
            const double speed = i == 0 ? 1.0 : factors ? 0.1 / 8 : 0.1;
            const double angle = static_cast<double>(7 + t) * speed;
            const std::size_t start = t * kHeads * kHeadDim + head * kHeadDim;
            const bool half = style == RopeStyle::half;
            const std::size_t a = start + (half ? i : 2 * i), b = half ? a + 2 : a + 1;
            const double va = values[a], vb = values[b];
            expected[a] = va * std::cos(angle) - vb * std::sin(angle);
            expected[b] = va * std::sin(angle) + vb * std::cos(angle);
          }
      CHECK(distance(rig.get(y, 2 * kHeads * kHeadDim), expected) < 1e-6);
    }
}

TEST_CASE("Reference.LastRowAndArgmax") {
  Rig rig(3);
  const ValueId x = rig.input({3, 4});
  const ValueId last = rig.node(Op::last_row, {x}), best = rig.node(Op::argmax, {x});
  const ValueId best_of_last = rig.node(Op::argmax, {last});
  rig.set<float>(x, {1, 5, 5, 2, -4, -3, -2, -1, 9, 9, 9, 9});
  rig.run(0, 2);
  CHECK(rig.get(last, 4) == Floats{-4, -3, -2, -1});
  CHECK(rig.get<std::int32_t>(best, 3) == std::vector<std::int32_t>{1, 3, 0});
  CHECK(rig.get<std::int32_t>(best_of_last, 1) == std::vector<std::int32_t>{3});
  rig.run(0, 3);
  CHECK(rig.get(last, 4) == Floats{9, 9, 9, 9});
}

TEST_CASE("Reference.FusedOpsEqualTheirParts") {
  Rig rig(2);
  const ValueId a = rig.input({2, 32}), b = rig.input({2, 32});
  const ValueId norm = rig.weight({16}, gaussian(16, 1));
  const ValueId gate = rig.weight({8, 32}, gaussian(256, 2), DType::q8_0);
  const ValueId up = rig.weight({8, 32}, gaussian(256, 3), DType::q4_0);
  const RopeAttr rope{1e4f, 16, 16, RopeStyle::half, 1e-5f};
  const std::vector<std::pair<Op, std::pair<std::vector<ValueId>, Attr>>> rows = {
      {Op::add_rms_norm, {{a, b, norm}, RmsNormAttr{}}},
      {Op::matmul_swiglu, {{a, gate, up}, {}}},
      {Op::rms_norm_rope, {{a, norm}, rope}}};
  rig.set(a, gaussian(64, 4));
  rig.set(b, gaussian(64, 5));
  for (const auto& [op, rest] : rows) {
    CAPTURE(schema(op).name);
    rig.graph.set_nodes({});
    rig.node(op, rest.first, rest.second);
    const Node fused = rig.graph.nodes()[0];
    rig.run(9, 2);
    std::vector<Floats> expected;
    for (ValueId id : fused.out) expected.push_back(rig.get(id, 2 * rig.graph.value(id).shape[1]));
    rig.graph.set_nodes({});
    schema(op).decompose(rig.graph, fused);
    for (ValueId id : fused.out) rig.set(id, Floats(4, -1));
    rig.run(9, 2);
    for (std::size_t i = 0; i < fused.out.size(); ++i)
      CHECK(rig.get(fused.out[i], 2 * rig.graph.value(fused.out[i]).shape[1]) == expected[i]);
  }
}

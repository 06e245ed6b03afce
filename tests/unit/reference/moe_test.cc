// Routing and expert kernels of the reference, by hand.
#include <cmath>

#include "tests/unit/reference/rig.h"

using namespace runnel;
using namespace runnel::reference_test;

namespace {

double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

struct Routed {
  Floats weights;
  std::vector<std::int32_t> ids;
};

Routed route(const Floats& logits, const Floats& bias, const MoeRouteAttr& attr) {
  Rig rig;
  const auto n = static_cast<std::int64_t>(logits.size());
  const ValueId x = rig.input({1, n});
  std::vector<ValueId> in{x};
  if (!bias.empty()) in.push_back(rig.weight({n}, bias));
  const ValueId weights = rig.node(Op::moe_route, in, attr);
  const ValueId ids = rig.graph.nodes()[0].out[1];
  rig.set(x, logits);
  rig.run(0, 1);
  return {rig.get(weights, attr.n_used), rig.get<std::int32_t>(ids, attr.n_used)};
}

}  // namespace

TEST_CASE("Reference.RouteUsesTheBiasOnlyToSelect") {
  MoeRouteAttr attr;
  attr.n_used = 2;
  attr.scale = 3.0f;
  const Routed got = route({2, 1, 0, -1}, {0, 0, 0, 10}, attr);
  CHECK(got.ids == std::vector<std::int32_t>{3, 0});
  const double sum = sigmoid(2) + sigmoid(-1) + 1e-6;
  CHECK(got.weights[0] == doctest::Approx(3 * sigmoid(-1) / sum));
  CHECK(got.weights[1] == doctest::Approx(3 * sigmoid(2) / sum));
}

TEST_CASE("Reference.RouteWithoutNormalisingKeepsScores") {
  MoeRouteAttr attr;
  attr.n_used = 2;
  attr.normalise = false;
  const Routed raw = route({0.5f, -2, 1.5f}, {}, attr);
  CHECK(raw.ids == std::vector<std::int32_t>{2, 0});
  CHECK(raw.weights[0] == doctest::Approx(sigmoid(1.5)));
  attr.gating = Gating::softmax;
  const Routed soft = route({0.5f, -2, 1.5f}, {}, attr);
  const double sum = std::exp(0.5) + std::exp(-2.0) + std::exp(1.5);
  CHECK(soft.weights[1] == doctest::Approx(std::exp(0.5) / sum));
}

TEST_CASE("Reference.RouteTakesTheLowestExpertAmongEquals") {
  MoeRouteAttr attr;
  attr.n_used = 3;
  CHECK(route({1, 2, 1, 2, 1}, {}, attr).ids == std::vector<std::int32_t>{1, 3, 0});
  attr.gating = Gating::softmax;
  CHECK(route({0, 0, 0, 0, 0}, {}, attr).ids == std::vector<std::int32_t>{0, 1, 2});
}

TEST_CASE("Reference.MoeMatmulUsesEachRowsExpert") {
  Rig rig(2);
  const ValueId shared = rig.input({2, 2}), own = rig.input({4, 2});
  const ValueId ids = rig.input({2, 2}, DType::i32);
  const ValueId w = rig.weight({3, 1, 2}, {1, 0, 0, 1, 10, 10});
  const ValueId y = rig.node(Op::moe_matmul, {shared, w, ids});
  const ValueId z = rig.node(Op::moe_matmul, {own, w, ids});
  rig.set<float>(shared, {1, 2, 3, 4});
  rig.set<float>(own, {1, 2, 3, 4, 5, 6, 7, 8});
  rig.set<std::int32_t>(ids, {2, 0, 1, 2});
  rig.run(0, 2);
  CHECK(rig.get(y, 4) == Floats{30, 1, 4, 70});
  CHECK(rig.get(z, 4) == Floats{30, 3, 6, 150});
  rig.set<std::int32_t>(ids, {2, 0, 3, 2});
  rig.run(0, 1);  // the bad id belongs to the unused row
  CHECK(rig.try_run({0, 2, 0, 0}).message() == "expert 3 does not exist");
}

TEST_CASE("Reference.MoeSumWeighsRows") {
  Rig rig(2);
  const ValueId y = rig.input({4, 2}), weights = rig.input({2, 2});
  const ValueId sum = rig.node(Op::moe_sum, {y, weights});
  rig.set<float>(y, {1, 2, 3, 4, 5, 6, 7, 8});
  rig.set<float>(weights, {1, 10, 0, -1});
  rig.run(0, 2);
  CHECK(rig.get(sum, 4) == Floats{31, 42, -7, -8});
}

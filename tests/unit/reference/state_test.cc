// Reference kernels with state: KV pages, attention and the convolution ring.
#include <algorithm>
#include <cmath>

#include "tests/unit/reference/rig.h"

using namespace runnel;
using namespace runnel::reference_test;

namespace {

constexpr std::int64_t kKvHeads = 2, kHeadDim = 4, kHeads = 4;
const Shape kPage{kKvHeads, kPageTokens, kHeadDim};

/// kv_append and attention on one sequence of up to 192 tokens.
struct AttentionRig : Rig {
  explicit AttentionRig(std::int64_t max_tokens, int window = 0, DType pages = DType::f32)
      : Rig(max_tokens) {
    q = input({max_tokens, kHeads * kHeadDim});
    k = input({max_tokens, kKvHeads * kHeadDim});
    v = input({max_tokens, kKvHeads * kHeadDim});
    k_state = state(kPage, pages, StateKind::kv_k, 3);
    v_state = state(kPage, pages, StateKind::kv_v, 3);
    REQUIRE(graph.add_node(Op::kv_append, {k, v, k_state, v_state}, {}, "append").ok());
    out = node(Op::attention, {q, k_state, v_state},
               AttentionAttr{0.5f, kHeads, kKvHeads, kHeadDim, window});
  }
  ValueId q, k, v, k_state, v_state, out;
};

Floats rows(const Floats& all, std::int64_t first, std::int64_t n, std::int64_t cols) {
  return Floats(all.begin() + first * cols, all.begin() + (first + n) * cols);
}

/// Attention of all n tokens at once, in f64.
std::vector<double> attend(const Floats& q, const Floats& k, const Floats& v, int n, int window) {
  std::vector<double> out(static_cast<std::size_t>(n * kHeads * kHeadDim), 0.0);
  const auto at = [](const Floats& x, std::int64_t i) {
    return static_cast<double>(x[static_cast<std::size_t>(i)]);
  };
  for (int t = 0; t < n; ++t)
    for (std::int64_t h = 0; h < kHeads; ++h) {
      const std::int64_t g = h / (kHeads / kKvHeads),
                         first = window ? std::max(0, t - window + 1) : 0;
      double sum = 0;
      for (std::int64_t j = first; j <= t; ++j) {
        double score = 0;
        for (std::int64_t i = 0; i < kHeadDim; ++i)
          score +=
              at(q, (t * kHeads + h) * kHeadDim + i) * at(k, (j * kKvHeads + g) * kHeadDim + i);
        const double weight = std::exp(0.5 * score);
        sum += weight;
        for (std::int64_t i = 0; i < kHeadDim; ++i)
          out[static_cast<std::size_t>((t * kHeads + h) * kHeadDim + i)] +=
              weight * at(v, (j * kKvHeads + g) * kHeadDim + i);
      }
      for (std::int64_t i = 0; i < kHeadDim; ++i)
        out[static_cast<std::size_t>((t * kHeads + h) * kHeadDim + i)] /= sum;
    }
  return out;
}

/// Runs n tokens in steps of `chunk`, all outputs in a row.
Floats attend_in_chunks(
    AttentionRig& rig, const Floats& q, const Floats& k, const Floats& v, int n, int chunk) {
  Floats all;
  for (int pos = 0; pos < n; pos += chunk) {
    const int used = std::min(chunk, n - pos);
    rig.set(rig.q, rows(q, pos, used, kHeads * kHeadDim));
    rig.set(rig.k, rows(k, pos, used, kKvHeads * kHeadDim));
    rig.set(rig.v, rows(v, pos, used, kKvHeads * kHeadDim));
    rig.run(pos, used);
    const Floats part = rig.get(rig.out, used * kHeads * kHeadDim);
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

}  // namespace

TEST_CASE("Reference.AttentionToOneKeyIsItsValue") {
  AttentionRig rig(1);
  const Floats v = gaussian(kKvHeads * kHeadDim, 3);
  rig.set(rig.q, gaussian(kHeads * kHeadDim, 1));
  rig.set(rig.k, gaussian(kKvHeads * kHeadDim, 2));
  rig.set(rig.v, v);
  rig.run(0, 1);
  const Floats got = rig.get(rig.out, kHeads * kHeadDim);
  for (std::size_t h = 0; h < kHeads; ++h)
    for (std::size_t i = 0; i < kHeadDim; ++i) CHECK(got[h * 4 + i] == v[h / 2 * 4 + i]);
}

TEST_CASE("Reference.AttentionMatchesDoublePrecision") {
  constexpr int kTokens = 150;  // three pages
  for (int window : {0, 1, 40}) {
    CAPTURE(window);
    const Floats q = gaussian(kTokens * kHeads * kHeadDim, 1, 3.0f);
    const Floats k = gaussian(kTokens * kKvHeads * kHeadDim, 2, 3.0f);
    const Floats v = gaussian(kTokens * kKvHeads * kHeadDim, 3);
    AttentionRig rig(kTokens, window);
    const Floats got = attend_in_chunks(rig, q, k, v, kTokens, kTokens);
    CHECK(distance(got, attend(q, k, v, kTokens, window)) < 2e-5);
  }
}

TEST_CASE("Reference.AttentionLeavesOutPositionsThatThePagesHaveNoPlaceFor") {
  const Floats q = gaussian(2 * kHeads * kHeadDim, 1, 3.0f);
  const Floats k = gaussian(2 * kKvHeads * kHeadDim, 2), v = gaussian(2 * kKvHeads * kHeadDim, 3);
  Floats got[2];
  for (std::int32_t gap : {0, 640}) {
    AttentionRig rig(2);
    rig.set(rig.q, q);
    rig.set(rig.k, k);
    rig.set(rig.v, v);
    REQUIRE(rig.try_run({gap + 70, 2, gap + 71, 0, gap}).ok());
    got[gap > 0] = rig.get(rig.out, 2 * kHeads * kHeadDim);
    CHECK_FALSE(rig.try_run({gap + 70, 2, 0, 0, gap + 71}).ok());
  }
  CHECK(got[0] == got[1]);
}

TEST_CASE("Reference.AttentionIsTheSameInAnyChunks") {
  constexpr int kTokens = 140;
  const Floats q = gaussian(kTokens * kHeads * kHeadDim, 1, 3.0f);
  const Floats k = gaussian(kTokens * kKvHeads * kHeadDim, 2);
  const Floats v = gaussian(kTokens * kKvHeads * kHeadDim, 3);
  for (DType pages : {DType::f32, DType::f16})
    for (int window : {0, 70}) {
      AttentionRig whole(kTokens, window, pages);
      const Floats expected = attend_in_chunks(whole, q, k, v, kTokens, kTokens);
      for (int chunk : {1, 2, 3, 7, 64, 65}) {
        CAPTURE(chunk);
        AttentionRig rig(chunk, window, pages);
        CHECK(attend_in_chunks(rig, q, k, v, kTokens, chunk) == expected);
      }
    }
}

TEST_CASE("Reference.KvAppendWritesPagesInTheirLayout") {
  for (DType pages : {DType::f32, DType::f16}) {
    AttentionRig rig(3, 0, pages);
    Floats k(3 * kKvHeads * kHeadDim);
    for (std::size_t i = 0; i < k.size(); ++i) k[i] = static_cast<float>(i) + 1;
    rig.set(rig.k, k);
    rig.set(rig.v, Floats(k.size(), -1.0f));
    rig.run(63, 3, 64);  // position 63 is kept as it was; 64 and 65 are the second page's first
    const Floats first = rig.get_state(0, 0, kPage, pages);
    CHECK(std::all_of(first.begin(), first.end(), [](float x) { return x == 0; }));
    const Floats second = rig.get_state(0, 1, kPage, pages);
    for (std::size_t g = 0; g < kKvHeads; ++g)
      for (std::size_t slot = 0; slot < 2; ++slot)
        for (std::size_t i = 0; i < kHeadDim; ++i)
          CHECK(second[(g * kPageTokens + slot) * kHeadDim + i] ==
                k[((slot + 1) * kKvHeads + g) * kHeadDim + i]);
    CHECK(rig.get_state(1, 1, kPage, pages)[0] == -1);
    CHECK(std::count(second.begin(), second.end(), 0.0f) == 2 * (64 - 2) * kHeadDim);
  }
}

TEST_CASE("Reference.KvAppendRoundsToNearestHalf") {
  AttentionRig rig(1, 0, DType::f16);
  rig.set(rig.k, Floats{1.0f + 0x1p-11f, 1.0f + 0x1.8p-10f, 70000.0f, 0x1p-25f});
  rig.run(0, 1);
  const Floats page = rig.get_state(0, 0, kPage, DType::f16);
  CHECK(page[0] == 1.0f);
  CHECK(page[1] == 1.0f + 0x1p-9f);
  CHECK(std::isinf(page[2]));
  CHECK(page[3] == 0.0f);
}

TEST_CASE("Reference.MissingPagesAreAnError") {
  AttentionRig rig(70);
  CHECK(rig.try_run({150, 42, 0, 0}).ok());
  CHECK(rig.try_run({150, 43, 0, 0}).message() == "KV page 3 is missing");
  rig.states[0].host[1] = nullptr;
  CHECK(rig.try_run({0, 64, 0, 0}).ok());
  CHECK(rig.try_run({0, 65, 0, 0}).message() == "KV page 1 is missing");
  rig.states.pop_back();
  CHECK(rig.try_run({0, 1, 0, 0}).message() == "a step without its states");
}

TEST_CASE("Reference.StepParamsOutOfRangeAreAnError") {
  AttentionRig rig(4);
  CHECK(rig.try_run({0, 0, 0, 0}).code() == Code::invalid_argument);
  CHECK(rig.try_run({0, 5, 0, 0}).code() == Code::invalid_argument);
  CHECK(rig.try_run({-1, 1, 0, 0}).code() == Code::invalid_argument);
  CHECK(rig.try_run({INT32_MAX, 1, 0, 0}).code() == Code::invalid_argument);
}

namespace {

constexpr std::int64_t kChannels = 3, kTaps = 4;

struct ConvRig : Rig {
  ConvRig(std::int64_t max_tokens, std::int64_t ring_columns, const Floats& filter, bool biased)
      : Rig(max_tokens) {
    bcx = input({max_tokens, 3 * kChannels});
    std::vector<ValueId> in{bcx, weight({kChannels, kTaps}, filter),
                            state({ring_columns, kChannels}, DType::f32, StateKind::conv)};
    if (biased) in.push_back(weight({kChannels}, {1, 2, 3}));
    out = node(Op::short_conv, in, ShortConvAttr{kTaps});
  }
  ValueId bcx, out;
};

}  // namespace

TEST_CASE("Reference.ShortConvMatchesItsFormulaInAnyChunks") {
  constexpr int kTokens = 23;
  const Floats filter = gaussian(kChannels * kTaps, 1);
  const Floats bcx = gaussian(kTokens * 3 * kChannels, 2);
  const auto at = [&](std::int64_t t, std::int64_t chunk, std::int64_t c) {
    return static_cast<double>(bcx[static_cast<std::size_t>((t * 3 + chunk) * kChannels + c)]);
  };
  for (const bool biased : {false, true}) {
    std::vector<double> expected;
    for (std::int64_t t = 0; t < kTokens; ++t)
      for (std::int64_t c = 0; c < kChannels; ++c) {
        double z = biased ? static_cast<double>(c + 1) : 0.0;
        for (std::int64_t k = 0; k < kTaps; ++k)
          if (const std::int64_t s = t - (kTaps - 1) + k; s >= 0)
            z += filter[static_cast<std::size_t>(c * kTaps + k)] * at(s, 0, c) * at(s, 2, c);
        expected.push_back(at(t, 1, c) * z);
      }
    Floats first;
    for (std::int64_t ring : {3, 4, 9, 30})
      for (int chunk : {1, 2, 3, 7, kTokens}) {
        CAPTURE(ring);
        CAPTURE(chunk);
        ConvRig rig(chunk, ring, filter, biased);
        for (std::byte* page : rig.states[0].host)  // columns before position 0 are never read
          std::fill_n(reinterpret_cast<float*>(page), ring * kChannels, 1e6f);
        Floats all;
        for (int pos = 0; pos < kTokens; pos += chunk) {
          const int used = std::min(chunk, kTokens - pos);
          rig.set(rig.bcx, rows(bcx, pos, used, 3 * kChannels));
          rig.run(pos, used);
          const Floats part = rig.get(rig.out, used * kChannels);
          all.insert(all.end(), part.begin(), part.end());
        }
        CHECK(distance(all, expected) < 1e-5);
        if (first.empty()) first = all;
        CHECK(all == first);  // bit for bit
        const Floats columns = rig.get_state(0, 0, {ring, kChannels}, DType::f32);
        for (std::int64_t t = std::max<std::int64_t>(0, kTokens - ring); t < kTokens; ++t)
          CHECK(columns[static_cast<std::size_t>(t % ring * kChannels)] ==
                doctest::Approx(at(t, 0, 0) * at(t, 2, 0)));
      }
  }
}

#include "converters/kv_moments.h"

#include <cmath>

#include <doctest/doctest.h>

using namespace runnel::converters;

namespace {

const AttentionShape kShape{4, 64, 64, false};

/// Size of a channel, 1 .. 3.
float size_of(int channel) {
  return 1 + static_cast<float>(channel % 32) / 16;
}

/// Two KV heads with two queries each. Keys change sign from token to token; head 1 is twice as
/// large. Queries are their inverse to the third power.
KvMoments uneven() {
  std::vector<float> q, k;
  for (int head = 0; head < 4; ++head)
    for (int i = 0; i < 64; ++i) q.push_back(1 / std::pow(size_of(i), 3.0f));
  for (int head = 0; head < 2; ++head)
    for (int i = 0; i < 64; ++i) k.push_back(static_cast<float>(head + 1) * size_of(i));
  KvMoments moments(kShape);
  for (int step = 0; step < 4; ++step) {
    moments.add({7, 1, 2, q.data(), k.data(), k.data()});
    for (float& x : k) x = -x;
  }
  return moments;
}

}  // namespace

TEST_CASE("AttentionShape: channels that RoPE turns together") {
  CHECK(kShape.partner(0) == 32);
  CHECK(kShape.partner(63) == 31);
  const AttentionShape interleaved{4, 64, 64, true}, partial{4, 128, 64, false};
  CHECK(interleaved.partner(0) == 1);
  CHECK(interleaved.partner(63) == 62);
  CHECK(partial.partner(32) == 0);
  CHECK(partial.partner(64) == 64);
}

TEST_CASE("KvMoments: sums by KV head, queries in the sum of theirs") {
  const KvMoments moments = uneven();
  REQUIRE(moments.layers().size() == 1);
  const LayerMoments& layer = moments.layers().at(7);
  CHECK(layer.n_tokens == 4);
  CHECK(layer.q2[0] == doctest::Approx(8));  // two queries, four tokens
  CHECK(layer.k2[16] == doctest::Approx(4 * 4));
  CHECK(layer.k2[64 + 16] == doctest::Approx(4 * 16));
  CHECK(layer.v2[64 + 16] == doctest::Approx(4 * 16));
  CHECK(layer.k1[16] == 0);
  CHECK(layer.key_mean_share() == 0);
  KvMoments same(kShape);
  const std::vector<float> ones(256, 1.0f);
  same.add({0, 1, 2, ones.data(), ones.data(), ones.data()});
  CHECK(same.layers().at(0).key_mean_share() == doctest::Approx(1));
}

TEST_CASE("balanced_gains: make the noise smallest, and pairs share theirs") {
  const KvMoments moments = uneven();
  const LayerMoments& layer = moments.layers().at(7);
  const std::vector<double> gains = balanced_gains(layer, kShape, GainScope::per_layer);
  REQUIRE(gains.size() == 64);
  for (std::size_t i = 0; i < 32; ++i) {
    CHECK(gains[i] == gains[i + 32]);
    // (q2 / k2)^(1/4) with q2 = 16 x^-6 and k2 = 20 x^2
    const double x = static_cast<double>(size_of(static_cast<int>(i)));
    CHECK(gains[i] == doctest::Approx(std::pow(0.8, 0.25) / (x * x)));
  }
  const double best = layer.noise(kShape, gains);
  CHECK(best < 0.8);
  CHECK(layer.noise(kShape, std::vector<double>(64, 3.0)) == doctest::Approx(1));
  for (const std::size_t pair : {0, 3, 20}) {
    std::vector<double> other = gains;
    other[pair] *= 1.1;
    other[pair + 32] *= 1.1;
    CHECK(layer.noise(kShape, other) > best);
  }
  const std::vector<double> heads = balanced_gains(layer, kShape, GainScope::per_head);
  REQUIRE(heads.size() == 128);
  CHECK(heads[64 + 1] == doctest::Approx(heads[1] / std::sqrt(2.0)));
}

TEST_CASE("balanced_gains: a channel that is always zero stays as it is") {
  std::vector<float> q(256, 1.0f), k(128, 1.0f);
  k[5] = k[37] = k[64 + 5] = k[64 + 37] = 0;
  q[6] = q[38] = 0;
  KvMoments moments(kShape);
  moments.add({0, 1, 2, q.data(), k.data(), k.data()});
  const auto gains = balanced_gains(moments.layers().at(0), kShape, GainScope::per_layer);
  CHECK(gains[5] == 1);
  CHECK(gains[37] == 1);
  CHECK(std::isfinite(gains[6]));
}

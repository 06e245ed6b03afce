#include "converters/induction.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "runtime/base/checksum.h"

namespace runnel::converters {

std::vector<std::int32_t> repeated_tokens(std::span<const std::int32_t> text, std::size_t n) {
  if (text.empty()) return {};
  const std::set<std::int32_t> distinct(text.begin() + 1, text.end());
  std::vector<std::int32_t> tokens(distinct.begin(), distinct.end());
  std::ranges::sort(tokens, {}, [](std::int32_t id) {  // scrambled, the same on every machine
    Checksum sum;
    sum.add(std::as_bytes(std::span(&id, 1)));
    return sum.value();
  });
  tokens.resize(std::min(n, tokens.size()));
  std::vector<std::int32_t> twice{text.front()};
  for (int copy = 0; copy < 2; ++copy) twice.insert(twice.end(), tokens.begin(), tokens.end());
  return twice;
}

void InductionScores::add(const KvMoments::Rows& rows) {
  Layer& layer = layers_[rows.layer];
  layer.n_kv_heads = rows.n_kv_heads;
  layer.q.insert(layer.q.end(), rows.q, rows.q + rows.n_rows * shape_.n_heads * shape_.head_dim);
  layer.k.insert(layer.k.end(), rows.k, rows.k + rows.n_rows * rows.n_kv_heads * shape_.head_dim);
}

double InductionScores::score(const Layer& layer, std::int64_t query_head) const {
  const std::int64_t dh = shape_.head_dim, q_cols = shape_.n_heads * dh;
  const std::int64_t k_cols = layer.n_kv_heads * dh;
  const std::int64_t head = query_head / (shape_.n_heads / layer.n_kv_heads);
  const double scale = 1 / std::sqrt(static_cast<double>(dh));
  double sum = 0;
  std::vector<double> weights(static_cast<std::size_t>(2 * n_tokens_ + 1));
  for (std::int64_t t = n_tokens_ + 1; t <= 2 * n_tokens_; ++t) {
    const float* q = layer.q.data() + t * q_cols + query_head * dh;
    double top = -HUGE_VAL, all = 0;
    for (std::int64_t i = 0; i <= t; ++i) {
      const float* k = layer.k.data() + i * k_cols + head * dh;
      double dot = 0;
      for (std::int64_t c = 0; c < dh; ++c)
        dot += static_cast<double>(q[c]) * static_cast<double>(k[c]);
      weights[static_cast<std::size_t>(i)] = dot * scale;
      top = std::max(top, dot * scale);
    }
    for (std::int64_t i = 0; i <= t; ++i)
      all += std::exp(weights[static_cast<std::size_t>(i)] - top);
    for (const std::int64_t target : {t - n_tokens_, t - n_tokens_ + 1})
      sum += std::exp(weights[static_cast<std::size_t>(target)] - top) / all;
  }
  return sum / static_cast<double>(n_tokens_);
}

std::vector<std::vector<double>> InductionScores::scores() const {
  std::vector<std::vector<double>> all;
  for (const auto& [number, layer] : layers_) {
    const std::int64_t group = shape_.n_heads / layer.n_kv_heads;
    std::vector<double>& best = all.emplace_back(static_cast<std::size_t>(layer.n_kv_heads));
    for (std::int64_t h = 0; h < shape_.n_heads; ++h) {
      double& of_head = best[static_cast<std::size_t>(h / group)];
      of_head = std::max(of_head, score(layer, h));
    }
  }
  return all;
}

std::vector<std::uint64_t> streaming_heads(const std::vector<std::vector<double>>& scores,
                                           double least) {
  std::vector<std::uint64_t> masks;
  for (const std::vector<double>& layer : scores) {
    std::uint64_t& mask = masks.emplace_back(0);
    const auto best = std::ranges::max_element(layer) - layer.begin();
    for (std::size_t h = 0; h < std::min<std::size_t>(layer.size(), 64); ++h)
      if (layer[h] < least && static_cast<std::ptrdiff_t>(h) != best) mask |= std::uint64_t{1} << h;
  }
  return masks;
}

}  // namespace runnel::converters

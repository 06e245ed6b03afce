#include "converters/kv_moments.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "quant/kv_format.h"

namespace runnel::converters {
namespace {

void add_row(const float* row, std::int64_t n, double* sums, double* squares) {
  for (std::int64_t i = 0; i < n; ++i) {
    const double x = static_cast<double>(row[i]);
    squares[i] += x * x;
    if (sums != nullptr) sums[i] += x;
  }
}

/// A gain for a pair, kept within what f16 keys and queries bear.
double gain(double q2, double k2) {
  constexpr double kMost = 16;
  if (!(q2 > 0) || !(k2 > 0)) return 1;
  return std::clamp(std::pow(q2 / k2, 0.25), 1 / kMost, kMost);
}

double mean_share(const std::vector<double>& sums,
                  const std::vector<double>& squares,
                  std::int64_t n) {
  double mean = 0;
  for (const double sum : sums) mean += sum * sum / static_cast<double>(n);
  const double all = std::accumulate(squares.begin(), squares.end(), 0.0);
  return all > 0 ? mean / all : 0;
}

}  // namespace

std::int64_t AttentionShape::partner(std::int64_t channel) const {
  if (channel >= rotary_dim) return channel;
  if (interleaved) return channel ^ 1;
  const std::int64_t half = rotary_dim / 2;
  return channel < half ? channel + half : channel - half;
}

double LayerMoments::noise(const AttentionShape& shape, const std::vector<double>& gains) const {
  double before = 0, after = 0;
  const std::int64_t n = n_kv_heads * shape.head_dim;
  const auto n_gains = static_cast<std::int64_t>(gains.size());
  for (std::int64_t first = 0; first < n; first += quant::kKvChannels) {
    double q = 0, k = 0, scaled_q = 0, scaled_k = 0;  // of one vector, which is transformed whole
    for (std::int64_t i = first; i < std::min(n, first + quant::kKvChannels); ++i) {
      const auto at = static_cast<std::size_t>(i);
      const double t = gains[static_cast<std::size_t>(i % n_gains)];
      q += q2[at];
      k += k2[at];
      scaled_q += q2[at] / (t * t);
      scaled_k += k2[at] * t * t;
    }
    before += q * k;
    after += scaled_q * scaled_k;
  }
  return before > 0 ? std::sqrt(after / before) : 1;
}

double LayerMoments::key_mean_share() const {
  return mean_share(k1, k2, n_tokens);
}

double LayerMoments::value_mean_share() const {
  return mean_share(v1, v2, n_tokens);
}

void KvMoments::add(const Rows& rows) {
  LayerMoments& layer = layers_[rows.layer];
  const std::int64_t n = rows.n_kv_heads * shape_.head_dim;
  if (layer.k2.empty()) {
    layer.n_kv_heads = rows.n_kv_heads;
    for (std::vector<double>* sums : {&layer.q2, &layer.k2, &layer.k1, &layer.v2, &layer.v1})
      sums->resize(static_cast<std::size_t>(n));
  }
  layer.n_tokens += rows.n_rows;
  const std::int64_t group = shape_.n_heads / rows.n_kv_heads;
  for (std::int64_t row = 0; row < rows.n_rows; ++row) {
    add_row(rows.k + row * n, n, layer.k1.data(), layer.k2.data());
    add_row(rows.v + row * n, n, layer.v1.data(), layer.v2.data());
    for (std::int64_t head = 0; head < shape_.n_heads; ++head)
      add_row(rows.q + (row * shape_.n_heads + head) * shape_.head_dim, shape_.head_dim, nullptr,
              layer.q2.data() + head / group * shape_.head_dim);
  }
}

std::vector<double> balanced_gains(const LayerMoments& moments,
                                   const AttentionShape& shape,
                                   GainScope scope) {
  const std::int64_t heads = moments.n_kv_heads, d = shape.head_dim;
  const std::int64_t rows = scope == GainScope::per_head ? heads : 1;
  std::vector<double> gains(static_cast<std::size_t>(rows * d));
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t i = 0; i < d; ++i) {
      double q2 = 0, k2 = 0;
      for (std::int64_t head = row; head < heads; head += rows == 1 ? 1 : heads)
        for (const std::int64_t channel : {i, shape.partner(i)}) {
          q2 += moments.q2[static_cast<std::size_t>(head * d + channel)];
          k2 += moments.k2[static_cast<std::size_t>(head * d + channel)];
        }
      gains[static_cast<std::size_t>(row * d + i)] = gain(q2, k2);
    }
  return gains;
}

}  // namespace runnel::converters

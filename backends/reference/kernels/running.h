// Online softmax of one (row, head), seen up to some key.
// SOURCE: Milakov and Gimelshein, arXiv:1805.02867, algorithm 3.
#pragma once
#include <cmath>
#include <cstdint>

namespace runnel::reference {

struct Running {
  float maximum;
  float sum;
};
static_assert(sizeof(Running) == 2 * sizeof(float));

/// Adds a key's value with its score; out [head_dim] is rescaled when the maximum grows.
inline void add_key(
    Running& state, float* out, float score, const float* v, std::int64_t head_dim) {
  if (score > state.maximum) {
    const float shrink = std::exp(state.maximum - score);
    state.maximum = score;
    state.sum *= shrink;
    for (std::int64_t i = 0; i < head_dim; ++i) out[i] *= shrink;
  }
  const float weight = std::exp(score - state.maximum);
  state.sum += weight;
  for (std::int64_t i = 0; i < head_dim; ++i) out[i] += weight * v[i];
}

}  // namespace runnel::reference

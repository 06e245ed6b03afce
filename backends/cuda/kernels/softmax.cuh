// Online softmax of one (row, head) over some of its keys, and the merging of two.
// SOURCE: Milakov and Gimelshein, arXiv:1805.02867, algorithm 3.
#pragma once
#include <cmath>

namespace runnel::cuda {

struct Running {
  float maximum = -INFINITY, sum = 0.0f;

  /// Takes in a score; what was summed up before must be multiplied with `shrink`.
  __device__ float add(float score, float& shrink) {
    const float most = fmaxf(maximum, score);
    shrink = maximum == -INFINITY ? 0.0f : expf(maximum - most);
    const float weight = score == -INFINITY ? 0.0f : expf(score - most);
    maximum = most;
    sum = sum * shrink + weight;
    return weight;
  }
  /// Takes in another state; sums of this one shrink by the first, of the other by the second.
  __device__ float2 merge(const Running& other) {
    const float most = fmaxf(maximum, other.maximum);
    const float a = maximum == -INFINITY ? 0.0f : expf(maximum - most);
    const float b = other.maximum == -INFINITY ? 0.0f : expf(other.maximum - most);
    maximum = most;
    sum = sum * a + other.sum * b;
    return {a, b};
  }
};

}  // namespace runnel::cuda

// Which rows a warp of matvec_held.cuh takes, and what becomes of their sums.
#pragma once
#include "backends/cuda/kernels/matvec_results.cuh"

namespace runnel::cuda {
namespace {

/// A lane's share of a set: unit `sub` of every `lanes` units of one of the set's rows.
struct Share {
  int sub, row, rows;
  __device__ explicit Share(const MatvecArgs& a)
      : sub(threadIdx.x % 32 % a.lanes), row(threadIdx.x % 32 / a.lanes), rows(32 / a.lanes) {}
  __device__ int result(int set) const { return set * rows + row; }
};

/// A lane's way through its rows: sets of 32 / lanes results, each in steps.
template <Combine combine>
struct Way {
  int set, u;  // u: unit of the row for the lane of sub = 0
  int unit;    // of the matrix: the lane's for u = 0
  Planes planes;

  __device__ void begin(const MatvecArgs& a, const Share& share, int units, int first) {
    set = first;
    u = 0;
    const int result = min(share.result(set), a.n_results - 1);
    const Place place = combine == Combine::rows ? place_of(a, result) : Place{0, result};
    if constexpr (combine == Combine::rows) planes = a.matrix[place.matrix].planes;
    unit = place.row * units + share.sub;
  }
  __device__ const Planes& from(const MatvecArgs& a, int part) const {
    if constexpr (combine == Combine::rows) return planes;
    return a.matrix[combine == Combine::swiglu ? part : 0].planes;
  }
};

/// What is added to a result, and where it goes.
template <Combine combine>
struct Tail {
  bool writes;
  const Matrix* m;
  int row;
  float added, bias;
  Taps taps;

  /// What no kernel of this step makes.
  __device__ void begin(const MatvecArgs& a, const Share& share, int set, const StepData* step) {
    const int result = share.result(set);
    writes = result < a.n_results && share.sub == 0;
    const Place place = place_of(a, min(result, a.n_results - 1));
    m = &a.matrix[place.matrix];
    row = place.row;
    bias = writes && m->bias != nullptr ? m->bias[row] : 0.0f;
    if constexpr (combine == Combine::conv)
      if (writes) taps.load(a, row, step);
  }
  __device__ void load() {
    added = writes && m->residual != nullptr ? m->residual[row] : 0.0f;
  }
  template <int parts>
  __device__ void finish(const MatvecArgs& a, const float (&sums)[parts]) const {
    if (!writes) return;
    float value = sums[0];
    if constexpr (combine == Combine::swiglu) value = silu(value) * sums[1];
    if constexpr (combine == Combine::conv)
      value = taps.convolve(a.conv.taps, value, sums[1], sums[2]);
    m->out[row] = added + (value + bias);
  }
};

}  // namespace
}  // namespace runnel::cuda

// Products of one row of x whose weights are under way before x is there: each lane copies the
// units that it will multiply into shared memory, some steps ahead, so that a kernel that waits for
// the one before it has its first weights already, and the memory never idles between kernels. The
// sums are those of matvec_kernel.cuh, bit for bit: same lanes, same order.
#pragma once
#include <algorithm>

#include "backends/cuda/kernels/held_units.cuh"

namespace runnel::cuda {
namespace {

/// Shared memory of a block: blocks of two neighbouring kernels share a multiprocessor.
constexpr int kHeldBytes = 112 * 1024;

constexpr int parts_of(Combine combine) {
  return combine == Combine::conv ? 3 : combine == Combine::swiglu ? 2 : 1;
}
/// The ring of a block: its steps, with units of x of `row_parts`, and x fit half a
/// multiprocessor, so that blocks of two neighbouring kernels are there together.
template <class Format, Combine combine, int row_parts>
struct HeldRing {
  using X = typename Weights<Format>::template X<1>;
  static constexpr int kParts = parts_of(combine), kAtOnce = combine == Combine::rows ? 2 : 1;
  static constexpr int kPart = kAtOnce * Held<Format>::kBytes, kStep = kParts * kPart;
  static constexpr int kX = X::bytes(4 * kMatvecThreads * row_parts);
  static constexpr int kSteps = std::clamp((kHeldBytes - kX) / kWarps / kStep, 2, 12);
  static constexpr int kBytes = kSteps * kStep * kWarps;
};

template <class Format, Combine combine, int row_parts>
__global__ void __launch_bounds__(kMatvecThreads, 2)
    held_kernel(const __grid_constant__ MatvecArgs a, const StepData* step) {
  using H = Held<Format>;
  using Ring = HeldRing<Format, combine, row_parts>;
  constexpr int kAtOnce = Ring::kAtOnce;
  extern __shared__ uint4 shared[];
  allow_next();
  auto* const base = reinterpret_cast<std::byte*>(shared);
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const Share share(a);
  const int units = a.k / H::kValues, stride = static_cast<int>(gridDim.x) * kWarps;
  const int n_sets = (a.n_results + share.rows - 1) / share.rows;
  const int first = warp * static_cast<int>(gridDim.x) + static_cast<int>(blockIdx.x);
  const int part_units = combine == Combine::conv ? a.matrix[0].rows / 3 * units : 0;
  std::byte* const ring = base + warp * Ring::kSteps * Ring::kStep;
  const Cells cells{ring + lane * H::kCodes, ring + lane * 8, ring + lane * 4};

  const auto copy = [&](Way<combine>& way, int at) {
    if (way.set < n_sets) {
#pragma unroll
      for (int b = 0; b < kAtOnce; ++b) {
        const int u = way.u + b * a.lanes;
#pragma unroll
        for (int part = 0; part < Ring::kParts; ++part) {
          const int to = at + part * Ring::kPart + b * H::kBytes;
          H::copy(cells + to, way.from(a, part), way.unit + u + part * part_units, share,
                  units - u);
        }
      }
      way.u += kAtOnce * a.lanes;
      if (way.u >= units) way.begin(a, share, units, way.set + stride);
    }
    commit_copies();
  };

  Way<combine> ahead;
  ahead.begin(a, share, units, first);
#pragma unroll 1
  for (int s = 0; s < Ring::kSteps; ++s) copy(ahead, s * Ring::kStep);
  Tail<combine> tail;
  tail.begin(a, share, first, step);
  RowPart<row_parts> norm;
  if (a.norm != nullptr) norm.load(a.norm, a.k);
  wait_previous();
  tail.load();
  typename Ring::X x(base + Ring::kBytes, a.k);
  const RowScales<1> scale = load_x<typename Ring::X, 1>(x, a, norm, 0, 1);

  int at = 0;
  for (int set = first; set < n_sets; set += stride) {
    float sums[Ring::kParts] = {};
    const int row_unit = tail.row * units;  // only its lowest bits matter
    for (int u = share.sub; u - share.sub < units; u += kAtOnce * a.lanes) {
      wait_copies<Ring::kSteps - 1>();
#pragma unroll
      for (int b = 0; b < kAtOnce; ++b)
        if (u + b * a.lanes < units) {
          const typename H::XPart x_part = H::load_x(x, u + b * a.lanes);
#pragma unroll
          for (int part = 0; part < Ring::kParts; ++part) {
            const int from = at + part * Ring::kPart + b * H::kBytes;
            H::add(cells + from, row_unit + u + b * a.lanes + part * part_units, x_part,
                   sums[part]);
          }
        }
      copy(ahead, at);
      at = at + Ring::kStep == Ring::kSteps * Ring::kStep ? 0 : at + Ring::kStep;
    }
    __syncwarp();
    reduce(sums, a.lanes);
#pragma unroll
    for (float& sum : sums) sum *= scale.of[0];
    tail.finish(a, sums);
    if (set + stride < n_sets) {
      tail.begin(a, share, set + stride, step);
      tail.load();
    }
  }
}

template <class Format, Combine combine, int row_parts>
cudaError_t start_held(const MatvecArgs& args, const Launch& launch) {
  using Ring = HeldRing<Format, combine, row_parts>;
  const std::int64_t sets = ceil_div(args.n_results, 32 / args.lanes);
  // A block on every multiprocessor: were some left free, the next kernel would put two there.
  return start(launch, held_kernel<Format, combine, row_parts>,
               grid_of(std::min<std::int64_t>(sets, launch.caps.n_sms)), kMatvecThreads,
               Ring::kBytes + Ring::X::bytes(args.k), args, launch.step);
}
template <class Format, Combine combine>
cudaError_t start_held(const MatvecArgs& args, const Launch& launch) {
  if (args.k <= 4 * kMatvecThreads) return start_held<Format, combine, 1>(args, launch);
  return start_held<Format, combine, kRowParts>(args, launch);
}

template <class Format, Combine combine>
constexpr int kMostHeld =
    HeldRing<Format, combine, kRowParts>::kBytes + HeldRing<Format, combine, kRowParts>::kX;

template <class Format>
bool is_held(const MatvecArgs& args, const Launch& launch) {
  return holds(args.type) && launch.caps.sm >= 80 && args.expert_ids == nullptr &&
         fits_registers(args.k) && args.k % Held<Format>::kValues == 0 &&
         launch.caps.shared_bytes >=
             1024 + std::max({kMostHeld<Format, Combine::rows>, kMostHeld<Format, Combine::swiglu>,
                              kMostHeld<Format, Combine::conv>});
}

template <class Format>
cudaError_t run_held(const MatvecArgs& args, const Launch& launch) {
  if (args.combine == Combine::conv) return start_held<Format, Combine::conv>(args, launch);
  if (args.combine == Combine::swiglu) return start_held<Format, Combine::swiglu>(args, launch);
  return start_held<Format, Combine::rows>(args, launch);
}

}  // namespace
}  // namespace runnel::cuda

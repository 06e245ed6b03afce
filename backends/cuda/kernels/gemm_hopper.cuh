// Products of matrices with many rows of x on Hopper's tensor cores: f16 operands, f32 sums. A
// block makes 128 results of up to 256 rows of x in steps of 64 of K: eight warps decode tiles of W
// into shared memory and have tiles of x (tiles.cuh) copied there, four steps ahead; eight others
// multiply, 64 results each. The blocks of a cluster share K; their sums are added in their order
// through shared memory. For swiglu every other eight of the 128 results are of the second matrix.
// A row's result depends on the number of blocks that share K, which is the plan's, not the step's.
#pragma once
#include "backends/cuda/kernels/gemm_hopper_results.cuh"
#include "backends/cuda/kernels/gemm_hopper_tile.cuh"

namespace runnel::cuda {
namespace hopper {

template <class Tile, bool kSwiglu>
__global__ void __launch_bounds__(kThreads, 1)
    gemm_kernel(const __grid_constant__ Args a, const StepData* step) {
  extern __shared__ std::uint8_t shared[];
  Pipe pipe;
  pipe.tiles = reinterpret_cast<__half*>(shared + (1024 - shared_address(shared) % 1024) % 1024);
  pipe.full = reinterpret_cast<std::uint64_t*>(pipe.tiles + kStages * kStageElems);
  pipe.free = pipe.full + kStages;
  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; ++i) {
      make_barrier(pipe.full + i, 128 / 32 + 1);
      make_barrier(pipe.free + i, kConsumers / 128);
    }
    publish_barriers();
  }
  begin_step();
  Share share{};
  if (!find_rows(a, step, share)) return;  // with all blocks of the cluster
  const int each = (a.steps + a.splits - 1) / a.splits;
  share.begin = min(static_cast<int>(blockIdx.z) * each, a.steps);
  share.end = min(share.begin + each, a.steps);
  __syncthreads();
  // Registers: 256 x 88 + 256 x 168 = all there are.
  if (threadIdx.x < kProducers) {
    give_registers<88>();
    produce<Tile, kSwiglu>(a, share, pipe);
    sync_cluster();
    sync_cluster();
  } else {
    take_registers<168>();
    if (share.rows <= 64)
      consume<64>(share, pipe);
    else if (share.rows <= 128)
      consume<128>(share, pipe);
    else
      consume<256>(share, pipe);
    sync_cluster();
    write_results<kSwiglu>(a, share, reinterpret_cast<const float*>(pipe.tiles));
    sync_cluster();
  }
}

/// How a product is launched; the launch's configuration points into it.
struct Shape {
  cudaLaunchConfig_t config{};
  cudaLaunchAttribute attributes[2]{};

  Shape(const Args& a, std::int64_t row_blocks, int columns, const Launch& launch) {
    config.gridDim = grid_of(row_blocks, ceil_div(a.n, columns), a.splits);
    config.blockDim = dim3(kThreads);
    config.dynamicSmemBytes = kSharedBytes;
    config.stream = launch.stream;
    attributes[0].id = cudaLaunchAttributeClusterDimension;
    attributes[0].val.clusterDim.x = attributes[0].val.clusterDim.y = 1;
    attributes[0].val.clusterDim.z = static_cast<unsigned>(a.splits);
    attributes[1].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[1].val.programmaticStreamSerializationAllowed = 1;
    config.attrs = attributes;
    config.numAttrs = launch.overlap ? 2 : 1;
  }
  Shape(const Shape&) = delete;
  Shape& operator=(const Shape&) = delete;
};

/// Sets rows of a block and blocks of a cluster to what takes the fewest steps one after the other.
/// Beginning and ending cost a block as much as six steps of 256 rows; one of 128 rows costs a
/// little more than half of one of 256. How many clusters run at once is the device's answer.
template <class Kernel>
cudaError_t choose(Kernel kernel, Args& a, int columns, int max_rows, const Launch& launch) {
  std::int64_t least = 0;
  Args best = a;
  for (a.splits = 1; a.splits <= 8 && (a.splits == 1 || a.steps >= 4 * a.splits); a.splits *= 2) {
    int at_once = 0;
    Shape shape(a, 1, columns, launch);
    shape.config.numAttrs = 1;
    const cudaError_t error = cudaOccupancyMaxActiveClusters(&at_once, kernel, &shape.config);
    if (error != cudaSuccess) return error;
    if (at_once < 1) continue;
    for (a.block_tokens = kMostTokens; a.block_tokens >= 128; a.block_tokens /= 2) {
      const std::int64_t blocks = ceil_div(max_rows, a.block_tokens) * ceil_div(a.n, columns);
      const int step_cost = a.block_tokens == kMostTokens ? 20 : 12;
      const std::int64_t cost = ceil_div(blocks, at_once) *
                                (ceil_div(a.steps, a.splits) * step_cost + 120 + 10 * a.splits);
      if (least == 0 || cost < least) {
        best = a;
        least = cost;
      }
    }
  }
  a = best;
  return least == 0 ? cudaErrorInvalidConfiguration : cudaSuccess;
}

/// `row_blocks`: of experts' rows; 0: choose() says.
template <class Tile, bool kSwiglu>
cudaError_t launch_gemm(const Args& given,
                        std::int64_t row_blocks,
                        int max_rows,
                        const Launch& launch) {
  constexpr int kColumns = kSwiglu ? kCols / 2 : kCols;
  Args args = given;
  const auto kernel = gemm_kernel<Tile, kSwiglu>;
  cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                           static_cast<int>(kSharedBytes));
  if (error == cudaSuccess && row_blocks == 0) {
    error = choose(kernel, args, kColumns, max_rows, launch);
    row_blocks = ceil_div(max_rows, args.block_tokens);
  }
  if (error != cudaSuccess) return error;
  const Shape shape(args, row_blocks, kColumns, launch);
  return cudaLaunchKernelEx(&shape.config, kernel, args, launch.step);
}

/// Where the parts of a step's scratch are.
struct Scratch {
  __half* x;
  float* scales;
  std::int32_t* after;
};
inline Scratch scratch_of(const Step& step, std::int64_t places, int steps) {
  auto* const x = reinterpret_cast<__half*>(step.scratch);
  auto* const scales = reinterpret_cast<float*>(x + places * steps * kTileDepth);
  return {x, scales, reinterpret_cast<std::int32_t*>(scales + places)};
}
inline std::int64_t places_of(std::int64_t rows) {
  return ceil_div(rows, kTileRows) * kTileRows;
}

/// Products of rows with one matrix each, of the types that with_tile() knows; as launch_gemm().
cudaError_t launch_rows(quant::DType type,
                        const Args& args,
                        std::int64_t row_blocks,
                        int max_rows,
                        const Launch& launch);

template <bool kSwiglu>
cudaError_t run_step(const Step& step, const Launch& launch) {
  const Operand &x = step.product.x, &w = step.product.w[0];
  const int max_rows = x.rows();
  Args args{};
  args.k = w.cols();
  args.n = static_cast<int>(w.shape[0]);
  args.steps = static_cast<int>(ceil_div(args.k, kTileDepth));
  const Scratch scratch = scratch_of(step, places_of(max_rows), args.steps);
  if (!step.product.x_ready) {
    const cudaError_t error = to_tiles(
        {x.f32(), scratch.x, scratch.scales, args.k, args.steps, max_rows, x.used(), nullptr, 1},
        launch);
    if (error != cudaSuccess) return error;
  }
  args.x = scratch.x;
  args.scales = scratch.scales;
  args.w = matrix_of(w, nullptr).planes;
  if (kSwiglu) args.up = matrix_of(step.product.w[1], nullptr).planes;
  args.out = step.product.out[0].f32();
  args.bias = step.product.bias[0].f32();
  args.residual = step.product.residual.f32();
  args.rows = x.used();
  if constexpr (kSwiglu)
    return with_tile(
        w.dtype, [&]<class Tile>() { return launch_gemm<Tile, true>(args, 0, max_rows, launch); });
  else
    return launch_rows(w.dtype, args, 0, max_rows, launch);
}

}  // namespace hopper
}  // namespace runnel::cuda

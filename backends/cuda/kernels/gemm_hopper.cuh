// Products of matrices with many rows of x on Hopper's tensor cores: f16 operands, f32 sums. A
// block makes 128 results of up to 256 rows of x in steps of 64 of K: eight warps decode tiles of W
// into shared memory and have tiles of x (tiles.cuh) copied there, four steps ahead; eight others
// multiply, 64 results each. The blocks of a cluster share K; their sums are added in their order
// through shared memory. For swiglu every other eight of the 128 results are of the second matrix.
// A row's result depends on the number of blocks that share K, which is the plan's, not the step's.
#pragma once
#include <type_traits>

#include "backends/cuda/kernels/gemm_hopper_weights.cuh"
#include "backends/cuda/kernels/hopper.cuh"
#include "backends/cuda/kernels/matvec.cuh"
#include "backends/cuda/kernels/tiles.cuh"

namespace runnel::cuda {
namespace hopper {

constexpr int kProducers = 256, kConsumers = 256, kThreads = kProducers + kConsumers;
constexpr int kCols = 128;        // results of a block, in N
constexpr int kMostTokens = 256;  // of a block
constexpr int kStages = 4;        // of tiles in shared memory
constexpr int kWElems = kCols * kTileDepth, kXElems = kMostTokens * kTileDepth;
constexpr int kStageElems = kWElems + kXElems;
constexpr int kSumStride = kCols + 4;  // f32: rows of sums free of bank conflicts
constexpr std::size_t kSharedBytes = kStages * kStageElems * sizeof(__half) + 1024 + 128;
static_assert(kMostTokens * kSumStride * sizeof(float) <= kStages * kStageElems * sizeof(__half));

struct Args {
  const __half* x;      // tiles
  const float* scales;  // [places]
  Planes w, up;         // up: swiglu
  float* out;           // [rows, n]
  const float *bias, *residual;
  int n, k, steps;   // steps: of 64 of K
  int splits;        // of K, blocks of a cluster
  int block_tokens;  // rows of x of a block: 128 or 256
  Rows rows;
  Sorted sorted;  // of products with experts
  int n_experts;  // 0: W is one matrix
};

/// What a block works on.
struct Share {
  int first, rows;         // places of x
  int expert, begin, end;  // steps
};

/// Row of W (and whether of the second matrix) that result c of a block is.
template <bool kSwiglu>
__device__ int weight_row(int c, bool& second) {
  const int block = static_cast<int>(blockIdx.y);
  second = kSwiglu && c / 8 % 2 == 1;
  return kSwiglu ? block * (kCols / 2) + c / 16 * 8 + c % 8 : block * kCols + c;
}

/// The block's rows of x; false: it has none.
__device__ inline bool find_rows(const Args& a, const StepData* step, Share& share) {
  int block = static_cast<int>(blockIdx.x);
  if (a.n_experts == 0) {
    share.first = block * a.block_tokens;
    share.rows = min(a.block_tokens, rows_in_use(a.rows, step) - share.first);
    return share.rows > 0;
  }
  for (int e = 0; e < a.n_experts; ++e) {
    const int count = a.sorted.count[e], blocks = (count + kMostTokens - 1) / kMostTokens;
    if (block < blocks) {
      share.expert = e;
      share.first = a.sorted.first[e] + block * kMostTokens;
      share.rows = min(kMostTokens, count - block * kMostTokens);
      return true;
    }
    block -= blocks;
  }
  return false;
}

struct Pipe {
  __half* tiles;               // [kStages][W, x]
  std::uint64_t *full, *free;  // [kStages]
};

/// Four warps: every other tile of everything that the others multiply.
template <class Tile, bool kSwiglu>
__device__ void produce(const Args& a, const Share& share, const Pipe& pipe) {
  const int thread = static_cast<int>(threadIdx.x) % 128;
  Tile w;
  w.begin(
      [&](int c) {
        bool second;
        const int row = weight_row<kSwiglu>(c, second);
        return Column{second ? &a.up : &a.w, share.expert * a.n + min(row, a.n - 1)};
      },
      a.k, thread);
  const int last = a.steps - 1, n_tiles = (share.rows + kTileRows - 1) / kTileRows;
  const int group = static_cast<int>(threadIdx.x) / 128;
  const __half* const x = a.x + std::int64_t{share.first / kTileRows} * a.steps * kTileElems;
  w.fetch(min(share.begin + group, last));
  for (int tile = share.begin + group; tile < share.end; tile += kProducers / 128) {
    const int turn = tile - share.begin, stage = turn % kStages;
    __half* const to = pipe.tiles + stage * kStageElems;
    wait_barrier(pipe.free + stage, turn / kStages % 2 ^ 1);
    if (thread == 0) {
      constexpr int kBytes = kTileElems * static_cast<int>(sizeof(__half));
      arrive_and_expect(pipe.full + stage, n_tiles * kBytes);
      for (int i = 0; i < n_tiles; ++i)
        copy_bulk(to + kWElems + i * kTileElems,
                  x + (std::int64_t{i} * a.steps + tile) * kTileElems, kBytes, pipe.full + stage);
    }
    __syncwarp();
    w.store(to, thread);
    publish_shared();
    __syncwarp();
    if (thread % 32 == 0) arrive(pipe.full + stage);
    w.fetch(min(tile + kProducers / 128, last));
  }
}

/// Four of the other eight warps: sums of 64 results and kTokens rows of x, left in shared memory
/// as [token][result].
template <int kTokens>
__device__ void consume(const Share& share, const Pipe& pipe) {
  const int group = static_cast<int>(threadIdx.x) / 128 - kProducers / 128, lane = threadIdx.x % 32;
  // Instructions of 128 rows of x: with more, all threads of the kernel would need more registers
  // than there are.
  constexpr int kEach = kTokens < 128 ? kTokens : 128, kParts = kTokens / kEach;
  float acc[kParts][kEach / 2] = {};
  for (int turn = 0; turn < share.end - share.begin; ++turn) {
    const int stage = turn % kStages;
    const __half* const tiles = pipe.tiles + stage * kStageElems;
    wait_barrier(pipe.full + stage, turn / kStages % 2);
    const std::uint64_t w = describe(tiles + group * 64 * kTileDepth);
    const std::uint64_t x = describe(tiles + kWElems);
    begin_products();
#pragma unroll
    for (int d = 0; d < kTileDepth / 16; ++d)  // 32 bytes further, in units of 16
#pragma unroll
      for (int p = 0; p < kParts; ++p)
        multiply_async(acc[p], w + 2 * d, x + 2 * d + p * (kEach * kTileDepth * 2 / 16));
    commit_products();
    wait_products<1>();
    if (turn > 0 && threadIdx.x % 128 == 0) arrive(pipe.free + (turn - 1) % kStages);
  }
  wait_products<0>();
  // All tiles are read, by both groups, before sums take their place.
  asm volatile("bar.sync 1, %0;" ::"n"(kConsumers) : "memory");
  float* const sums = reinterpret_cast<float*>(pipe.tiles);
  const int row = group * 64 + static_cast<int>(threadIdx.x) % 128 / 32 * 16 + lane / 4;
#pragma unroll
  for (int p = 0; p < kParts; ++p)
#pragma unroll
    for (int i = 0; i < kEach / 2; ++i) {
      const int token = p * kEach + i / 4 * 8 + lane % 4 * 2 + i % 2;
      sums[token * kSumStride + row + i / 2 % 2 * 8] = acc[p][i];
    }
}

__device__ inline float4 operator+(const float4& a, const float4& b) {
  return {a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w};
}
__device__ inline float4 operator*(const float4& a, float b) {
  return {a.x * b, a.y * b, a.z * b, a.w * b};
}
__device__ inline float silu(float x) {
  return x / (1.0f + expf(-x));
}

/// Four sums of all blocks of the cluster.
__device__ inline float4 whole_sum(const Args& a, const float* sums) {
  float4 all = load_of_block(sums, 0);
  for (int s = 1; s < a.splits; ++s) all = all + load_of_block(sums, s);
  return all;
}

/// The warps that multiply: each block of the cluster writes the results of its part of the rows.
template <bool kSwiglu>
__device__ void write_results(const Args& a, const Share& share, const float* sums) {
  constexpr int kLanes = kSwiglu ? 16 : 32;  // four results each
  const int rank = static_cast<int>(blockIdx.z), each = (share.rows + a.splits - 1) / a.splits;
  const int end = min((rank + 1) * each, share.rows), lane = threadIdx.x % kLanes;
  const int c = kSwiglu ? lane / 2 * 16 + lane % 2 * 4 : lane * 4;
  bool second;
  const int n = weight_row<kSwiglu>(c, second);
  if (n >= a.n) return;
  for (int t = rank * each + static_cast<int>(threadIdx.x) % kConsumers / kLanes; t < end;
       t += kConsumers / kLanes) {
    const float scale = a.scales[share.first + t];
    float4 value = whole_sum(a, sums + t * kSumStride + c) * scale;
    if (kSwiglu) {
      const float4 up = whole_sum(a, sums + t * kSumStride + c + 8) * scale;
      value = {silu(value.x) * up.x, silu(value.y) * up.y, silu(value.z) * up.z,
               silu(value.w) * up.w};
    }
    const int row = a.n_experts > 0 ? a.sorted.row[share.first + t] : share.first + t;
    const std::int64_t at = std::int64_t{row} * a.n + n;
    if (a.bias != nullptr) value = value + *reinterpret_cast<const float4*>(a.bias + n);
    if (a.residual != nullptr) value = *reinterpret_cast<const float4*>(a.residual + at) + value;
    *reinterpret_cast<float4*>(a.out + at) = value;
  }
}

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

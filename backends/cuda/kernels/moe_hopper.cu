// moe_matmul of many rows on Hopper's tensor cores: the rows are sorted by expert, each expert's
// from a multiple of 64 places on, and gemm_hopper's kernel multiplies up to 256 of one expert at a
// time.
#include "backends/cuda/kernels/gemm_hopper.cuh"

namespace runnel::cuda {
namespace {

constexpr int kThreads = 1024;

struct SortArgs {
  const std::int32_t* ids;  // [rows]
  std::int32_t *first, *count, *row;
  int experts, places;
  Rows rows;
};

/// One block. Which place of its expert a row gets changes between runs; its result does not.
__global__ void __launch_bounds__(kThreads) sort_kernel(SortArgs a, const StepData* step) {
  __shared__ std::int32_t count[kMostExperts], next[kMostExperts];
  begin_step();
  const int n = rows_in_use(a.rows, step);
  for (int e = threadIdx.x; e < a.experts; e += kThreads) count[e] = 0;
  for (int i = threadIdx.x; i < a.places; i += kThreads) a.row[i] = -1;
  __syncthreads();
  for (int i = threadIdx.x; i < n; i += kThreads) {
    const int e = a.ids[i];
    if (e >= 0 && e < a.experts) atomicAdd(count + e, 1);
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    int first = 0;
    for (int e = 0; e < a.experts; ++e) {
      next[e] = a.first[e] = first;
      a.count[e] = count[e];
      first += (count[e] + kTileRows - 1) / kTileRows * kTileRows;
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < n; i += kThreads) {
    const int e = a.ids[i];
    if (e >= 0 && e < a.experts) a.row[atomicAdd(next + e, 1)] = i;
  }
}

/// Places that `rows` rows can take.
std::int64_t sorted_places(std::int64_t rows, std::int64_t experts) {
  return hopper::places_of(rows) + kTileRows * (experts < rows ? experts : rows);
}

}  // namespace

std::size_t moe_hopper_scratch(const Graph& graph, const Node& node) {
  const Value &w = graph.value(node.in[1]), &ids = graph.value(node.in[2]);
  const auto places = static_cast<std::size_t>(sorted_places(ids.shape.elems(), w.shape[0]));
  const auto padded = static_cast<std::size_t>(ceil_div(w.shape.cols(), kTileDepth) * kTileDepth);
  return places * (padded * sizeof(__half) + sizeof(float) + sizeof(std::int32_t)) +
         2 * static_cast<std::size_t>(w.shape[0]) * sizeof(std::int32_t);
}

cudaError_t moe_hopper(const Step& step, const Launch& launch) {
  const Operand &x = step.product.x, &w = step.product.w[0], &ids = step.product.expert_ids;
  hopper::Args args{};
  args.k = w.cols();
  args.n = static_cast<int>(w.shape[1]);
  args.n_experts = static_cast<int>(w.shape[0]);
  args.steps = static_cast<int>(ceil_div(args.k, kTileDepth));
  args.splits = 1;
  args.block_tokens = hopper::kMostTokens;
  args.rows = step.product.out[0].used();
  const std::int64_t rows = ids.shape.elems(), places = sorted_places(rows, w.shape[0]);
  const hopper::Scratch scratch = hopper::scratch_of(step, places, args.steps);
  std::int32_t* const first = scratch.after;
  std::int32_t *const count = first + args.n_experts, *const row = count + args.n_experts;
  if (!step.product.x_ready) {
    const SortArgs sort{ids.ids(), first, count, row, args.n_experts, static_cast<int>(places),
                        args.rows};
    cudaError_t error = start(launch, sort_kernel, grid_of(1), kThreads, 0, sort, launch.step);
    if (error != cudaSuccess) return error;
    const int per_x = x.shape[0] == ids.shape[0] ? ids.cols() : 1;
    error = to_tiles({x.f32(), scratch.x, scratch.scales, args.k, args.steps,
                      static_cast<int>(places), args.rows, row, per_x},
                     launch);
    if (error != cudaSuccess) return error;
  }
  args.x = scratch.x;
  args.scales = scratch.scales;
  args.w = matrix_of(w, nullptr).planes;
  args.out = step.product.out[0].f32();
  args.sorted = {first, count, row};
  const std::int64_t row_blocks =
      rows / hopper::kMostTokens + (w.shape[0] < rows ? w.shape[0] : rows);
  return hopper::launch_rows(w.dtype, args, row_blocks, 0, launch);
}

}  // namespace runnel::cuda

// A run of steps of one token in one kernel of one block per multiprocessor. Between operators all
// blocks meet: each adds one to a counter and waits for the sum. What an operator needs besides
// activations is fetched before that wait: weights by the ring, the rest by the whole block.
#include "backends/cuda/kernels/persist_ends.cuh"
#include "backends/cuda/kernels/persist_product.cuh"

namespace runnel::cuda {
namespace {

constexpr int kAttentionThreads = kPersistThreads;
constexpr int kEndCounter = 64;  // apart from the barrier's

__device__ void arrive(std::uint32_t* counter) {
  __syncthreads();
  if (threadIdx.x != 0) return;
  __threadfence();
  atomicAdd(counter, 1u);
}
__device__ void wait_for(const std::uint32_t* counter, std::uint32_t wanted) {
  if (threadIdx.x == 0) {
    std::uint32_t seen = 0;
    do {
#if __CUDA_ARCH__ >= 700
      asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(counter) : "memory");
#endif
    } while (seen < wanted);
  }
  __syncthreads();
}

template <int kDim>
__device__ void attention_table(const SplitArgs& a, std::byte* shared, const StepData* step) {
  make_table(*reinterpret_cast<Shared<kDim, kAttentionThreads>*>(shared), a.q_work, step->pos);
}

template <int kDim>
__device__ void do_attention(const PersistOp& op, std::byte* shared, const StepData* step) {
  const auto& a = op.as<SplitArgs>();
  const int block = static_cast<int>(blockIdx.x), y = block / a.n_splits;
  if (y >= a.attr.n_kv_heads * a.chunks) return;
  attend(*reinterpret_cast<Shared<kDim, kAttentionThreads>*>(shared), a,
         PageTask<kDim>(a, step, 0, block % a.n_splits, y), op.counters + y);
}

static_assert(sizeof(Shared<64, kAttentionThreads>) <= attention_shared(64));
static_assert(sizeof(Shared<128, kAttentionThreads>) <= attention_shared(128));

/// What an operator can do before the one ahead of it is done.
__device__ void prepare_op(const PersistOp& op,
                           RowPart<>& norm,
                           std::byte* shared,
                           const StepData* step) {
  norm = {};  // nothing of the last one is kept
  if (op.kind == OpKind::product) {
    const auto& a = op.as<MatvecArgs>();
    if (a.norm != nullptr && fits_registers(a.k)) norm.load(a.norm, a.k);
  } else if (op.kind == OpKind::attention) {
    const auto& a = op.as<SplitArgs>();
    if (a.attr.head_dim == 64)
      attention_table<64>(a, shared, step);
    else
      attention_table<128>(a, shared, step);
  }
}

__device__ void do_other(const PersistOp& op,
                         const PersistArgs& all,
                         std::byte* shared,
                         const StepData* step) {
  if (op.kind == OpKind::attention) {
    if (op.as<SplitArgs>().attr.head_dim == 64) return do_attention<64>(op, shared, step);
    return do_attention<128>(op, shared, step);
  }
  if (op.kind == OpKind::embed) return do_embed(op.as<EmbedOneArgs>(), step);
  if (op.kind == OpKind::copy) return do_copy(op.as<CopyArgs>());
  do_argmax(op.as<ArgmaxOneArgs>(), all, shared);
}

/// Shared memory: the ring, the feeds, two operators, then what the operator at work needs.
__global__ void __launch_bounds__(kPersistThreads, 1)
    persist_kernel(const __grid_constant__ PersistArgs all, const StepData* step) {
  constexpr int kWords = sizeof(PersistOp) / 4, kFeedWords = sizeof(Feed) / 4;
  static_assert(kWords <= kPersistThreads);
  extern __shared__ uint4 shared[];
  auto* const base = reinterpret_cast<std::byte*>(shared);
  auto* const ops = reinterpret_cast<PersistOp*>(base + kRingBytes);
  auto* const feeds = reinterpret_cast<Feed*>(ops + 2);
  std::byte* const work =
      reinterpret_cast<std::byte*>(feeds) + (sizeof(Feed) * all.n_feeds + 15) / 16 * 16;
  const int thread = threadIdx.x;
  const auto* words = reinterpret_cast<const std::uint32_t*>(all.ops);
  for (int i = thread; i < all.n_feeds * kFeedWords; i += kPersistThreads)
    reinterpret_cast<std::uint32_t*>(feeds)[i] =
        reinterpret_cast<const std::uint32_t*>(all.feeds)[i];
  if (thread < kWords) reinterpret_cast<std::uint32_t*>(ops)[thread] = words[thread];
  __syncthreads();
  Ring ring(base, feeds, all.n_feeds);
  RowPart<> norm;
  prepare_op(ops[0], norm, work, step);
  __syncthreads();
  for (int i = 0, feed = 0; i < all.n_ops; ++i) {
    const PersistOp& op = ops[i % 2];
    const bool more = i + 1 < all.n_ops;
    const std::uint32_t word = more && thread < kWords ? words[(i + 1) * kWords + thread] : 0;
    if (op.kind == OpKind::product)
      do_product(ring, op.as<MatvecArgs>(), feeds[feed++], norm, work, step);
    else
      do_other(op, all, work, step);
    if (!more) break;
    if (thread < kWords) reinterpret_cast<std::uint32_t*>(ops + (i + 1) % 2)[thread] = word;
    arrive(all.counters);
    prepare_op(ops[(i + 1) % 2], norm, work, step);
    wait_for(all.counters, static_cast<std::uint32_t>(i + 1) * gridDim.x);
  }
  wait_copies<0>();
  if (thread == 0 && atomicAdd(all.counters + kEndCounter, 1u) == gridDim.x - 1) {
    all.counters[0] = 0;
    all.counters[kEndCounter] = 0;
  }
}

}  // namespace

cudaError_t launch_persist(const PersistArgs& args, std::size_t shared, const Launch& launch) {
  cudaError_t error = cudaFuncSetAttribute(
      persist_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared));
  if (error != cudaSuccess) return error;
  cudaLaunchConfig_t config{};
  config.gridDim = grid_of(launch.caps.n_sms);
  config.blockDim = dim3(kPersistThreads);
  config.dynamicSmemBytes = shared;
  config.stream = launch.stream;
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeCooperative;  // all blocks at once, or none
  attribute.val.cooperative = 1;
  config.attrs = &attribute;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, persist_kernel, args, launch.step);
}

}  // namespace runnel::cuda

// The two halves of a block of gemm_hopper's kernel: warps that bring tiles, warps that multiply
// them.
#pragma once
#include "backends/cuda/kernels/gemm_hopper_args.cuh"
#include "backends/cuda/kernels/hopper.cuh"

namespace runnel::cuda {
namespace hopper {

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

}  // namespace hopper
}  // namespace runnel::cuda

// Loops that measure what the device does at best: reading memory, and tensor-core products of f16
// with f32 sums (bf16 runs at the same rate), 8-bit dot products and f32 sums of products.
#include "backends/cuda/kernels/ceilings.cuh"
#include "backends/cuda/kernels/mma.cuh"

namespace runnel::cuda {
namespace {

constexpr int kThreads = 512;

__global__ void read_kernel(const uint4* from, std::int64_t n, std::uint32_t* to) {
  std::uint32_t sum = 0;
  const std::int64_t stride = std::int64_t{gridDim.x} * kThreads;
  std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  for (; i + 3 * stride < n; i += 4 * stride) {
    uint4 v[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) v[j] = from[i + j * stride];
#pragma unroll
    for (int j = 0; j < 4; ++j) sum ^= v[j].x ^ v[j].y ^ v[j].z ^ v[j].w;
  }
  if (sum == 0x12345678u) *to = sum;
}

__global__ void mma_kernel(int rounds, float* to) {
  float c[8][4] = {};
  const std::uint32_t a[4] = {threadIdx.x, 1, 2, 3};
  for (int r = 0; r < rounds; ++r)
#pragma unroll
    for (int i = 0; i < 8; ++i) multiply(c[i], a, threadIdx.x + r, 5);
  float sum = 0;
  for (const auto& one : c) sum += one[0] + one[1] + one[2] + one[3];
  if (sum == 12345.0f) *to = sum;
}

__global__ void dp4a_kernel(int rounds, float* to) {
  int c[16] = {};
  for (int r = 0; r < rounds; ++r)
#pragma unroll
    for (int i = 0; i < 16; ++i) c[i] = __dp4a(static_cast<int>(threadIdx.x) + r, i, c[i]);
  int sum = 0;
  for (const int one : c) sum ^= one;
  if (sum == 12345) *to = 1.0f;
}

__global__ void fma_kernel(int rounds, float* to) {
  float c[16] = {};
  for (int r = 0; r < rounds; ++r)
#pragma unroll
    for (int i = 0; i < 16; ++i) c[i] = fmaf(c[i], 0.999f, static_cast<float>(threadIdx.x));
  float sum = 0;
  for (const float one : c) sum += one;
  if (sum == 12345.0f) *to = sum;
}

}  // namespace

cudaError_t launch_ceiling(Ceiling which, const CeilingArgs& args, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>(args.blocks);
  auto* f32 = reinterpret_cast<float*>(args.sink);
  switch (which) {
    case Ceiling::read:
      read_kernel<<<blocks, kThreads, 0, stream>>>(reinterpret_cast<const uint4*>(args.data),
                                                   args.bytes / 16, args.sink);
      break;
    case Ceiling::mma:
      mma_kernel<<<blocks, kThreads, 0, stream>>>(args.rounds, f32);
      break;
    case Ceiling::dp4a:
      dp4a_kernel<<<blocks, kThreads, 0, stream>>>(args.rounds, f32);
      break;
    case Ceiling::fma:
      fma_kernel<<<blocks, kThreads, 0, stream>>>(args.rounds, f32);
      break;
  }
  return cudaGetLastError();
}

double ceiling_operations(Ceiling which, const CeilingArgs& args) {
  const double threads = static_cast<double>(args.blocks) * kThreads;
  if (which == Ceiling::mma) return threads / 32 * args.rounds * 8 * (2.0 * 16 * 8 * 16);
  if (which == Ceiling::dp4a) return threads * args.rounds * 16 * 8;
  if (which == Ceiling::fma) return threads * args.rounds * 16 * 2;
  return static_cast<double>(args.bytes);
}

}  // namespace runnel::cuda

// Loops that measure the device; see ceilings.cu.
#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

namespace runnel::cuda {

enum class Ceiling : std::uint8_t { read, mma, dp4a, fma };

struct CeilingArgs {
  const std::byte* data;  // read
  std::int64_t bytes;
  std::uint32_t* sink;
  int blocks, rounds;
};

cudaError_t launch_ceiling(Ceiling which, const CeilingArgs& args, cudaStream_t stream);
/// Bytes or operations of one launch.
double ceiling_operations(Ceiling which, const CeilingArgs& args);

}  // namespace runnel::cuda

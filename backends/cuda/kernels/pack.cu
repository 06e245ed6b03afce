// Blocks as in the file to planes (layout.h): one thread per unit of 32 values.
#include "backends/cuda/formats/formats.cuh"
#include "backends/cuda/kernels/kernels.h"

namespace runnel::cuda {
namespace {

constexpr int kThreads = 128;

template <int bits>
__device__ void write_codes(const int (&code)[kUnit], std::uint8_t* to) {
  if constexpr (bits == 8) {
    for (int n = 0; n < kUnit; ++n) to[n] = static_cast<std::uint8_t>(code[n]);
  } else if constexpr (bits == 4) {
    for (int i = 0; i < 16; ++i)
      to[i] = static_cast<std::uint8_t>((code[i] & 15) | (code[i + 16] & 15) << 4);
  } else {
    for (int h = 0; h < 2; ++h)
      for (int i = 0; i < 4; ++i) {
        int byte = 0;
        for (int k = 0; k < 4; ++k) byte |= (code[16 * h + 4 * k + i] & 3) << (2 * k);
        to[4 * h + i] = static_cast<std::uint8_t>(byte);
      }
  }
}

template <int bytes>
__device__ void write_extra(const int (&code)[kUnit], int shift, std::uint8_t* to) {
  if constexpr (bytes == 4) {
    for (int i = 0; i < 4; ++i) {
      int byte = 0;
      for (int k = 0; k < 8; ++k) byte |= (code[4 * k + i] >> shift & 1) << k;
      to[i] = static_cast<std::uint8_t>(byte);
    }
  } else if constexpr (bytes == 8) {
    int high[kUnit];
    for (int n = 0; n < kUnit; ++n) high[n] = code[n] >> shift;
    write_codes<2>(high, to);
  }
}

template <class Format>
__global__ void pack_kernel(PackArgs a, int block_bytes) {
  constexpr PackedInfo kInfo = packed_info(Format::kType);
  constexpr int kUnits = Format::kBlock / kUnit;
  const std::int64_t unit = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (unit >= a.n_blocks * kUnits) return;
  const auto* block = reinterpret_cast<const std::uint8_t*>(a.raw) + unit / kUnits * block_bytes;
  const int part = static_cast<int>(unit % kUnits);
  const std::int64_t index = a.first_block * kUnits + unit;
  auto* to = reinterpret_cast<std::uint8_t*>(a.to);
  int code[kUnit];
  for (int n = 0; n < kUnit; ++n) code[n] = Format::code(block, kUnit * part + n);
  write_codes<Format::kCodeBits>(code, to + a.planes.at[0] + index * kInfo.codes);
  write_extra<kInfo.extra>(code, Format::kCodeBits, to + a.planes.at[1] + index * kInfo.extra);
  Format::scales(block, part, to + a.planes.at[2] + index * kInfo.scales);
  if (kInfo.heads > 0 && part == 0)
    Format::head(block, to + a.planes.at[3] + index / 8 * kInfo.heads);
}

}  // namespace

cudaError_t launch_pack(const PackArgs& args, cudaStream_t stream) {
  return with_format(args.type, [&]<class Format>() {
    constexpr int kUnits = Format::kBlock / kUnit;
    const std::int64_t blocks = (args.n_blocks * kUnits + kThreads - 1) / kThreads;
    pack_kernel<Format><<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(
        args, quant::info(args.type).block_bytes);
    return cudaGetLastError();
  });
}

}  // namespace runnel::cuda

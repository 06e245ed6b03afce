// f32, f16, bf16 and i32: one value per block. The conversions are IEEE ones (nearest, ties to
// even): NaN stays NaN, and a value beyond the f16 range becomes infinity.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "quant/block_io.h"
#include "quant/half.h"

namespace runnel::quant {

void decode_f32(const std::byte* src, float* dst, std::int64_t n) {
  std::memcpy(dst, src, static_cast<std::size_t>(n) * sizeof(float));
}

void encode_f32(const float* src, const float*, std::byte* dst, std::int64_t n) {
  std::memcpy(dst, src, static_cast<std::size_t>(n) * sizeof(float));
}

void decode_f16(const std::byte* src, float* dst, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) dst[i] = f16_to_f32(load_block<std::uint16_t>(src + 2 * i));
}

void encode_f16(const float* src, const float*, std::byte* dst, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) store_block(f32_to_f16(src[i]), dst + 2 * i);
}

void decode_bf16(const std::byte* src, float* dst, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) dst[i] = bf16_to_f32(load_block<std::uint16_t>(src + 2 * i));
}

void encode_bf16(const float* src, const float*, std::byte* dst, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) store_block(f32_to_bf16(src[i]), dst + 2 * i);
}

void decode_i32(const std::byte* src, float* dst, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i)
    dst[i] = static_cast<float>(load_block<std::int32_t>(src + 4 * i));
}

}  // namespace runnel::quant

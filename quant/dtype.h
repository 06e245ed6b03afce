// Number formats of weights: one constexpr row per format, shared by files, kernels and recipes.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace runnel::quant {

enum class DType : std::uint8_t {
  f32,
  f16,
  bf16,
  i32,
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q8_0,
  q2_k,
  q3_k,
  q4_k,
  q5_k,
  q6_k,
  iq4_nl,
  iq4_xs,
  tq1_0,
  tq2_0,
  mxfp4,
  nvfp4,
  count
};

enum class Scheme : std::uint8_t {
  plain,
  block_symmetric,
  block_affine,
  superblock,
  ternary,
  float4
};

/// Geometry of one number format. A tensor row is a whole number of blocks.
struct DTypeInfo {
  DType type;
  std::string_view name;      // printed, and accepted on the command line
  std::uint32_t gguf_id;      // ggml_type in a GGUF file (SOURCE: GGUF specification)
  std::uint16_t block_elems;  // values per block
  std::uint16_t block_bytes;  // bytes per block
  Scheme scheme;
  bool encodes;       // false: decode only
  float error_bound;  // RMS error / RMS after encode and decode of Gaussian data, at most: 5 %
                      // above what the encoder measures; 0 where there is none
};

// clang-format off: one row per format, aligned
inline constexpr std::array kDTypes = std::to_array<DTypeInfo>({
    {DType::f32, "f32", 0, 1, 4, Scheme::plain, true, 0.0f},
    {DType::f16, "f16", 1, 1, 2, Scheme::plain, true, 2.2e-4f},
    {DType::bf16, "bf16", 30, 1, 2, Scheme::plain, true, 1.75e-3f},
    {DType::i32, "i32", 26, 1, 4, Scheme::plain, false, 0.0f},
    {DType::q4_0, "q4_0", 2, 32, 18, Scheme::block_symmetric, true, 0.0852f},
    {DType::q4_1, "q4_1", 3, 32, 20, Scheme::block_affine, true, 0.0726f},
    {DType::q5_0, "q5_0", 6, 32, 22, Scheme::block_symmetric, true, 0.0422f},
    {DType::q5_1, "q5_1", 7, 32, 24, Scheme::block_affine, true, 0.0350f},
    {DType::q8_0, "q8_0", 8, 32, 34, Scheme::block_symmetric, true, 0.00502f},
    {DType::q2_k, "q2_k", 10, 256, 84, Scheme::superblock, true, 0.2725f},
    {DType::q3_k, "q3_k", 11, 256, 110, Scheme::superblock, true, 0.1510f},
    {DType::q4_k, "q4_k", 12, 256, 144, Scheme::superblock, true, 0.0732f},
    {DType::q5_k, "q5_k", 13, 256, 176, Scheme::superblock, true, 0.0362f},
    {DType::q6_k, "q6_k", 14, 256, 210, Scheme::superblock, true, 0.01735f},
    {DType::iq4_nl, "iq4_nl", 20, 32, 18, Scheme::block_symmetric, true, 0.0772f},
    {DType::iq4_xs, "iq4_xs", 23, 256, 136, Scheme::superblock, true, 0.0779f},
    {DType::tq1_0, "tq1_0", 34, 256, 54, Scheme::ternary, true, 0.457f},
    {DType::tq2_0, "tq2_0", 35, 256, 66, Scheme::ternary, true, 0.457f},
    {DType::mxfp4, "mxfp4", 39, 32, 17, Scheme::float4, true, 0.1182f},
    {DType::nvfp4, "nvfp4", 40, 64, 36, Scheme::float4, false, 0.0f},
});
// clang-format on

consteval bool table_is_in_enum_order() {
  for (std::size_t i = 0; i < kDTypes.size(); ++i)
    if (kDTypes[i].type != static_cast<DType>(i)) return false;
  return kDTypes.size() == static_cast<std::size_t>(DType::count);
}
static_assert(table_is_in_enum_order());

/// The row of `type`.
constexpr const DTypeInfo& info(DType type) {
  return kDTypes[static_cast<std::size_t>(type)];
}

/// Bytes of a row of `elems` values. REQUIRES: elems is a multiple of the format's block.
constexpr std::size_t row_bytes(DType type, std::size_t elems) {
  return elems / info(type).block_elems * info(type).block_bytes;
}
static_assert(row_bytes(DType::q4_k, 4096) == 16 * 144);

/// The format with this name, or nothing.
constexpr std::optional<DType> find_dtype(std::string_view name) {
  for (const DTypeInfo& row : kDTypes)
    if (row.name == name) return row.type;
  return std::nullopt;
}

/// The format with this ggml_type id, or nothing.
constexpr std::optional<DType> find_gguf_type(std::uint32_t gguf_id) {
  for (const DTypeInfo& row : kDTypes)
    if (row.gguf_id == gguf_id) return row.type;
  return std::nullopt;
}

}  // namespace runnel::quant

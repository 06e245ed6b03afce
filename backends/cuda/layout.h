// How weights lie in device memory. Vectors (rank 1) are f32. Matrices of plain types are as in the
// file. Matrices of block types are cut into planes, so that every field is loaded aligned and
// neighbouring threads load neighbouring bytes:
//   codes   of 32 consecutive values (a unit): 8, 16 or 32 bytes
//   extra   one or two more bits of each code: 4 or 8 bytes a unit
//   scales  of a unit
//   heads   of a block of 8 units
// Packing of codes: 4 bits: byte i has value i below and value i + 16 above. 2 bits: byte i of word
// h has value 16 h + 4 k + i at bits 2 k. 1 bit: byte i has value 4 k + i at bit k. 8 bits: a byte
// each.
#pragma once
#include <cstddef>
#include <cstdint>

#include "quant/dtype.h"

namespace runnel::cuda {

inline constexpr int kUnit = 32;   // values
inline constexpr int kPlanes = 4;  // codes, extra, scales, heads

/// Bytes of each plane: of a unit, heads: of 8 units. All 0: not packed.
struct PackedInfo {
  quant::DType type;
  std::uint8_t codes, extra, scales, heads;
};

// clang-format off: one row per format, aligned
inline constexpr PackedInfo kPacked[] = {
    {quant::DType::f32, 0, 0, 0, 0},     {quant::DType::f16, 0, 0, 0, 0},
    {quant::DType::bf16, 0, 0, 0, 0},    {quant::DType::i32, 0, 0, 0, 0},
    {quant::DType::q4_0, 16, 0, 2, 0},   {quant::DType::q4_1, 16, 0, 4, 0},
    {quant::DType::q5_0, 16, 4, 2, 0},   {quant::DType::q5_1, 16, 4, 4, 0},
    {quant::DType::q8_0, 32, 0, 2, 0},   {quant::DType::q2_k, 8, 0, 2, 4},
    {quant::DType::q3_k, 8, 4, 2, 2},    {quant::DType::q4_k, 16, 0, 2, 4},
    {quant::DType::q5_k, 16, 4, 2, 4},   {quant::DType::q6_k, 16, 8, 2, 2},
    {quant::DType::iq4_nl, 16, 0, 2, 0}, {quant::DType::iq4_xs, 16, 0, 1, 2},
    {quant::DType::tq1_0, 8, 0, 0, 2},   {quant::DType::tq2_0, 8, 0, 0, 2},
    {quant::DType::mxfp4, 16, 0, 1, 0},  {quant::DType::nvfp4, 16, 0, 2, 0},
};
// clang-format on

constexpr const PackedInfo& packed_info(quant::DType type) {
  return kPacked[static_cast<std::size_t>(type)];
}

constexpr bool packed_is_in_enum_order() {
  for (std::size_t i = 0; i < sizeof(kPacked) / sizeof(kPacked[0]); ++i)
    if (kPacked[i].type != static_cast<quant::DType>(i)) return false;
  return sizeof(kPacked) / sizeof(kPacked[0]) == static_cast<std::size_t>(quant::DType::count);
}
static_assert(packed_is_in_enum_order());

constexpr bool is_packed(quant::DType type) {
  return packed_info(type).codes != 0;
}

/// Whether few rows of x are rounded to 8 bits to be multiplied with such weights. The scales of
/// nvfp4 differ too much within a row for that.
constexpr bool multiplies_bytes(quant::DType type) {
  return is_packed(type) && type != quant::DType::nvfp4;
}

/// Where the planes of `elems` packed values begin; each at a multiple of 256 bytes.
struct PlaneOffsets {
  std::int64_t at[kPlanes] = {};
  std::int64_t total = 0;
};
constexpr PlaneOffsets plane_offsets(quant::DType type, std::int64_t elems) {
  const PackedInfo& info = packed_info(type);
  const std::int64_t units = elems / kUnit;
  const std::int64_t bytes[kPlanes] = {units * info.codes, units * info.extra, units * info.scales,
                                       (units + 7) / 8 * info.heads};
  PlaneOffsets result;
  for (int i = 0; i < kPlanes; ++i) {
    result.at[i] = result.total;
    result.total += (bytes[i] + 255) / 256 * 256;
  }
  return result;
}

}  // namespace runnel::cuda

// Facts about GGUF's metadata value types and about the tensor types that Runnel does not read.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "runtime/io/gguf.h"

namespace runnel {

/// One metadata value type. SOURCE: GGUF specification, gguf_metadata_value_type.
struct GgufTypeInfo {
  GgufType type;
  std::string_view name;
  std::size_t bytes;  // of one value; 0 for strings and arrays, which say their length
};

inline constexpr std::array kGgufTypes = std::to_array<GgufTypeInfo>({
    {GgufType::u8, "u8", 1},
    {GgufType::i8, "i8", 1},
    {GgufType::u16, "u16", 2},
    {GgufType::i16, "i16", 2},
    {GgufType::u32, "u32", 4},
    {GgufType::i32, "i32", 4},
    {GgufType::f32, "f32", 4},
    {GgufType::boolean, "bool", 1},
    {GgufType::string, "string", 0},
    {GgufType::array, "array", 0},
    {GgufType::u64, "u64", 8},
    {GgufType::i64, "i64", 8},
    {GgufType::f64, "f64", 8},
});

consteval bool gguf_types_are_in_enum_order() {
  for (std::size_t i = 0; i < kGgufTypes.size(); ++i)
    if (kGgufTypes[i].type != static_cast<GgufType>(i)) return false;
  return true;
}
static_assert(gguf_types_are_in_enum_order());

/// The row of `type`. REQUIRES: a type that was read through is_gguf_type().
constexpr const GgufTypeInfo& info(GgufType type) {
  return kGgufTypes[static_cast<std::size_t>(type)];
}

constexpr bool is_gguf_type(std::uint32_t id) {
  return id < kGgufTypes.size();
}

/// A tensor type that exists in GGUF files but has no codec here.
struct ForeignTensorType {
  std::uint32_t gguf_id;
  std::string_view name;
};

// SOURCE: ggml_type ids of the GGUF specification; those of quant/dtype.h are left out.
inline constexpr std::array kForeignTensorTypes = std::to_array<ForeignTensorType>({
    {4, "q4_2 (removed)"},
    {5, "q4_3 (removed)"},
    {9, "q8_1"},
    {15, "q8_k"},
    {16, "iq2_xxs"},
    {17, "iq2_xs"},
    {18, "iq3_xxs"},
    {19, "iq1_s"},
    {21, "iq3_s"},
    {22, "iq2_s"},
    {24, "i8"},
    {25, "i16"},
    {27, "i64"},
    {28, "f64"},
    {29, "iq1_m"},
    {31, "q4_0_4_4 (removed)"},
    {32, "q4_0_4_8 (removed)"},
    {33, "q4_0_8_8 (removed)"},
    {36, "iq4_nl_4_4"},
    {37, "iq4_nl_4_8"},
    {38, "iq4_nl_8_8"},
    {41, "q1_0"},
});

/// Name of a tensor type that is not in quant/dtype.h, or "unknown".
constexpr std::string_view foreign_tensor_type_name(std::uint32_t gguf_id) {
  for (const ForeignTensorType& row : kForeignTensorTypes)
    if (row.gguf_id == gguf_id) return row.name;
  return "unknown";
}

}  // namespace runnel

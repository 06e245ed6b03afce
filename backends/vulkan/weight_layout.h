// How weights lie in device memory: cut into planes, so that shaders read whole words. Rows are
// made of groups of 32 values; each plane holds so many bytes per group, or per superblock of 8
// groups. Plain types have one plane, padded to whole groups, in pieces of 16 bytes: piece j of all
// groups of a row lies together. Vectors and matrices of very short rows become f32, vectors
// without padding. Stateless.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "runtime/graph/graph.h"

namespace runnel::vulkan {

struct PlaneInfo {
  std::uint8_t bytes = 0;  // 0: no such plane
  bool per_super = false;
};

/// Writes the planes of one row: to[i] = where the row begins in plane i.
using PackRow = void (*)(const std::byte* row,
                         std::int64_t n_groups,
                         std::array<std::byte*, 4>& to);

struct WeightFormat {
  DType type;
  std::string_view shader;  // folder below shaders/formats
  std::array<PlaneInfo, 4> planes;
  PackRow pack;  // null: plain
};

/// Where the planes of one weight are. A matrix with several leading dimensions is all their rows.
struct WeightLayout {
  const WeightFormat* format = nullptr;
  std::int64_t rows = 0, cols = 0, groups = 0;  // groups of a row
  std::array<std::size_t, 4> offset{};          // bytes
  std::size_t bytes = 0;
  /// Bytes of a row in a plane.
  std::size_t row_bytes(std::size_t plane) const;
};

/// REQUIRES: a weight type.
const WeightFormat& weight_format(DType type);
/// True for weights that become f32 whatever they were.
bool becomes_f32(const Value& weight);
WeightLayout weight_layout(const Value& weight);
/// Packs rows [first, last) of a weight; to[i]: buffer of those rows of plane i.
void pack_rows(const WeightLayout& layout,
               std::span<const std::byte> mapped,
               std::int64_t first,
               std::int64_t last,
               std::array<std::byte*, 4> to);

}  // namespace runnel::vulkan

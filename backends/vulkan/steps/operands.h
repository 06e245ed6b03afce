// Operands and sizes, as prepare functions write them down. Stateless.
#pragma once
#include <algorithm>
#include <limits>

#include "backends/vulkan/kernel.h"
#include "backends/vulkan/weight_layout.h"

namespace runnel::vulkan::steps {

inline constexpr std::uint32_t kMaxGroups = 65535;  // along an axis: every device has as many

inline std::uint32_t u32(std::int64_t value) {
  return static_cast<std::uint32_t>(value);
}

inline Operand bound(std::span<const BufferView> bindings, ValueId id, Access access) {
  Operand operand;
  operand.view = bindings[static_cast<std::size_t>(id)];
  operand.access = access;
  return operand;
}
inline Operand read(std::span<const BufferView> bindings, ValueId id) {
  return bound(bindings, id, Access::read);
}
inline Operand write(std::span<const BufferView> bindings, ValueId id) {
  return bound(bindings, id, Access::write);
}
inline Operand scratch(std::size_t offset, std::size_t size, Access access) {
  Operand operand;
  operand.source = Operand::Source::scratch;
  operand.offset = offset;
  operand.size = size;
  operand.access = access;
  return operand;
}
inline Operand kept(std::size_t offset, std::size_t size, Access access) {
  Operand operand = scratch(offset, size, access);
  operand.source = Operand::Source::kept;
  return operand;
}
inline Operand constant(std::vector<std::uint32_t> words) {
  Operand operand;
  operand.source = Operand::Source::constant;
  operand.words = std::move(words);
  return operand;
}

/// Rows of a value: fixed ones, or so many per token.
struct Rows {
  std::uint32_t fixed = 0, per_token = 0;
};
inline Rows rows_of(const Graph& graph, const Value& value) {
  if (!value.per_token) return {u32(value.shape[0]), 0};
  return {0, u32(value.shape[0] / graph.max_tokens())};
}
/// Workgroups for rows * factor items, `each` of them per group.
inline Extent extent(const Rows& rows, std::int64_t factor = 1, std::int64_t each = 1) {
  return {rows.per_token == 0 ? u32(rows.fixed * factor) : 0, u32(rows.per_token * factor),
          u32(each)};
}
inline Extent groups(std::int64_t items, std::int64_t each) {
  return {u32(std::min<std::int64_t>((items + each - 1) / each, kMaxGroups)), 0, 1};
}

template <class T>
const T& attr_of(const Node& node) {
  const T* held = std::get_if<T>(&node.attr);
  check(held != nullptr, "a node with the attributes of its op");
  return *held;
}

/// The first push constants of shaders that read weights: groups of a row, words of the planes.
inline std::vector<std::uint32_t> weight_push(const WeightLayout& layout) {
  return {u32(layout.groups), u32(static_cast<std::int64_t>(layout.offset[1] / 4)),
          u32(static_cast<std::int64_t>(layout.offset[2] / 4)),
          u32(static_cast<std::int64_t>(layout.offset[3] / 4))};
}

}  // namespace runnel::vulkan::steps

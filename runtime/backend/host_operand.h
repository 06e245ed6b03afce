// A node's inputs and outputs as the kernels of host backends see them: addresses instead of value
// ids. Plain values, bound once when a node is compiled.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "quant/codecs.h"
#include "runtime/backend/buffer.h"
#include "runtime/base/status.h"
#include "runtime/graph/graph.h"

namespace runnel {

/// One input or output of a node in host memory.
struct HostOperand {
  std::byte* data = nullptr;  // null for states and absent operands
  DType dtype = DType::f32;
  Shape shape;                      // as compiled, for the largest step
  std::int64_t rows_per_token = 0;  // 0: all rows are used in every step
  std::int32_t state_index = -1;
  quant::KvFormat kv = quant::KvFormat::plain;  // pages of keys or values

  bool present() const { return data != nullptr || state_index >= 0; }
  std::int64_t rows(std::int64_t n_tokens) const {
    return rows_per_token == 0 ? shape[0] : rows_per_token * n_tokens;
  }
  std::int64_t cols() const { return shape.cols(); }
  float* row(std::int64_t r) const { return reinterpret_cast<float*>(data) + r * cols(); }
  std::int32_t* ids() const { return reinterpret_cast<std::int32_t*>(data); }
  std::int64_t row_bytes() const {
    return static_cast<std::int64_t>(
        quant::row_bytes(dtype, static_cast<std::size_t>(shape.cols())));
  }
  /// Decodes row r of a weight (of its flattened leading dimensions) into dst [cols].
  void decode_row(std::int64_t r, float* dst) const {
    quant::codec(dtype).decode_row(data + r * row_bytes(), dst, cols());
  }
};

/// Whether weights of plain types are read in one load or byte by byte.
enum class WeightAlignment : std::uint8_t { any, word };

/// The value's binding, checked; bindings are indexed by ValueId. ERRORS: invalid_argument (not in
/// host memory, too small, not aligned to 4 bytes).
inline Result<HostOperand> bind_host(const Graph& graph,
                                     ValueId id,
                                     std::span<const BufferView> bindings,
                                     WeightAlignment weights) {
  const Value& value = graph.value(id);
  HostOperand operand;
  operand.dtype = value.dtype;
  operand.shape = value.shape;
  operand.rows_per_token = value.per_token ? value.shape[0] / graph.max_tokens() : 0;
  operand.state_index = value.state_index;
  operand.kv = value.kv;
  if (value.role == Role::state) return operand;
  const auto index = static_cast<std::size_t>(id);
  if (index >= bindings.size() || bindings[index].host() == nullptr)
    return Status(Code::invalid_argument, value.name + " is not bound to host memory");
  const BufferView& view = bindings[index];
  const std::size_t bytes =
      static_cast<std::size_t>(value.shape.rows()) * static_cast<std::size_t>(operand.row_bytes());
  if (view.offset > view.buffer->size() || view.buffer->size() - view.offset < bytes)
    return Status(Code::invalid_argument, value.name + " is bound to too little memory");
  operand.data = view.host();
  const bool blocks = quant::info(value.dtype).block_elems != 1;  // these are read byte by byte
  const bool any = blocks || (value.role == Role::weight && weights == WeightAlignment::any);
  if (!any && reinterpret_cast<std::uintptr_t>(operand.data) % 4 != 0)
    return Status(Code::invalid_argument, value.name + " is not aligned to 4 bytes");
  return operand;
}

}  // namespace runnel

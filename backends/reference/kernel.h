// What a reference kernel is given: resolved operands, the step's parameters and scratch memory.
// A kernel runs on the calling thread, allocates nothing, and treats every row alone and in the
// same order of operations, so that results do not depend on how a sequence is cut into steps.
#pragma once
#include <array>
#include <cstdint>

#include "quant/codecs.h"
#include "runtime/backend/step.h"
#include "runtime/graph/graph.h"

namespace runnel::reference {

/// One input or output of a node, bound to memory when the node is compiled.
struct Operand {
  std::byte* data = nullptr;  // null for states and absent operands
  DType dtype = DType::f32;
  Shape shape;                      // as compiled, for the largest step
  std::int64_t rows_per_token = 0;  // 0: all rows are used in every step
  std::int32_t state_index = -1;

  bool present() const { return data != nullptr || state_index >= 0; }
  std::int64_t rows(std::int64_t n_tokens) const {
    return rows_per_token == 0 ? shape[0] : rows_per_token * n_tokens;
  }
  std::int64_t cols() const { return shape.cols(); }
  float* row(std::int64_t r) const { return reinterpret_cast<float*>(data) + r * cols(); }
  std::int32_t* ids() const { return reinterpret_cast<std::int32_t*>(data); }
  /// Decodes row r of a weight (of its flattened leading dimensions) into dst [cols].
  void decode_row(std::int64_t r, float* dst) const {
    const std::size_t bytes = quant::row_bytes(dtype, static_cast<std::size_t>(cols()));
    quant::codec(dtype).decode_row(data + static_cast<std::size_t>(r) * bytes, dst, cols());
  }
};

struct Step;

/// The changing part of one run of a Step.
struct StepContext {
  const StepParams& params;
  const StateTable& states;
  float* scratch;  // as many floats as the kernel's row asks for

  const StateBinding& state(const Operand& operand) const {
    return states.states[static_cast<std::size_t>(operand.state_index)];
  }
};

/// ERRORS: invalid_argument (ids out of range, missing state pages).
using Kernel = Status (*)(const Step& step, const StepContext& context);

/// A node ready to run.
struct Step {
  Kernel run = nullptr;
  std::array<Operand, 4> in;
  std::array<Operand, 2> out;
  Attr attr;

  /// REQUIRES: the op's own attributes, which shape inference has checked.
  template <class T>
  const T& attr_as() const {
    const T* held = std::get_if<T>(&attr);
    check(held != nullptr, "a node with the attributes of its op");
    return *held;
  }
};

}  // namespace runnel::reference

// What a reference kernel is given: resolved operands, the step's parameters and scratch memory.
// A kernel runs on the calling thread, allocates nothing, and treats every row alone and in the
// same order of operations, so that results do not depend on how a sequence is cut into steps.
#pragma once
#include <array>
#include <cstdint>

#include "runtime/backend/host_operand.h"
#include "runtime/backend/step.h"
#include "runtime/graph/graph.h"

namespace runnel::reference {

using Operand = HostOperand;

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
  std::array<Operand, 7> in;
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

// What a CPU kernel is given: resolved operands, the step's parameters, its share of the threads
// and scratch memory. Every thread of the pool calls the same Step; work is cut so that no result
// depends on the number of threads, nor on how many tokens the step has.
#pragma once
#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "backends/cpu/isa/kernels.h"
#include "runtime/backend/host_operand.h"
#include "runtime/backend/step.h"
#include "runtime/base/thread_pool.h"
#include "runtime/graph/graph.h"

namespace runnel::cpu {

using Operand = HostOperand;

struct Step;

/// Work left in a step: threads take the next task until none is left.
struct alignas(64) TaskCounter {
  std::atomic<std::int64_t> next{0};
};

/// Half-open range of units of work.
struct Range {
  std::int64_t begin, end;
};

/// One thread's view of one run of a Step.
struct StepContext {
  const StepParams& params;
  const StateTable& states;
  ThreadPool& pool;
  int thread;
  std::byte* tables;  // computed by one step for others (rope)
  std::byte* shared;  // scratch of all threads
  std::byte* own;     // scratch of this thread
  TaskCounter* tasks;
  std::atomic<const char*>* failure;  // first thing that went wrong, a literal

  const StateBinding& state(const Operand& operand) const {
    return states.states[static_cast<std::size_t>(operand.state_index)];
  }
  /// The next task nobody has taken, counted from 0 in each step.
  std::int64_t take_task() const { return tasks->next.fetch_add(1, std::memory_order_relaxed); }
  /// This thread's part of n units, in multiples of `grain`.
  Range share(std::int64_t n, std::int64_t grain = 1) const {
    const std::int64_t grains = (n + grain - 1) / grain, threads = pool.size();
    return {std::min(n, grains * thread / threads * grain),
            std::min(n, grains * (thread + 1) / threads * grain)};
  }
  void fail(const char* what) const {
    const char* none = nullptr;
    failure->compare_exchange_strong(none, what, std::memory_order_relaxed);
  }
};

using Kernel = void (*)(const Step& step, const StepContext& context);

/// How a weight is multiplied.
enum class Product : std::uint8_t {
  direct,        // by the dot kernel of its format
  decoded,       // rows are decoded to f32 first
  library,       // by oneDNN when there are many tokens, else as direct
  library_bf16,  // the same, in bf16
};

/// A node ready to run.
struct Step {
  Kernel run = nullptr;
  const Kernels* kernels = nullptr;
  std::array<Operand, 7> in;
  std::array<Operand, 2> out;
  Attr attr;
  Fast format = Fast::f32;            // matrix products: dot kernel
  Product product = Product::direct;  // matrix products
  bool input_ready = false;           // an earlier step left in[0] quantised in shared scratch
  bool table_ready = false;           // an earlier step computed the rope table
  std::size_t table_offset = 0;       // bytes into StepContext::tables

  /// REQUIRES: the op's own attributes, which shape inference has checked.
  template <class T>
  const T& attr_as() const {
    const T* held = std::get_if<T>(&attr);
    check(held != nullptr, "a node with the attributes of its op");
    return *held;
  }
};

/// Bytes of scratch that a step needs.
struct Scratch {
  std::size_t tables = 0;  // kept for the whole segment
  std::size_t shared = 0;
  std::size_t own = 0;  // of each thread
};

}  // namespace runnel::cpu

// The CUDA backend's rows: one per kernel, most specific first.
#pragma once
#include <span>

#include "backends/cuda/kernel.h"
#include "runtime/backend/kernel_table.h"

namespace runnel::cuda {

struct Row : KernelEntry<Step, Caps> {
  /// Bytes of scratch that a launch needs.
  std::size_t (*scratch_bytes)(const Graph& graph, const Node& node);
};

std::span<const Row> kernel_table();

/// Rows whose steps can do the work of their neighbours as well.
bool is_matvec(const Row& row);
bool is_split_attention(const Row& row);
bool is_split_tile_attention(const Row& row);
/// Whether rows of this kind, one after the other with one x, convert it once.
bool shares_x(const Row& row);

/// The value's binding on the device, checked. ERRORS: invalid_argument (not bound, too small).
Result<Operand> bind(const Graph& graph, ValueId id, std::span<const BufferView> bindings);

}  // namespace runnel::cuda

// A compiled segment of the CPU backend: a vector of Steps that all threads run in order, with a
// barrier after each. submit() does the work before it returns.
#pragma once
#include <memory>
#include <span>

#include "backends/cpu/kernel_table.h"

namespace runnel::cpu {

/// Bytes of scratch that compile() allocates for these nodes.
std::size_t scratch_bytes(const Graph& graph,
                          std::span<const Node> nodes,
                          const Caps& caps,
                          int n_threads);

/// `pool` must outlive the Executable. ERRORS: unsupported, invalid_argument, out_of_memory.
Result<std::unique_ptr<Executable>> compile(const Graph& graph,
                                            const Segment& segment,
                                            const Caps& caps,
                                            ThreadPool& pool);

}  // namespace runnel::cpu

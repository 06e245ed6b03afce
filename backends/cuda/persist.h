// Runs of steps of one token that one kernel does: it stays on every multiprocessor, crosses from
// one operator to the next by a barrier of the whole device, and asks for weights ahead of it.
#pragma once
#include <span>

#include "backends/cuda/kernel.h"

namespace runnel::cuda {

struct PersistRun {
  std::size_t first = 0, n_steps = 0;
  std::vector<std::byte> data;  // operators, then feeds; to be uploaded
  int n_ops = 0, n_feeds = 0;
  std::size_t shared = 0;  // bytes of a block
};

/// The runs among `steps`, whose addresses are final, in their order; none where the device cannot
/// keep enough under way. Their weights are f16 or bf16: with block types one kernel a step was
/// measured to be faster (README.md).
std::vector<PersistRun> find_runs(std::span<const Step> steps, const Caps& caps);

/// Counters behind those of steps, for runs; and bytes that every run needs besides its data.
inline constexpr int kRunCounters = 96;
std::size_t run_scratch_bytes(const Caps& caps);

/// `data`: run.data on the device. `counters`: zero before and after. `scratch`: as said above.
cudaError_t launch_run(const PersistRun& run,
                       const std::byte* data,
                       std::uint32_t* counters,
                       std::byte* scratch,
                       const Launch& launch);

}  // namespace runnel::cuda

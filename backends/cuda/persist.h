// Runs of steps of one token that one kernel does: it stays on every multiprocessor, crosses from
// one operator to the next by a barrier of the whole device, and asks for weights ahead of it.
#pragma once
#include <span>

#include "backends/cuda/kernel.h"

namespace runnel::cuda {

/// Which weights a run has: a kernel each, because their units differ in bytes.
enum class Weight : std::uint8_t { plain, bytes, nibbles };

struct PersistRun {
  std::size_t first = 0, n_steps = 0;
  Weight weight = Weight::nibbles;
  std::vector<std::byte> data;  // operators, then feeds; to be uploaded
  int n_ops = 0, n_feeds = 0;
  std::size_t shared = 0;  // bytes of a block
};

/// Runs of which weights: those for which one kernel was measured to be faster than one a step
/// (README.md), or all.
enum class RunChoice : std::uint8_t { faster, all };

/// The runs among `steps`, whose addresses are final, in their order; none where the device cannot
/// keep enough under way, or a run would be of one step.
std::vector<PersistRun> find_runs(std::span<const Step> steps, const Caps& caps, RunChoice choice);

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

// Brings weights to the device in the layout of layout.h.
#pragma once
#include <memory>
#include <span>

#include "backends/cuda/memory.h"
#include "runtime/graph/graph.h"

namespace runnel::cuda {

/// Device bytes of a weight.
std::size_t weight_bytes(const Value& weight);

/// Uploads and packs. ERRORS: corrupt (too few bytes), out_of_memory, device_lost.
Result<std::unique_ptr<Buffer>> place_weight(const Device& device,
                                             const std::shared_ptr<Pool>& pool,
                                             const Value& weight,
                                             std::span<const std::byte> mapped);

}  // namespace runnel::cuda

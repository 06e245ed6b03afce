// Small problems with known answers, computed here in double precision. Stateless.
#pragma once
#include <vector>

#include "runtime/backend/backend.h"

namespace runnel::vulkan {

/// One node like the one asked about, or a few, small, with their data. The last one is compared.
struct KnownAnswer {
  Graph graph{1};
  std::vector<std::vector<std::byte>> inputs;  // by ValueId; empty for outputs
  StepParams params;
  std::vector<float> expected;  // of output 0
};

/// True for ops that have several kernels.
bool has_known_answer(Op op);
/// ERRORS: unsupported.
Result<KnownAnswer> known_answer(const Graph& graph, const Node& node);
/// Of nodes that run as one dispatch, with a product behind them that takes their result ready:
/// matmul and short_conv; or two ropes, kv_append and attention. ERRORS: unsupported.
Result<KnownAnswer> fused_answer(const Graph& graph, std::span<const Node> nodes);
/// Ok when the largest error is small beside the size of the answer.
Status compare_answer(const KnownAnswer& answer, std::span<const float> got);

}  // namespace runnel::vulkan

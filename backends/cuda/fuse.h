// From the nodes of a segment to launches. In steps of one token, which are bound by the number of
// launches, a launch does the work of its neighbours: norms go into the products that read them,
// sums with the residual into the product before, the short convolution into its projection, and
// the preparation of heads, transforms and the keeping of the token's row into attention.
#pragma once
#include <span>
#include <vector>

#include "backends/cuda/kernel_table.h"

namespace runnel::cuda {

struct Steps {
  std::vector<Step> steps;
  std::vector<std::size_t> nodes;  // of each step: the node its time counts for
  std::size_t scratch_bytes = 0;   // the most that a step needs
};

/// ERRORS: unsupported (a node without kernel), invalid_argument (a value is not bound).
Result<Steps> make_steps(const Graph& graph, const Segment& segment, const Caps& caps);

}  // namespace runnel::cuda

// Products of one row take in their neighbours: an rms_norm before them, an addition behind them.
// It saves most of the small dispatches of a decode step, and the barriers between them. Applied
// where the plan's memory allows it: nothing that a fused product reads later than planned may have
// been overwritten by then.
#pragma once
#include <functional>
#include <map>
#include <set>

#include "backends/vulkan/steps/steps.h"
#include "runtime/backend/backend.h"

namespace runnel::vulkan {

struct RowFusions {
  struct Fused {
    std::size_t node;  // of the product in the segment
    steps::RowProduct product;
  };
  std::map<std::size_t, Fused> products;  // by the place in the segment where it runs
  std::set<std::size_t> norms;            // add_rms_norm nodes of which only the norm is left
  std::set<std::size_t> gone;             // nodes that run as part of others, or elsewhere
};

/// `usable`: whether a product may run by steps::row_product.
RowFusions fuse_rows(const Graph& graph,
                     const Segment& segment,
                     const std::function<bool(const Node&)>& usable);

}  // namespace runnel::vulkan

#include "runtime/compile/layout.h"

#include "runtime/base/checked.h"

namespace runnel {

std::size_t value_bytes(const Value& value) {
  const auto cols = static_cast<std::size_t>(value.shape.cols());
  const auto rows = static_cast<std::size_t>(value.shape.rows());
  return align_up(quant::row_bytes(value.dtype, cols) * rows, 64);
}

Result<PlanLayout> plan_layout(Graph graph,
                               std::span<Backend* const> backends,
                               const CompileOptions& options) {
  check(!backends.empty(), "plan_layout needs a backend");
  PlanLayout layout;
  layout.graph = std::move(graph);
  int next_domain = 1;
  for (Backend* backend : backends)
    layout.domain_of_backend.push_back(backend->uses_host_memory() ? 0 : next_domain++);
  layout.n_domains = next_domain;
  RUNNEL_TRY(assign(layout, backends, options));
  RUNNEL_TRY(fuse(layout, backends));
  schedule(layout, backends);
  place_memory(layout);
  for (std::size_t b = 0; b < backends.size(); ++b) {
    std::size_t bytes = 0;
    for (const LayoutSegment& segment : layout.segments)
      if (segment.backend == static_cast<int>(b))
        bytes += backends[b]->scratch_bytes(
            layout.graph,
            std::span(layout.graph.nodes()).subspan(segment.first, segment.last - segment.first));
    layout.scratch_bytes.push_back(bytes);
  }
  return layout;
}

}  // namespace runnel

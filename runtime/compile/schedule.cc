#include <algorithm>

#include "runtime/compile/layout.h"

namespace runnel {
namespace {

/// For each node, the earlier nodes it must follow: producers of its inputs, and every earlier node
/// that touches the same state.
std::vector<std::vector<std::size_t>> dependencies(const Graph& graph) {
  std::vector<std::vector<std::size_t>> result(graph.nodes().size());
  std::vector<std::vector<std::size_t>> touched(graph.values().size());
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    const Node& node = graph.nodes()[i];
    for (ValueId id : node.in) {
      auto& earlier = touched[static_cast<std::size_t>(id)];
      result[i].insert(result[i].end(), earlier.begin(), earlier.end());
      if (graph.value(id).role == Role::state) earlier.push_back(i);
    }
    for (ValueId id : node.out) touched[static_cast<std::size_t>(id)].push_back(i);
  }
  return result;
}

/// Node order that stays on one backend as long as any node of it is ready.
std::vector<std::size_t> grouped_order(const PlanLayout& layout) {
  const auto needs = dependencies(layout.graph);
  std::vector<std::size_t> order;
  std::vector<bool> done(needs.size(), false);
  while (order.size() < needs.size()) {
    const std::size_t before = order.size();
    int owner = -1;
    for (std::size_t i = 0; i < needs.size(); ++i) {
      if (done[i] || (owner != -1 && layout.node_backend[i] != owner)) continue;
      if (!std::ranges::all_of(needs[i], [&](std::size_t need) { return done[need]; })) continue;
      owner = layout.node_backend[i];
      done[i] = true;
      order.push_back(i);
    }
    check(order.size() > before, "graph has a cycle");
  }
  return order;
}

/// Adds the copies a segment needs before it runs; `home` and `present` say where values are.
void add_copies(PlanLayout& layout,
                LayoutSegment& segment,
                std::vector<int>& home,
                std::vector<std::vector<bool>>& present) {
  const int domain = layout.domain_of_backend[static_cast<std::size_t>(segment.backend)];
  for (std::size_t i = segment.first; i < segment.last; ++i) {
    const Node& node = layout.graph.nodes()[i];
    for (ValueId id : node.in) {
      const Role role = layout.graph.value(id).role;
      if (role == Role::weight || role == Role::state || role == Role::input) continue;
      const auto value = static_cast<std::size_t>(id);
      auto here =
          present[static_cast<std::size_t>(domain)].begin() + static_cast<std::ptrdiff_t>(value);
      if (*here) continue;
      segment.copies.push_back({id, home[value], domain});
      *here = true;
    }
    for (ValueId id : node.out) {
      home[static_cast<std::size_t>(id)] = domain;
      present[static_cast<std::size_t>(domain)][static_cast<std::size_t>(id)] = true;
    }
  }
}

}  // namespace

void schedule(PlanLayout& layout, std::span<Backend* const> backends) {
  check(backends.size() == layout.domain_of_backend.size(), "schedule: backends differ");
  std::vector<Node> nodes;
  std::vector<int> owners;
  for (std::size_t i : grouped_order(layout)) {
    nodes.push_back(layout.graph.nodes()[i]);
    owners.push_back(layout.node_backend[i]);
  }
  layout.graph.set_nodes(std::move(nodes));
  layout.node_backend = std::move(owners);

  const std::size_t n_values = layout.graph.values().size();
  std::vector<int> home(n_values, 0);
  std::vector<std::vector<bool>> present(static_cast<std::size_t>(layout.n_domains),
                                         std::vector<bool>(n_values, false));
  layout.segments.clear();
  for (std::size_t i = 0; i < layout.node_backend.size(); ++i) {
    if (layout.segments.empty() || layout.segments.back().backend != layout.node_backend[i])
      layout.segments.push_back({layout.node_backend[i], i, i, {}});
    layout.segments.back().last = i + 1;
  }
  for (LayoutSegment& segment : layout.segments) add_copies(layout, segment, home, present);
}

}  // namespace runnel

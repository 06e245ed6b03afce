#include <algorithm>
#include <string>

#include "runtime/compile/layout.h"

namespace runnel {
namespace {

constexpr int kNobody = -1;

std::size_t meant_for(const Node& node, const CompileOptions& options) {
  return options.meant ? options.meant(node) : 0;
}

int first_supporting(const Graph& graph,
                     const Node& node,
                     std::span<Backend* const> backends,
                     std::size_t from) {
  for (std::size_t b = from; b < backends.size(); ++b)
    if (backends[b]->supports(graph, node)) return static_cast<int>(b);
  return kNobody;
}

Status report_fallback(const Node& node,
                       int owner,
                       std::span<Backend* const> backends,
                       const CompileOptions& options) {
  const std::string what =
      "op=" + std::string(schema(node.op).name) + " node=" + node.name +
      " preferred=" + std::string(backends[meant_for(node, options)]->name()) +
      " fallback=" + std::string(backends[static_cast<std::size_t>(owner)]->name());
  if (options.fallback == Fallback::error)
    return Status(Code::unsupported, "no kernel on the chosen backend: " + what);
  options.log(LogLevel::warn, what);
  return {};
}

/// Appends `node` with its backend, or what it decomposes into.
Status place(Graph& graph,
             const Node& node,
             std::span<Backend* const> backends,
             const CompileOptions& options,
             std::vector<Node>& nodes,
             std::vector<int>& owners) {
  const std::size_t meant = meant_for(node, options);
  const int owner = first_supporting(graph, node, backends, meant);
  const bool fallback = owner > static_cast<int>(meant);
  const auto decompose = schema(node.op).decompose;
  if ((owner == kNobody || fallback) && decompose != nullptr) {
    graph.set_nodes({});
    decompose(graph, node);
    const std::vector<Node> parts = graph.nodes();
    for (const Node& part : parts) RUNNEL_TRY(place(graph, part, backends, options, nodes, owners));
    return {};
  }
  if (owner == kNobody)
    return Status(Code::unsupported,
                  "no backend runs op " + std::string(schema(node.op).name) + " of " + node.name);
  if (fallback) RUNNEL_TRY(report_fallback(node, owner, backends, options));
  nodes.push_back(node);
  owners.push_back(owner);
  return {};
}

/// Nodes that use the same state, or states that one node uses, belong together: numbers of sets by
/// node, -1 for nodes without state.
std::vector<int> state_sets(const Graph& graph) {
  const std::vector<Node>& nodes = graph.nodes();
  std::vector<int> set(nodes.size(), -1);
  std::vector<int> of_value(graph.values().size(), -1);
  int n_sets = 0;
  for (std::size_t i = 0; i < nodes.size(); ++i)
    for (ValueId id : nodes[i].in) {
      if (graph.value(id).role != Role::state) continue;
      int& known = of_value[static_cast<std::size_t>(id)];
      if (known == -1) known = set[i] == -1 ? n_sets++ : set[i];
      if (set[i] == -1) set[i] = known;
      if (set[i] == known) continue;
      const int from = known, to = set[i];
      std::ranges::replace(set, from, to);
      std::ranges::replace(of_value, from, to);
    }
  return set;
}

/// Moves nodes that share a state to one backend where they were given backends with different
/// memory.
Status unite_states(PlanLayout& layout,
                    std::span<Backend* const> backends,
                    const CompileOptions& options) {
  const std::vector<Node>& nodes = layout.graph.nodes();
  const std::vector<int> sets = state_sets(layout.graph);
  const auto domain = [&](int owner) {
    return layout.domain_of_backend[static_cast<std::size_t>(owner)];
  };
  for (int set = 0; set <= *std::ranges::max_element(sets); ++set) {
    std::vector<std::size_t> members;
    for (std::size_t i = 0; i < nodes.size(); ++i)
      if (sets[i] == set) members.push_back(i);
    const auto owner_of = [&](std::size_t i) -> int& { return layout.node_backend[i]; };
    if (members.empty() || std::ranges::all_of(members, [&](std::size_t i) {
          return domain(owner_of(i)) == domain(owner_of(members.front()));
        }))
      continue;
    int owner = kNobody;
    for (const std::size_t i : members) owner = std::max(owner, owner_of(i));
    while (!std::ranges::all_of(members, [&](std::size_t i) {
      return backends[static_cast<std::size_t>(owner)]->supports(layout.graph, nodes[i]);
    }))
      if (++owner == static_cast<int>(backends.size()))
        return Status(Code::unsupported, "no backend runs every op that shares the state of " +
                                             nodes[members.front()].name);
    for (const std::size_t i : members) {
      if (owner_of(i) == owner) continue;
      RUNNEL_TRY(report_fallback(nodes[i], owner, backends, options));
      owner_of(i) = owner;
    }
  }
  return {};
}

}  // namespace

std::vector<std::size_t> state_backends(const PlanLayout& layout) {
  std::vector<std::size_t> homes;
  for (std::size_t i = 0; i < layout.graph.nodes().size(); ++i)
    for (ValueId id : layout.graph.nodes()[i].in) {
      const Value& value = layout.graph.value(id);
      if (value.role != Role::state) continue;
      const auto index = static_cast<std::size_t>(value.state_index);
      if (homes.size() <= index) homes.resize(index + 1);
      homes[index] = static_cast<std::size_t>(layout.node_backend[i]);
    }
  return homes;
}

Status assign(PlanLayout& layout,
              std::span<Backend* const> backends,
              const CompileOptions& options) {
  const std::vector<Node> source = layout.graph.nodes();
  std::vector<Node> nodes;
  layout.node_backend.clear();
  for (const Node& node : source)
    RUNNEL_TRY(place(layout.graph, node, backends, options, nodes, layout.node_backend));
  layout.graph.set_nodes(std::move(nodes));
  return layout.node_backend.empty() ? Status() : unite_states(layout, backends, options);
}

}  // namespace runnel

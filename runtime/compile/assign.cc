#include <string>

#include "runtime/compile/layout.h"

namespace runnel {
namespace {

constexpr int kNobody = -1;

int first_supporting(const Graph& graph, const Node& node, std::span<Backend* const> backends) {
  for (std::size_t b = 0; b < backends.size(); ++b)
    if (backends[b]->supports(graph, node)) return static_cast<int>(b);
  return kNobody;
}

Status report_fallback(const Node& node,
                       std::span<Backend* const> backends,
                       const CompileOptions& options) {
  const std::string what = "op=" + std::string(schema(node.op).name) + " node=" + node.name +
                           " preferred=" + std::string(backends.front()->name()) +
                           " fallback=" + std::string(backends.back()->name());
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
  const int owner = first_supporting(graph, node, backends);
  const bool fallback = backends.size() > 1 && owner == static_cast<int>(backends.size()) - 1;
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
  if (fallback) RUNNEL_TRY(report_fallback(node, backends, options));
  nodes.push_back(node);
  owners.push_back(owner);
  return {};
}

}  // namespace

Status assign(PlanLayout& layout,
              std::span<Backend* const> backends,
              const CompileOptions& options) {
  const std::vector<Node> source = layout.graph.nodes();
  std::vector<Node> nodes;
  layout.node_backend.clear();
  for (const Node& node : source)
    RUNNEL_TRY(place(layout.graph, node, backends, options, nodes, layout.node_backend));
  layout.graph.set_nodes(std::move(nodes));
  return {};
}

}  // namespace runnel

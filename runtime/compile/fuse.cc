// The pattern table. Each row looks at one node and rewrites it with its producers or consumer into
// a fused op; it applies only where the backend has a kernel for the fused op.
#include <algorithm>
#include <array>
#include <optional>

#include "runtime/compile/layout.h"

namespace runnel {
namespace {

struct Fusion {
  Node node;                      // the fused node, put in place of the node looked at
  std::vector<std::size_t> gone;  // indices of the other nodes it replaces
};

/// Producers and numbers of uses, by value.
struct Uses {
  explicit Uses(const Graph& graph)
      : producer(graph.values().size(), kNone), count(graph.values().size(), 0) {
    for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
      for (ValueId id : graph.nodes()[i].out) producer[static_cast<std::size_t>(id)] = i;
      for (ValueId id : graph.nodes()[i].in) ++count[static_cast<std::size_t>(id)];
    }
    for (std::size_t v = 0; v < graph.values().size(); ++v)
      if (graph.values()[v].role == Role::output) ++count[v];
  }
  /// Index of the node that makes `id` if that node has this op, else nothing.
  std::optional<std::size_t> made_by(const Graph& graph, ValueId id, Op op) const {
    const std::size_t index = producer[static_cast<std::size_t>(id)];
    if (index == kNone || graph.nodes()[index].op != op) return std::nullopt;
    return index;
  }
  bool used_once(ValueId id) const { return count[static_cast<std::size_t>(id)] == 1; }
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);
  std::vector<std::size_t> producer;
  std::vector<int> count;
};

/// add, then rms_norm of the sum: one pass over the residual stream instead of two.
std::optional<Fusion> add_then_norm(const Graph& graph, const Uses& uses, const Node& norm) {
  const auto add = uses.made_by(graph, norm.in[0], Op::add);
  if (!add) return std::nullopt;
  const Node& sum = graph.nodes()[*add];
  return Fusion{Node{Op::add_rms_norm,
                     {sum.in[0], sum.in[1], norm.in[1]},
                     {sum.out[0], norm.out[0]},
                     norm.attr,
                     norm.name},
                {*add}};
}

/// swiglu of two matrix products of one input: the input is read (and quantised) once.
std::optional<Fusion> gate_up_swiglu(const Graph& graph, const Uses& uses, const Node& swiglu) {
  const auto gate = uses.made_by(graph, swiglu.in[0], Op::matmul);
  const auto up = uses.made_by(graph, swiglu.in[1], Op::matmul);
  if (!gate || !up || *gate == *up) return std::nullopt;
  const Node& g = graph.nodes()[*gate];
  const Node& u = graph.nodes()[*up];
  if (g.in.size() != 2 || u.in.size() != 2 || g.in[0] != u.in[0]) return std::nullopt;
  if (!uses.used_once(g.out[0]) || !uses.used_once(u.out[0])) return std::nullopt;
  return Fusion{Node{Op::matmul_swiglu, {g.in[0], g.in[1], u.in[1]}, swiglu.out, {}, swiglu.name},
                {*gate, *up}};
}

/// Per-head norm, then rope.
std::optional<Fusion> norm_then_rope(const Graph& graph, const Uses& uses, const Node& rope) {
  const auto norm = uses.made_by(graph, rope.in[0], Op::rms_norm);
  if (!norm || !uses.used_once(rope.in[0])) return std::nullopt;
  const Node& n = graph.nodes()[*norm];
  RopeAttr attr = std::get<RopeAttr>(rope.attr);
  if (graph.value(n.in[1]).shape.cols() != attr.head_dim) return std::nullopt;
  attr.eps = std::get<RmsNormAttr>(n.attr).eps;
  std::vector<ValueId> in{n.in[0], n.in[1]};
  if (rope.in.size() > 1) in.push_back(rope.in[1]);
  return Fusion{Node{Op::rms_norm_rope, std::move(in), rope.out, attr, rope.name}, {*norm}};
}

struct Pattern {
  Op last;  // the op looked at
  std::optional<Fusion> (*match)(const Graph&, const Uses&, const Node&);
};
constexpr std::array kPatterns{
    Pattern{Op::rms_norm, add_then_norm},
    Pattern{Op::swiglu, gate_up_swiglu},
    Pattern{Op::rope, norm_then_rope},
};

/// True when nothing between a replaced node and node `at` reads what the replaced node makes.
bool can_move_to(const Graph& graph, const Fusion& fusion, std::size_t at) {
  for (std::size_t index : fusion.gone)
    for (std::size_t i = index + 1; i < at; ++i) {
      if (std::ranges::find(fusion.gone, i) != fusion.gone.end()) continue;
      for (ValueId made : graph.nodes()[index].out)
        if (std::ranges::find(graph.nodes()[i].in, made) != graph.nodes()[i].in.end()) return false;
    }
  return true;
}

/// True when all replaced nodes run on the backend of node `at`, which has a kernel for the fused
/// op.
bool allowed(const PlanLayout& layout,
             const Fusion& fusion,
             std::size_t at,
             std::span<Backend* const> backends,
             const std::vector<bool>& gone) {
  const int owner = layout.node_backend[at];
  for (std::size_t index : fusion.gone)
    if (layout.node_backend[index] != owner || gone[index]) return false;
  return can_move_to(layout.graph, fusion, at) &&
         backends[static_cast<std::size_t>(owner)]->supports(layout.graph, fusion.node);
}

}  // namespace

Status fuse(PlanLayout& layout, std::span<Backend* const> backends) {
  const Uses uses(layout.graph);
  std::vector<Node> nodes = layout.graph.nodes();
  std::vector<bool> gone(nodes.size(), false);
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    for (const Pattern& pattern : kPatterns) {
      if (gone[i] || layout.graph.nodes()[i].op != pattern.last) continue;
      const std::optional<Fusion> fusion =
          pattern.match(layout.graph, uses, layout.graph.nodes()[i]);
      if (!fusion || !allowed(layout, *fusion, i, backends, gone)) continue;
      nodes[i] = fusion->node;
      for (std::size_t index : fusion->gone) gone[index] = true;
    }
  }
  std::vector<Node> kept;
  std::vector<int> owners;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (gone[i]) continue;
    kept.push_back(std::move(nodes[i]));
    owners.push_back(layout.node_backend[i]);
  }
  layout.graph.set_nodes(std::move(kept));
  layout.node_backend = std::move(owners);
  return {};
}

}  // namespace runnel

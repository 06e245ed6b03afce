// Ops that work on rows: embedding, norms, element by element, selections.
#include "backends/vulkan/steps/operands.h"
#include "backends/vulkan/steps/steps.h"

namespace runnel::vulkan::steps {
namespace {

constexpr std::uint32_t kThreads = 256, kFewThreads = 64;

/// Threads for rows of n values: a power of two.
std::uint32_t threads_for(std::int64_t n) {
  return n <= 64 ? kFewThreads : n <= 128 ? 128 : kThreads;
}

}  // namespace

Result<Step> embed(const Graph& graph, const Node& node, Bindings bindings) {
  const Value &table = graph.value(node.in[0]), &ids = graph.value(node.in[1]);
  const WeightLayout layout = weight_layout(table);
  const Rows rows = rows_of(graph, ids);
  Dispatch d;
  d.shader = "embed." + std::string(layout.format->shader);
  d.constants = {kFewThreads};
  d.push = weight_push(layout);
  d.push.insert(d.push.end(), {u32(layout.cols), u32(table.shape[0]), rows.fixed, rows.per_token});
  d.operands = {read(bindings, node.in[0]), read(bindings, node.in[1]),
                write(bindings, node.out[0])};
  d.grid = {groups(layout.groups, kFewThreads), extent(rows), Extent{}};
  return Step{{std::move(d)}};
}

Result<Step> rms_norm(const Graph& graph, const Node& node, Bindings bindings) {
  const Value &x = graph.value(node.in[0]), &weight = graph.value(node.in[1]);
  const std::int64_t width = weight.shape.elems(), per_row = x.shape.cols() / width;
  const Rows rows = rows_of(graph, x);
  Dispatch d;
  d.shader = "rms_norm.one";
  d.constants = {threads_for(width)};
  d.push = {u32(width), u32(per_row), rows.fixed, rows.per_token,
            bits(attr_of<RmsNormAttr>(node).eps)};
  d.operands = {read(bindings, node.in[0]), read(bindings, node.in[1]),
                write(bindings, node.out[0])};
  d.grid = {extent(rows, per_row), Extent{}, Extent{}};
  return Step{{std::move(d)}};
}

Result<Step> add_rms_norm(const Graph& graph, const Node& node, Bindings bindings) {
  const Value &a = graph.value(node.in[0]), &weight = graph.value(node.in[2]);
  const std::int64_t width = weight.shape.elems(), per_row = a.shape.cols() / width;
  const Rows rows = rows_of(graph, a);
  Dispatch d;
  d.shader = "rms_norm.sum";
  d.constants = {threads_for(width)};
  d.push = {u32(width), u32(per_row), rows.fixed, rows.per_token,
            bits(attr_of<RmsNormAttr>(node).eps)};
  d.operands = {read(bindings, node.in[0]), read(bindings, node.in[2]),
                bound(bindings, node.out[1], Access::both), read(bindings, node.in[1]),
                bound(bindings, node.out[0], Access::both)};
  d.grid = {extent(rows, per_row), Extent{}, Extent{}};
  return Step{{std::move(d)}};
}

Result<Step> elementwise(const Graph& graph, const Node& node, Bindings bindings) {
  const Value& a = graph.value(node.in[0]);
  const Rows rows = rows_of(graph, a);
  Dispatch d;
  d.shader = node.op == Op::add ? "elementwise.add" : "elementwise.swiglu";
  d.constants = {kThreads};
  d.push = {u32(a.shape.cols()), rows.fixed, rows.per_token};
  d.operands = {read(bindings, node.in[0]), read(bindings, node.in[1]),
                write(bindings, node.out[0])};
  d.grid = {extent(rows, a.shape.cols(), kThreads), Extent{}, Extent{}};
  return Step{{std::move(d)}};
}

Result<Step> rotate(const Graph& graph, const Node& node, Bindings bindings) {
  const auto& attr = attr_of<RotateAttr>(node);
  const Value& x = graph.value(node.in[0]);
  const std::int64_t cols = x.shape.cols(), vectors = (cols + 63) / 64;
  const Rows rows = rows_of(graph, x);
  const bool gains = node.in.size() > 1;
  Dispatch d;
  d.shader = "rotate.64";
  d.push = {u32(vectors),
            rows.fixed,
            rows.per_token,
            u32(cols),
            static_cast<std::uint32_t>(attr.signs),
            static_cast<std::uint32_t>(attr.signs >> 32),
            attr.transform,
            attr.direction == quant::Direction::inverse,
            attr.round,
            gains};
  d.operands = {read(bindings, node.in[0]), read(bindings, node.in[gains ? 1 : 0]),
                write(bindings, node.out[0])};
  d.grid = {extent(rows, vectors), Extent{}, Extent{}};
  return Step{{std::move(d)}};
}

Result<Step> moe_sum(const Graph& graph, const Node& node, Bindings bindings) {
  const Value &y = graph.value(node.in[0]), &weights = graph.value(node.in[1]);
  const Rows rows = rows_of(graph, weights);
  Dispatch d;
  d.shader = "moe_sum.any";
  d.constants = {kThreads};
  d.push = {u32(y.shape.cols()), u32(weights.shape.cols()), rows.fixed, rows.per_token};
  d.operands = {read(bindings, node.in[0]), read(bindings, node.in[1]),
                write(bindings, node.out[0])};
  d.grid = {groups(y.shape.cols(), kThreads), extent(rows), Extent{}};
  return Step{{std::move(d)}};
}

Result<Step> moe_route(const Graph& graph, const Node& node, Bindings bindings) {
  const auto& attr = attr_of<MoeRouteAttr>(node);
  const Value& logits = graph.value(node.in[0]);
  const Rows rows = rows_of(graph, logits);
  const bool biased = node.in.size() > 1;
  Dispatch d;
  d.shader = "moe_route.any";
  d.constants = {kFewThreads};
  d.push = {u32(logits.shape.cols()),
            u32(attr.n_used),
            attr.gating == Gating::softmax,
            attr.normalise,
            rows.fixed,
            rows.per_token,
            biased,
            bits(attr.norm_eps),
            bits(attr.scale)};
  d.operands = {read(bindings, node.in[0]), read(bindings, node.in[biased ? 1 : 0]),
                bound(bindings, node.out[0], Access::both), write(bindings, node.out[1])};
  d.grid = {extent(rows), Extent{}, Extent{}};
  return Step{{std::move(d)}};
}

Result<Step> last_row(const Graph& graph, const Node& node, Bindings bindings) {
  const Value& x = graph.value(node.in[0]);
  const Rows rows = rows_of(graph, x);
  Dispatch d;
  d.shader = "last_row.last";
  d.constants = {kThreads};
  d.push = {u32(x.shape.cols()), rows.fixed, rows.per_token};
  d.operands = {read(bindings, node.in[0]), write(bindings, node.out[0])};
  d.grid = {groups(x.shape.cols(), kThreads), Extent{}, Extent{}};
  return Step{{std::move(d)}};
}

Result<Step> argmax(const Graph& graph, const Node& node, Bindings bindings) {
  constexpr std::int64_t kPiece = 1024;  // of a long row; a whole row of fewer than four
  const Value& x = graph.value(node.in[0]);
  const Rows rows = rows_of(graph, x);
  const std::int64_t pieces = (x.shape.cols() + kPiece - 1) / kPiece;
  const std::uint32_t n_parts = pieces < 4 ? 1 : u32(pieces);
  Dispatch d;
  d.shader = n_parts == 1 ? "argmax.each" : "argmax.part";
  d.constants = {kThreads};
  d.push = {u32(x.shape.cols()), rows.fixed, rows.per_token, n_parts};
  d.operands = {read(bindings, node.in[0]), write(bindings, node.out[0])};
  d.grid = {Extent{n_parts}, extent(rows), Extent{}};
  if (n_parts == 1) return Step{{std::move(d)}};
  Dispatch merge = d;
  Step step;
  step.scratch_bytes = static_cast<std::size_t>(x.shape[0]) * n_parts * 2 * sizeof(std::uint32_t);
  d.operands[1] = scratch(0, step.scratch_bytes, Access::write);
  merge.shader = "argmax.merge";
  merge.operands[0] = scratch(0, step.scratch_bytes, Access::read);
  merge.grid[0] = Extent{};
  step.dispatches = {std::move(d), std::move(merge)};
  return step;
}

}  // namespace runnel::vulkan::steps

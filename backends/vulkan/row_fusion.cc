#include "backends/vulkan/row_fusion.h"

#include <algorithm>

namespace runnel::vulkan {
namespace {

class Fuser {
 public:
  Fuser(const Graph& graph, const Segment& segment, const std::function<bool(const Node&)>& usable)
      : graph_(graph), segment_(segment), usable_(usable), uses_(graph.values().size(), 0) {
    for (const Node& node : graph.nodes())
      for (const ValueId id : node.in) ++uses_[static_cast<std::size_t>(id)];
    for (std::size_t i = 0; i < segment.nodes.size(); ++i)
      for (const ValueId id : segment.nodes[i].out) producer_[id] = i;
  }

  RowFusions run() {
    for (std::size_t i = 0; i < segment_.nodes.size(); ++i) {
      const Op op = segment_.nodes[i].op;
      if (op == Op::add || op == Op::add_rms_norm) add_behind(i);
    }
    for (std::size_t i = 0; i < segment_.nodes.size(); ++i) norm_before(i);
    return std::move(result_);
  }

 private:
  const Node& node(std::size_t i) const { return segment_.nodes[i]; }

  bool overlap(ValueId a, ValueId b) const {
    const BufferView& x = segment_.bindings[static_cast<std::size_t>(a)];
    const BufferView& y = segment_.bindings[static_cast<std::size_t>(b)];
    return x.buffer == y.buffer && x.offset < y.offset + y.size && y.offset < x.offset + x.size;
  }
  /// Whether a node of (first, last] writes where `id` lies.
  bool overwritten(ValueId id, std::size_t first, std::size_t last) const {
    for (std::size_t i = first + 1; i <= last; ++i)
      for (const ValueId out : node(i).out)
        if (out != id && overlap(out, id)) return true;
    return false;
  }

  /// product, then add: the product runs where the addition was, and writes the sum.
  void add_behind(std::size_t at) {
    for (const std::size_t side : {1u, 0u}) {
      const ValueId made = node(at).in[side], other = node(at).in[1 - side];
      const auto found = producer_.find(made);
      if (found == producer_.end() || made == other) continue;
      const std::size_t from = found->second;
      const bool single =
          uses_[static_cast<std::size_t>(made)] == 1 && graph_.value(made).role != Role::output;
      if (!single || result_.gone.contains(from) || node(from).op != Op::matmul ||
          !usable_(node(from)))
        continue;
      const ValueId x = node(from).in[0], sum = node(at).out[0];
      if (overlap(x, sum) || overwritten(x, from, at)) continue;
      result_.products[at] = {from, {x, sum, other, kNoValue, 0, nullptr}};
      result_.gone.insert(from);
      if (node(at).op == Op::add) result_.gone.insert(at);
      if (node(at).op == Op::add_rms_norm) summed_.insert(at);
      return;
    }
  }

  /// norm, then products only: each of them norms the row for itself.
  void norm_before(std::size_t at) {
    const bool alone = node(at).op == Op::rms_norm;
    if (!alone && !summed_.contains(at)) return;
    const ValueId x = alone ? node(at).in[0] : node(at).out[0];
    const ValueId normed = alone ? node(at).out[0] : node(at).out[1];
    const ValueId weight = alone ? node(at).in[1] : node(at).in[2];
    const RmsNormAttr* attr = std::get_if<RmsNormAttr>(&node(at).attr);
    std::vector<std::size_t> users;
    for (std::size_t i = at + 1; i < segment_.nodes.size(); ++i)
      if (std::ranges::find(node(i).in, normed) != node(i).in.end()) users.push_back(i);
    bool fits = attr != nullptr && !users.empty() && graph_.value(normed).role != Role::output &&
                static_cast<int>(users.size()) == uses_[static_cast<std::size_t>(normed)] &&
                graph_.value(weight).shape.elems() == graph_.value(x).shape.cols() &&
                !overwritten(x, at, users.empty() ? at : users.back());
    for (const std::size_t user : users)
      fits = fits && !result_.gone.contains(user) && !result_.products.contains(user) &&
             usable_(node(user)) && node(user).in[0] == normed;
    // A sum that is normed by its own node must be made by the product there.
    if (fits) {
      for (const std::size_t user : users) {
        result_.products[user] = {user,
                                  {x, node(user).out[0], kNoValue, weight, attr->eps, nullptr}};
        result_.gone.insert(user);
      }
      result_.gone.insert(at);
      return;
    }
    if (!alone) result_.norms.insert(at);
  }

  const Graph& graph_;
  const Segment& segment_;
  const std::function<bool(const Node&)>& usable_;
  std::vector<int> uses_;
  std::map<ValueId, std::size_t> producer_;
  std::set<std::size_t> summed_;  // add_rms_norm whose sum a product makes
  RowFusions result_;
};

}  // namespace

RowFusions fuse_rows(const Graph& graph,
                     const Segment& segment,
                     const std::function<bool(const Node&)>& usable) {
  return Fuser(graph, segment, usable).run();
}

}  // namespace runnel::vulkan

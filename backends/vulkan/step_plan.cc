#include "backends/vulkan/step_plan.h"

#include <algorithm>
#include <map>
#include <utility>

#include "backends/vulkan/row_fusion.h"

namespace runnel::vulkan {
namespace {

using steps::ReadyRow;

/// One step of the plan before it is prepared.
struct Item {
  enum class Kind : std::uint8_t { node, norm, product, ready, attention } kind = Kind::node;
  std::size_t place = 0;        // node of the segment whose time it counts as
  const Node* node = nullptr;   // product: its own, wherever it runs
  steps::ReadyProduct product;  // product, ready: x and norm of the row
  steps::AttentionStep around;  // attention
  bool by_bytes = false;        // product: in integers
  bool takes_ready = false;     // product: its kernel takes a row that lies ready
};

class Planner {
 public:
  Planner(const Graph& graph, const Segment& segment, const PlanKernels& kernels)
      : graph_(graph), segment_(segment), kernels_(kernels), uses_(graph.values().size(), 0) {
    for (const Node& node : graph.nodes())
      for (const ValueId id : node.in) ++uses_[static_cast<std::size_t>(id)];
  }

  Result<StepPlan> run() {
    RUNNEL_TRY(list_items());
    if (graph_.max_tokens() == 1) {
      for (std::size_t i = 0; i + 1 < items_.size(); ++i) take_conv(i);
      for (std::size_t i = 0; i + 3 < items_.size(); ++i) take_attention(i);
      make_rows_ready();
    }
    for (const Item& item : items_) {
      Result<Step> step = prepare(item);
      if (!step.ok()) return step.status().with_context(segment_.nodes[item.place].name);
      plan_.steps.push_back({*std::move(step), item.place});
    }
    return std::move(plan_);
  }

 private:
  static bool is_row_kernel(const Row* row) {
    return row != nullptr &&
           (row->prepare == steps::matvec_row || row->prepare == steps::matvec_dot);
  }
  static bool is_product(const Node& node) {
    return node.op == Op::matmul || node.op == Op::matmul_swiglu;
  }
  bool used_once(ValueId id) const {
    return uses_[static_cast<std::size_t>(id)] == 1 && graph_.value(id).role != Role::output;
  }
  bool overlap(ValueId a, ValueId b) const {
    const BufferView& x = segment_.bindings[static_cast<std::size_t>(a)];
    const BufferView& y = segment_.bindings[static_cast<std::size_t>(b)];
    return x.buffer == y.buffer && x.offset < y.offset + y.size && y.offset < x.offset + x.size;
  }

  Status list_items() {
    const RowFusions fusions = fuse_rows(graph_, segment_, [&](const Node& node) {
      return is_product(node) && is_row_kernel(kernels_.find(node));
    });
    for (std::size_t i = 0; i < segment_.nodes.size(); ++i) {
      const Node& node = segment_.nodes[i];
      if (const auto fused = fusions.products.find(i); fused != fusions.products.end())
        add_product(i, segment_.nodes[fused->second.node], fused->second.product);
      if (fusions.gone.contains(i)) continue;
      const Row* const row = kernels_.find(node);
      if (row == nullptr) return Status(Code::unsupported, node.name + ": no Vulkan kernel");
      Item item;
      item.place = i;
      item.node = &node;
      if (fusions.norms.contains(i))
        item.kind = Item::Kind::norm;
      else if (is_product(node) && is_row_kernel(row)) {
        add_product(i, node, {node.in[0], node.out[0], kNoValue, kNoValue, 0, nullptr});
        continue;
      }
      items_.push_back(item);
    }
    return {};
  }

  void add_product(std::size_t place, const Node& node, const steps::RowProduct& product) {
    Item item;
    item.kind = Item::Kind::product;
    item.place = place;
    item.node = &node;
    item.product.product = product;
    const Row* const row = kernels_.find(node);
    item.by_bytes = row != nullptr && row->prepare == steps::matvec_dot;
    for (const Row& other : kernel_table())
      if (item.by_bytes && graph_.max_tokens() == 1 && other.op == node.op &&
          other.prepare == steps::matvec_ready && other.matches(graph_, node, kernels_.caps) &&
          kernels_.trusts(other, node))
        item.takes_ready = true;
    items_.push_back(item);
  }

  /// A product and the short convolution that alone uses it.
  void take_conv(std::size_t i) {
    Item& item = items_[i];
    const Item& next = items_[i + 1];
    if (item.kind != Item::Kind::product || (item.by_bytes && !item.takes_ready) ||
        item.node->op != Op::matmul || item.node->in.size() > 2 ||
        item.product.product.residual != kNoValue || next.kind != Item::Kind::node ||
        next.node->op != Op::short_conv || next.node->in[0] != item.product.product.out ||
        !used_once(item.product.product.out))
      return;
    // Some workgroups write channels while others read the row, unless it lies ready elsewhere.
    if (!item.takes_ready && overlap(next.node->out[0], item.product.product.x)) return;
    const Node both[] = {*item.node, *next.node};
    if (!kernels_.trusts_fused(both)) return;
    item.product.product.conv = next.node;
    item.product.product.out = next.node->out[0];
    items_.erase(items_.begin() + static_cast<std::ptrdiff_t>(i) + 1);
  }

  /// The ropes of q and k, kv_append, and the attention that reads them.
  void take_attention(std::size_t i) {
    for (std::size_t j = i; j < i + 4; ++j)
      if (items_[j].kind != Item::Kind::node) return;
    const Node &q = *items_[i].node, &k = *items_[i + 1].node, &append = *items_[i + 2].node;
    const Node& attention = *items_[i + 3].node;
    if (attention.op != Op::attention || append.op != Op::kv_append || k.op != q.op ||
        (q.op != Op::rope && q.op != Op::rms_norm_rope))
      return;
    const Row* const row = kernels_.find(attention);
    const auto *a = std::get_if<RopeAttr>(&q.attr), *b = std::get_if<RopeAttr>(&k.attr);
    const auto* heads = std::get_if<AttentionAttr>(&attention.attr);
    constexpr std::size_t kShared = 32768;
    if (row == nullptr || row->prepare != steps::attention_row || a == nullptr || b == nullptr ||
        heads == nullptr || kernels_.caps.shared_bytes < kShared || a->theta != b->theta ||
        a->rotary_dim != b->rotary_dim || a->style != b->style || a->eps != b->eps ||
        a->head_dim != heads->head_dim || b->head_dim != heads->head_dim)
      return;
    const std::size_t factors = q.op == Op::rope ? 1 : 2;
    if (q.in.size() != k.in.size() || (q.in.size() > factors && q.in[factors] != k.in[factors]) ||
        attention.in[0] != q.out[0] || append.in[0] != k.out[0] ||
        append.in[2] != attention.in[1] || append.in[3] != attention.in[2] ||
        !used_once(q.out[0]) || !used_once(k.out[0]))
      return;
    // Some workgroups write their heads while others read theirs.
    for (const ValueId read : {q.in[0], k.in[0], append.in[1]})
      if (overlap(attention.out[0], read)) return;
    const Node all[] = {q, k, append, attention};
    if (!kernels_.trusts_fused(all)) return;
    items_[i + 3].kind = Item::Kind::attention;
    items_[i + 3].around = {&q, &k, &append, {}};
    items_.erase(items_.begin() + static_cast<std::ptrdiff_t>(i),
                 items_.begin() + static_cast<std::ptrdiff_t>(i) + 3);
  }

  ReadyRow keep(ValueId x) {
    const ReadyRow row{true, Operand::Source::kept, plan_.kept_bytes};
    plan_.kept_bytes += steps::ready_bytes(graph_.value(x).shape.cols());
    return row;
  }

  /// Each product reads a row that lies ready: made by the step that made its values, if that can,
  /// else by a dispatch of its own. For a single product that would be no gain.
  void make_rows_ready() {
    const auto gains = [](const Item& item) {
      return int{item.takes_ready} + int{item.takes_ready && item.product.product.conv != nullptr} +
             int{item.kind == Item::Kind::attention};
    };
    int gain = 0;
    for (const Item& item : items_) gain += gains(item);
    if (gain < 2) return;
    std::vector<Item> made;
    std::map<std::pair<ValueId, ValueId>, ReadyRow> rows;  // of a value and a norm's weight
    std::map<ValueId, std::size_t> makers;
    made.reserve(2 * items_.size());
    for (Item& item : items_) {
      if (item.takes_ready) {
        const ValueId x = item.product.product.x, norm = item.product.product.norm;
        const auto [found, is_new] = rows.try_emplace({x, norm}, ReadyRow{});
        if (is_new) {
          found->second = keep(x);
          const auto maker = makers.find(x);
          if (maker == makers.end() || !hand_over(made[maker->second], found->second, norm)) {
            Item ready;
            ready.kind = Item::Kind::ready;
            ready.place = item.place;
            ready.node = item.node;
            ready.product.product = item.product.product;
            ready.product.x = found->second;
            made.push_back(ready);
          }
        }
        item.product.x = found->second;
        makers[item.product.product.out] = made.size();
      } else if (item.kind == Item::Kind::attention) {
        makers[item.node->out[0]] = made.size();
      }
      made.push_back(item);
    }
    items_ = std::move(made);
  }

  /// False when `maker` makes another row already.
  static bool hand_over(Item& maker, const ReadyRow& row, ValueId norm) {
    const bool attention = maker.kind == Item::Kind::attention;
    ReadyRow& to = attention ? maker.around.made : maker.product.made;
    if (to.is_made || (attention && norm != kNoValue)) return false;
    to = row;
    if (!attention) maker.product.made_norm = norm;
    return true;
  }

  Result<Step> prepare(const Item& item) const {
    const Node& node = *item.node;
    const auto bindings = std::span<const BufferView>(segment_.bindings);
    switch (item.kind) {
      case Item::Kind::norm: {
        const Node norm{
            Op::rms_norm, {node.out[0], node.in[2]}, {node.out[1]}, node.attr, node.name};
        return steps::rms_norm(graph_, norm, bindings);
      }
      case Item::Kind::product: {
        if (item.product.x.is_made)
          return steps::ready_product(graph_, node, bindings, item.product);
        const auto made_by = item.by_bytes ? steps::dot_product : steps::row_product;
        return made_by(graph_, node, bindings, item.product.product);
      }
      case Item::Kind::ready:
        return Step{{steps::make_ready(graph_, bindings, item.product.product.x,
                                       item.product.product.norm, item.product.x)}};
      case Item::Kind::attention:
        return steps::attention_step(graph_, node, bindings, item.around);
      case Item::Kind::node:
        break;
    }
    return kernels_.prepare(*kernels_.find(node), node);
  }

  const Graph& graph_;
  const Segment& segment_;
  const PlanKernels& kernels_;
  std::vector<int> uses_;
  std::vector<Item> items_;
  StepPlan plan_;
};

}  // namespace

Result<StepPlan> plan_steps(const Graph& graph,
                            const Segment& segment,
                            const PlanKernels& kernels) {
  return Planner(graph, segment, kernels).run();
}

}  // namespace runnel::vulkan

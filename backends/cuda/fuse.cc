#include "backends/cuda/fuse.h"

#include <algorithm>
#include <optional>

#include "backends/cuda/kernels/kernels.h"

namespace runnel::cuda {
namespace {

constexpr std::size_t kNone = static_cast<std::size_t>(-1);

class StepMaker {
 public:
  StepMaker(const Graph& graph, const Segment& segment, const Caps& caps)
      : graph_(graph),
        segment_(segment),
        caps_(caps),
        uses_(graph.values().size(), 0),
        producer_(graph.values().size(), kNone),
        absorbed_(segment.nodes.size(), false) {}

  Result<Steps> run() {
    RUNNEL_TRY(find_rows());
    if (graph_.max_tokens() == 1) {
      count_uses();
      for (std::size_t i = 0; i < nodes().size(); ++i) absorb_norm(i);
      for (std::size_t i = 0; i < nodes().size(); ++i) absorb_add(i);
    }
    for (std::size_t i = 0; i < nodes().size();) {
      if (absorbed_[i]) {
        ++i;
        continue;
      }
      RUNNEL_ASSIGN(i, emit(i));
    }
    return std::move(made_);
  }

 private:
  std::span<const Node> nodes() const { return segment_.nodes; }
  const BufferView& view(ValueId id) const {
    return segment_.bindings[static_cast<std::size_t>(id)];
  }
  bool overlap(ValueId a, ValueId b) const {
    const BufferView &x = view(a), &y = view(b);
    return x.buffer == y.buffer && x.buffer != nullptr && x.offset < y.offset + y.size &&
           y.offset < x.offset + x.size;
  }

  Status find_rows() {
    for (const Node& node : nodes()) {
      rows_.push_back(find_kernel(kernel_table(), graph_, node, caps_));
      if (rows_.back() == nullptr) return Status(Code::unsupported, node.name + ": no CUDA kernel");
    }
    return {};
  }

  void count_uses() {
    for (const Node& node : graph_.nodes())
      for (ValueId id : node.in) ++uses_[static_cast<std::size_t>(id)];
    for (std::size_t v = 0; v < uses_.size(); ++v)
      if (graph_.values()[v].role == Role::output) ++uses_[v];
    for (std::size_t i = 0; i < nodes().size(); ++i)
      for (ValueId id : nodes()[i].out) producer_[static_cast<std::size_t>(id)] = i;
  }
  bool used_once(ValueId id) const { return uses_[static_cast<std::size_t>(id)] == 1; }

  /// What a norm reads once its sum, if it has one, is made by others.
  static ValueId norm_source(const Node& norm) {
    return norm.op == Op::add_rms_norm ? norm.out[0] : norm.in[0];
  }

  /// The product right before node i whose result is used by node i alone, which adds it to another
  /// value: that value, else nothing.
  std::optional<ValueId> residual_of(std::size_t i) const {
    if (i == 0 || !is_matvec(*rows_[i - 1]) || nodes()[i - 1].op != Op::matmul) return std::nullopt;
    const Node &product = nodes()[i - 1], &sum = nodes()[i];
    const ValueId result = product.out[0];
    if (!used_once(result) || (sum.in[0] == result) == (sum.in[1] == result)) return std::nullopt;
    // Every block reads all of x while others write results.
    if (overlap(sum.out[0], product.in[0])) return std::nullopt;
    return sum.in[0] == result ? sum.in[1] : sum.in[0];
  }

  /// Whether products alone read what norm i makes, and what it reads is still there for them.
  bool read_by_products(std::size_t i) const {
    const Node& norm = nodes()[i];
    const ValueId made = norm.out.back(), source = norm_source(norm);
    int found = 0;
    std::size_t last = i;
    for (std::size_t j = i + 1; j < nodes().size(); ++j) {
      const auto n = std::ranges::count(nodes()[j].in, made);
      if (n == 0) continue;
      if (n > 1 || !is_matvec(*rows_[j]) || nodes()[j].in[0] != made) return false;
      found += static_cast<int>(n);
      last = j;
    }
    if (found != uses_[static_cast<std::size_t>(made)]) return false;
    for (std::size_t j = i + 1; j <= last; ++j)
      for (ValueId id : nodes()[j].out)
        if (overlap(id, source)) return false;
    return true;
  }

  void absorb_norm(std::size_t i) {
    const Node& norm = nodes()[i];
    if (norm.op != Op::rms_norm && norm.op != Op::add_rms_norm) return;
    const ValueId weight = norm.in.back();
    if (graph_.value(weight).shape.cols() != graph_.value(norm.in[0]).shape.cols()) return;
    if (norm.op == Op::add_rms_norm && !residual_of(i)) return;
    absorbed_[i] = read_by_products(i);
  }

  void absorb_add(std::size_t i) {
    if (nodes()[i].op == Op::add && residual_of(i)) absorbed_[i] = true;
  }

  Result<Operand> operand(ValueId id) const { return bind(graph_, id, segment_.bindings); }

  Result<Step> prepare(std::size_t i) {
    Result<Step> step = rows_[i]->prepare(graph_, nodes()[i], segment_.bindings);
    if (!step.ok()) return step.status().with_context(nodes()[i].name);
    step->max_tokens = static_cast<std::int32_t>(graph_.max_tokens());
    return step;
  }

  void add(Step step, std::size_t i) {
    made_.scratch_bytes =
        std::max(made_.scratch_bytes, rows_[i]->scratch_bytes(graph_, nodes()[i]));
    made_.steps.push_back(std::move(step));
    made_.nodes.push_back(i);
  }

  /// Makes the step that begins with node i; returns the node to go on with.
  Result<std::size_t> emit(std::size_t i) {
    if (graph_.max_tokens() == 1) {
      if (is_matvec(*rows_[i])) return emit_product(i);
      const std::size_t attention = attention_from(i);
      if (attention != kNone) return emit_attention(i, attention);
      if (const std::optional<TileNodes> found = tile_nodes_from(i)) return emit_tiles(*found);
    }
    RUNNEL_ASSIGN(Step step, prepare(i));
    step.product.x_ready = x_is_ready(i);
    add(std::move(step), i);
    return i + 1;
  }

  /// Whether the product before node i left the same x in scratch.
  bool x_is_ready(std::size_t i) const {
    if (i == 0 || !shares_x(*rows_[i]) || !shares_x(*rows_[i - 1])) return false;
    const Node &node = nodes()[i], &before = nodes()[i - 1];
    const bool routed = node.op == Op::moe_matmul;
    if (node.in[0] != before.in[0] || routed != (before.op == Op::moe_matmul)) return false;
    return !routed || (node.in[2] == before.in[2] &&
                       graph_.value(node.in[1]).shape[0] == graph_.value(before.in[1]).shape[0]);
  }

  /// x and norm of a product whose norm was absorbed.
  Status take_norm(const Node& node, Product& product) const {
    const std::size_t from = producer_[static_cast<std::size_t>(node.in[0])];
    if (from == kNone || !absorbed_[from]) return {};
    const Node& norm = nodes()[from];
    if (norm.op == Op::add || node.in[0] != norm.out.back()) return {};
    const auto* attr = std::get_if<RmsNormAttr>(&norm.attr);
    check(attr != nullptr, "a norm with its attributes");
    product.eps = attr->eps;
    RUNNEL_ASSIGN(product.x, operand(norm_source(norm)));
    RUNNEL_ASSIGN(product.norm, operand(norm.in.back()));
    return {};
  }

  Result<std::size_t> emit_product(std::size_t i) {
    const Node& node = nodes()[i];
    RUNNEL_ASSIGN(Step step, prepare(i));
    RUNNEL_TRY(take_norm(node, step.product));
    std::size_t next = i + 1;
    if (next < nodes().size() && absorbed_[next] && nodes()[next].op != Op::rms_norm) {
      const std::optional<ValueId> residual = residual_of(next);
      check(residual.has_value(), "an absorbed sum has a residual");
      RUNNEL_ASSIGN(step.product.residual, operand(*residual));
      RUNNEL_ASSIGN(step.product.out[0], operand(nodes()[next].out[0]));
    } else if (takes_conv(i)) {
      RUNNEL_TRY(take_conv(nodes()[next], step.product));
      ++next;
    } else if (node.op == Op::matmul) {
      for (; step.product.n < 3 && next < nodes().size() && joins(i, next); ++next)
        RUNNEL_TRY(take_matrix(nodes()[next], step.product));
    }
    add(std::move(step), i);
    return next;
  }

  /// Whether product j reads the same x as product i and has weights of the same type.
  bool joins(std::size_t i, std::size_t j) const {
    const Node &a = nodes()[i], &b = nodes()[j];
    if (b.op != Op::matmul || !is_matvec(*rows_[j]) || b.in[0] != a.in[0]) return false;
    if (graph_.value(a.in[1]).dtype != graph_.value(b.in[1]).dtype) return false;
    if (j + 1 < nodes().size() && absorbed_[j + 1] && nodes()[j + 1].op != Op::rms_norm)
      return false;  // its sum is made another way
    return !takes_conv(j);
  }

  Status take_matrix(const Node& node, Product& product) const {
    const auto n = static_cast<std::size_t>(product.n++);
    RUNNEL_ASSIGN(product.w[n], operand(node.in[1]));
    RUNNEL_ASSIGN(product.out[n], operand(node.out[0]));
    if (node.in.size() > 2) {
      RUNNEL_ASSIGN(product.bias[n], operand(node.in[2]));
    }
    return {};
  }

  /// Whether the short convolution after product i can be done with it.
  bool takes_conv(std::size_t i) const {
    if (i + 1 >= nodes().size() || nodes()[i].op != Op::matmul) return false;
    const Node &product = nodes()[i], &conv = nodes()[i + 1];
    if (conv.op != Op::short_conv || conv.in[0] != product.out[0] || product.in.size() > 2)
      return false;
    // The slot that is written must not be one that is read.
    const auto* attr = std::get_if<ShortConvAttr>(&conv.attr);
    if (attr == nullptr || attr->kernel > kMostTaps ||
        graph_.value(conv.in[2]).shape[0] < attr->kernel)
      return false;
    ValueId x = product.in[0];
    const std::size_t from = producer_[static_cast<std::size_t>(x)];
    if (from != kNone && absorbed_[from]) x = norm_source(nodes()[from]);
    return used_once(product.out[0]) && !overlap(conv.out[0], x);
  }

  Status take_conv(const Node& conv, Product& product) const {
    product.combine = Combine::conv;
    RUNNEL_ASSIGN(product.out[0], operand(conv.out[0]));
    RUNNEL_ASSIGN(product.filter, operand(conv.in[1]));
    RUNNEL_ASSIGN(product.ring, operand(conv.in[2]));
    if (conv.in.size() > 3) {
      RUNNEL_ASSIGN(product.conv_bias, operand(conv.in[3]));
    }
    return {};
  }

  static bool is_rope(const Node& node) {
    return node.op == Op::rope || node.op == Op::rms_norm_rope;
  }
  static ValueId factors_of(const Node& rope) {
    const std::size_t at = rope.op == Op::rope ? 1 : 2;
    return at < rope.in.size() ? rope.in[at] : kNoValue;
  }

  /// Nodes i and i + 1 are the same ropes of q and k, each read once.
  bool ropes_at(std::size_t i) const {
    const Node &q = nodes()[i], &k = nodes()[i + 1];
    if (!is_rope(q) || k.op != q.op) return false;
    const auto *a = std::get_if<RopeAttr>(&q.attr), *b = std::get_if<RopeAttr>(&k.attr);
    return a != nullptr && b != nullptr && a->theta == b->theta && a->rotary_dim == b->rotary_dim &&
           a->style == b->style && a->eps == b->eps && factors_of(q) == factors_of(k) &&
           used_once(q.out[0]) && used_once(k.out[0]);
  }

  /// The ropes at node i become part of `step`.
  Status take_ropes(std::size_t i, Step& step) {
    const Node &q = nodes()[i], &k = nodes()[i + 1];
    RUNNEL_ASSIGN(const Step rope, prepare(i));
    step.constants = rope.constants;
    step.rope = rope.attr_as<RopeAttr>();
    RUNNEL_ASSIGN(step.in[0], operand(q.in[0]));
    RUNNEL_ASSIGN(step.in[1], operand(k.in[0]));
    if (q.op == Op::rms_norm_rope) {
      RUNNEL_ASSIGN(step.extra[0], operand(q.in[1]));
      RUNNEL_ASSIGN(step.extra[1], operand(k.in[1]));
    }
    if (factors_of(q) != kNoValue) {
      RUNNEL_ASSIGN(step.extra[2], operand(factors_of(q)));
    }
    return {};
  }

  /// Node i and the next two are the ropes of q and k and kv_append, and the one after them the
  /// attention that reads them: its index, else kNone.
  std::size_t attention_from(std::size_t i) const {
    if (i + 3 >= nodes().size() || !is_split_attention(*rows_[i + 3]) || !ropes_at(i)) return kNone;
    const Node &q = nodes()[i], &k = nodes()[i + 1], &append = nodes()[i + 2];
    const Node& attention = nodes()[i + 3];
    if (append.op != Op::kv_append || attention.in[0] != q.out[0] || append.in[0] != k.out[0] ||
        append.in[2] != attention.in[1] || append.in[3] != attention.in[2])
      return kNone;
    for (const ValueId read : {q.in[0], k.in[0], append.in[1]})
      if (overlap(attention.out[0], read)) return kNone;
    return i + 3;
  }

  Result<std::size_t> emit_attention(std::size_t i, std::size_t attention) {
    RUNNEL_ASSIGN(Step step, prepare(attention));
    step.launch = attention_step;
    step.in[3] = step.in[1];
    step.in[4] = step.in[2];
    RUNNEL_TRY(take_ropes(i, step));
    RUNNEL_ASSIGN(step.in[2], operand(nodes()[i + 2].in[1]));
    add(std::move(step), attention);
    return attention + 1;
  }

  /// Nodes of attention over tiles, from the ropes on; kNone where there is none.
  struct TileNodes {
    std::size_t ropes;  // of q, then of k
    std::size_t q_turn, k_turn, v_turn;
    std::size_t seal, attention, window, out_turn;
    std::size_t next;  // node to go on with
  };

  /// Index of node j if it rotates what `in` says (kNoValue: anything), else kNone.
  std::size_t turn_at(std::size_t j, ValueId in) const {
    if (j >= nodes().size()) return kNone;
    const Node& node = nodes()[j];
    const bool fits =
        node.op == Op::rotate && node.in.size() == 1 && (in == kNoValue || node.in[0] == in);
    return fits ? j : kNone;
  }

  const RotateAttr& turn_of(std::size_t j) const {
    const auto* attr = std::get_if<RotateAttr>(&nodes()[j].attr);
    check(attr != nullptr, "a rotate with its attributes");
    return *attr;
  }

  std::optional<TileNodes> tile_nodes_from(std::size_t i) const {
    if (i + 6 >= nodes().size() || !ropes_at(i)) return std::nullopt;
    TileNodes n{};
    n.ropes = i;
    std::size_t j = i + 2;
    n.q_turn = turn_at(j, nodes()[i].out[0]);
    if (n.q_turn != kNone) ++j;
    n.k_turn = turn_at(j, nodes()[i + 1].out[0]);
    n.v_turn = turn_at(j + 1, kNoValue);
    n.seal = j + 2;
    n.attention = j + 3;
    n.window = j + 4;
    if (n.k_turn == kNone || n.v_turn == kNone || n.window >= nodes().size() ||
        nodes()[n.seal].op != Op::kv_seal || nodes()[n.window].op != Op::kv_window ||
        !is_split_tile_attention(*rows_[n.attention]))
      return std::nullopt;
    n.out_turn = turn_at(j + 5, nodes()[n.attention].out[0]);
    n.next = n.out_turn == kNone ? j + 5 : j + 6;
    return fits(n) ? std::optional(n) : std::nullopt;
  }

  /// Whether the nodes read each other alone, and the token's row can be kept before others are
  /// read.
  bool fits(const TileNodes& n) const {
    const Node &seal = nodes()[n.seal], &attention = nodes()[n.attention];
    const Node &window = nodes()[n.window], &q = nodes()[n.q_turn == kNone ? n.ropes : n.q_turn];
    const ValueId k = nodes()[n.k_turn].out[0], v = nodes()[n.v_turn].out[0];
    const auto reads = [&](const Node& node, std::size_t at) {
      return node.in[at] == k && node.in[at + 1] == v;
    };
    const auto uses = [&](ValueId id) { return uses_[static_cast<std::size_t>(id)]; };
    if (attention.in[0] != q.out[0] || !used_once(q.out[0]) || !reads(attention, 1) ||
        !reads(seal, 0) || !reads(window, 0) || uses(k) != 3 || uses(v) != 3)
      return false;
    if (n.out_turn != kNone && !used_once(attention.out[0])) return false;
    for (const std::size_t turn : {n.q_turn, n.out_turn})
      if (turn != kNone && turn_of(turn).round) return false;
    for (std::size_t s = 0; s < 3; ++s)
      if (seal.in[2 + s] != attention.in[3 + s]) return false;
    const auto* attr = std::get_if<AttentionAttr>(&attention.attr);
    const std::int64_t ring = graph_.value(attention.in[5]).shape[1] - quant::kKvSinkTokens;
    if (attr == nullptr || window.in[2] != attention.in[5] || attr->tiles.recent < 1 ||
        ring < attr->tiles.recent + quant::kKvTileTokens)
      return false;
    const ValueId out = tile_result(n);
    for (const ValueId read :
         {nodes()[n.ropes].in[0], nodes()[n.ropes + 1].in[0], nodes()[n.v_turn].in[0]})
      if (overlap(out, read)) return false;
    return true;
  }
  ValueId tile_result(const TileNodes& n) const {
    return nodes()[n.out_turn == kNone ? n.attention : n.out_turn].out[0];
  }

  Result<std::size_t> emit_tiles(const TileNodes& n) {
    RUNNEL_ASSIGN(Step seal, prepare(n.seal));
    add(std::move(seal), n.seal);
    RUNNEL_ASSIGN(Step step, prepare(n.attention));
    step.launch = tile_attention_step;
    RUNNEL_TRY(take_ropes(n.ropes, step));
    RUNNEL_ASSIGN(step.in[2], operand(nodes()[n.v_turn].in[0]));
    RUNNEL_ASSIGN(step.out[0], operand(tile_result(n)));
    const std::size_t turns[] = {n.q_turn, n.k_turn, n.v_turn, n.out_turn};
    for (std::size_t t = 0; t < std::size(turns); ++t)
      if (turns[t] != kNone) step.turns[t] = turn_of(turns[t]);
    add(std::move(step), n.attention);
    return n.next;
  }

  const Graph& graph_;
  const Segment& segment_;
  const Caps& caps_;
  std::vector<const Row*> rows_;
  std::vector<int> uses_;              // of each value, in the whole graph
  std::vector<std::size_t> producer_;  // of each value, in the segment
  std::vector<bool> absorbed_;         // nodes whose work others do
  Steps made_;
};

}  // namespace

Result<Steps> make_steps(const Graph& graph, const Segment& segment, const Caps& caps) {
  return StepMaker(graph, segment, caps).run();
}

}  // namespace runnel::cuda

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
    }
    RUNNEL_ASSIGN(Step step, prepare(i));
    add(std::move(step), i);
    return i + 1;
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

  /// Node i and the next two are the ropes of q and k and kv_append, and the one after them the
  /// attention that reads them: its index, else kNone.
  std::size_t attention_from(std::size_t i) const {
    if (i + 3 >= nodes().size() || !is_split_attention(*rows_[i + 3])) return kNone;
    const Node &q = nodes()[i], &k = nodes()[i + 1], &append = nodes()[i + 2];
    const Node& attention = nodes()[i + 3];
    if (!is_rope(q) || k.op != q.op || append.op != Op::kv_append) return kNone;
    const auto *a = std::get_if<RopeAttr>(&q.attr), *b = std::get_if<RopeAttr>(&k.attr);
    if (a == nullptr || b == nullptr || a->theta != b->theta || a->rotary_dim != b->rotary_dim ||
        a->style != b->style || a->eps != b->eps || factors_of(q) != factors_of(k))
      return kNone;
    if (attention.in[0] != q.out[0] || append.in[0] != k.out[0] ||
        append.in[2] != attention.in[1] || append.in[3] != attention.in[2] ||
        !used_once(q.out[0]) || !used_once(k.out[0]))
      return kNone;
    for (const ValueId read : {q.in[0], k.in[0], append.in[1]})
      if (overlap(attention.out[0], read)) return kNone;
    return i + 3;
  }

  Result<std::size_t> emit_attention(std::size_t i, std::size_t attention) {
    const Node &q = nodes()[i], &k = nodes()[i + 1], &append = nodes()[i + 2];
    RUNNEL_ASSIGN(const Step rope, prepare(i));
    RUNNEL_ASSIGN(Step step, prepare(attention));
    step.launch = attention_step;
    step.constants = rope.constants;
    step.rope = rope.attr_as<RopeAttr>();
    step.in[3] = step.in[1];
    step.in[4] = step.in[2];
    RUNNEL_ASSIGN(step.in[0], operand(q.in[0]));
    RUNNEL_ASSIGN(step.in[1], operand(k.in[0]));
    RUNNEL_ASSIGN(step.in[2], operand(append.in[1]));
    if (q.op == Op::rms_norm_rope) {
      RUNNEL_ASSIGN(step.extra[0], operand(q.in[1]));
      RUNNEL_ASSIGN(step.extra[1], operand(k.in[1]));
    }
    if (factors_of(q) != kNoValue) {
      RUNNEL_ASSIGN(step.extra[2], operand(factors_of(q)));
    }
    add(std::move(step), attention);
    return attention + 1;
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

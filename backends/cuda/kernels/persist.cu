// Finds runs of steps that one kernel can do, and writes their lists.
#include "backends/cuda/kernels/persist.cuh"

#include <cstring>
#include <optional>

#include "backends/cuda/kernels/matvec_x.cuh"

namespace runnel::cuda {
namespace {

constexpr std::size_t kLeastSteps = 4;       // fewer are not worth filling the ring for
constexpr std::size_t kMostFeeds = 80;       // their list lies in shared memory
constexpr std::size_t kStaticShared = 1024;  // of the kernel besides what is counted here

/// Whether runs can have weights of a type.
bool is_plain(quant::DType type) {
  return type == quant::DType::f16 || type == quant::DType::bf16;
}

/// What a step adds to a run.
struct Item {
  PersistOp op{};
  std::optional<Feed> feed;
  std::size_t shared = 0;  // it works in
};

template <class T>
void put(PersistOp& op, OpKind kind, const T& args) {
  static_assert(sizeof(T) <= kOpBytes && std::is_trivially_copyable_v<T>);
  op.kind = kind;
  std::memcpy(op.args, &args, sizeof args);
}

Feed feed_of(const MatvecArgs& a) {
  Feed f{};
  for (int i = 0; i < a.n_matrices; ++i) {
    f.values[i] = a.matrix[i].planes.at[0];
    f.rows[i] = a.matrix[i].rows;
  }
  f.units = a.k / 8;
  f.n_results = a.n_results;
  f.lanes = a.lanes;
  f.n_tasks = static_cast<int>(ceil_div(a.n_results, 32 / a.lanes));
  f.parts = a.combine == Combine::swiglu ? 2 : a.combine == Combine::conv ? 3 : 1;
  f.steps = static_cast<int>(ceil_div(f.units, 2 * a.lanes));
  f.part_rows = a.matrix[0].rows / 3;
  f.n_matrices = a.n_matrices;
  f.by_matrix = a.combine == Combine::swiglu;
  return f;
}

std::optional<Item> product_item(const Step& step, const Caps& caps) {
  const Product& p = step.product;
  if (!is_plain(p.w[0].dtype) || p.expert_ids.present() || p.out[0].rows() != 1)
    return std::nullopt;
  MatvecArgs args = matvec_args(step);
  if (args.k % 8 != 0) return std::nullopt;
  args.lanes = lanes_of(args.n_results, caps);
  Item item;
  put(item.op, OpKind::product, args);
  item.feed = feed_of(args);
  item.shared = FloatX<1>::bytes(args.k);
  return item;
}

std::optional<Item> attention_item(const Step& step, const Caps& caps) {
  Item item;
  const SplitArgs args = attention_step_args(step, caps);
  if (args.n_splits * args.attr.n_kv_heads * args.chunks > caps.n_sms) return std::nullopt;
  put(item.op, OpKind::attention, args);
  item.op.counters = args.counters;
  item.shared = attention_shared(static_cast<std::size_t>(args.attr.head_dim));
  return item;
}

std::optional<Item> embed_item(const Step& step) {
  const Operand& table = step.in[0];
  if (!is_plain(table.dtype) || step.out[0].rows() != 1) return std::nullopt;
  Item item;
  put(item.op, OpKind::embed,
      EmbedOneArgs{table.data, table.dtype, step.in[1].ids(),
                   step.out[0].f32(), static_cast<int>(table.shape[0]), table.cols()});
  return item;
}

std::optional<Item> item_of(const Step& step, const Caps& caps) {
  if (step.max_tokens != 1) return std::nullopt;
  if (step.launch == matvec) return product_item(step, caps);
  if (step.launch == attention_step) return attention_item(step, caps);
  if (step.launch == embed) return embed_item(step);
  Item item;
  if (step.launch == last_row && step.in[0].rows() == 1) {
    put(item.op, OpKind::copy, CopyArgs{step.in[0].f32(), step.out[0].f32(), step.in[0].cols()});
    return item;
  }
  if (step.launch != argmax || step.in[0].rows() != 1) return std::nullopt;
  put(item.op, OpKind::argmax,
      ArgmaxOneArgs{step.in[0].f32(), step.out[0].ids(), step.in[0].cols()});
  item.shared = 256;
  return item;
}

/// A run while it is found.
class Growing {
 public:
  explicit Growing(std::size_t first) { run_.first = first; }

  /// Whether the item fits what is there; then it is taken.
  bool take(const Item& item, const Caps& caps) {
    const std::size_t feeds = feeds_.size() + (item.feed ? 1 : 0);
    const std::size_t work = std::max(work_, item.shared);
    const std::size_t total =
        kRingBytes + 2 * sizeof(PersistOp) + (feeds * sizeof(Feed) + 15) / 16 * 16 + work;
    if (feeds > kMostFeeds || total + kStaticShared > static_cast<std::size_t>(caps.shared_bytes))
      return false;
    work_ = work;
    run_.shared = total;
    if (item.feed) feeds_.push_back(*item.feed);
    ops_.push_back(item.op);
    return true;
  }

  std::size_t size() const { return ops_.size(); }

  PersistRun done() {
    run_.n_steps = ops_.size();
    run_.n_ops = static_cast<int>(ops_.size());
    run_.n_feeds = static_cast<int>(feeds_.size());
    const std::size_t ops = ops_.size() * sizeof(PersistOp), feeds = feeds_.size() * sizeof(Feed);
    run_.data.resize(ops + feeds);
    std::memcpy(run_.data.data(), ops_.data(), ops);
    if (feeds > 0) std::memcpy(run_.data.data() + ops, feeds_.data(), feeds);
    return std::move(run_);
  }

 private:
  PersistRun run_;
  std::size_t work_ = 0;
  std::vector<PersistOp> ops_;
  std::vector<Feed> feeds_;
};

}  // namespace

std::vector<PersistRun> find_runs(std::span<const Step> steps, const Caps& caps) {
  std::vector<PersistRun> runs;
  if (caps.sm < 80) return runs;
  for (std::size_t i = 0; i < steps.size();) {
    Growing growing(i);
    for (std::size_t j = i; j < steps.size(); ++j) {
      const std::optional<Item> item = item_of(steps[j], caps);
      if (!item || !growing.take(*item, caps)) break;
    }
    const std::size_t n = growing.size();
    if (n >= kLeastSteps) runs.push_back(growing.done());
    i += std::max<std::size_t>(1, n);
  }
  return runs;
}

std::size_t run_scratch_bytes(const Caps& caps) {
  return static_cast<std::size_t>(caps.n_sms) * sizeof(Best);
}

cudaError_t launch_run(const PersistRun& run,
                       const std::byte* data,
                       std::uint32_t* counters,
                       std::byte* scratch,
                       const Launch& launch) {
  PersistArgs args{};
  args.ops = reinterpret_cast<const PersistOp*>(data);
  args.feeds =
      reinterpret_cast<const Feed*>(data + sizeof(PersistOp) * static_cast<std::size_t>(run.n_ops));
  args.n_ops = run.n_ops;
  args.n_feeds = run.n_feeds;
  args.counters = counters;
  args.best = reinterpret_cast<Best*>(scratch);
  return launch_persist(args, run.shared, launch);
}

}  // namespace runnel::cuda

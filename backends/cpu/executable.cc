#include "backends/cpu/executable.h"

#include <chrono>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "backends/cpu/steps/product.h"
#include "runtime/backend/host_buffer.h"
#include "runtime/base/checked.h"
#include "runtime/base/huge_pages.h"

namespace runnel::cpu {
namespace {

using Clock = std::chrono::steady_clock;

// Two lines: the hardware fetches them in pairs, and threads must not share them.
constexpr std::size_t kScratchAlignment = 128;

/// Where the parts of a segment's scratch are: [tables | shared | own of each thread].
struct Layout {
  std::size_t tables = 0, shared = 0, own = 0;  // bytes
  std::size_t total(int n_threads) const {
    return tables + shared + own * static_cast<std::size_t>(n_threads);
  }
};

/// What a step can take over from earlier steps of the same segment.
struct Shared {
  bool input_ready = false;
  bool table_ready = false;
  std::size_t table_offset = 0;
};

/// Walks a segment's nodes in order: adds up scratch, and finds inputs that are quantised already
/// (q, k and v read the same x) and rope tables that are computed already.
class ScratchPlanner {
 public:
  explicit ScratchPlanner(const Graph& graph) : graph_(graph) {}

  Shared add(const Node& node, const Row& row) {
    const Scratch scratch = row.scratch(graph_, node);
    layout_.shared = std::max(layout_.shared, align_up(scratch.shared, kScratchAlignment));
    layout_.own = std::max(layout_.own, align_up(scratch.own, kScratchAlignment));
    Shared found;
    if (scratch.tables > 0) find_table(node, scratch.tables, found);
    if (scratch.shared > 0) find_input(node, found);
    return found;
  }
  const Layout& layout() const { return layout_; }

 private:
  struct Table {
    float theta;
    int rotary_dim;
    ValueId factors;
    std::size_t offset;
  };

  void find_table(const Node& node, std::size_t bytes, Shared& found) {
    const RopeAttr* attr = std::get_if<RopeAttr>(&node.attr);
    if (attr == nullptr) return;
    const std::size_t index = node.op == Op::rope ? 1 : 2;
    const ValueId factors = index < node.in.size() ? node.in[index] : kNoValue;
    for (const Table& table : tables_) {
      if (table.theta != attr->theta || table.rotary_dim != attr->rotary_dim ||
          table.factors != factors)
        continue;
      found.table_ready = true;
      found.table_offset = table.offset;
      return;
    }
    found.table_offset = layout_.tables;
    tables_.push_back({attr->theta, attr->rotary_dim, factors, layout_.tables});
    layout_.tables += align_up(bytes, kScratchAlignment);
  }

  // Nodes with shared scratch are products; those of quantised weights, but for moe_matmul, leave x
  // there for the next one.
  void find_input(const Node& node, Shared& found) {
    if (node.op == Op::moe_matmul) {
      quantised_ = kNoValue;
      return;
    }
    const Fast format = fast_format(graph_.value(node.in[1]).dtype);
    if (!is_quantised(format)) {  // in bf16
      quantised_ = kNoValue;
      return;
    }
    const int group = group_of(format);
    found.input_ready = quantised_ == node.in[0] && group_ == group;
    quantised_ = node.in[0];
    group_ = group;
  }

  const Graph& graph_;
  Layout layout_;
  std::vector<Table> tables_;
  ValueId quantised_ = kNoValue;
  int group_ = 0;
};

/// A state that a step touches, checked before each run.
struct StateUse {
  std::int32_t index;
  bool paged;           // else one ring
  std::int64_t window;  // keys before pos that are read; 0 = all
  bool reads;
  std::string name;
};

/// Work is done inside submit(), so there is nothing to wait for.
class DoneEvent final : public Event {
 public:
  Status wait() override { return {}; }
};

class CpuExecutable final : public Executable {
 public:
  CpuExecutable(ThreadPool& pool, std::int64_t max_tokens) : pool_(pool), max_tokens_(max_tokens) {}

  void add(const Step& step) { steps_.push_back(step); }
  void add(StateUse use) { uses_.push_back(std::move(use)); }

  Status allocate(const Layout& layout) {
    layout_ = layout;
    counters_ = std::vector<TaskCounter>(steps_.size());
    RUNNEL_ASSIGN(scratch_, HostBuffer::allocate(layout.total(pool_.size())));
    prefer_huge_pages({scratch_->host(), scratch_->size()});
    return {};
  }

  Result<Event*> submit(const StepParams& params, const StateTable& states) override {
    constexpr std::int32_t kLast = std::numeric_limits<std::int32_t>::max();
    if (params.n_tokens < 1 || params.n_tokens > max_tokens_ || params.pos < 0 ||
        params.pos > kLast - params.n_tokens || params.kv_gap < 0 || params.kv_gap > params.pos)
      return Status(Code::invalid_argument,
                    "a step's position or number of tokens is out of range");
    for (const StateUse& use : uses_) RUNNEL_TRY(check_state(use, params, states));
    for (TaskCounter& counter : counters_) counter.next.store(0, std::memory_order_relaxed);
    failure_.store(nullptr, std::memory_order_relaxed);
    Run run{*this, params, states};
    pool_.run(times_.empty() ? &CpuExecutable::run_thread<Timing::off>
                             : &CpuExecutable::run_thread<Timing::on>,
              &run);
    const char* failure = failure_.load(std::memory_order_relaxed);
    if (failure != nullptr) return Status(Code::invalid_argument, failure);
    return &done_;
  }

  /// Each node is one step.
  Status time_nodes(std::span<std::int64_t> nanoseconds) override {
    times_ = nanoseconds;
    return {};
  }

 private:
  enum class Timing : std::uint8_t { off, on };
  struct Run {
    CpuExecutable& self;
    const StepParams& params;
    const StateTable& states;
  };

  template <Timing timing>
  static void run_thread(void* argument, int thread) {
    const Run& run = *static_cast<const Run*>(argument);
    CpuExecutable& self = run.self;
    std::byte* tables = self.scratch_->host();
    std::byte* shared = tables + self.layout_.tables;
    std::byte* own =
        shared + self.layout_.shared + self.layout_.own * static_cast<std::size_t>(thread);
    Clock::time_point start;
    if constexpr (timing == Timing::on) start = Clock::now();
    for (std::size_t i = 0; i < self.steps_.size(); ++i) {
      const StepContext context{run.params, run.states, self.pool_,         thread,        tables,
                                shared,     own,        &self.counters_[i], &self.failure_};
      self.steps_[i].run(self.steps_[i], context);
      self.pool_.barrier();
      if constexpr (timing == Timing::on) {
        const Clock::time_point end = Clock::now();
        if (thread == 0) self.times_[i] += std::chrono::nanoseconds(end - start).count();
        start = end;
      }
    }
  }

  static Status check_state(const StateUse& use,
                            const StepParams& params,
                            const StateTable& states) {
    const auto index = static_cast<std::size_t>(use.index);
    if (index >= states.states.size())
      return {Code::invalid_argument, use.name + ": a step without its states"};
    const std::span<std::byte* const> pages = states.states[index].host_pages;
    const std::int64_t pos = params.kv_pos(), end = pos + params.n_tokens;
    std::int64_t first_key = pos;
    if (use.reads) first_key = use.window > 0 ? std::max<std::int64_t>(0, pos - use.window + 1) : 0;
    const std::int64_t first = use.paged ? first_key / kPageTokens : 0;
    const std::int64_t last = use.paged ? (end - 1) / kPageTokens : 0;
    for (std::int64_t page = first; page <= last; ++page)
      if (page >= static_cast<std::int64_t>(pages.size()) ||
          pages[static_cast<std::size_t>(page)] == nullptr)
        return {Code::invalid_argument,
                use.name + ": state page " + std::to_string(page) + " is missing"};
    return {};
  }

  ThreadPool& pool_;
  std::int64_t max_tokens_;
  std::vector<Step> steps_;
  std::vector<TaskCounter> counters_;
  std::span<std::int64_t> times_;  // nanoseconds of each step; empty: nobody asks
  std::vector<StateUse> uses_;
  std::unique_ptr<Buffer> scratch_;
  Layout layout_;
  std::atomic<const char*> failure_{nullptr};
  DoneEvent done_;
};

void add_state_uses(const Graph& graph, const Node& node, CpuExecutable& executable) {
  const AttentionAttr* attention = std::get_if<AttentionAttr>(&node.attr);
  for (ValueId id : node.in) {
    const Value& value = graph.value(id);
    if (value.role != Role::state) continue;
    executable.add(StateUse{value.state_index, is_paged(value.state),
                            attention ? attention->window : 0, node.op != Op::kv_append,
                            node.name});
  }
}

}  // namespace

std::size_t scratch_bytes(const Graph& graph,
                          std::span<const Node> nodes,
                          const Caps& caps,
                          int n_threads) {
  ScratchPlanner planner(graph);
  for (const Node& node : nodes)
    if (const Row* row = find_kernel(kernel_table(), graph, node, caps)) planner.add(node, *row);
  return planner.layout().total(n_threads) + nodes.size() * sizeof(TaskCounter);
}

Result<std::unique_ptr<Executable>> compile(const Graph& graph,
                                            const Segment& segment,
                                            const Caps& caps,
                                            ThreadPool& pool) {
  auto executable = std::make_unique<CpuExecutable>(pool, graph.max_tokens());
  ScratchPlanner planner(graph);
  for (const Node& node : segment.nodes) {
    const Row* row = find_kernel(kernel_table(), graph, node, caps);
    if (row == nullptr) return Status(Code::unsupported, node.name + ": no CPU kernel");
    Result<Step> step = row->prepare(graph, node, segment.bindings);
    if (!step.ok()) return step.status().with_context(node.name);
    const Shared shared = planner.add(node, *row);
    step->input_ready = shared.input_ready;
    step->table_ready = shared.table_ready;
    step->table_offset = shared.table_offset;
    executable->add(*step);
    add_state_uses(graph, node, *executable);
  }
  RUNNEL_TRY(executable->allocate(planner.layout()));
  return std::unique_ptr<Executable>(std::move(executable));
}

}  // namespace runnel::cpu

#include "backends/cuda/executable.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "backends/cuda/fuse.h"
#include "backends/cuda/kernels/kernels.h"
#include "backends/cuda/persist.h"
#include "backends/cuda/state_table.h"
#include "runtime/base/env.h"

namespace runnel::cuda {
namespace {

constexpr std::size_t kCounterBytes = (kCounters + kRunCounters) * sizeof(std::uint32_t);

/// Owns a graph that can be launched.
class GraphHandle {
 public:
  GraphHandle() = default;
  GraphHandle(const GraphHandle&) = delete;
  GraphHandle& operator=(const GraphHandle&) = delete;
  ~GraphHandle() {
    if (graph_ != nullptr) (void)cudaGraphExecDestroy(graph_);
  }
  Status make(cudaGraph_t source) {
    return to_status(cudaGraphInstantiate(&graph_, source, 0), "making a graph");
  }
  Status launch(cudaStream_t stream) const {
    return to_status(cudaGraphLaunch(graph_, stream), "launching a step");
  }

 private:
  cudaGraphExec_t graph_ = nullptr;
};

/// Time stamps around each step, while somebody asks for them.
class Stamps {
 public:
  Stamps() = default;
  Stamps(const Stamps&) = delete;
  Stamps& operator=(const Stamps&) = delete;
  ~Stamps() { resize(0).ignore(); }
  struct Done {
    Status status;
    void ignore() const {}
  };
  Done resize(std::size_t n) {
    for (; events_.size() > n; events_.pop_back()) (void)cudaEventDestroy(events_.back());
    while (events_.size() < n) {
      cudaEvent_t event = nullptr;
      const cudaError_t error = cudaEventCreate(&event);
      if (error != cudaSuccess) return {to_status(error, "making a time stamp")};
      events_.push_back(event);
    }
    return {};
  }
  Status record(std::size_t i, cudaStream_t stream) {
    return to_status(cudaEventRecord(events_[i], stream), "recording a time stamp");
  }
  std::int64_t nanoseconds(std::size_t i) const {
    float milliseconds = 0;
    (void)cudaEventElapsedTime(&milliseconds, events_[i], events_[i + 1]);
    return static_cast<std::int64_t>(static_cast<double>(milliseconds) * 1e6);
  }

 private:
  std::vector<cudaEvent_t> events_;
};

class CudaExecutable final : public Executable, private Event {
 public:
  CudaExecutable(const Device& device, std::int64_t max_tokens, StepBuffer buffer)
      : device_(device), max_tokens_(max_tokens), buffer_(std::move(buffer)) {}
  ~CudaExecutable() override { (void)cudaStreamSynchronize(device_.stream()); }

  Status finish(Steps made, const std::shared_ptr<Pool>& pool) {
    steps_ = std::move(made.steps);
    nodes_ = std::move(made.nodes);
    std::vector<double> constants;
    for (const Step& step : steps_)
      constants.insert(constants.end(), step.constants.begin(), step.constants.end());
    RUNNEL_ASSIGN(scratch_, DeviceBuffer::allocate(pool, kCounterBytes + made.scratch_bytes));
    RUNNEL_ASSIGN(constants_, DeviceBuffer::allocate(pool, constants.size() * sizeof(double)));
    std::byte* const base = address({scratch_.get(), 0, 0});
    auto* device_constants = reinterpret_cast<double*>(address({constants_.get(), 0, 0}));
    if (!constants.empty())
      RUNNEL_TRY(to_status(
          cudaMemcpyAsync(device_constants, constants.data(), constants.size() * sizeof(double),
                          cudaMemcpyHostToDevice, device_.stream()),
          "uploading constants"));
    for (Step& step : steps_) {
      step.counters = reinterpret_cast<std::uint32_t*>(base);
      step.scratch = base + kCounterBytes;
      step.device_constants = device_constants;
      device_constants += step.constants.size();
    }
    same_division_ = max_tokens_ == 1 && std::ranges::any_of(steps_, holds_weights);
    RUNNEL_TRY(make_runs(pool));
    RUNNEL_TRY(device_.sync());
    return capture();
  }

  Result<Event*> submit(const StepParams& params, const StateTable& states) override {
    constexpr std::int32_t kLast = std::numeric_limits<std::int32_t>::max();
    if (params.n_tokens < 1 || params.n_tokens > max_tokens_ || params.pos < 0 ||
        params.pos > kLast - params.n_tokens || params.kv_gap < 0 || params.kv_gap > params.pos)
      return Status(Code::invalid_argument,
                    "a step's position or number of tokens is out of range");
    RUNNEL_TRY(device_.use());
    if (running_) RUNNEL_TRY(device_.sync());
    RUNNEL_TRY(buffer_.fill(params, states));
    if (times_.empty())
      RUNNEL_TRY(graph_.launch(device_.stream()));
    else
      RUNNEL_TRY(run_timed());
    running_ = true;
    return this;
  }

  Status time_nodes(std::span<std::int64_t> nanoseconds) override {
    times_ = nanoseconds;
    return stamps_.resize(nanoseconds.empty() ? 0 : steps_.size() + 1).status;
  }

 private:
  /// Runs of steps that one kernel does: where RUNNEL_CUDA_STEP=one asks for it. Kernels whose
  /// weights come ahead (matvec_held.cuh) were faster with short contexts.
  Status make_runs(const std::shared_ptr<Pool>& pool) {
    if (env("RUNNEL_CUDA_STEP").value_or("") != "one") return {};
    runs_ = find_runs(steps_, device_.caps());
    std::vector<std::byte> data;
    for (const PersistRun& run : runs_) data.insert(data.end(), run.data.begin(), run.data.end());
    if (runs_.empty()) return {};
    RUNNEL_ASSIGN(run_data_, DeviceBuffer::allocate(pool, data.size()));
    RUNNEL_ASSIGN(run_scratch_, DeviceBuffer::allocate(pool, run_scratch_bytes(device_.caps())));
    RUNNEL_TRY(to_status(cudaMemcpyAsync(address({run_data_.get(), 0, 0}), data.data(), data.size(),
                                         cudaMemcpyHostToDevice, device_.stream()),
                         "uploading a list of operators"));
    return device_.sync();
  }

  Status wait() override {
    running_ = false;
    RUNNEL_TRY(device_.sync());
    for (std::size_t i = 0; !times_.empty() && i < steps_.size(); ++i)
      times_[nodes_[i]] += stamps_.nanoseconds(i);
    return buffer_.failure();
  }

  Status launch(const Step& step, bool overlap) const {
    const Launch where{device_.stream(), buffer_.device_step(), device_.caps(), overlap,
                       same_division_};
    return to_status(step.launch(step, where), "launching a kernel");
  }

  Status launch_all() const {
    auto run = runs_.begin();
    const std::byte* data = address({run_data_.get(), 0, 0});
    for (std::size_t i = 0; i < steps_.size();) {
      if (run == runs_.end() || run->first != i) {
        RUNNEL_TRY(launch(steps_[i], i > 0 && device_.caps().sm >= 90));
        ++i;
        continue;
      }
      const Launch where{device_.stream(), buffer_.device_step(), device_.caps(), false, false};
      RUNNEL_TRY(to_status(launch_run(*run, data, steps_[i].counters + kCounters,
                                      address({run_scratch_.get(), 0, 0}), where),
                           "launching a run of steps"));
      data += run->data.size();
      i += run->n_steps;
      ++run;
    }
    return {};
  }

  Status capture() {
    const cudaStream_t stream = device_.stream();
    RUNNEL_TRY(to_status(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal),
                         "starting a graph"));
    Status status = buffer_.enqueue_copy();
    if (status.ok()) status = launch_all();
    cudaGraph_t source = nullptr;
    const Status ended = to_status(cudaStreamEndCapture(stream, &source), "ending a graph");
    if (status.ok()) status = ended;
    if (status.ok()) status = graph_.make(source);
    if (source != nullptr) (void)cudaGraphDestroy(source);
    return status;
  }

  Status run_timed() {
    RUNNEL_TRY(buffer_.enqueue_copy());
    RUNNEL_TRY(stamps_.record(0, device_.stream()));
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      RUNNEL_TRY(launch(steps_[i], false));
      RUNNEL_TRY(stamps_.record(i + 1, device_.stream()));
    }
    return {};
  }

  const Device& device_;
  std::int64_t max_tokens_;
  bool same_division_ = false;
  StepBuffer buffer_;
  std::vector<Step> steps_;
  std::vector<std::size_t> nodes_;  // of each step: the node its time counts for
  std::unique_ptr<Buffer> scratch_, constants_;
  std::vector<PersistRun> runs_;  // in the order of steps
  std::unique_ptr<Buffer> run_data_, run_scratch_;
  GraphHandle graph_;
  Stamps stamps_;
  std::span<std::int64_t> times_;
  bool running_ = false;
};

void add_state_uses(const Graph& graph, const Node& node, std::vector<StateUse>& uses) {
  const AttentionAttr* attention = std::get_if<AttentionAttr>(&node.attr);
  for (ValueId id : node.in) {
    const Value& value = graph.value(id);
    if (value.role != Role::state) continue;
    const bool paged = value.state == StateKind::kv_k || value.state == StateKind::kv_v;
    // Tiles are touched up to where they are sealed, which is checked as if it were all.
    uses.push_back({value.state_index, paged, attention ? attention->window : 0,
                    node.op != Op::kv_append && node.op != Op::kv_seal, node.name});
  }
}

}  // namespace

std::size_t scratch_bytes(const Graph& graph, std::span<const Node> nodes, const Caps& caps) {
  std::size_t bytes = 0;
  for (const Node& node : nodes)
    if (const Row* row = find_kernel(kernel_table(), graph, node, caps))
      bytes = std::max(bytes, row->scratch_bytes(graph, node));
  return kCounterBytes + bytes;
}

Result<std::unique_ptr<Executable>> compile(const Graph& graph,
                                            const Segment& segment,
                                            const Device& device,
                                            const std::shared_ptr<Pool>& pool) {
  RUNNEL_ASSIGN(Steps made, make_steps(graph, segment, device.caps()));
  std::vector<StateUse> uses;
  for (const Node& node : segment.nodes) add_state_uses(graph, node, uses);
  std::int32_t n_states = 0;
  for (const StateUse& use : uses) n_states = std::max(n_states, use.index + 1);
  RUNNEL_ASSIGN(StepBuffer buffer, StepBuffer::make(device, pool, std::move(uses),
                                                    static_cast<std::size_t>(n_states)));
  auto executable = std::make_unique<CudaExecutable>(device, graph.max_tokens(), std::move(buffer));
  RUNNEL_TRY(executable->finish(std::move(made), pool));
  return std::unique_ptr<Executable>(std::move(executable));
}

}  // namespace runnel::cuda

#include "backends/cpu/cpu.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "backends/cpu/ceilings.h"
#include "backends/cpu/executable.h"
#include "backends/cpu/onednn.h"
#include "runtime/backend/host_backend.h"
#include "runtime/base/cores.h"
#include "runtime/base/env.h"

namespace runnel::cpu {
namespace {

constexpr int kMaxThreads = 256;

/// RUNNEL_ONEDNN: 0 keeps to our own kernels, f32 and bf16 to oneDNN's without measuring. The plain
/// level is for comparison: it stays alone.
OneDnn wanted_onednn(const IsaLevel& level) {
  const std::string wanted = env("RUNNEL_ONEDNN").value_or("");
  if (!has_onednn() || level.isa == Isa::baseline || wanted == "0") return OneDnn::never;
  return wanted == "f32" ? OneDnn::f32 : wanted == "bf16" ? OneDnn::bf16 : OneDnn::measured;
}

class CpuBackend final : public HostBackend {
 public:
  CpuBackend(const IsaLevel& level, int n_threads, int n_prefill_threads, Log log)
      : level_(level),
        log_(std::move(log)),
        caps_{level.isa, wanted_onednn(level), &log_},
        pool_(n_threads) {
    if (n_prefill_threads != n_threads) prefill_pool_.emplace(n_prefill_threads);
  }

  std::string_view name() const override { return "cpu"; }
  std::string description() const override {
    return "cpu: " + std::string(level_.title) +
           (caps_.onednn != OneDnn::never ? " + oneDNN, " : ", ") + std::to_string(pool_.size()) +
           (pool_.size() == 1 ? " thread" : " threads");
  }

  int n_threads() const override { return pool_.size(); }

  bool supports(const Graph& graph, const Node& node) const override {
    return find(graph, node) != nullptr;
  }
  std::string_view kernel_name(const Graph& graph, const Node& node) const override {
    const Row* row = find(graph, node);
    return row ? row->name : std::string_view{};
  }

  std::size_t scratch_bytes(const Graph& graph, std::span<const Node> nodes) const override {
    return cpu::scratch_bytes(graph, nodes, caps_, pool_for(graph).size());
  }

  Result<std::unique_ptr<Executable>> compile(const Graph& graph, const Segment& segment) override {
    return cpu::compile(graph, segment, caps_, pool_for(graph));
  }

  Result<Ceilings> measure_ceilings() override {
    return cpu::measure_ceilings(kernels_for(level_)->ceilings, pool_);
  }

 private:
  const Row* find(const Graph& graph, const Node& node) const {
    return find_kernel(kernel_table(), graph, node, caps_);
  }

  ThreadPool& pool_for(const Graph& graph) const {
    return graph.max_tokens() > 1 && prefill_pool_ ? *prefill_pool_ : pool_;
  }

  const IsaLevel& level_;
  Log log_;
  Caps caps_;  // points to log_
  mutable ThreadPool pool_;
  mutable std::optional<ThreadPool> prefill_pool_;  // where their number differs
};

/// The level that RUNNEL_CPU_ISA asks for, else the best that runs here.
Result<const IsaLevel*> choose_level() {
  const auto wanted = env("RUNNEL_CPU_ISA");
  if (!wanted) {
    const IsaLevel* best = &kIsaLevels[0];
    for (const IsaLevel& level : kIsaLevels)
      if (can_run(level.isa)) best = &level;
    return best;
  }
  std::string names;
  for (const IsaLevel& level : kIsaLevels) {
    if (level.name == *wanted) {
      if (can_run(level.isa)) return &level;
      return Status(Code::unsupported,
                    "RUNNEL_CPU_ISA=" + *wanted + ": this CPU has no " + std::string(level.title));
    }
    names += (names.empty() ? "" : ", ") + std::string(level.name);
  }
  return Status(Code::unsupported, "RUNNEL_CPU_ISA=" + *wanted + " is none of " + names);
}

Result<std::unique_ptr<Backend>> create(const BackendOptions& options) {
  for (const int n : {options.n_threads, options.n_prefill_threads})
    if (n < 0 || n > kMaxThreads)
      return Status(Code::invalid_argument, "threads: " + std::to_string(n) + " is not 0 to " +
                                                std::to_string(kMaxThreads));
  RUNNEL_ASSIGN(const IsaLevel* level, choose_level());
  const int n_threads =
      options.n_threads > 0 ? options.n_threads : std::min(performance_cores(), kMaxThreads);
  const int n_prefill = options.n_prefill_threads > 0 ? options.n_prefill_threads : n_threads;
  return std::unique_ptr<Backend>(
      std::make_unique<CpuBackend>(*level, n_threads, n_prefill, options.log));
}

bool available() {
  return true;
}

}  // namespace

BackendInfo backend_info() {
  return {"cpu", "SIMD kernels on all cores", available, create, nullptr, true};
}

}  // namespace runnel::cpu

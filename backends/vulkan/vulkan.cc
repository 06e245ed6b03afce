#include "backends/vulkan/vulkan.h"

#include <algorithm>
#include <string>
#include <thread>

#include "backends/vulkan/certify.h"
#include "backends/vulkan/executable.h"
#include "backends/vulkan/step_plan.h"
#include "backends/vulkan/weight_layout.h"
#include "quant/codecs.h"
#include "runtime/base/env.h"

namespace runnel::vulkan {
namespace {

constexpr std::size_t kPackBytes = std::size_t{16} << 20;          // packed at a time
constexpr std::uint64_t kLongStepMemory = std::uint64_t{6} << 30;  // of a device

/// pack_rows(), a range of the rows per thread: a start must not wait for one core.
void pack_by_threads(const WeightLayout& layout,
                     std::span<const std::byte> mapped,
                     std::int64_t first,
                     std::int64_t last,
                     const std::array<std::byte*, 4>& to) {
  constexpr std::int64_t kMostThreads = 8, kFewRows = 64;
  const std::int64_t cores = std::max(1u, std::thread::hardware_concurrency());
  const std::int64_t n = std::clamp((last - first) / kFewRows, std::int64_t{1},
                                    std::min<std::int64_t>(kMostThreads, cores));
  std::vector<std::thread> threads;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t from = first + (last - first) * i / n;
    const std::int64_t until = first + (last - first) * (i + 1) / n;
    std::array<std::byte*, 4> at = to;
    for (std::size_t plane = 0; plane < 4; ++plane)
      if (at[plane] != nullptr)
        at[plane] += layout.row_bytes(plane) * static_cast<std::size_t>(from - first);
    const auto work = [&layout, mapped, from, until, at] {
      pack_rows(layout, mapped, from, until, at);
    };
    if (i + 1 < n)
      threads.emplace_back(work);
    else
      work();
  }
  for (std::thread& thread : threads) thread.join();
}

/// Ops whose dispatches cannot be known before their weights are there.
bool reads_weights(Op op) {
  return op == Op::rope || op == Op::rms_norm_rope;
}

class VulkanBackend final : public Backend {
 public:
  VulkanBackend(std::unique_ptr<Device> device, Log log)
      : device_(std::move(device)),
        log_(std::move(log)),
        memory_(*device_, env("RUNNEL_VULKAN_MEMORY").value_or("") == "staged"),
        pipelines_(*device_, log_),
        step_(*device_, memory_, pipelines_),
        machine_{*device_, memory_, pipelines_, step_},
        certifier_(*this, machine_, log_) {}

  Status open() {
    RUNNEL_TRY(pipelines_.open());
    return step_.open();
  }

  std::string_view name() const override { return "vulkan"; }
  std::string description() const override {
    const Caps& caps = device_->caps();
    std::string text = "vulkan: " + caps.name + ", " + std::to_string(caps.memory_bytes >> 20) +
                       " MiB, subgroups of " + std::to_string(caps.subgroup_size);
    if (caps.float16) text += ", f16";
    if (caps.integer_dot) text += ", integer dot";
    if (caps.matrix.m != 0)
      text += ", matrices " + std::to_string(caps.matrix.m) + "x" + std::to_string(caps.matrix.n) +
              "x" + std::to_string(caps.matrix.k);
    return caps.is_software ? text + ", software" : text;
  }
  bool uses_host_memory() const override { return false; }
  /// Of the largest heap, as it was before anybody took of it: the API does not say more.
  std::size_t free_bytes() const override { return device_->caps().memory_bytes; }
  /// Products on matrix units gain from many rows; elsewhere long steps only take memory.
  std::int64_t step_tokens() const override {
    const Caps& caps = device_->caps();
    return caps.matrix.m != 0 && caps.memory_bytes >= kLongStepMemory ? 2048 : 512;
  }
  /// Untested rows of products are hoped to be right: a first start must not compile what only
  /// later steps use. Attention is tested at once, because it decides where states live.
  bool supports(const Graph& graph, const Node& node) const override {
    return (node.op == Op::attention ? find(graph, node) : likely(graph, node)) != nullptr;
  }
  std::string_view kernel_name(const Graph& graph, const Node& node) const override {
    const Row* row = find(graph, node);
    return row ? row->name : std::string_view{};
  }
  Result<std::unique_ptr<Buffer>> allocate(std::size_t bytes, MemoryKind) override {
    return memory_.allocate(bytes);
  }
  Status upload(BufferView dst, std::span<const std::byte> src) override;
  Status download(std::span<std::byte> dst, BufferView src) override;
  Result<std::unique_ptr<Buffer>> place_weight(const Value& weight,
                                               std::span<const std::byte> mapped) override;
  std::size_t weight_bytes(const Value& weight) const override {
    return weight_layout(weight).bytes;
  }
  std::size_t scratch_bytes(const Graph& graph, std::span<const Node> nodes) const override;
  void expect(const Graph& graph, std::span<const Node> nodes) override;
  Result<std::unique_ptr<Executable>> compile(const Graph& graph, const Segment& segment) override;

 private:
  /// The first row that matches and is not known to be wrong on this driver.
  const Row* likely(const Graph& graph, const Node& node) const {
    for (const Row& row : kernel_table())
      if (row.op == node.op && row.matches(graph, node, device_->caps()) &&
          certifier_.hopes(row, graph, node))
        return &row;
    return nullptr;
  }
  /// The first row that matches and is trusted on this driver.
  const Row* find(const Graph& graph, const Node& node) const {
    for (const Row& row : kernel_table())
      if (row.op == node.op && row.matches(graph, node, device_->caps()) &&
          certifier_.trusts(row, graph, node))
        return &row;
    return nullptr;
  }
  enum class Fused : std::uint8_t { tested, under_test };
  Result<StepPlan> plan_segment(const Graph& graph, const Segment& segment, Fused fused);
  Status place_rows(const WeightLayout& layout,
                    std::span<const std::byte> mapped,
                    const DeviceBuffer& buffer);

  std::unique_ptr<Device> device_;
  Log log_;
  Memory memory_;
  Pipelines pipelines_;
  StepMemory step_;
  Machine machine_;
  mutable Certifier certifier_;
};

Status VulkanBackend::upload(BufferView dst, std::span<const std::byte> src) {
  auto* const buffer = static_cast<DeviceBuffer*>(dst.buffer);
  if (buffer == nullptr || src.size() > dst.size || dst.offset > buffer->size() ||
      buffer->size() - dst.offset < src.size())
    return {Code::invalid_argument, "upload does not fit its buffer"};
  for (DeviceBuffer::Mirror& mirror : buffer->mirrors) mirror.fresh = false;
  return memory_.upload(buffer->block(), buffer->offset() + dst.offset, src);
}

Status VulkanBackend::download(std::span<std::byte> dst, BufferView src) {
  const auto* const buffer = static_cast<const DeviceBuffer*>(src.buffer);
  if (buffer == nullptr || dst.size() > src.size || src.offset > buffer->size() ||
      buffer->size() - src.offset < dst.size())
    return {Code::invalid_argument, "download is larger than its buffer"};
  for (const DeviceBuffer::Mirror& mirror : buffer->mirrors) {
    if (src.offset < mirror.first || src.offset + dst.size() > mirror.first + mirror.size) continue;
    mirror.was_read = true;
    if (!mirror.fresh) continue;
    RUNNEL_TRY(device_->wait());
    std::copy_n(mirror.host + (src.offset - mirror.first), dst.size(), dst.begin());
    return {};
  }
  return memory_.download(dst, buffer->block(), buffer->offset() + src.offset);
}

/// Packs and uploads a few megabytes at a time.
Status VulkanBackend::place_rows(const WeightLayout& layout,
                                 std::span<const std::byte> mapped,
                                 const DeviceBuffer& buffer) {
  std::size_t row_bytes = 0;
  for (std::size_t i = 0; i < 4; ++i) row_bytes += layout.row_bytes(i);
  const auto at_a_time =
      static_cast<std::int64_t>(std::max<std::size_t>(1, kPackBytes / row_bytes));
  std::array<std::vector<std::byte>, 4> packed;
  for (std::int64_t first = 0; first < layout.rows; first += at_a_time) {
    const std::int64_t last = std::min(layout.rows, first + at_a_time);
    std::array<std::byte*, 4> to{};
    for (std::size_t i = 0; i < 4; ++i) {
      packed[i].resize(layout.row_bytes(i) * static_cast<std::size_t>(last - first));
      if (!packed[i].empty()) to[i] = packed[i].data();
    }
    pack_by_threads(layout, mapped, first, last, to);
    for (std::size_t i = 0; i < 4; ++i)
      if (!packed[i].empty())
        RUNNEL_TRY(memory_.upload(buffer.block(),
                                  buffer.offset() + layout.offset[i] +
                                      layout.row_bytes(i) * static_cast<std::size_t>(first),
                                  packed[i]));
  }
  return {};
}

Result<std::unique_ptr<Buffer>> VulkanBackend::place_weight(const Value& weight,
                                                            std::span<const std::byte> mapped) {
  const auto cols = static_cast<std::size_t>(weight.shape.cols());
  const auto rows = static_cast<std::size_t>(weight.shape.rows());
  const std::size_t row_bytes = quant::row_bytes(weight.dtype, cols);
  if (mapped.size() < row_bytes * rows)
    return Status(Code::corrupt, weight.name + ": has " + std::to_string(mapped.size()) +
                                     " bytes, needs " + std::to_string(row_bytes * rows));
  const WeightLayout layout = weight_layout(weight);
  RUNNEL_ASSIGN(std::unique_ptr<Buffer> made, memory_.allocate_weight(layout.bytes));
  auto& buffer = static_cast<DeviceBuffer&>(*made);
  if (!becomes_f32(weight)) {
    RUNNEL_TRY(place_rows(layout, mapped, buffer));
    return made;
  }
  std::vector<float> values(rows * cols);
  for (std::size_t r = 0; r < rows; ++r)
    quant::codec(weight.dtype)
        .decode_row(mapped.data() + r * row_bytes, values.data() + r * cols, weight.shape.cols());
  if (weight.shape.rank > 1) {
    RUNNEL_TRY(place_rows(layout, std::as_bytes(std::span(values)), buffer));
    return made;
  }
  RUNNEL_TRY(memory_.upload(buffer.block(), buffer.offset(), std::as_bytes(std::span(values))));
  buffer.values = std::move(values);
  return made;
}

std::size_t VulkanBackend::scratch_bytes(const Graph& graph, std::span<const Node> nodes) const {
  std::size_t most = 0;
  const std::vector<BufferView> nothing(graph.values().size());
  for (const Node& node : nodes) {
    if (reads_weights(node.op)) continue;
    const Row* row = likely(graph, node);
    if (row == nullptr) continue;
    if (const Result<Step> step = row->prepare(graph, node, nothing); step.ok())
      most = std::max(most, step->scratch_bytes);
  }
  return most;
}

void VulkanBackend::expect(const Graph& graph, std::span<const Node> nodes) {
  std::vector<PipelineKey> wanted;
  const std::vector<BufferView> nothing(graph.values().size());
  for (const Node& node : nodes) {
    const Row* const row = reads_weights(node.op) ? nullptr : likely(graph, node);
    if (row == nullptr) continue;
    if (const Result<Step> step = row->prepare(graph, node, nothing); step.ok())
      for (const Dispatch& dispatch : step->dispatches)
        wanted.emplace_back(dispatch.shader, dispatch.constants);
  }
  pipelines_.expect(wanted);
}

Result<StepPlan> VulkanBackend::plan_segment(const Graph& graph,
                                             const Segment& segment,
                                             Fused fused) {
  const Certifier::Plan plan_small = [this](const Graph& small, const Segment& nodes) {
    return plan_segment(small, nodes, Fused::under_test);
  };
  const PlanKernels kernels{
      device_->caps(), [&](const Node& node) { return find(graph, node); },
      [&](const Row& row, const Node& node) { return certifier_.trusts(row, graph, node); },
      [&](std::span<const Node> nodes) {
        return fused == Fused::under_test || certifier_.trusts_fused(graph, nodes, plan_small);
      },
      [&](const Row& row, const Node& node) {
        return certifier_.prepare(row, graph, node, segment.bindings);
      }};
  return plan_steps(graph, segment, kernels);
}

Result<std::unique_ptr<Executable>> VulkanBackend::compile(const Graph& graph,
                                                           const Segment& segment) {
  RUNNEL_ASSIGN(StepPlan plan, plan_segment(graph, segment, Fused::tested));
  return make_executable(machine_, graph, segment, std::move(plan));
}

Result<std::unique_ptr<Backend>> create(const BackendOptions& options) {
  RUNNEL_ASSIGN(std::unique_ptr<Device> device,
                Device::create(env("RUNNEL_VULKAN_DEVICE").value_or(""), options.log));
  auto backend = std::make_unique<VulkanBackend>(std::move(device), options.log);
  RUNNEL_TRY(backend->open());
  return std::unique_ptr<Backend>(std::move(backend));
}

bool available() {
  const auto devices = list_devices();
  return devices.ok() && !devices->empty();
}

/// A CPU that emulates a GPU is slower than our own kernels: only those who ask for it get it.
bool chosen_by_itself() {
  const auto devices = list_devices();
  return devices.ok() &&
         std::ranges::any_of(*devices, [](const Caps& c) { return !c.is_software; });
}

}  // namespace

BackendInfo backend_info() {
  return {"vulkan", "GPUs with a Vulkan 1.1 driver", available, create, chosen_by_itself};
}

}  // namespace runnel::vulkan

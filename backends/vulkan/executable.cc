#include "backends/vulkan/executable.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <set>
#include <utility>

#include "backends/vulkan/barriers.h"
#include "runtime/base/checked.h"

namespace runnel::vulkan {
namespace {

constexpr std::size_t kMaxMirror = std::size_t{1} << 20;  // bytes of an output with a mirror
constexpr std::size_t kSmallMirror = 1024;                // read back every step
constexpr std::uint32_t kMaxTimed = 4096;

std::uint32_t workgroups(const Extent& extent, const StepParams& params) {
  const auto n = static_cast<std::uint32_t>(params.n_tokens);
  if (extent.kv_spans) {  // of the last token, which sees the most
    const std::int64_t first = params.kv_pos(), last = first + params.n_tokens - 1;
    std::int64_t most = 0;
    for (std::int64_t place = first; place <= last; ++place)
      most = std::max(most, place / attention_span(place) + 1);
    return static_cast<std::uint32_t>(most);
  }
  return (extent.fixed + extent.per_token * n + extent.divisor - 1) / extent.divisor;
}

class VulkanExecutable final : public Executable, private Event {
 public:
  VulkanExecutable(Machine& machine, std::int64_t max_tokens, StepPlan plan)
      : m_(machine),
        max_tokens_(max_tokens),
        steps_(std::move(plan.steps)),
        kept_bytes_(plan.kept_bytes) {}
  ~VulkanExecutable() override;

  Status build(const Graph& graph, const Segment& segment);
  Result<Event*> submit(const StepParams& params, const StateTable& states) override;
  Status time_nodes(std::span<std::int64_t> nanoseconds) override;

 private:
  struct Bound {
    const Pipeline* pipeline;
    VkDescriptorSet set;
    std::vector<Barriers::Range> ranges;
    std::size_t indirect;  // number of its grid among the indirect ones, or kDirect
  };
  struct Mirrored {
    DeviceBuffer* buffer;
    std::size_t first, size, to;
  };
  static constexpr std::size_t kDirect = std::numeric_limits<std::size_t>::max();

  Status wait() override;
  Status allocate_scratch();
  Status bind(const Dispatch& dispatch, std::size_t scratch_constant);
  Status make_descriptor_pool();
  Status mirror_outputs(const Graph& graph, const Segment& segment);
  Status record();
  void record_dispatch(const Dispatch& dispatch, const Bound& bound, Barriers& barriers) const;
  enum class Size : std::uint8_t { small, large };
  void record_mirrors(VkCommandBuffer commands, Size size) const;
  Status record_large_mirrors();
  bool refresh_mirrors();
  void barrier(VkCommandBuffer commands, VkAccessFlags before, VkAccessFlags after) const;
  bool is_static(const Extent& extent) const {
    return !extent.kv_spans && (extent.per_token == 0 || max_tokens_ == 1);
  }
  Status check_step(const StepParams& params, const StateTable& states) const;
  void add_times();

  Machine& m_;
  std::int64_t max_tokens_;
  std::vector<PlannedStep> steps_;
  std::size_t kept_bytes_, kept_at_ = 0;
  std::vector<Bound> bound_;                                 // of all dispatches in order
  std::vector<const Extent*> grids_;                         // three per indirect dispatch
  std::vector<std::pair<std::size_t, std::int32_t>> pages_;  // state index, Step::recent
  std::size_t n_states_ = 0;                                 // tables
  std::set<std::size_t> used_;      // states: the others may be on another backend
  const Block* scratch_ = nullptr;  // behind it what is kept, then constants
  VkDescriptorPool pool_ = VK_NULL_HANDLE;
  VkCommandBuffer commands_ = VK_NULL_HANDLE;
  VkCommandBuffer large_ = VK_NULL_HANDLE;  // copies of large outputs; null: there are none
  std::uint64_t generation_ = 0;
  bool recorded_ = false;
  std::vector<Mirrored> mirrored_;
  const Block* mirror_ = nullptr;
  VkQueryPool queries_ = VK_NULL_HANDLE;
  std::span<std::int64_t> times_;
  std::vector<std::uint64_t> ticks_;
};

VulkanExecutable::~VulkanExecutable() {
  (void)m_.device.wait();
  const VkApi& api = m_.device.api();
  for (const Mirrored& one : mirrored_)
    std::erase_if(one.buffer->mirrors, [&](const DeviceBuffer::Mirror& mirror) {
      return mirror.host == mirror_->mapped + one.to;
    });
  for (const VkCommandBuffer& one : {commands_, large_})
    if (one != VK_NULL_HANDLE)
      api.FreeCommandBuffers(m_.device.handle(), m_.device.command_pool(), 1, &one);
  if (pool_ != VK_NULL_HANDLE) api.DestroyDescriptorPool(m_.device.handle(), pool_, nullptr);
  if (queries_ != VK_NULL_HANDLE) api.DestroyQueryPool(m_.device.handle(), queries_, nullptr);
  if (scratch_ != nullptr) m_.memory.release_block(scratch_);
  if (mirror_ != nullptr) m_.memory.release_block(mirror_);
}

Status VulkanExecutable::build(const Graph& graph, const Segment& segment) {
  std::vector<std::size_t> constants;  // where each dispatch's constants begin in scratch_
  std::size_t bytes = 0;
  for (const PlannedStep& planned : steps_)
    bytes = std::max(bytes, align_up(planned.step.scratch_bytes, 256));
  kept_at_ = bytes;
  bytes += align_up(kept_bytes_, 256);
  for (const PlannedStep& planned : steps_)
    for (const Dispatch& dispatch : planned.step.dispatches) {
      constants.push_back(bytes);
      for (const Operand& operand : dispatch.operands)
        bytes += align_up(operand.words.size() * sizeof(std::uint32_t), 256);
    }
  if (bytes > 0) {
    RUNNEL_ASSIGN(scratch_, m_.memory.allocate_block(bytes, Residence::device));
  }
  RUNNEL_TRY(make_descriptor_pool());
  std::vector<PipelineKey> wanted;
  for (const PlannedStep& planned : steps_)
    for (const Dispatch& dispatch : planned.step.dispatches)
      wanted.emplace_back(dispatch.shader, dispatch.constants);
  m_.pipelines.prepare(wanted);
  std::size_t n = 0;
  for (const PlannedStep& planned : steps_)
    for (const Dispatch& dispatch : planned.step.dispatches) {
      Status status = bind(dispatch, constants[n++]);
      if (!status.ok()) return std::move(status).with_context(dispatch.shader);
    }
  for (const Node& node : segment.nodes)
    for (const ValueId id : node.in)
      if (graph.value(id).role == Role::state) {
        const auto index = static_cast<std::size_t>(graph.value(id).state_index);
        n_states_ = std::max(n_states_, index + 1);
        used_.insert(index);
      }
  for (const PlannedStep& planned : steps_)
    for (const ValueId id : segment.nodes[planned.node].in) {
      const Value& value = graph.value(id);
      if (value.state == StateKind::kv_k || value.state == StateKind::kv_v)
        pages_.emplace_back(value.state_index, planned.step.recent);
    }
  RUNNEL_TRY(mirror_outputs(graph, segment));
  RUNNEL_ASSIGN(commands_, m_.device.new_commands());
  return record_large_mirrors();
}

Status VulkanExecutable::make_descriptor_pool() {
  std::uint32_t n_sets = 0, n_descriptors = 0;
  for (const PlannedStep& planned : steps_)
    for (const Dispatch& dispatch : planned.step.dispatches) {
      ++n_sets;
      n_descriptors += static_cast<std::uint32_t>(dispatch.operands.size());
    }
  const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, std::max(n_descriptors, 1u)};
  VkDescriptorPoolCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO;
  info.maxSets = n_sets;
  info.poolSizeCount = 1;
  info.pPoolSizes = &size;
  return to_status(m_.device.api().CreateDescriptorPool(m_.device.handle(), &info, nullptr, &pool_),
                   "descriptor pool");
}

/// Pipeline, descriptor set and ranges of a dispatch.
Status VulkanExecutable::bind(const Dispatch& dispatch, std::size_t constant_at) {
  const VkApi& api = m_.device.api();
  Bound bound{};
  RUNNEL_ASSIGN(bound.pipeline, m_.pipelines.get(dispatch.shader, dispatch.constants));
  VkDescriptorSetAllocateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO;
  info.descriptorPool = pool_;
  info.descriptorSetCount = 1;
  info.pSetLayouts = &bound.pipeline->operands;
  RUNNEL_TRY(to_status(api.AllocateDescriptorSets(m_.device.handle(), &info, &bound.set), "set"));
  const auto& counts = bound.pipeline->interface.counts;
  std::uint32_t binding = 0, element = 0;
  for (const Operand& operand : dispatch.operands) {
    while (binding < counts.size() && element >= counts[binding]) {
      ++binding;
      element = 0;
    }
    if (binding >= counts.size()) return {Code::internal, "more operands than bindings"};
    VkDescriptorBufferInfo buffer{};
    if (operand.source == Operand::Source::value) {
      const auto* piece = static_cast<const DeviceBuffer*>(operand.view.buffer);
      if (piece == nullptr) return {Code::invalid_argument, "an operand is not bound"};
      buffer = {piece->block().buffer, piece->offset() + operand.view.offset,
                align_up(std::max<std::size_t>(operand.view.size, 1), 16)};
    } else if (operand.source == Operand::Source::scratch) {
      buffer = {scratch_->buffer, operand.offset, operand.size};
    } else if (operand.source == Operand::Source::kept) {
      buffer = {scratch_->buffer, kept_at_ + operand.offset, operand.size};
    } else {
      const auto bytes = std::as_bytes(std::span(operand.words));
      RUNNEL_TRY(m_.memory.upload(*scratch_, constant_at, bytes));
      buffer = {scratch_->buffer, constant_at, bytes.size()};
      constant_at += align_up(bytes.size(), 256);
    }
    if (buffer.range > m_.device.caps().max_binding_bytes)
      return {Code::unsupported, "an operand is larger than a binding of this device"};
    VkWriteDescriptorSet write{};
    write.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
    write.dstSet = bound.set;
    write.dstBinding = binding;
    write.dstArrayElement = element++;
    write.descriptorCount = 1;
    write.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
    write.pBufferInfo = &buffer;
    api.UpdateDescriptorSets(m_.device.handle(), 1, &write, 0, nullptr);
    bound.ranges.push_back(
        {buffer.buffer, buffer.offset, buffer.offset + buffer.range, operand.access});
  }
  for (const StateUse& use : dispatch.states) {
    const auto index = static_cast<std::size_t>(use.index);
    bound.ranges.push_back({nullptr, index, index + 1, use.access});
  }
  bound.indirect = kDirect;
  const bool fixed =
      std::ranges::all_of(dispatch.grid, [&](const Extent& e) { return is_static(e); });
  if (!fixed) {
    bound.indirect = grids_.size() / 3;
    if (bound.indirect >= StepMemory::kMaxIndirect)
      return {Code::unsupported, "too many grids that depend on the step"};
    for (const Extent& extent : dispatch.grid) grids_.push_back(&extent);
  }
  bound_.push_back(std::move(bound));
  return {};
}

/// Outputs are copied to memory that the host reads fast, in the same submit: small ones always,
/// others when those of the last submit were read. What is read otherwise is fetched by itself.
Status VulkanExecutable::mirror_outputs(const Graph& graph, const Segment& segment) {
  std::size_t bytes = 0;
  for (const Node& node : segment.nodes)
    for (const ValueId id : node.out) {
      if (graph.value(id).role != Role::output) continue;
      const BufferView& view = segment.bindings[static_cast<std::size_t>(id)];
      auto* const buffer = static_cast<DeviceBuffer*>(view.buffer);
      const bool direct = m_.device.caps().is_software && buffer->block().mapped != nullptr;
      if (direct || view.size > kMaxMirror) continue;
      mirrored_.push_back({buffer, view.offset, view.size / 4 * 4, bytes});
      bytes += align_up(view.size, 64);
    }
  if (bytes == 0) return {};
  Result<const Block*> block = m_.memory.allocate_block(bytes, Residence::read);
  if (!block.ok()) {
    mirrored_.clear();
    return block.status();
  }
  mirror_ = *block;
  for (const Mirrored& one : mirrored_)
    one.buffer->mirrors.push_back({one.first, one.size, mirror_->mapped + one.to, false});
  return {};
}

void VulkanExecutable::barrier(VkCommandBuffer commands,
                               VkAccessFlags before,
                               VkAccessFlags after) const {
  constexpr VkAccessFlags kTransfer = VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
  VkMemoryBarrier memory{};
  memory.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
  memory.srcAccessMask = before;
  memory.dstAccessMask = after;
  constexpr VkPipelineStageFlags kHost = VK_PIPELINE_STAGE_HOST_BIT,
                                 kCopy = VK_PIPELINE_STAGE_TRANSFER_BIT,
                                 kCompute = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT;
  const bool to_host = (after & VK_ACCESS_HOST_READ_BIT) != 0;
  const VkPipelineStageFlags to = to_host ? kHost : (after & kTransfer) != 0 ? kCopy : kCompute;
  const VkPipelineStageFlags from = (before & kTransfer) != 0 ? kCompute | kCopy : kCompute;
  m_.device.api().CmdPipelineBarrier(commands, from, to, 0, 1, &memory, 0, nullptr, 0, nullptr);
}

void VulkanExecutable::record_dispatch(const Dispatch& dispatch,
                                       const Bound& bound,
                                       Barriers& barriers) const {
  const VkApi& api = m_.device.api();
  constexpr VkAccessFlags kShader = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT;
  if (barriers.add(bound.ranges)) barrier(commands_, VK_ACCESS_SHADER_WRITE_BIT, kShader);
  const VkPipelineLayout layout = bound.pipeline->layout;
  const VkDescriptorSet sets[] = {bound.set, m_.step.set()};
  api.CmdBindPipeline(commands_, VK_PIPELINE_BIND_POINT_COMPUTE, bound.pipeline->pipeline);
  api.CmdBindDescriptorSets(commands_, VK_PIPELINE_BIND_POINT_COMPUTE, layout, 0, 2, sets, 0,
                            nullptr);
  if (!dispatch.push.empty())
    api.CmdPushConstants(commands_, layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                         static_cast<std::uint32_t>(dispatch.push.size() * sizeof(std::uint32_t)),
                         dispatch.push.data());
  if (bound.indirect != kDirect) {
    api.CmdDispatchIndirect(commands_, m_.step.indirect().buffer, bound.indirect * 12);
    return;
  }
  StepParams one;
  one.n_tokens = 1;  // static grids depend on nothing else
  api.CmdDispatch(commands_, workgroups(dispatch.grid[0], one), workgroups(dispatch.grid[1], one),
                  workgroups(dispatch.grid[2], one));
}

void VulkanExecutable::record_mirrors(VkCommandBuffer commands, Size size) const {
  const auto is_meant = [size](const Mirrored& one) {
    return (one.size <= kSmallMirror) == (size == Size::small);
  };
  if (std::ranges::any_of(mirrored_, is_meant))
    barrier(commands, VK_ACCESS_SHADER_WRITE_BIT, VK_ACCESS_TRANSFER_READ_BIT);
  for (const Mirrored& one : mirrored_) {
    if (!is_meant(one)) continue;
    const VkBufferCopy region{one.buffer->offset() + one.first, one.to, one.size};
    m_.device.api().CmdCopyBuffer(commands, one.buffer->block().buffer, mirror_->buffer, 1,
                                  &region);
  }
  barrier(commands, VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
          VK_ACCESS_HOST_READ_BIT);
}

Status VulkanExecutable::record_large_mirrors() {
  if (std::ranges::none_of(mirrored_, [](const auto& one) { return one.size > kSmallMirror; }))
    return {};
  RUNNEL_ASSIGN(large_, m_.device.new_commands());
  VkCommandBufferBeginInfo info{};
  info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
  RUNNEL_TRY(to_status(m_.device.api().BeginCommandBuffer(large_, &info), "recording"));
  record_mirrors(large_, Size::large);
  return to_status(m_.device.api().EndCommandBuffer(large_), "recording");
}

/// Says which mirrors the next submit refreshes. Returns whether the large ones are among them.
bool VulkanExecutable::refresh_mirrors() {
  std::vector<DeviceBuffer::Mirror>::iterator found;
  const auto find = [&](const Mirrored& one) {
    found = std::ranges::find(one.buffer->mirrors, mirror_->mapped + one.to,
                              [](const auto& mirror) { return mirror.host; });
    return found != one.buffer->mirrors.end();
  };
  bool large = false;
  for (const Mirrored& one : mirrored_)
    if (one.size > kSmallMirror && find(one)) large |= std::exchange(found->was_read, false);
  for (const Mirrored& one : mirrored_)
    if (find(one)) found->fresh = large || one.size <= kSmallMirror;
  return large;
}

Status VulkanExecutable::record() {
  const VkApi& api = m_.device.api();
  VkCommandBufferBeginInfo info{};
  info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
  RUNNEL_TRY(to_status(api.BeginCommandBuffer(commands_, &info), "recording"));
  const bool timed = !times_.empty();
  std::uint32_t stamp = 0;
  const auto take_time = [&] {
    if (timed)
      api.CmdWriteTimestamp(commands_, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, queries_, stamp++);
  };
  if (timed)
    api.CmdResetQueryPool(commands_, queries_, 0, static_cast<std::uint32_t>(steps_.size() + 1));
  Barriers barriers;
  std::size_t n = 0;
  take_time();
  for (const PlannedStep& planned : steps_) {
    for (const Dispatch& dispatch : planned.step.dispatches)
      record_dispatch(dispatch, bound_[n++], barriers);
    take_time();
  }
  record_mirrors(commands_, Size::small);
  recorded_ = true;
  generation_ = m_.step.generation();
  return to_status(api.EndCommandBuffer(commands_), "recording");
}

Status VulkanExecutable::check_step(const StepParams& params, const StateTable& states) const {
  constexpr std::int32_t kLast = std::numeric_limits<std::int32_t>::max();
  if (params.n_tokens < 1 || params.n_tokens > max_tokens_ || params.pos < 0 ||
      params.pos > kLast - params.n_tokens || params.kv_gap < 0 || params.kv_gap > params.pos)
    return {Code::invalid_argument, "a step's position or number of tokens is out of range"};
  if (states.states.size() < n_states_)
    return {Code::invalid_argument, "a step without its states"};
  const std::int64_t end = params.kv_pos() + params.n_tokens;
  for (const auto& [state, recent] : pages_) {
    const std::int64_t needed = recent < 0 ? end : quant::kv_sealed_before(end - 1, recent);
    const auto n_pages = static_cast<std::size_t>((needed + kPageTokens - 1) / kPageTokens);
    if (states.states[state].buffers.size() < n_pages)
      return {Code::invalid_argument, "a KV page of the step is missing"};
  }
  for (const std::size_t s : used_)
    if (states.states[s].offsets.size() < states.states[s].buffers.size())
      return {Code::invalid_argument, "a state's offsets are missing"};
  return {};
}

Result<Event*> VulkanExecutable::submit(const StepParams& params, const StateTable& states) {
  RUNNEL_TRY(check_step(params, states));
  RUNNEL_TRY(m_.device.wait());
  RUNNEL_TRY(m_.step.write(params, states, used_));
  RUNNEL_TRY(m_.step.refresh());
  if (!recorded_ || generation_ != m_.step.generation()) RUNNEL_TRY(record());
  auto* const grids = reinterpret_cast<std::uint32_t*>(m_.step.indirect().mapped);
  for (std::size_t i = 0; i < grids_.size(); ++i) grids[i] = workgroups(*grids_[i], params);
  RUNNEL_ASSIGN(const VkCommandBuffer pending, m_.memory.take_pending());
  const VkCommandBuffer all[] = {pending, commands_, large_};
  const std::size_t first = pending == VK_NULL_HANDLE ? 1 : 0, last = refresh_mirrors() ? 3 : 2;
  RUNNEL_TRY(m_.device.submit(std::span(all).subspan(first, last - first)));
  return static_cast<Event*>(this);
}

Status VulkanExecutable::wait() {
  RUNNEL_TRY(m_.device.wait());
  if (!times_.empty()) add_times();
  return m_.step.take_status();
}

void VulkanExecutable::add_times() {
  ticks_.resize(steps_.size() + 1);
  const VkResult got = m_.device.api().GetQueryPoolResults(
      m_.device.handle(), queries_, 0, static_cast<std::uint32_t>(ticks_.size()),
      ticks_.size() * sizeof(std::uint64_t), ticks_.data(), sizeof(std::uint64_t),
      VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT);
  if (got != VK_SUCCESS) return;
  const double tick = static_cast<double>(m_.device.caps().nanoseconds_per_tick);
  for (std::size_t i = 0; i < steps_.size(); ++i)
    times_[steps_[i].node] +=
        static_cast<std::int64_t>(static_cast<double>(ticks_[i + 1] - ticks_[i]) * tick);
}

Status VulkanExecutable::time_nodes(std::span<std::int64_t> nanoseconds) {
  if (!nanoseconds.empty() &&
      (m_.device.caps().nanoseconds_per_tick <= 0 || steps_.size() >= kMaxTimed))
    return {Code::unsupported, "this device takes no times"};
  times_ = nanoseconds;
  recorded_ = false;
  if (times_.empty() || queries_ != VK_NULL_HANDLE) return {};
  VkQueryPoolCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO;
  info.queryType = VK_QUERY_TYPE_TIMESTAMP;
  info.queryCount = static_cast<std::uint32_t>(steps_.size() + 1);
  return to_status(m_.device.api().CreateQueryPool(m_.device.handle(), &info, nullptr, &queries_),
                   "vkCreateQueryPool");
}

}  // namespace

Result<std::unique_ptr<Executable>> make_executable(Machine& machine,
                                                    const Graph& graph,
                                                    const Segment& segment,
                                                    StepPlan plan) {
  auto executable =
      std::make_unique<VulkanExecutable>(machine, graph.max_tokens(), std::move(plan));
  RUNNEL_TRY(executable->build(graph, segment));
  return std::unique_ptr<Executable>(std::move(executable));
}

}  // namespace runnel::vulkan

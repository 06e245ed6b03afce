#include "backends/vulkan/step_memory.h"

#include <algorithm>
#include <cstring>

namespace runnel::vulkan {
namespace {

constexpr std::size_t kParamWords = 8;
constexpr std::size_t kFirstWords = 65536;
// SOURCE: shaders/lib/step.glsl.
constexpr std::uint32_t kBadTokenId = 1, kBadExpert = 2;

}  // namespace

StepMemory::~StepMemory() {
  if (pool_ != VK_NULL_HANDLE)
    device_.api().DestroyDescriptorPool(device_.handle(), pool_, nullptr);
}

Status StepMemory::open() {
  RUNNEL_ASSIGN(indirect_, memory_.allocate_block(kMaxIndirect * 12, Residence::upload));
  RUNNEL_ASSIGN(status_, memory_.allocate_block(sizeof(std::uint32_t), Residence::read));
  std::memset(status_->mapped, 0, sizeof(std::uint32_t));
  RUNNEL_TRY(grow(kFirstWords));
  const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                  static_cast<std::uint32_t>(2 + Memory::kMaxStateBlocks)};
  VkDescriptorPoolCreateInfo pool{};
  pool.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO;
  pool.maxSets = 1;
  pool.poolSizeCount = 1;
  pool.pPoolSizes = &size;
  RUNNEL_TRY(to_status(device_.api().CreateDescriptorPool(device_.handle(), &pool, nullptr, &pool_),
                       "descriptor pool"));
  const VkDescriptorSetLayout layout = pipelines_.step_layout();
  VkDescriptorSetAllocateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO;
  info.descriptorPool = pool_;
  info.descriptorSetCount = 1;
  info.pSetLayouts = &layout;
  return to_status(device_.api().AllocateDescriptorSets(device_.handle(), &info, &set_),
                   "descriptor set");
}

Status StepMemory::grow(std::size_t words) {
  if (tables_ != nullptr && tables_->size >= words * sizeof(std::uint32_t)) return {};
  const std::size_t wanted = tables_ == nullptr ? words : 2 * words;
  const Block* const old = tables_;
  RUNNEL_ASSIGN(tables_, memory_.allocate_block(wanted * sizeof(std::uint32_t), Residence::upload));
  if (old != nullptr) memory_.release_block(old);
  words_.clear();
  stale_ = true;
  return {};
}

Status StepMemory::refresh() {
  const auto blocks = memory_.state_blocks();
  if (!stale_ && blocks.size() == n_blocks_) return {};
  // What is not there yet is never indexed; any buffer may stand in.
  std::array<VkDescriptorBufferInfo, 2 + Memory::kMaxStateBlocks> buffers;
  buffers.fill({status_->buffer, 0, VK_WHOLE_SIZE});
  buffers[0] = {tables_->buffer, 0, VK_WHOLE_SIZE};
  for (std::size_t i = 0; i < blocks.size(); ++i)
    buffers[1 + i] = {blocks[i]->buffer, 0,
                      std::min<std::size_t>(blocks[i]->size, device_.caps().max_binding_bytes)};
  std::array<VkWriteDescriptorSet, 3> writes{};
  const std::uint32_t first[] = {0, 1, 1 + Memory::kMaxStateBlocks};
  const std::uint32_t count[] = {1, Memory::kMaxStateBlocks, 1};
  for (std::uint32_t i = 0; i < 3; ++i) {
    writes[i].sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
    writes[i].dstSet = set_;
    writes[i].dstBinding = i;
    writes[i].descriptorCount = count[i];
    writes[i].descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
    writes[i].pBufferInfo = &buffers[first[i]];
  }
  device_.api().UpdateDescriptorSets(device_.handle(), 3, writes.data(), 0, nullptr);
  n_blocks_ = blocks.size();
  stale_ = false;
  ++generation_;
  return {};
}

Status StepMemory::write(const StepParams& params,
                         const StateTable& states,
                         const std::set<std::size_t>& used) {
  const std::size_t n_tables = used.empty() ? 0 : *used.rbegin() + 1;
  std::size_t total = kParamWords + n_tables;
  for (const std::size_t s : used) total += 2 * states.states[s].buffers.size();
  RUNNEL_TRY(grow(total));
  words_.resize(std::max(words_.size(), total), ~std::uint32_t{0});
  auto* const mapped = reinterpret_cast<std::uint32_t*>(tables_->mapped);
  const auto put = [&](std::size_t at, std::uint32_t word) {
    if (words_[at] == word) return;
    words_[at] = word;
    mapped[at] = word;
  };
  const std::int32_t fields[] = {params.pos, params.n_tokens, params.kv_keep, params.kv_sealed,
                                 params.kv_gap};
  for (std::size_t i = 0; i < std::size(fields); ++i)
    mapped[i] = words_[i] = static_cast<std::uint32_t>(fields[i]);
  std::size_t at = kParamWords + n_tables;
  for (const std::size_t s : used) {
    const StateBinding& binding = states.states[s];
    put(kParamWords + s, static_cast<std::uint32_t>(at - kParamWords));
    for (std::size_t page = 0; page < binding.buffers.size(); ++page, at += 2) {
      const auto* buffer = static_cast<const DeviceBuffer*>(binding.buffers[page]);
      if (buffer == nullptr || buffer->block().state_index < 0)
        return {Code::invalid_argument, "a state has no memory on the device"};
      const std::size_t byte = buffer->offset() + binding.offsets[page];
      put(at, static_cast<std::uint32_t>(buffer->block().state_index));
      put(at + 1, static_cast<std::uint32_t>(byte / sizeof(std::uint32_t)));
    }
  }
  return {};
}

Status StepMemory::take_status() {
  std::uint32_t flags = 0;
  std::memcpy(&flags, status_->mapped, sizeof(flags));
  if (flags == 0) return {};
  std::memset(status_->mapped, 0, sizeof(flags));
  if (flags & kBadTokenId) return {Code::invalid_argument, "a token id is outside the vocabulary"};
  if (flags & kBadExpert) return {Code::invalid_argument, "a chosen expert does not exist"};
  return {Code::internal, "vulkan: a shader reports a failure"};
}

}  // namespace runnel::vulkan

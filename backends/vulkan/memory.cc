#include "backends/vulkan/memory.h"

#include <algorithm>
#include <cstring>

#include "runtime/base/checked.h"

namespace runnel::vulkan {
namespace {

constexpr std::size_t kAlignment = 256;  // at least what any device asks of a binding
constexpr std::size_t kMiB = std::size_t{1} << 20;
constexpr std::size_t kWeightBlock = 256 * kMiB;
constexpr std::size_t kStagingBlock = 8 * kMiB;

constexpr VkMemoryPropertyFlags kHost =
    VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;

}  // namespace

Memory::Memory(Device& device, bool staged) : device_(device), staged_(staged) {}

Memory::~Memory() {
  (void)device_.wait();
  for (auto& block : blocks_) destroy(*block);
  if (to_device_) destroy(*to_device_);
  if (to_host_) destroy(*to_host_);
}

void Memory::destroy(Block& block) const {
  const VkApi& api = device_.api();
  if (block.buffer != VK_NULL_HANDLE) api.DestroyBuffer(device_.handle(), block.buffer, nullptr);
  if (block.memory != VK_NULL_HANDLE) api.FreeMemory(device_.handle(), block.memory, nullptr);
}

Result<std::uint32_t> Memory::memory_type(std::uint32_t allowed, Residence residence) const {
  const VkPhysicalDeviceMemoryProperties& memory = device_.memory();
  // Best first. Mapped device memory counts only when it is the device's main memory, not a window.
  const VkMemoryPropertyFlags device[] = {VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT | kHost,
                                          VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, 0};
  const VkMemoryPropertyFlags upload[] = {VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT | kHost, kHost};
  const VkMemoryPropertyFlags read[] = {kHost | VK_MEMORY_PROPERTY_HOST_CACHED_BIT, kHost};
  std::span<const VkMemoryPropertyFlags> wanted = device;
  if (residence == Residence::upload) wanted = upload;
  if (residence == Residence::read) wanted = read;
  if (residence == Residence::device && staged_) wanted = std::span(device).subspan(1);
  for (const VkMemoryPropertyFlags flags : wanted)
    for (std::uint32_t i = 0; i < memory.memoryTypeCount; ++i) {
      if ((allowed >> i & 1) == 0 || (memory.memoryTypes[i].propertyFlags & flags) != flags)
        continue;
      const std::uint64_t heap = memory.memoryHeaps[memory.memoryTypes[i].heapIndex].size;
      const bool mapped_device = residence == Residence::device && (flags & kHost) != 0;
      if (mapped_device && heap < device_.caps().memory_bytes / 10 * 9) continue;
      return i;
    }
  return Status(Code::out_of_memory, "vulkan: no memory of the kind that is needed");
}

Result<std::unique_ptr<Block>> Memory::new_block(std::size_t bytes, Residence residence) {
  auto block = std::make_unique<Block>();
  block->size = align_up(std::max(bytes, kAlignment), kAlignment);
  const VkApi& api = device_.api();
  VkBufferCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
  info.size = block->size;
  info.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
               VK_BUFFER_USAGE_TRANSFER_DST_BIT | VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT;
  const auto make = [&]() -> Status {
    RUNNEL_TRY(to_status(api.CreateBuffer(device_.handle(), &info, nullptr, &block->buffer),
                         "vkCreateBuffer"));
    VkMemoryRequirements needs{};
    api.GetBufferMemoryRequirements(device_.handle(), block->buffer, &needs);
    RUNNEL_ASSIGN(const std::uint32_t type, memory_type(needs.memoryTypeBits, residence));
    VkMemoryAllocateInfo allocate{};
    allocate.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
    allocate.allocationSize = needs.size;
    allocate.memoryTypeIndex = type;
    RUNNEL_TRY(to_status(api.AllocateMemory(device_.handle(), &allocate, nullptr, &block->memory),
                         "allocating " + std::to_string(block->size / kMiB) + " MiB"));
    RUNNEL_TRY(to_status(api.BindBufferMemory(device_.handle(), block->buffer, block->memory, 0),
                         "vkBindBufferMemory"));
    const bool hidden = residence == Residence::device && staged_;
    if (hidden || (device_.memory().memoryTypes[type].propertyFlags & kHost) != kHost) return {};
    void* mapped = nullptr;
    RUNNEL_TRY(
        to_status(api.MapMemory(device_.handle(), block->memory, 0, VK_WHOLE_SIZE, 0, &mapped),
                  "vkMapMemory"));
    block->mapped = static_cast<std::byte*>(mapped);
    return {};
  };
  const Status made = make();
  if (made.ok()) return block;
  destroy(*block);
  return made;
}

Result<const Block*> Memory::allocate_block(std::size_t bytes, Residence residence) {
  RUNNEL_ASSIGN(std::unique_ptr<Block> block, new_block(bytes, residence));
  blocks_.push_back(std::move(block));
  return static_cast<const Block*>(blocks_.back().get());
}

void Memory::release_block(const Block* block) {
  (void)device_.wait();
  const auto found = std::ranges::find_if(blocks_, [&](auto& b) { return b.get() == block; });
  if (found == blocks_.end()) return;
  destroy(**found);
  blocks_.erase(found);
}

/// First fit; a new block when nothing fits. Blocks of states double up to what one binding holds.
Result<Memory::Piece> Memory::cut(std::size_t bytes, bool state) {
  const std::size_t needed = align_up(std::max<std::size_t>(bytes, 1), kAlignment);
  for (auto& block : blocks_) {
    if ((block->state_index >= 0) != state) continue;
    for (auto& [offset, size] : block->free) {
      if (size < needed) continue;
      const Piece piece{block.get(), offset};
      const std::size_t rest = size - needed;
      block->free.erase(offset);
      if (rest > 0) block->free[piece.offset + needed] = rest;
      return piece;
    }
  }
  const std::size_t largest = device_.caps().max_binding_bytes / kAlignment * kAlignment;
  std::size_t size = std::max(needed, kWeightBlock);
  if (state) {
    const std::size_t first =
        std::clamp<std::size_t>(device_.caps().memory_bytes / 64, 16 * kMiB, 256 * kMiB);
    size = std::max(needed, std::min(largest, first << state_blocks_.size()));
    if (state_blocks_.size() == kMaxStateBlocks)
      return Status(Code::out_of_memory, "vulkan: all blocks of states are full");
    if (needed > largest)
      return Status(Code::out_of_memory, "vulkan: " + std::to_string(bytes / kMiB) +
                                             " MiB are more than one binding of this device holds");
  }
  Result<std::unique_ptr<Block>> made = new_block(size, Residence::device);
  if (!made.ok() && size > needed) made = new_block(needed, Residence::device);
  if (!made.ok()) return made.status();
  blocks_.push_back(*std::move(made));
  Block* block = blocks_.back().get();
  if (state) {
    block->state_index = static_cast<int>(state_blocks_.size());
    state_blocks_.push_back(block);
  }
  if (block->size > needed) block->free[needed] = block->size - needed;
  return Piece{block, 0};
}

void Memory::give_back(Block& block, std::size_t offset, std::size_t bytes) {
  used_ -= bytes;
  auto next = block.free.lower_bound(offset);
  if (next != block.free.end() && offset + bytes == next->first) {
    bytes += next->second;
    next = block.free.erase(next);
  }
  if (next != block.free.begin()) {
    const auto before = std::prev(next);
    if (before->first + before->second == offset) {
      before->second += bytes;
      return;
    }
  }
  block.free[offset] = bytes;
}

Result<std::unique_ptr<Buffer>> Memory::allocate(std::size_t bytes) {
  constexpr std::size_t kMaxBytes = std::size_t{1} << 46;
  if (bytes > kMaxBytes)
    return Status(Code::out_of_memory, "cannot allocate " + std::to_string(bytes) + " bytes");
  RUNNEL_ASSIGN(const Piece piece, cut(bytes, true));
  const std::size_t reserved = align_up(std::max<std::size_t>(bytes, 1), kAlignment);
  used_ += reserved;
  std::unique_ptr<Buffer> buffer =
      std::make_unique<DeviceBuffer>(*this, *piece.block, piece.offset, reserved, bytes);
  RUNNEL_TRY(fill_zero(*piece.block, piece.offset, reserved));
  return buffer;
}

Result<std::unique_ptr<Buffer>> Memory::allocate_weight(std::size_t bytes) {
  RUNNEL_ASSIGN(const Piece piece, cut(bytes, false));
  const std::size_t reserved = align_up(std::max<std::size_t>(bytes, 1), kAlignment);
  used_ += reserved;
  return std::unique_ptr<Buffer>(
      std::make_unique<DeviceBuffer>(*this, *piece.block, piece.offset, reserved, bytes));
}

/// Opens the command buffer of waiting copies.
Status Memory::begin() {
  if (recording_) return {};
  RUNNEL_TRY(device_.wait());
  if (pending_ == VK_NULL_HANDLE) {
    RUNNEL_ASSIGN(pending_, device_.new_commands());
  }
  VkCommandBufferBeginInfo info{};
  info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
  info.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT;
  RUNNEL_TRY(to_status(device_.api().BeginCommandBuffer(pending_, &info), "recording copies"));
  recording_ = true;
  return {};
}

Result<VkCommandBuffer> Memory::take_pending() {
  if (!recording_) return VkCommandBuffer{VK_NULL_HANDLE};
  VkMemoryBarrier barrier{};
  barrier.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
  barrier.srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT;
  barrier.dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT |
                          VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT |
                          VK_ACCESS_HOST_READ_BIT;
  device_.api().CmdPipelineBarrier(pending_, VK_PIPELINE_STAGE_TRANSFER_BIT,
                                   VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT |
                                       VK_PIPELINE_STAGE_TRANSFER_BIT | VK_PIPELINE_STAGE_HOST_BIT,
                                   0, 1, &barrier, 0, nullptr, 0, nullptr);
  RUNNEL_TRY(to_status(device_.api().EndCommandBuffer(pending_), "recording copies"));
  recording_ = false;
  to_device_used_ = 0;
  return pending_;
}

/// Runs what waits, and waits for it.
Status Memory::flush() {
  RUNNEL_ASSIGN(const VkCommandBuffer commands, take_pending());
  if (commands != VK_NULL_HANDLE) RUNNEL_TRY(device_.submit({&commands, 1}));
  return device_.wait();
}

Status Memory::fill_zero(const Block& block, std::size_t offset, std::size_t bytes) {
  RUNNEL_TRY(device_.wait());
  if (block.mapped != nullptr) {
    std::memset(block.mapped + offset, 0, bytes);
    return {};
  }
  RUNNEL_TRY(begin());
  device_.api().CmdFillBuffer(pending_, block.buffer, offset, bytes, 0);
  return {};
}

Result<const Block*> Memory::staging(std::size_t bytes, Residence residence) {
  std::unique_ptr<Block>& block = residence == Residence::read ? to_host_ : to_device_;
  if (block != nullptr && block->size >= bytes) return static_cast<const Block*>(block.get());
  if (block != nullptr) destroy(*block);
  block.reset();
  RUNNEL_ASSIGN(block, new_block(std::max(bytes, kStagingBlock), residence));
  return static_cast<const Block*>(block.get());
}

Status Memory::copy_by_device(const Block& block,
                              std::size_t offset,
                              std::span<const std::byte> src) {
  constexpr std::size_t kPart = kStagingBlock;
  while (!src.empty()) {
    const auto part = src.first(std::min(src.size(), kPart));
    src = src.subspan(part.size());
    if (to_device_used_ + part.size() > kStagingBlock) RUNNEL_TRY(flush());
    RUNNEL_TRY(begin());
    RUNNEL_ASSIGN(const Block* const from, staging(kStagingBlock, Residence::upload));
    std::memcpy(from->mapped + to_device_used_, part.data(), part.size());
    // After a fill of the same bytes, perhaps.
    VkMemoryBarrier barrier{};
    barrier.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
    barrier.srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT;
    barrier.dstAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT;
    device_.api().CmdPipelineBarrier(pending_, VK_PIPELINE_STAGE_TRANSFER_BIT,
                                     VK_PIPELINE_STAGE_TRANSFER_BIT, 0, 1, &barrier, 0, nullptr, 0,
                                     nullptr);
    const VkBufferCopy region{to_device_used_, offset, part.size()};
    device_.api().CmdCopyBuffer(pending_, from->buffer, block.buffer, 1, &region);
    to_device_used_ = align_up(to_device_used_ + part.size(), kAlignment);
    offset += part.size();
  }
  return {};
}

Status Memory::upload(const Block& block, std::size_t offset, std::span<const std::byte> src) {
  RUNNEL_TRY(device_.wait());
  if (block.mapped == nullptr) return copy_by_device(block, offset, src);
  std::memcpy(block.mapped + offset, src.data(), src.size());
  return {};
}

Status Memory::download(std::span<std::byte> dst, const Block& block, std::size_t offset) {
  if (device_.caps().is_software && block.mapped != nullptr) {
    RUNNEL_TRY(flush());
    std::memcpy(dst.data(), block.mapped + offset, dst.size());
    return {};
  }
  while (!dst.empty()) {
    const auto part = dst.first(std::min(dst.size(), kStagingBlock));
    RUNNEL_TRY(begin());
    RUNNEL_ASSIGN(const Block* const to, staging(kStagingBlock, Residence::read));
    VkMemoryBarrier barrier{};
    barrier.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
    barrier.srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT | VK_ACCESS_SHADER_WRITE_BIT;
    barrier.dstAccessMask = VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
    device_.api().CmdPipelineBarrier(
        pending_, VK_PIPELINE_STAGE_TRANSFER_BIT | VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
        VK_PIPELINE_STAGE_TRANSFER_BIT, 0, 1, &barrier, 0, nullptr, 0, nullptr);
    const VkBufferCopy region{offset, 0, part.size()};
    device_.api().CmdCopyBuffer(pending_, block.buffer, to->buffer, 1, &region);
    RUNNEL_TRY(flush());
    std::memcpy(part.data(), to->mapped, part.size());
    dst = dst.subspan(part.size());
    offset += part.size();
  }
  return {};
}

}  // namespace runnel::vulkan

// Device memory: a few big blocks that are cut into Buffers, and copies between host and device.
// Copies and fills that the device has to do wait here until the next submit, which they precede.
// Used by one thread at a time.
#pragma once
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "backends/vulkan/device.h"
#include "runtime/backend/buffer.h"

namespace runnel::vulkan {

/// One VkBuffer with its memory. Free ranges by offset; merged when given back.
struct Block {
  VkBuffer buffer = VK_NULL_HANDLE;
  VkDeviceMemory memory = VK_NULL_HANDLE;
  std::byte* mapped = nullptr;  // null: only the device sees it
  std::size_t size = 0;
  int state_index = -1;  // where shaders find it among the blocks of states; -1: nowhere
  std::map<std::size_t, std::size_t> free;  // offset -> bytes
};

enum class Residence : std::uint8_t {
  device,  // fast for the device; mapped where that costs nothing
  upload,  // written by the host
  read,    // read by the host
};

class Memory {
 public:
  /// Blocks that shaders can index, so that pages of a cache may lie in any of them.
  static constexpr std::size_t kMaxStateBlocks = 8;

  Memory(Device& device, bool staged);
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory();

  /// A Buffer for values and states; content is zero. ERRORS: out_of_memory.
  Result<std::unique_ptr<Buffer>> allocate(std::size_t bytes);
  /// A Buffer for a weight; content is undefined. ERRORS: out_of_memory.
  Result<std::unique_ptr<Buffer>> allocate_weight(std::size_t bytes);
  /// A block of its own, until release_block(). ERRORS: out_of_memory.
  Result<const Block*> allocate_block(std::size_t bytes, Residence residence);
  void release_block(const Block* block);
  Status upload(const Block& block, std::size_t offset, std::span<const std::byte> src);
  /// Waits for what was submitted. ERRORS: device_lost.
  Status download(std::span<std::byte> dst, const Block& block, std::size_t offset);

  /// Command buffer of what waits, closed, or null; to be submitted before anything else.
  Result<VkCommandBuffer> take_pending();
  /// The blocks that hold states; grows only.
  std::span<const Block* const> state_blocks() const { return state_blocks_; }
  /// Bytes of Buffers in use.
  std::size_t used_bytes() const { return used_; }

 private:
  friend class DeviceBuffer;
  struct Piece {
    Block* block;
    std::size_t offset;
  };
  Result<std::unique_ptr<Block>> new_block(std::size_t bytes, Residence residence);
  Result<std::uint32_t> memory_type(std::uint32_t allowed, Residence residence) const;
  void destroy(Block& block) const;
  Result<Piece> cut(std::size_t bytes, bool state);
  void give_back(Block& block, std::size_t offset, std::size_t bytes);
  Status begin();
  Status fill_zero(const Block& block, std::size_t offset, std::size_t bytes);
  Status copy_by_device(const Block& block, std::size_t offset, std::span<const std::byte> src);
  Status flush();
  Result<const Block*> staging(std::size_t bytes, Residence residence);

  Device& device_;
  bool staged_;  // never map device memory: for tests
  std::vector<std::unique_ptr<Block>> blocks_;
  std::vector<const Block*> state_blocks_;
  std::size_t used_ = 0;
  VkCommandBuffer pending_ = VK_NULL_HANDLE;
  bool recording_ = false;
  std::unique_ptr<Block> to_device_, to_host_;  // staging
  std::size_t to_device_used_ = 0;
};

/// A piece of a Block; its host address is hidden: memory of a device is slow to read.
class DeviceBuffer final : public Buffer {
 public:
  DeviceBuffer(
      Memory& memory, Block& block, std::size_t offset, std::size_t reserved, std::size_t bytes)
      : Buffer(nullptr, bytes),
        memory_(memory),
        block_(block),
        offset_(offset),
        reserved_(reserved) {}
  ~DeviceBuffer() override { memory_.give_back(block_, offset_, reserved_); }
  const Block& block() const { return block_; }
  std::size_t offset() const { return offset_; }
  /// A small weight as numbers, kept for kernels that prepare constants from it.
  std::vector<float> values;
  /// A copy that submits of an executable refresh: bytes [first, first + size) at `host`. Always
  /// when it is small, else when somebody read the values of the submit before.
  struct Mirror {
    std::size_t first = 0, size = 0;
    const std::byte* host = nullptr;
    bool fresh = false;
    mutable bool was_read = false;  // the values, from here or from the device
  };
  std::vector<Mirror> mirrors;

 private:
  Memory& memory_;
  Block& block_;
  std::size_t offset_, reserved_;
};

}  // namespace runnel::vulkan

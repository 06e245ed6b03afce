// Device memory. Small buffers (KV pages above all) are cut from large blocks, because the driver
// hands out 2 MiB at least and stops the device for it. A pool and its buffers may be used by any
// thread.
#pragma once
#include <cuda_runtime.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "backends/cuda/device.h"
#include "runtime/backend/buffer.h"

namespace runnel::cuda {

/// Owns blocks of one device; outlives its buffers, which share it.
class Pool {
 public:
  explicit Pool(const Device& device) : device_(device.index()), stream_(device.stream()) {}
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool();

  /// 256-byte aligned, zeroed in stream order. ERRORS: out_of_memory, device_lost.
  Result<std::byte*> take(std::size_t bytes);
  void give(std::byte* memory, std::size_t bytes) noexcept;
  /// Changes whenever something is taken or given.
  std::uint64_t generation() const { return generation_.load(std::memory_order_relaxed); }

 private:
  static std::size_t rounded(std::size_t bytes);
  Result<std::byte*> find(std::size_t bytes);

  int device_;
  cudaStream_t stream_;
  std::mutex mutex_;
  std::vector<std::byte*> blocks_;
  std::byte* next_ = nullptr;  // free rest of the last block
  std::size_t left_ = 0;
  std::map<std::size_t, std::vector<std::byte*>> free_;  // by size
  std::atomic<std::uint64_t> generation_{0};
};

class DeviceBuffer final : public Buffer {
 public:
  static Result<std::unique_ptr<Buffer>> allocate(const std::shared_ptr<Pool>& pool,
                                                  std::size_t bytes);
  ~DeviceBuffer() override;
  std::byte* device() const { return memory_; }

 private:
  DeviceBuffer(std::shared_ptr<Pool> pool, std::byte* memory, std::size_t bytes)
      : Buffer(nullptr, bytes), pool_(std::move(pool)), memory_(memory) {}
  std::shared_ptr<Pool> pool_;  // shared: a cache may outlive its backend
  std::byte* memory_;
};

/// Address of a view's first byte; null for an empty view. REQUIRES: a buffer of this backend.
inline std::byte* address(const BufferView& view) {
  if (view.buffer == nullptr) return nullptr;
  return static_cast<const DeviceBuffer*>(view.buffer)->device() + view.offset;
}

/// Page-locked host memory, which the device copies from without help.
class PinnedBytes {
 public:
  static Result<PinnedBytes> allocate(std::size_t bytes);
  PinnedBytes() = default;
  PinnedBytes(PinnedBytes&& other) noexcept;
  PinnedBytes& operator=(PinnedBytes&& other) noexcept;
  ~PinnedBytes();
  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace runnel::cuda

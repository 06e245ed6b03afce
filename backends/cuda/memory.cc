#include "backends/cuda/memory.h"

#include <algorithm>
#include <utility>

namespace runnel::cuda {
namespace {

constexpr std::size_t kBlockBytes = std::size_t{64} << 20;
constexpr std::size_t kLargest = std::size_t{8} << 20;  // larger ones come from the driver
constexpr std::size_t kAlignment = 256;
constexpr std::size_t kMostBytes = std::size_t{1} << 46;

}  // namespace

std::size_t Pool::rounded(std::size_t bytes) {
  const std::size_t grain = bytes <= 16 * kAlignment ? kAlignment : 16 * kAlignment;
  return std::max<std::size_t>(1, (bytes + grain - 1) / grain) * grain;
}

Pool::~Pool() {
  for (std::byte* block : blocks_) (void)cudaFree(block);
}

Result<std::byte*> Pool::find(std::size_t bytes) {
  void* memory = nullptr;
  if (bytes > kMostBytes)
    return Status(Code::out_of_memory, "cannot allocate " + std::to_string(bytes) + " bytes");
  if (bytes > kLargest) {
    RUNNEL_TRY(to_status(cudaMalloc(&memory, bytes), "allocating device memory"));
    return static_cast<std::byte*>(memory);
  }
  std::vector<std::byte*>& same = free_[bytes];
  if (!same.empty()) {
    std::byte* found = same.back();
    same.pop_back();
    return found;
  }
  if (left_ < bytes) {
    RUNNEL_TRY(to_status(cudaMalloc(&memory, kBlockBytes), "allocating device memory"));
    blocks_.push_back(static_cast<std::byte*>(memory));
    next_ = blocks_.back();
    left_ = kBlockBytes;
  }
  std::byte* found = next_;
  next_ += bytes;
  left_ -= bytes;
  return found;
}

Result<std::byte*> Pool::take(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  RUNNEL_TRY(to_status(cudaSetDevice(device_), "choosing the device"));
  const std::size_t size = rounded(std::min(bytes, kMostBytes + 1));
  RUNNEL_ASSIGN(std::byte* const memory, find(size));
  generation_.fetch_add(1, std::memory_order_relaxed);
  RUNNEL_TRY(to_status(cudaMemsetAsync(memory, 0, size, stream_), "clearing device memory"));
  return memory;
}

void Pool::give(std::byte* memory, std::size_t bytes) noexcept {
  const std::lock_guard lock(mutex_);
  generation_.fetch_add(1, std::memory_order_relaxed);
  const std::size_t size = rounded(bytes);
  if (size <= kLargest) {
    free_[size].push_back(memory);
    return;
  }
  (void)cudaSetDevice(device_);
  (void)cudaFree(memory);  // waits for the device
}

Result<std::unique_ptr<Buffer>> DeviceBuffer::allocate(const std::shared_ptr<Pool>& pool,
                                                       std::size_t bytes) {
  RUNNEL_ASSIGN(std::byte* const memory, pool->take(bytes));
  return std::unique_ptr<Buffer>(
      new DeviceBuffer(pool, memory, bytes));  // NOLINT: private constructor
}

DeviceBuffer::~DeviceBuffer() {
  pool_->give(memory_, size());
}

Result<PinnedBytes> PinnedBytes::allocate(std::size_t bytes) {
  void* memory = nullptr;
  RUNNEL_TRY(to_status(cudaHostAlloc(&memory, bytes, cudaHostAllocPortable),
                       "allocating page-locked memory"));
  PinnedBytes made;
  made.data_ = static_cast<std::byte*>(memory);
  made.size_ = bytes;
  return made;
}

PinnedBytes::PinnedBytes(PinnedBytes&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

PinnedBytes& PinnedBytes::operator=(PinnedBytes&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

PinnedBytes::~PinnedBytes() {
  if (data_ != nullptr) (void)cudaFreeHost(data_);
}

}  // namespace runnel::cuda

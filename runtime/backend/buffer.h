// RAII memory of one backend, and views into it.
#pragma once
#include <cstddef>
#include <cstdint>

namespace runnel {

enum class MemoryKind : std::uint8_t { device, host_visible, staging };

/// Owned by whoever allocated it; not thread-safe for writes.
class Buffer {
 public:
  virtual ~Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  /// First byte as the host sees it, or null for memory that only the device sees.
  std::byte* host() const { return host_; }
  std::size_t size() const { return size_; }

 protected:
  Buffer(std::byte* host, std::size_t size) : host_(host), size_(size) {}
  std::byte* host_;
  std::size_t size_;
};

/// A range of a Buffer; borrows it.
struct BufferView {
  Buffer* buffer = nullptr;
  std::size_t offset = 0;  // bytes
  std::size_t size = 0;    // bytes
  std::byte* host() const { return buffer && buffer->host() ? buffer->host() + offset : nullptr; }
};

}  // namespace runnel

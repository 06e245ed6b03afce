// Buffers in plain host memory, for backends that compute on the CPU. A HostBuffer either owns
// zeroed 64-byte aligned memory or borrows bytes of a mapped file. Not thread-safe for writes.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>

#include "runtime/backend/buffer.h"
#include "runtime/base/checked.h"
#include "runtime/base/status.h"

namespace runnel {

class HostBuffer final : public Buffer {
 public:
  static constexpr std::size_t kAlignment = 64;  // bytes: a cache line, and any SIMD register
  /// More than this is refused without asking the system.
  static constexpr std::size_t kMaxBytes = std::size_t{1} << 46;

  /// Zero-filled memory, 64-byte aligned; `bytes` may be 0. Pages that are never touched cost
  /// nothing. ERRORS: out_of_memory.
  static Result<std::unique_ptr<Buffer>> allocate(std::size_t bytes) {
    void* raw = bytes > kMaxBytes ? nullptr : std::calloc(1, bytes + kAlignment);
    if (raw == nullptr)
      return Status(Code::out_of_memory, "cannot allocate " + std::to_string(bytes) + " bytes");
    const std::size_t address = reinterpret_cast<std::uintptr_t>(raw);
    const std::size_t padding = align_up(address, kAlignment) - address;
    auto* host = static_cast<std::byte*>(raw) + padding;
    return std::unique_ptr<Buffer>(
        new HostBuffer(host, bytes, raw));  // NOLINT: private constructor
  }

  /// A view of bytes that someone else keeps alive and unchanged; it must not be written through
  /// host(). Any alignment.
  static std::unique_ptr<Buffer> borrow(std::span<const std::byte> bytes) {
    auto* host = const_cast<std::byte*>(bytes.data());
    return std::unique_ptr<Buffer>(new HostBuffer(host, bytes.size(), nullptr));  // NOLINT: same
  }

  ~HostBuffer() override { std::free(raw_); }

 private:
  HostBuffer(std::byte* host, std::size_t bytes, void* raw) : Buffer(host, bytes), raw_(raw) {}
  void* raw_;  // what calloc returned; null when borrowed
};

}  // namespace runnel

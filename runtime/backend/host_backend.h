// What backends that compute in plain host memory have in common: buffers, copies, and weights that
// stay views of the mapped file. Thread rules as Backend's.
#pragma once
#include <algorithm>
#include <memory>
#include <string>

#include "runtime/backend/backend.h"
#include "runtime/backend/host_buffer.h"

namespace runnel {

class HostBackend : public Backend {
 public:
  bool uses_host_memory() const final { return true; }

  Result<std::unique_ptr<Buffer>> allocate(std::size_t bytes, MemoryKind) final {
    return HostBuffer::allocate(bytes);
  }
  Status upload(BufferView dst, std::span<const std::byte> src) final {
    if (dst.host() == nullptr || src.size() > dst.size)
      return {Code::invalid_argument, "upload does not fit its buffer"};
    std::copy(src.begin(), src.end(), dst.host());
    return {};
  }
  Status download(std::span<std::byte> dst, BufferView src) final {
    if (src.host() == nullptr || dst.size() > src.size)
      return {Code::invalid_argument, "download is larger than its buffer"};
    std::copy_n(src.host(), dst.size(), dst.begin());
    return {};
  }
  Result<std::unique_ptr<Buffer>> place_weight(const Value& weight,
                                               std::span<const std::byte> mapped) override {
    const auto cols = static_cast<std::size_t>(weight.shape.cols());
    const std::size_t bytes =
        quant::row_bytes(weight.dtype, cols) * static_cast<std::size_t>(weight.shape.rows());
    if (mapped.size() < bytes)
      return Status(Code::corrupt, weight.name + ": has " + std::to_string(mapped.size()) +
                                       " bytes, needs " + std::to_string(bytes));
    return HostBuffer::borrow(mapped);
  }
  std::size_t weight_bytes(const Value&) const override { return 0; }
};

}  // namespace runnel

#include "runtime/compile/weights.h"

namespace runnel {

Result<BufferView> WeightStore::get(std::size_t backend, Backend& owner, const Value& weight) {
  if (placed_.size() <= backend) placed_.resize(backend + 1);
  std::unique_ptr<Buffer>& buffer = placed_[backend][weight.name];
  if (buffer == nullptr) {
    const std::span<const std::byte> mapped = lookup_(weight.name);
    if (mapped.empty()) return Status(Code::not_found, "weight " + weight.name + " is missing");
    Result<std::unique_ptr<Buffer>> placed = owner.place_weight(weight, mapped);
    if (!placed.ok()) return placed.status().with_context("weight " + weight.name);
    buffer = *std::move(placed);
  }
  return BufferView{buffer.get(), 0, buffer->size()};
}

}  // namespace runnel

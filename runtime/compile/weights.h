// Weights as each backend wants them: placed once per (backend, weight), shared by all plans.
// Not thread-safe; the Engine guards it.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "runtime/backend/backend.h"

namespace runnel {

class WeightStore {
 public:
  /// Bytes of a weight in the model file; empty when there is no such tensor.
  using Lookup = std::function<std::span<const std::byte>(const std::string& name)>;
  explicit WeightStore(Lookup lookup) : lookup_(std::move(lookup)) {}

  /// The weight on backend number `backend`, placed on first use. ERRORS: not_found, out_of_memory.
  Result<BufferView> get(std::size_t backend, Backend& owner, const Value& weight);

 private:
  Lookup lookup_;
  std::vector<std::unordered_map<std::string, std::unique_ptr<Buffer>>> placed_;
};

}  // namespace runnel

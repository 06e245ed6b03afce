#include "runtime/cache/state_memory.h"

#include <numeric>

namespace runnel {

std::size_t StateBlock::bytes() const {
  std::size_t sum = 0;
  for (const auto& part : parts) sum += part == nullptr ? 0 : part->size();
  return sum;
}

std::size_t StateBytes::total() const {
  return std::accumulate(parts.begin(), parts.end(), std::size_t{0});
}

Result<std::unique_ptr<StateBlock>> StateMemory::allocate(const StateBytes& bytes) const {
  auto block = std::make_unique<StateBlock>();
  for (std::size_t home = 0; home < backends_.size(); ++home) {
    block->parts.emplace_back();
    if (bytes.parts[home] == 0) continue;
    RUNNEL_ASSIGN(block->parts.back(),
                  backends_[home]->allocate(bytes.parts[home], MemoryKind::device));
  }
  return block;
}

Status StateMemory::copy(const StateBlock& to, const StateBlock& from) const {
  for (std::size_t home = 0; home < backends_.size(); ++home) {
    Buffer* source = from.parts[home].get();
    if (source == nullptr) continue;
    const BufferView source_view{source, 0, source->size()};
    const BufferView target{to.parts[home].get(), 0, source->size()};
    if (source->host() != nullptr) {
      RUNNEL_TRY(write(home, target, {source->host(), source->size()}));
      continue;
    }
    std::vector<std::byte> staging(source->size());
    RUNNEL_TRY(read(home, source_view, staging));
    RUNNEL_TRY(write(home, target, staging));
  }
  return {};
}

}  // namespace runnel

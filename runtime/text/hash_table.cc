#include "runtime/text/hash_table.h"

#include <bit>
#include <chrono>
#include <cstring>

namespace runnel {
namespace {

std::uint64_t hash_bytes(std::uint64_t seed, std::string_view text) {
  std::uint64_t state = hash_mix(seed, text.size());
  while (text.size() >= 8) {
    std::uint64_t word;
    std::memcpy(&word, text.data(), 8);
    state = hash_mix(state, word);
    text.remove_prefix(8);
  }
  std::uint64_t tail = 0;
  if (!text.empty()) std::memcpy(&tail, text.data(), text.size());
  return hash_mix(hash_mix(state, tail), state);
}

}  // namespace

std::uint64_t hash_seed() {
  // The clock, and where the loader put this process.
  static const std::uint64_t kSeed = hash_mix(
      static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()),
      static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(&hash_bytes)));
  return kSeed;
}

std::uint32_t PairTable::insert(std::uint64_t key, std::uint32_t value) {
  if ((n_entries_ + 1) * 2 > slots_.size()) grow();
  Slot& slot = slots_[slot_of(key)];
  if (slot.value == kNone) {
    slot = {key, value};
    ++n_entries_;
  }
  return slot.value;
}

void PairTable::grow() {
  std::vector<Slot> old(slots_.empty() ? 16 : slots_.size() * 2);
  old.swap(slots_);
  for (const Slot& slot : old)
    if (slot.value != kNone) slots_[slot_of(slot.key)] = slot;
}

TextTable::TextTable(std::span<const std::string_view> texts,
                     std::span<const std::uint8_t> wanted) {
  std::size_t n = 0;
  for (const std::uint8_t flag : wanted) n += flag != 0;
  slots_.resize(std::bit_ceil(n * 2 + 1));
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (wanted[i] == 0 || texts[i].empty()) continue;
    Slot& slot = slots_[slot_of(texts[i])];
    if (slot.index < 0) slot = {texts[i], static_cast<std::int32_t>(i)};
  }
}

std::int32_t TextTable::find(std::string_view text) const {
  if (slots_.empty() || text.empty()) return -1;
  return slots_[slot_of(text)].index;
}

std::size_t TextTable::slot_of(std::string_view text) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t i = hash_bytes(seed_, text) & mask;
  while (slots_[i].index >= 0 && slots_[i].text != text) i = (i + 1) & mask;
  return i;
}

}  // namespace runnel

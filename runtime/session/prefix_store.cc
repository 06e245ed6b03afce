#include "runtime/session/prefix_store.h"

#include <algorithm>
#include <set>

namespace runnel {
namespace {

/// Tokens of `ids` that a session gets from an entry.
std::int64_t usable(const Cache& entry, std::span<const TokenId> ids, const Cache& like) {
  if (!entry.same_states(like)) return 0;
  const std::int64_t n = std::min(entry.match_prefix(ids), like.room_undropped());
  return entry.keeps(n);
}

}  // namespace

PrefixStore::PrefixStore(const PrefixOptions& options, const SessionExpectations& model, Log log)
    : budget_(options.bytes) {
  if (!options.folder.empty())
    folder_.emplace(options.folder, options.disk_bytes, model, std::move(log));
}

PrefixStore::~PrefixStore() {
  if (!folder_) return;
  std::ranges::sort(entries_, {}, &Entry::last_use);  // the newest file is the last one written
  for (const Entry& entry : entries_) folder_->write(*entry.cache);
}

std::size_t PrefixStore::held_bytes() const {
  std::set<const StateBlock*> seen;
  std::size_t bytes = 0;
  for (const Entry& entry : entries_)
    for (const StateBlock* block : entry.cache->blocks())
      if (seen.insert(block).second) bytes += block->bytes();
  return bytes;
}

void PrefixStore::evict() {
  while (!entries_.empty() && held_bytes() > budget_) {
    const auto oldest = std::ranges::min_element(entries_, {}, &Entry::last_use);
    if (folder_) folder_->write(*oldest->cache);
    entries_.erase(oldest);
  }
}

void PrefixStore::keep(std::unique_ptr<Cache> cache) {
  if (cache->size() < kLeastTokens || !cache->reaches(cache->size())) return;
  cache->trim();
  for (Entry& entry : entries_) {
    const std::int64_t common = entry.cache->match_prefix(cache->tokens());
    if (common < cache->size() || !entry.cache->same_states(*cache) ||
        !entry.cache->reaches(common))
      continue;
    entry.last_use = ++clock_;
    return;
  }
  std::erase_if(entries_, [&](const Entry& entry) {
    return cache->match_prefix(entry.cache->tokens()) == entry.cache->size() &&
           entry.cache->same_states(*cache) && cache->reaches(entry.cache->size());
  });
  entries_.push_back({std::move(cache), ++clock_});
  evict();
}

std::unique_ptr<Cache> PrefixStore::find(std::span<const TokenId> ids,
                                         const Cache& like,
                                         std::int64_t at_least) {
  at_least = std::max(at_least, kLeastTokens);
  Entry* best = nullptr;
  std::int64_t longest = at_least - 1;
  for (Entry& entry : entries_) {
    const std::int64_t n = usable(*entry.cache, ids, like);
    if (n <= longest) continue;
    longest = n;
    best = &entry;
  }
  if (folder_) {
    auto read = folder_->read(ids, like, longest + kLeastTokens);
    if (read != nullptr) {
      auto fork = read->fork(like);
      keep(std::move(read));
      if (!fork.ok()) return nullptr;
      (*fork)->truncate(std::min((*fork)->match_prefix(ids), like.room_undropped()));
      return *std::move(fork);
    }
  }
  if (best == nullptr) return nullptr;
  best->last_use = ++clock_;
  auto fork = best->cache->fork(like);
  if (!fork.ok()) return nullptr;  // the session computes it then
  (*fork)->truncate(longest);
  return *std::move(fork);
}

}  // namespace runnel

// Prefixes that sessions computed, kept for other sessions to start from: a system prompt shared by
// sessions is computed once. An entry is a fork of a cache, so that entries and sessions share the
// pages they have in common. Belongs to the Engine; every call happens under its lock.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/base/log.h"
#include "runtime/session/prefix_folder.h"

namespace runnel {

struct PrefixOptions {
  std::size_t bytes = 0;         // memory that entries may hold; 0 = no store
  std::string folder;            // where entries go that memory has no room for; "" = nowhere
  std::uint64_t disk_bytes = 0;  // that files there may take
};

class PrefixStore {
 public:
  /// A prefix shorter than this is not worth a look. Also what a match must gain.
  static constexpr std::int64_t kLeastTokens = 16;

  /// `log` is told what goes wrong with the folder.
  PrefixStore(const PrefixOptions& options, const SessionExpectations& model, Log log);
  /// Writes what is only in memory to the folder.
  ~PrefixStore();
  PrefixStore(const PrefixStore&) = delete;
  PrefixStore& operator=(const PrefixStore&) = delete;

  /// Keeps the prefix that `cache` holds; entries that it continues go. The least recently used
  /// ones go until the rest fits the budget.
  void keep(std::unique_ptr<Cache> cache);
  /// A cache of `capacity` tokens that holds the longest known prefix of `ids`, when that is at
  /// least `at_least` tokens; else null. `like`: a cache of the session, to compare states with.
  std::unique_ptr<Cache> find(std::span<const TokenId> ids,
                              const Cache& like,
                              std::int64_t at_least);
  /// Bytes that entries hold, shared pages counted once.
  std::size_t held_bytes() const;
  std::size_t n_entries() const { return entries_.size(); }

 private:
  struct Entry {
    std::unique_ptr<Cache> cache;
    std::uint64_t last_use = 0;
  };
  void evict();

  std::size_t budget_;
  std::optional<PrefixFolder> folder_;
  std::vector<Entry> entries_;
  std::uint64_t clock_ = 0;
};

}  // namespace runnel

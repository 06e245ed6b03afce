// Prefixes on disk: session files named by model, kind of cache and tokens, in a folder of the
// caller's. The files of other models there are left alone. Belongs to a PrefixStore.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/base/log.h"
#include "runtime/cache/session_file.h"

namespace runnel {

class PrefixFolder {
 public:
  /// Lists the folder, makes it when it is not there. What goes wrong is logged, here and later,
  /// and never an error: it is a cache.
  PrefixFolder(std::string path, std::uint64_t budget, SessionExpectations model, Log log);
  /// Writes the cache, or marks its file as used when it is there. The files longest unused go
  /// until the rest fits the budget.
  void write(const Cache& cache);
  /// A cache like `like` with the file that has the longest common prefix with `ids`, when that is
  /// at least `at_least` tokens and the file is undamaged; else null. A damaged file is removed.
  std::unique_ptr<Cache> read(std::span<const TokenId> ids,
                              const Cache& like,
                              std::int64_t at_least);

 private:
  struct File {
    std::string name;
    std::vector<TokenId> tokens;
  };
  std::string name_of(const Cache& cache) const;
  void list();
  void remove(const File& file);
  void evict();

  std::string path_;
  std::uint64_t budget_;
  SessionExpectations model_;
  Log log_;
  std::vector<File> files_;  // of this model, whatever kind of cache
};

}  // namespace runnel

// A file that appears under its name only when it is complete.
#pragma once
#include <cstddef>
#include <span>
#include <string>

#include "runtime/base/status.h"

namespace runnel {

/// Writes to a temporary name beside the target; commit() syncs and renames it over the target.
/// Destruction before commit() removes the temporary file.
class AtomicFile {
 public:
  AtomicFile() = default;
  ~AtomicFile();
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) noexcept;
  /// ERRORS: io.
  static Result<AtomicFile> create(const std::string& path);
  Status write(std::span<const std::byte> data);
  Status commit();

 private:
  void discard();
  int fd_ = -1;
  std::string path_, temporary_;
  std::string buffer_;  // small writes are gathered
  Status flush();
};

}  // namespace runnel

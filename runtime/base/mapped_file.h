// A file mapped read-only into memory.
#pragma once
#include <cstddef>
#include <span>
#include <string>

#include "runtime/base/status.h"

namespace runnel {

/// Owns the map; movable. Reading is thread-safe.
class MappedFile {
 public:
  MappedFile() = default;
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  /// ERRORS: not_found, io (not a regular file, unreadable). An empty file maps to an empty span.
  static Result<MappedFile> open(const std::string& path);
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace runnel

// A file mapped read-only into memory. The object owns the map; views of bytes() die with it, but
// survive moves of it.
#pragma once
#include <cstddef>
#include <span>
#include <string>

#include "runtime/base/status.h"

namespace runnel {

/// Owns the map; movable. Reading is thread-safe. Pages are read from disk when first touched. The
/// file must not be truncated while it is mapped: touching a page that is gone raises SIGBUS, which
/// is not handled here (replace a file by renaming over it, as AtomicFile does; that is safe).
class MappedFile {
 public:
  MappedFile() = default;
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  /// Maps the whole file. An empty file maps to an empty span. Never blocks on a FIFO.
  /// ERRORS: not_found; io (a directory, FIFO or device; unreadable; no address space left).
  static Result<MappedFile> open(const std::string& path);
  /// The file's bytes, page-aligned.
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  void unmap();
  std::span<const std::byte> bytes_;
};

}  // namespace runnel

// A file that appears under its name only when it is complete. One owner, one thread.
//   RUNNEL_ASSIGN(AtomicFile file, AtomicFile::create("out.gguf"));
//   RUNNEL_TRY(file.write(bytes));
//   RUNNEL_TRY(file.commit());
#pragma once
#include <cstddef>
#include <span>
#include <string>

#include "runtime/base/status.h"

namespace runnel {

/// Writes to a temporary name beside the target (".runnel-PID-RANDOM.tmp"); commit() syncs and
/// renames it over the target. A failed write and destruction before commit() remove the temporary
/// file, so nothing partial is ever left; the target keeps its old content until commit().
/// A symbolic link at the target is replaced, not followed.
class AtomicFile {
 public:
  AtomicFile() = default;
  ~AtomicFile();
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) noexcept;
  /// Opens the temporary file. Its mode is that of an existing target, else 0644 less the umask.
  /// ERRORS: not_found (no such directory), io (also: the target is a directory, FIFO or device).
  static Result<AtomicFile> create(const std::string& path);
  /// Appends. Any size; short and interrupted writes are completed. After an error the file is
  /// gone. ERRORS: io (disk full, ...), invalid_argument (not open: committed, failed or moved).
  Status write(std::span<const std::byte> data);
  /// Flushes to the disk, then renames over the target. ERRORS: as write().
  Status commit();

 private:
  Status write_all(std::span<const std::byte> data);
  Status fail(std::string_view action, int error_number);
  Status flush();
  void discard();
  int fd_ = -1;
  std::string path_, temporary_;
  std::string buffer_;  // small writes are gathered
};

}  // namespace runnel

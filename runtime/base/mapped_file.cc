#include "runtime/base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <utility>

#include "runtime/base/os_error.h"

namespace runnel {
namespace {

/// Closes the descriptor on every way out; the map stays valid without it.
struct Descriptor {
  explicit Descriptor(int descriptor) : fd(descriptor) {}
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int fd;
};

}  // namespace

MappedFile::~MappedFile() {
  unmap();
}

MappedFile::MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  if (this != &other) {
    unmap();
    bytes_ = std::exchange(other.bytes_, {});
  }
  return *this;
}

void MappedFile::unmap() {
  if (bytes_.empty()) return;
  ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  bytes_ = {};
}

Result<MappedFile> MappedFile::open(const std::string& path) {
  int fd = -1;
  do {  // O_NONBLOCK: opening a FIFO without a writer must not hang; no effect on regular files
    fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return os_error("open", path, errno);
  const Descriptor file(fd);

  struct stat facts {};
  if (::fstat(file.fd, &facts) != 0) return os_error("examine", path, errno);
  if (S_ISDIR(facts.st_mode)) return os_error("map", path, EISDIR);
  if (!S_ISREG(facts.st_mode)) return Status(Code::io, "cannot map " + path + ": no regular file");
  if (static_cast<std::uint64_t>(facts.st_size) > SIZE_MAX) return os_error("map", path, EFBIG);

  MappedFile mapped;
  const auto size = static_cast<std::size_t>(facts.st_size);
  if (size == 0) return mapped;  // mmap refuses a length of zero
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.fd, 0);
  if (address == MAP_FAILED) return os_error("map", path, errno);
  mapped.bytes_ = {static_cast<const std::byte*>(address), size};
  return mapped;
}

}  // namespace runnel

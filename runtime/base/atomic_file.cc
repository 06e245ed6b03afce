#include "runtime/base/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <utility>

#include "runtime/base/os_error.h"

namespace runnel {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{1} << 16;
constexpr std::size_t kMaxWriteBytes = std::size_t{1} << 30;  // macOS refuses 2 GiB and more
constexpr int kNameAttempts = 16;

/// "dir/" or "" for a bare name.
std::string directory_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash + 1);
}

std::uint64_t random_bits() {
  std::uint64_t bits = 0;
  if (::getentropy(&bits, sizeof bits) == 0) return bits;
  return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

/// Does not contain the target's name, which may already be as long as the file system allows.
std::string temporary_name(const std::string& path) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string name = directory_of(path) + ".runnel-" + std::to_string(::getpid()) + "-";
  std::uint64_t bits = random_bits();
  for (int digit = 0; digit < 16; ++digit, bits >>= 4) name += kHex[bits & 15];
  return name + ".tmp";
}

/// Makes the rename itself durable. Some file systems cannot sync a directory: not an error.
void sync_directory(const std::string& path) {
  const std::string directory = directory_of(path);
  const int fd = ::open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

}  // namespace

AtomicFile::~AtomicFile() {
  discard();
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, {})),
      buffer_(std::move(other.buffer_)) {}

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
  if (this != &other) {
    discard();
    fd_ = std::exchange(other.fd_, -1);
    path_ = std::move(other.path_);
    temporary_ = std::exchange(other.temporary_, {});
    buffer_ = std::move(other.buffer_);
  }
  return *this;
}

Result<AtomicFile> AtomicFile::create(const std::string& path) {
  struct stat target {};
  const bool exists = ::stat(path.c_str(), &target) == 0;
  if (!exists && errno != ENOENT) return os_error("write", path, errno);
  if (exists && S_ISDIR(target.st_mode)) return os_error("write", path, EISDIR);
  // Renaming over /dev/null would replace the device for the whole machine.
  if (exists && !S_ISREG(target.st_mode))
    return Status(Code::io, "cannot write " + path + ": no regular file");
  const mode_t mode = exists ? target.st_mode & 0777 : 0644;
  if (path.empty() || path.back() == '/') return os_error("write", path, EISDIR);

  AtomicFile file;
  file.path_ = path;
  for (int attempt = 0; attempt < kNameAttempts && file.fd_ < 0; ++attempt) {
    file.temporary_ = temporary_name(path);
    file.fd_ = ::open(file.temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (file.fd_ < 0 && errno != EEXIST && errno != EINTR) break;
  }
  if (file.fd_ < 0) return os_error("create a file beside", path, errno);
  if (exists) ::fchmod(file.fd_, mode);  // undoes the umask; a failure leaves a stricter mode
  file.buffer_.reserve(kBufferBytes);
  return file;
}

Status AtomicFile::write(std::span<const std::byte> data) {
  if (fd_ < 0) return {Code::invalid_argument, "AtomicFile is not open: " + path_};
  if (buffer_.size() + data.size() > kBufferBytes) RUNNEL_TRY(flush());
  if (data.size() >= kBufferBytes) return write_all(data);
  buffer_.append(reinterpret_cast<const char*>(data.data()), data.size());
  return {};
}

Status AtomicFile::flush() {
  RUNNEL_TRY(write_all(std::as_bytes(std::span(buffer_))));
  buffer_.clear();
  return {};
}

Status AtomicFile::write_all(std::span<const std::byte> data) {
  while (!data.empty()) {
    const ssize_t written = ::write(fd_, data.data(), std::min(data.size(), kMaxWriteBytes));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail("write", errno);
    if (written == 0) return fail("write", ENOSPC);  // no progress and no reason: never loop on it
    data = data.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

Status AtomicFile::commit() {
  if (fd_ < 0) return {Code::invalid_argument, "AtomicFile is not open: " + path_};
  RUNNEL_TRY(flush());
  int failed = 0;
  do {
    failed = ::fsync(fd_);
  } while (failed != 0 && errno == EINTR);
  if (failed != 0) return fail("write", errno);
  // Network file systems report late write errors here. The descriptor is gone in any case.
  if (::close(std::exchange(fd_, -1)) != 0 && errno != EINTR) return fail("write", errno);
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) return fail("rename to", errno);
  temporary_.clear();
  sync_directory(path_);
  return {};
}

Status AtomicFile::fail(std::string_view action, int error_number) {
  discard();
  return os_error(action, path_, error_number);
}

void AtomicFile::discard() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
  temporary_.clear();
  buffer_.clear();
}

}  // namespace runnel

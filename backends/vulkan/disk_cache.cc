#include "backends/vulkan/disk_cache.h"

#include <cstring>
#include <filesystem>
#include <fstream>

#include "runtime/base/atomic_file.h"
#include "runtime/base/env.h"
#include "shaders/shader_table.h"

namespace runnel::vulkan {
namespace {

constexpr std::uint64_t kOffsetBasis = 0xCBF29CE484222325ull;
constexpr std::size_t kMaxBytes = std::size_t{64} << 20;

/// SOURCE: FNV-1a, 64 bits.
std::uint64_t hash_of(std::span<const std::byte> bytes) {
  std::uint64_t hash = kOffsetBasis;
  for (const std::byte b : bytes)
    hash = (hash ^ std::to_integer<std::uint64_t>(b)) * 0x100000001B3ull;
  return hash;
}

std::string hex(std::uint64_t value) {
  std::string text(16, '0');
  for (int i = 15; i >= 0; --i, value >>= 4)
    text[static_cast<std::size_t>(i)] = "0123456789abcdef"[value & 15];
  return text;
}

}  // namespace

std::string cache_path(const Caps& caps, std::string_view kind) {
  std::string folder = env("RUNNEL_VULKAN_CACHE").value_or("");
  if (folder == "off") return {};
  if (folder.empty()) {
    if (const auto cache = env("XDG_CACHE_HOME"))
      folder = *cache + "/runnel";
    else if (const auto home = env("HOME"))
      folder = *home + "/.cache/runnel";
    else
      return {};
  }
  std::uint64_t device = hash_of(std::as_bytes(std::span(caps.uuid)));
  device ^= (std::uint64_t{caps.vendor} << 32 | caps.device) * 3 + caps.driver_version;
  return folder + "/vulkan-" + hex(device) + "-" + hex(shaders::shaders_hash()) + "." +
         std::string(kind);
}

/// A file is its content and the content's hash.
std::vector<std::byte> read_cache_file(const std::string& path) {
  std::error_code error;
  const auto size = path.empty() ? 0 : std::filesystem::file_size(path, error);
  std::uint64_t stored = 0;
  if (path.empty() || error || size < sizeof(stored) || size > kMaxBytes) return {};
  std::vector<std::byte> data(size);
  std::ifstream in(path, std::ios::binary);
  if (!in.read(reinterpret_cast<char*>(data.data()), static_cast<std::streamsize>(size))) return {};
  std::memcpy(&stored, data.data() + size - sizeof(stored), sizeof(stored));
  data.resize(size - sizeof(stored));
  if (hash_of(data) != stored) return {};
  return data;
}

Status write_cache_file(const std::string& path, std::span<const std::byte> data) {
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  RUNNEL_ASSIGN(AtomicFile file, AtomicFile::create(path));
  RUNNEL_TRY(file.write(data));
  const std::uint64_t hash = hash_of(data);
  RUNNEL_TRY(file.write(std::as_bytes(std::span(&hash, 1))));
  return file.commit();
}

}  // namespace runnel::vulkan

#include "runtime/session/prefix_folder.h"

#include <algorithm>
#include <filesystem>

#include "runtime/base/checksum.h"
#include "runtime/base/mapped_file.h"

namespace runnel {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kSuffix = ".runnel-prefix";

std::string hex(std::uint64_t value) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (int shift = 60; shift >= 0; shift -= 4) text += kDigits[value >> shift & 15];
  return text;
}

/// Tells kinds of caches apart: formats and shapes of the states.
std::uint64_t kind_of(const Cache& cache) {
  Checksum sum;
  for (std::size_t i = 0; i < cache.n_states(); ++i) {
    const StateInfo& info = cache.state_info(i);
    const std::int64_t facts[] = {static_cast<std::int64_t>(info.kind),
                                  static_cast<std::int64_t>(cache.unit_bytes(i)),
                                  info.shape.cols()};
    sum.add(std::as_bytes(std::span(facts)));
    sum.add(std::as_bytes(std::span(info.format)));
  }
  return sum.value();
}

std::uint64_t tokens_sum(std::span<const TokenId> tokens) {
  Checksum sum;
  sum.add(std::as_bytes(tokens));
  return sum.value();
}

}  // namespace

PrefixFolder::PrefixFolder(std::string path,
                           std::uint64_t budget,
                           SessionExpectations model,
                           Log log)
    : path_(std::move(path)), budget_(budget), model_(model), log_(std::move(log)) {
  std::error_code error;
  fs::create_directories(path_, error);
  if (error) log_(LogLevel::warn, "prefix folder ", path_, ": ", error.message());
  list();
}

void PrefixFolder::list() {
  std::error_code error;
  for (fs::directory_iterator at(path_, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (!name.starts_with(hex(model_.fingerprint)) || !name.ends_with(kSuffix)) continue;
    const auto file = MappedFile::open(at->path().string());
    auto tokens = file.ok() ? read_session_tokens(file->bytes(), model_) : file.status();
    if (tokens.ok())
      files_.push_back({name, *std::move(tokens)});
    else
      log_(LogLevel::warn, "prefix file ", name, ": ", tokens.status().message());
  }
}

std::string PrefixFolder::name_of(const Cache& cache) const {
  return hex(model_.fingerprint) + "-" + hex(kind_of(cache)) + "-" +
         hex(tokens_sum(cache.tokens())) + std::string(kSuffix);
}

void PrefixFolder::remove(const File& file) {
  std::error_code ignored;
  fs::remove(fs::path(path_) / file.name, ignored);
  std::erase_if(files_, [name = file.name](const File& f) { return f.name == name; });
}

void PrefixFolder::write(const Cache& cache) {
  const std::string name = name_of(cache);
  const fs::path path = fs::path(path_) / name;
  if (std::ranges::find(files_, name, &File::name) != files_.end()) {
    std::error_code ignored;
    fs::last_write_time(path, fs::file_time_type::clock::now(), ignored);
    return;
  }
  const Status saved = save_session(path.string(), cache, {model_.fingerprint, {}, {}});
  if (!saved.ok()) {
    log_(LogLevel::warn, "prefix folder: ", saved.message());
    return;
  }
  files_.push_back({name, {cache.tokens().begin(), cache.tokens().end()}});
  evict();
}

void PrefixFolder::evict() {
  struct Facts {
    const File* file;
    fs::file_time_type used;
    std::uint64_t bytes;
  };
  std::vector<Facts> all;
  std::uint64_t total = 0;
  for (const File& file : files_) {
    std::error_code error;
    const fs::path path = fs::path(path_) / file.name;
    const std::uint64_t bytes = fs::file_size(path, error);
    if (error) continue;
    all.push_back({&file, fs::last_write_time(path, error), bytes});
    total += bytes;
  }
  std::ranges::stable_sort(all, {}, &Facts::used);
  std::vector<File> gone;
  for (const Facts& facts : all) {
    if (total <= budget_) break;
    total -= facts.bytes;
    gone.push_back(*facts.file);
  }
  for (const File& file : gone) remove(file);
}

std::unique_ptr<Cache> PrefixFolder::read(std::span<const TokenId> ids,
                                          const Cache& like,
                                          std::int64_t at_least) {
  const std::string kind = hex(model_.fingerprint) + "-" + hex(kind_of(like));
  const File* best = nullptr;
  std::int64_t longest = at_least - 1;
  for (const File& file : files_) {
    const std::int64_t n = std::ranges::mismatch(ids, file.tokens).in1 - ids.begin();
    const bool fits = static_cast<std::int64_t>(file.tokens.size()) <= like.capacity();
    if (n <= longest || !fits || !file.name.starts_with(kind)) continue;
    longest = n;
    best = &file;
  }
  if (best == nullptr) return nullptr;
  const fs::path path = fs::path(path_) / best->name;
  const auto file = MappedFile::open(path.string());
  auto cache = like.empty_copy();
  Status status = file.ok() ? cache.status() : file.status();
  if (status.ok()) status = load_session(file->bytes(), model_, **cache).status();
  if (!status.ok()) {
    log_(LogLevel::warn, "prefix file ", best->name, ": ", status.message());
    remove(*best);
    return nullptr;
  }
  std::error_code ignored;
  fs::last_write_time(path, fs::file_time_type::clock::now(), ignored);
  return (*cache)->reaches(longest) ? *std::move(cache) : nullptr;
}

}  // namespace runnel

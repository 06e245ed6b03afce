#include "runtime/io/gguf.h"

#include <type_traits>
#include <utility>

#include "runtime/base/quote.h"
#include "runtime/io/gguf_limits.h"
#include "runtime/io/gguf_shard.h"
#include "runtime/io/gguf_split.h"
#include "runtime/io/gguf_types.h"
#include "runtime/io/gguf_values.h"
#include "runtime/io/name_index.h"

namespace runnel {

namespace {

struct OpenShard {
  MappedFile map;
  GgufShard shard;
};

/// What must hold for shard `i` of a model whose file name says `name`.
Status check_shard(const GgufShard& shard, const ShardName& name, int i) {
  RUNNEL_ASSIGN(const SplitKeys keys, read_split_keys(shard));
  if (keys.count != name.count)
    return {Code::corrupt, "key 'split.count': is " + std::to_string(keys.count) +
                               ", the file name says " + std::to_string(name.count)};
  if (keys.index != i)
    return {Code::corrupt, "key 'split.no': is " + std::to_string(keys.index) +
                               ", the file name says " + std::to_string(i)};
  return {};
}

Status check_not_split(const GgufShard& shard) {
  RUNNEL_ASSIGN(const SplitKeys keys, read_split_keys(shard));
  if (keys.count == 1) return {};
  return {Code::unsupported,
          "is one of " + std::to_string(keys.count) +
              " shards (key 'split.count') but is not named NAME-00001-of-0000N.gguf"};
}

/// `all` holds the first shard's keys and the tensors of all shards.
Status check_tensor_count(const GgufShard& all) {
  RUNNEL_ASSIGN(const SplitKeys keys, read_split_keys(all));
  if (keys.n_tensors < 0 || std::cmp_equal(keys.n_tensors, all.tensors.size())) return {};
  return {Code::corrupt, "key 'split.tensors.count': is " + std::to_string(keys.n_tensors) +
                             ", the shards have " + std::to_string(all.tensors.size())};
}

Result<OpenShard> open_shard(const std::string& path) {
  OpenShard open;
  RUNNEL_ASSIGN(open.map, MappedFile::open(path));
  Result<GgufShard> shard = parse_gguf_shard(open.map.bytes());
  if (!shard.ok()) return shard.status().with_context(path);
  open.shard = *std::move(shard);
  return open;
}

}  // namespace

/// Either maps or `owned` holds the bytes that everything else points into.
struct GgufFile::Impl {
  std::vector<MappedFile> maps;
  std::vector<std::byte> owned;
  GgufShard first;  // keys, and after join() the tensors of all shards
  NameIndex tensor_index;
  std::uint64_t file_bytes = 0;

  Status join(OpenShard&& next, int shard_index);
  Status index_tensors();
};

std::string_view gguf_type_name(GgufType type) {
  return info(type).name;
}

/// Finds tensors that occur in two shards; within one shard the parser has excluded it.
Status GgufFile::Impl::index_tensors() {
  tensor_index.reserve(first.tensors.size());
  for (std::size_t i = 0; i < first.tensors.size(); ++i) {
    const GgufTensor& tensor = first.tensors[i];
    if (tensor_index.insert(tensor.name, i)) continue;
    const int other = first.tensors[*tensor_index.find(tensor.name)].shard;
    return {Code::corrupt, "tensor " + quote(tensor.name) + ": is in shard " +
                               std::to_string(other + 1) + " and in shard " +
                               std::to_string(tensor.shard + 1)};
  }
  return {};
}

Result<GgufFile> GgufFile::from(Impl&& parts) {
  RUNNEL_TRY(parts.index_tensors());
  GgufFile file;
  file.impl_ = std::make_shared<const Impl>(std::move(parts));
  return file;
}

Status GgufFile::Impl::join(OpenShard&& next, int shard_index) {
  file_bytes += next.map.bytes().size();
  maps.push_back(std::move(next.map));
  if (shard_index == 0) {
    first = std::move(next.shard);
    return {};
  }
  for (GgufTensor& tensor : next.shard.tensors) tensor.shard = shard_index;
  first.tensors.insert(first.tensors.end(), next.shard.tensors.begin(), next.shard.tensors.end());
  if (first.tensors.size() > gguf_limits::kMaxTensors)
    return {Code::corrupt, "the shards have too many tensors together"};
  return {};
}

Result<GgufFile> GgufFile::open(const std::string& path) {
  const std::optional<ShardName> name = parse_shard_name(path);
  const int n_shards = name ? name->count : 1;
  Impl parts;
  for (int i = 0; i < n_shards; ++i) {
    const std::string shard_path = name ? name->path(i) : path;
    Result<OpenShard> next = open_shard(shard_path);
    if (!next.ok() && next.status().code() == Code::not_found && n_shards > 1)
      return next.status().with_context("shard " + std::to_string(i + 1) + " of " +
                                        std::to_string(n_shards) + " is missing");
    if (!next.ok()) return next.status();
    Status fits = n_shards > 1 ? check_shard(next->shard, *name, i) : check_not_split(next->shard);
    RUNNEL_TRY(std::move(fits).with_context(shard_path));
    RUNNEL_TRY(parts.join(*std::move(next), i).with_context(shard_path));
  }
  if (n_shards > 1) RUNNEL_TRY(check_tensor_count(parts.first).with_context(path));
  Result<GgufFile> file = from(std::move(parts));
  if (!file.ok()) return file.status().with_context(path);
  return file;
}

Result<GgufFile> GgufFile::parse(std::span<const std::byte> image) {
  Impl parts;
  RUNNEL_ASSIGN(parts.first, parse_gguf_shard(image));
  RUNNEL_TRY(check_not_split(parts.first));
  parts.file_bytes = image.size();
  return from(std::move(parts));
}

Result<GgufFile> GgufFile::own(std::vector<std::byte> image) {
  Impl parts;
  parts.owned = std::move(image);
  RUNNEL_ASSIGN(parts.first, parse_gguf_shard(parts.owned));
  RUNNEL_TRY(check_not_split(parts.first));
  parts.file_bytes = parts.owned.size();
  return from(std::move(parts));  // moving a vector keeps its bytes in place
}

const GgufFile::Impl& GgufFile::impl() const {
  check(impl_ != nullptr, "GgufFile is used before open() or after a move");
  return *impl_;
}

std::uint32_t GgufFile::version() const {
  return impl().first.version;
}

std::uint64_t GgufFile::file_bytes() const {
  return impl().file_bytes;
}

const std::vector<GgufKey>& GgufFile::keys() const {
  return impl().first.keys;
}

const std::vector<GgufTensor>& GgufFile::tensors() const {
  return impl().first.tensors;
}

const GgufKey* GgufFile::find(std::string_view key) const {
  const std::optional<std::size_t> found = impl().first.key_index.find(key);
  return found ? &impl().first.keys[*found] : nullptr;
}

const GgufTensor* GgufFile::tensor(std::string_view name) const {
  const std::optional<std::size_t> found = impl().tensor_index.find(name);
  return found ? &impl().first.tensors[*found] : nullptr;
}

namespace {

/// Result<optional<T>> of a reader that is only asked about a key that is there.
template <class Reader>
auto read_if_present(const GgufKey* key, Reader reader)
    -> Result<std::optional<std::decay_t<decltype(*reader(*key))>>> {
  using Value = std::decay_t<decltype(*reader(*key))>;
  if (key == nullptr) return std::optional<Value>();
  auto value = reader(*key);
  if (!value.ok()) return value.status();
  return std::optional<Value>(*std::move(value));
}

}  // namespace

Result<std::optional<std::int64_t>> GgufFile::get_int(std::string_view key) const {
  return read_if_present(find(key), gguf_int);
}

Result<std::optional<double>> GgufFile::get_float(std::string_view key) const {
  return read_if_present(find(key), gguf_float);
}

Result<std::optional<bool>> GgufFile::get_bool(std::string_view key) const {
  return read_if_present(find(key), gguf_bool);
}

Result<std::optional<std::string_view>> GgufFile::get_string(std::string_view key) const {
  return read_if_present(find(key), gguf_string);
}

Result<std::optional<std::vector<std::int64_t>>> GgufFile::get_ints(std::string_view key) const {
  return read_if_present(find(key), gguf_ints);
}

Result<std::optional<std::vector<double>>> GgufFile::get_floats(std::string_view key) const {
  return read_if_present(find(key), gguf_floats);
}

Result<std::optional<std::vector<std::string_view>>> GgufFile::get_strings(
    std::string_view key) const {
  return read_if_present(find(key), gguf_strings);
}

}  // namespace runnel

#include "runtime/io/gguf_shard.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <string>
#include <utility>

#include "runtime/base/byte_cursor.h"
#include "runtime/base/checked.h"
#include "runtime/base/quote.h"
#include "runtime/io/gguf_limits.h"
#include "runtime/io/gguf_types.h"

namespace runnel {
namespace {

using namespace gguf_limits;

constexpr std::uint64_t kMinKeyBytes = 8 + 4 + 1;             // name length, type, shortest value
constexpr std::uint64_t kMinTensorInfoBytes = 8 + 4 + 4 + 8;  // name length, rank, type, offset
constexpr std::uint64_t kMinStringBytes = 8, kMinArrayBytes = 4 + 8;  // empty ones
constexpr std::size_t kImageAlignment = 8;  // the least that keeps every tensor's floats aligned

Status corrupt(std::string message) {
  return {Code::corrupt, std::move(message)};
}

/// Fewest bytes that one array element of `type` takes in the file.
std::uint64_t min_element_bytes(GgufType type) {
  if (type == GgufType::string) return kMinStringBytes;
  if (type == GgufType::array) return kMinArrayBytes;
  return info(type).bytes;
}

/// Where a tensor's data lies, relative to the start of the data section.
struct Extent {
  std::uint64_t offset = 0, bytes = 0;
  std::size_t tensor = 0;
};

class Parser {
 public:
  explicit Parser(std::span<const std::byte> image) : image_(image), in_(image) {}
  Result<GgufShard> run();

 private:
  Status read_header();
  Status read_version();
  Status read_key(std::uint64_t index);
  Status read_value(GgufKey* key);
  Status read_array_header(GgufType* element_type, std::uint64_t* count);
  Status skip_elements(GgufType element_type, std::uint64_t count, int depth);
  Status read_alignment();
  Status read_tensor(std::uint64_t index);
  Status read_shape(GgufTensor* tensor);
  Status read_extent(GgufTensor* tensor);
  Status place_tensors();
  Status check_overlaps();
  std::span<const std::byte> since(std::size_t begin) const {
    return image_.subspan(begin, in_.offset() - begin);
  }

  std::span<const std::byte> image_;
  ByteCursor in_;
  GgufShard shard_;
  NameIndex tensor_index_;
  std::vector<Extent> extents_;  // one per tensor
  std::uint64_t n_keys_ = 0, n_tensors_ = 0;
  std::uint64_t alignment_ = kDefaultAlignment;
};

Result<GgufShard> Parser::run() {
  if (reinterpret_cast<std::uintptr_t>(image_.data()) % kImageAlignment != 0)
    return Status(Code::invalid_argument, "GGUF image in memory is not 8-byte aligned");
  RUNNEL_TRY(read_header());
  shard_.keys.reserve(static_cast<std::size_t>(n_keys_));
  for (std::uint64_t i = 0; i < n_keys_; ++i) RUNNEL_TRY(read_key(i));
  RUNNEL_TRY(read_alignment());
  if (n_tensors_ > in_.remaining() / kMinTensorInfoBytes)
    return corrupt("header: " + std::to_string(n_tensors_) + " tensors do not fit in the file");
  shard_.tensors.reserve(static_cast<std::size_t>(n_tensors_));
  extents_.reserve(static_cast<std::size_t>(n_tensors_));
  for (std::uint64_t i = 0; i < n_tensors_; ++i) RUNNEL_TRY(read_tensor(i));
  RUNNEL_TRY(place_tensors());
  RUNNEL_TRY(check_overlaps());
  return std::move(shard_);
}

Status Parser::read_version() {
  const std::string_view magic = in_.take_text(4);
  const auto version = in_.read<std::uint32_t>();
  if (!in_.ok()) return corrupt("not a GGUF file: shorter than a header");
  if (magic == "FUGG") return {Code::unsupported, "big-endian GGUF files are not supported"};
  if (magic != "GGUF") return corrupt("not a GGUF file: it begins with " + quote(magic));
  // A big-endian file keeps the magic's byte order, but its version reads as 3 << 24.
  if (version != 0 && (version & 0xFFFF) == 0)
    return {Code::unsupported, "big-endian GGUF files are not supported"};
  if (version < kMinVersion || version > kMaxVersion)
    return {Code::unsupported, "GGUF version " + std::to_string(version) + " is not supported"};
  shard_.version = version;
  return {};
}

Status Parser::read_header() {
  RUNNEL_TRY(read_version());
  n_tensors_ = in_.read<std::uint64_t>();
  n_keys_ = in_.read<std::uint64_t>();
  if (!in_.ok()) return corrupt("file ends inside the header");
  if (n_tensors_ > kMaxTensors)
    return corrupt("header: " + std::to_string(n_tensors_) + " tensors, at most " +
                   std::to_string(kMaxTensors));
  if (n_keys_ > kMaxKeys)
    return corrupt("header: " + std::to_string(n_keys_) + " keys, at most " +
                   std::to_string(kMaxKeys));
  if (n_keys_ > in_.remaining() / kMinKeyBytes)
    return corrupt("header: " + std::to_string(n_keys_) + " keys do not fit in the file");
  return {};
}

Status Parser::read_key(std::uint64_t index) {
  const std::string where = "key " + std::to_string(index);
  const auto name_bytes = in_.read<std::uint64_t>();
  if (in_.ok() && (name_bytes == 0 || name_bytes > kMaxKeyBytes))
    return corrupt(where + ": name of " + std::to_string(name_bytes) + " bytes");
  GgufKey key;
  key.name = in_.take_text(name_bytes);
  if (!in_.ok()) return corrupt(where + ": file ends inside its name");
  RUNNEL_TRY(read_value(&key).with_context("key " + quote(key.name)));
  if (!shard_.key_index.insert(key.name, shard_.keys.size()))
    return corrupt("key " + quote(key.name) + ": appears twice");
  shard_.keys.push_back(key);
  return {};
}

Status Parser::read_value(GgufKey* key) {
  const auto type = in_.read<std::uint32_t>();
  if (!in_.ok()) return corrupt("file ends before its value");
  if (!is_gguf_type(type)) return corrupt("unknown value type " + std::to_string(type));
  key->type = key->element_type = static_cast<GgufType>(type);
  if (key->type == GgufType::array) {
    RUNNEL_TRY(read_array_header(&key->element_type, &key->count));
    const std::size_t begin = in_.offset();
    RUNNEL_TRY(skip_elements(key->element_type, key->count, 1));
    key->payload = since(begin);
    return {};
  }
  const std::uint64_t bytes =
      key->type == GgufType::string ? in_.read<std::uint64_t>() : info(key->type).bytes;
  key->payload = in_.take(bytes);
  if (!in_.ok()) return corrupt("file ends inside its value");
  return {};
}

Status Parser::read_array_header(GgufType* element_type, std::uint64_t* count) {
  const auto type = in_.read<std::uint32_t>();
  *count = in_.read<std::uint64_t>();
  if (!in_.ok()) return corrupt("file ends inside its array");
  if (!is_gguf_type(type)) return corrupt("unknown array element type " + std::to_string(type));
  *element_type = static_cast<GgufType>(type);
  if (*count > kMaxArrayElems)
    return corrupt("array of " + std::to_string(*count) + " elements, at most " +
                   std::to_string(kMaxArrayElems));
  if (*count > in_.remaining() / min_element_bytes(*element_type))
    return corrupt("array of " + std::to_string(*count) + " elements does not fit in the file");
  return {};
}

/// Recursion is bounded by kMaxArrayDepth, work by the bytes of the file.
Status Parser::skip_elements(GgufType element_type, std::uint64_t count, int depth) {
  if (depth > kMaxArrayDepth)
    return corrupt("arrays nested deeper than " + std::to_string(kMaxArrayDepth));
  if (element_type != GgufType::string && element_type != GgufType::array) {
    in_.take(count * info(element_type).bytes);  // count is bounded: no overflow
    return in_.ok() ? Status() : corrupt("file ends inside its array");
  }
  for (std::uint64_t i = 0; i < count; ++i) {
    if (element_type == GgufType::string) {
      in_.take(in_.read<std::uint64_t>());
      if (!in_.ok()) return corrupt("file ends inside string " + std::to_string(i));
      continue;
    }
    GgufType inner_type{};
    std::uint64_t inner_count = 0;
    RUNNEL_TRY(read_array_header(&inner_type, &inner_count));
    RUNNEL_TRY(skip_elements(inner_type, inner_count, depth + 1));
  }
  return {};
}

Status Parser::read_alignment() {
  const auto found = shard_.key_index.find("general.alignment");
  if (!found) return {};
  const GgufKey& key = shard_.keys[*found];
  if (key.type != GgufType::u32) return corrupt("key 'general.alignment': must be u32");
  alignment_ = ByteCursor(key.payload).read<std::uint32_t>();
  if (!std::has_single_bit(alignment_) || alignment_ < kMinAlignment || alignment_ > kMaxAlignment)
    return corrupt("key 'general.alignment': " + std::to_string(alignment_) +
                   " is no power of two from " + std::to_string(kMinAlignment) + " to " +
                   std::to_string(kMaxAlignment));
  return {};
}

Status Parser::read_tensor(std::uint64_t index) {
  const std::string where = "tensor " + std::to_string(index);
  const auto name_bytes = in_.read<std::uint64_t>();
  if (in_.ok() && (name_bytes == 0 || name_bytes > kMaxTensorNameBytes))
    return corrupt(where + ": name of " + std::to_string(name_bytes) + " bytes, at most " +
                   std::to_string(kMaxTensorNameBytes));
  GgufTensor tensor;
  tensor.name = in_.take_text(name_bytes);
  if (!in_.ok()) return corrupt(where + ": file ends inside its name");
  const std::string name = "tensor " + quote(tensor.name);
  RUNNEL_TRY(read_shape(&tensor).with_context(name));
  RUNNEL_TRY(read_extent(&tensor).with_context(name));
  if (!tensor_index_.insert(tensor.name, shard_.tensors.size()))
    return corrupt(name + ": appears twice");
  shard_.tensors.push_back(tensor);
  return {};
}

Status Parser::read_shape(GgufTensor* tensor) {
  const auto rank = in_.read<std::uint32_t>();
  if (!in_.ok()) return corrupt("file ends inside its shape");
  if (rank > Shape::kMaxRank)
    return corrupt(std::to_string(rank) + " dimensions, at most " +
                   std::to_string(Shape::kMaxRank));
  tensor->shape.rank = static_cast<int>(rank);
  constexpr std::uint64_t kMax = std::numeric_limits<std::int64_t>::max();
  std::uint64_t elems = 1;
  for (std::uint32_t i = 0; i < rank; ++i) {  // the file's first dimension is the contiguous one
    const auto extent = in_.read<std::uint64_t>();
    if (!in_.ok()) return corrupt("file ends inside its shape");
    if (extent == 0) return corrupt("dimension " + std::to_string(i) + " is zero");
    if (!checked_mul(elems, extent, &elems) || elems > kMax)
      return corrupt("product of its dimensions overflows");
    tensor->shape.dim[rank - 1 - i] = static_cast<std::int64_t>(extent);
  }
  return {};
}

Status Parser::read_extent(GgufTensor* tensor) {
  const auto type = in_.read<std::uint32_t>();
  Extent extent{.offset = in_.read<std::uint64_t>(), .tensor = shard_.tensors.size()};
  if (!in_.ok()) return corrupt("file ends inside its type and offset");
  const std::optional<quant::DType> dtype = quant::find_gguf_type(type);
  if (!dtype)
    return {Code::unsupported, "tensor type " + std::to_string(type) + " (" +
                                   std::string(foreign_tensor_type_name(type)) +
                                   ") is not supported"};
  tensor->dtype = *dtype;
  const quant::DTypeInfo& format = quant::info(*dtype);
  const auto cols = static_cast<std::uint64_t>(tensor->shape.cols());
  if (cols % format.block_elems != 0)
    return corrupt("row of " + std::to_string(cols) + " is no multiple of " +
                   std::string(format.name) + "'s block of " + std::to_string(format.block_elems));
  std::uint64_t row_bytes = 0;
  if (!checked_mul(cols / format.block_elems, format.block_bytes, &row_bytes) ||
      !checked_mul(row_bytes, static_cast<std::uint64_t>(tensor->shape.rows()), &extent.bytes))
    return corrupt("its size in bytes overflows");
  if (extent.offset % alignment_ != 0)
    return corrupt("offset " + std::to_string(extent.offset) + " is no multiple of " +
                   std::to_string(alignment_));
  extents_.push_back(extent);
  return {};
}

Status Parser::place_tensors() {
  std::uint64_t data_begin = 0;
  if (!checked_add(in_.offset(), alignment_ - 1, &data_begin))
    return corrupt("its data section lies beyond the address space");
  data_begin -= data_begin % alignment_;
  for (const Extent& extent : extents_) {
    GgufTensor& tensor = shard_.tensors[extent.tensor];
    std::uint64_t begin = 0, end = 0;
    if (!checked_add(data_begin, extent.offset, &begin) ||
        !checked_add(begin, extent.bytes, &end) || end > image_.size())
      return corrupt("tensor " + quote(tensor.name) + ": its data (" +
                     std::to_string(extent.bytes) + " bytes at offset " +
                     std::to_string(extent.offset) + ") reaches beyond the end of the file");
    tensor.data =
        image_.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(extent.bytes));
  }
  return {};
}

/// Two names for one piece of data would be changed twice by whatever rewrites tensors in place.
Status Parser::check_overlaps() {
  std::sort(extents_.begin(), extents_.end(),
            [](const Extent& a, const Extent& b) { return a.offset < b.offset; });
  for (std::size_t i = 1; i < extents_.size(); ++i) {
    const Extent &before = extents_[i - 1], &after = extents_[i];
    if (after.offset - before.offset < before.bytes)
      return corrupt("tensors " + quote(shard_.tensors[before.tensor].name) + " and " +
                     quote(shard_.tensors[after.tensor].name) + " overlap");
  }
  return {};
}

}  // namespace

Result<GgufShard> parse_gguf_shard(std::span<const std::byte> image) {
  return Parser(image).run();
}

}  // namespace runnel

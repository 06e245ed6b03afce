#include "converters/safetensors.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>

#include "converters/json.h"
#include "runtime/base/byte_cursor.h"
#include "runtime/base/checked.h"
#include "runtime/base/quote.h"

namespace runnel::converters {
namespace {

constexpr std::string_view kSingle = "model.safetensors";
constexpr std::string_view kIndex = "model.safetensors.index.json";
constexpr std::size_t kMaxFiles = 4096;
constexpr std::size_t kMaxRank = 8;

/// One dtype of the format: how many bytes a value takes and what it is for us.
struct SourceType {
  std::string_view name;
  std::uint64_t bytes;
  std::optional<quant::DType> dtype;
};
constexpr auto kSourceTypes = std::to_array<SourceType>({
    {"BF16", 2, quant::DType::bf16},
    {"F16", 2, quant::DType::f16},
    {"F32", 4, quant::DType::f32},
    {"F64", 8, {}},
    {"I64", 8, {}},
    {"U64", 8, {}},
    {"I32", 4, {}},
    {"U32", 4, {}},
    {"I16", 2, {}},
    {"U16", 2, {}},
    {"I8", 1, {}},
    {"U8", 1, {}},
    {"BOOL", 1, {}},
    {"F8_E4M3", 1, {}},
    {"F8_E5M2", 1, {}},
});

const SourceType* find_source_type(std::string_view name) {
  for (const SourceType& type : kSourceTypes)
    if (type.name == name) return &type;
  return nullptr;
}

// One entry of the header. `data_bytes`: size of the data part of the file.
Result<SourceTensor> parse_entry(const std::string& name,
                                 const Json& json,
                                 std::uint64_t data_bytes) {
  RUNNEL_ASSIGN(const Fields entry, Fields::of(json, "tensor " + runnel::quote(name)));
  SourceTensor tensor;
  tensor.name = name;
  RUNNEL_ASSIGN(const auto dtype, entry.get_string("dtype"));
  RUNNEL_ASSIGN(auto shape, entry.get_ints("shape"));
  RUNNEL_ASSIGN(const auto offsets, entry.get_ints("data_offsets"));
  if (!dtype) return entry.bad("dtype", "is missing");
  if (!shape) return entry.bad("shape", "is missing");
  if (!offsets || offsets->size() != 2) return entry.bad("data_offsets", "is not a pair");
  if (shape->size() > kMaxRank) return entry.bad("shape", "has too many dimensions");
  std::uint64_t elems = 1;
  for (const std::int64_t n : *shape)
    if (n < 0 || !checked_mul(elems, static_cast<std::uint64_t>(n), &elems) ||
        elems > static_cast<std::uint64_t>(INT64_MAX))
      return entry.bad("shape", "is out of range");
  if ((*offsets)[0] < 0 || (*offsets)[1] < (*offsets)[0] ||
      static_cast<std::uint64_t>((*offsets)[1]) > data_bytes)
    return entry.bad("data_offsets", "lies outside the file");
  tensor.dtype_name = *dtype;
  tensor.shape = *std::move(shape);
  tensor.offset = static_cast<std::uint64_t>((*offsets)[0]);
  tensor.bytes = static_cast<std::uint64_t>((*offsets)[1] - (*offsets)[0]);
  const SourceType* type = find_source_type(*dtype);
  if (type == nullptr) return tensor;  // an error only for who uses it
  tensor.dtype = type->dtype;
  std::uint64_t expected = 0;
  if (!checked_mul(elems, type->bytes, &expected) || expected != tensor.bytes)
    return entry.bad("data_offsets", "does not match shape and dtype");
  return tensor;
}

// The format allows neither overlaps nor holes, so sorted tensors follow each other exactly.
Status check_contiguous(const std::vector<SourceTensor>& sorted, std::uint64_t data_bytes) {
  std::uint64_t end = 0;
  for (const SourceTensor& tensor : sorted) {
    if (tensor.offset != end)
      return Status(Code::corrupt,
                    "tensor " + runnel::quote(tensor.name) + ": data " +
                        (tensor.offset < end ? "overlaps another tensor" : "follows a hole"));
    end += tensor.bytes;
  }
  if (end != data_bytes) return Status(Code::corrupt, "data does not fill the file");
  return {};
}

}  // namespace

Result<std::vector<SourceTensor>> parse_safetensors(std::span<const std::byte> file,
                                                    std::string_view what) {
  ByteCursor cursor(file);
  const auto header_bytes = cursor.read<std::uint64_t>();
  const std::string_view header = cursor.take_text(header_bytes);
  const std::string where(what);
  if (!cursor.ok()) return Status(Code::corrupt, where + ": header ends behind the file's end");
  RUNNEL_ASSIGN(const Json json,
                parse_json(header, where + ": header", DuplicateKeys::reject_at_top));
  if (!json.is_object()) return Status(Code::corrupt, where + ": header is not an object");
  const std::uint64_t data_bytes = cursor.remaining();
  std::vector<SourceTensor> tensors;
  for (auto at = json.begin(); at != json.end(); ++at) {
    if (at.key() == "__metadata__") continue;
    Result<SourceTensor> tensor = parse_entry(at.key(), at.value(), data_bytes);
    if (!tensor.ok()) return tensor.status().with_context(what);
    tensors.push_back(*std::move(tensor));
  }
  std::ranges::sort(tensors, {},
                    [](const SourceTensor& t) { return std::pair(t.offset, t.bytes); });
  RUNNEL_TRY(check_contiguous(tensors, data_bytes).with_context(what));
  for (SourceTensor& tensor : tensors) tensor.offset += cursor.offset();
  return tensors;
}

namespace {

// No way out of the directory: no separators, drive letters or control bytes.
constexpr std::string_view kForbidden("/\\:\0\n\r\t\x1b", 8);

Status check_file_name(const std::string& name) {
  const bool plain = !name.empty() && name.size() <= 255 &&
                     name.find_first_of(kForbidden) == std::string::npos &&
                     name.find("..") == std::string::npos;
  if (plain && name.ends_with(".safetensors")) return {};
  return Status(Code::corrupt, "file name " + runnel::quote(name) + " is not allowed");
}

// tensor name -> file name, as the index says.
Result<std::map<std::string, std::string>> read_weight_map(const Json& json) {
  RUNNEL_ASSIGN(const Fields index, Fields::of(json, kIndex));
  const Json* weights = index.find("weight_map");
  if (weights == nullptr || !weights->is_object())
    return index.bad("weight_map", "is not an object");
  std::map<std::string, std::string> files;
  for (auto at = weights->begin(); at != weights->end(); ++at) {
    if (!at.value().is_string()) return index.bad("weight_map", "holds a name that is no string");
    const auto& file = at.value().get_ref<const std::string&>();
    RUNNEL_TRY(check_file_name(file).with_context(kIndex));
    files.emplace(at.key(), file);
  }
  return files;
}

}  // namespace

Status Checkpoint::add_file(const std::string& dir, const std::string& name) {
  RUNNEL_ASSIGN(MappedFile map, MappedFile::open(dir + "/" + name));
  RUNNEL_ASSIGN(std::vector<SourceTensor> tensors, parse_safetensors(map.bytes(), name));
  for (SourceTensor& tensor : tensors) {
    tensor.file = maps_.size();
    tensors_.push_back(std::move(tensor));
  }
  maps_.push_back(std::move(map));
  paths_.push_back(dir + "/" + name);
  return {};
}

Status Checkpoint::index_names() {
  by_name_.reserve(tensors_.size());
  for (std::size_t i = 0; i < tensors_.size(); ++i)
    if (!by_name_.emplace(tensors_[i].name, i).second)
      return Status(Code::corrupt, "tensor " + runnel::quote(tensors_[i].name) + " is there twice");
  return {};
}

Result<Checkpoint> Checkpoint::open(const std::string& dir) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (!fs::is_directory(dir, error))
    return Status(Code::not_found, runnel::quote(dir) + " is not a directory");
  Checkpoint checkpoint;
  if (fs::exists(dir + "/" + std::string(kSingle), error)) {
    RUNNEL_TRY(checkpoint.add_file(dir, std::string(kSingle)));
    RUNNEL_TRY(checkpoint.index_names().with_context(kSingle));
    return checkpoint;
  }
  RUNNEL_ASSIGN(const std::optional<Json> index, read_json_if_present(dir, std::string(kIndex)));
  if (!index) {
    if (fs::exists(dir + "/pytorch_model.bin", error))
      return Status(Code::unsupported, "only safetensors weights can be read, not .bin files");
    return Status(Code::not_found, "no model.safetensors and no index of shards in the directory");
  }
  RUNNEL_ASSIGN(const auto weight_map, read_weight_map(*index));
  std::map<std::string, std::size_t> files;  // file name -> number, in order of names
  for (const auto& [tensor, file] : weight_map) files.emplace(file, 0);
  if (files.size() > kMaxFiles) return Status(Code::corrupt, "too many files in the index");
  for (auto& [name, number] : files) {
    number = checkpoint.maps_.size();
    RUNNEL_TRY(checkpoint.add_file(dir, name));
  }
  std::erase_if(checkpoint.tensors_, [&](const SourceTensor& tensor) {
    const auto at = weight_map.find(tensor.name);
    return at == weight_map.end() || files.at(at->second) != tensor.file;
  });
  RUNNEL_TRY(checkpoint.index_names());
  for (const auto& [tensor, file] : weight_map)
    if (checkpoint.find(tensor) == nullptr)
      return Status(Code::corrupt, std::string(kIndex) + ": tensor " + runnel::quote(tensor) +
                                       " is not in " + file);
  return checkpoint;
}

const SourceTensor* Checkpoint::find(std::string_view name) const {
  const auto at = by_name_.find(name);
  return at == by_name_.end() ? nullptr : &tensors_[at->second];
}

std::span<const std::byte> Checkpoint::data(const SourceTensor& tensor) const {
  return maps_[tensor.file].bytes().subspan(tensor.offset, tensor.bytes);
}

Status Checkpoint::reopen() {
  for (std::size_t i = 0; i < maps_.size(); ++i) {
    const std::size_t size = maps_[i].bytes().size();
    maps_[i] = MappedFile();
    RUNNEL_ASSIGN(maps_[i], MappedFile::open(paths_[i]));
    if (maps_[i].bytes().size() != size)
      return Status(Code::corrupt, runnel::quote(paths_[i]) + " changed while it was read");
  }
  return {};
}

}  // namespace runnel::converters

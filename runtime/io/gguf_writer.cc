#include "runtime/io/gguf_writer.h"

#include <array>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "runtime/base/atomic_file.h"
#include "runtime/base/checked.h"
#include "runtime/base/quote.h"
#include "runtime/io/gguf_limits.h"
#include "runtime/io/gguf_split.h"
#include "runtime/io/gguf_types.h"

namespace runnel {
namespace {

using namespace gguf_limits;

constexpr std::array<std::byte, kDefaultAlignment> kZeros{};

Status misuse(std::string message) {
  return {Code::invalid_argument, std::move(message)};
}

template <class T>
void append(std::string* out, T value) {
  out->append(reinterpret_cast<const char*>(&value), sizeof value);
}

void append_text(std::string* out, std::string_view text) {
  append<std::uint64_t>(out, text.size());
  out->append(text);
}

void append_type(std::string* out, GgufType type) {
  append(out, static_cast<std::uint32_t>(type));
}

void append_array_header(std::string* out, GgufType element_type, std::uint64_t count) {
  append_type(out, GgufType::array);
  append_type(out, element_type);
  append(out, count);
}

template <class T>
std::string scalar(GgufType type, T value) {
  std::string bytes;
  append_type(&bytes, type);
  append(&bytes, value);
  return bytes;
}

template <class T>
std::string array(GgufType element_type, std::span<const T> values) {
  std::string bytes;
  append_array_header(&bytes, element_type, values.size());
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  return bytes;
}

struct Entry {
  std::string key;
  std::string value;  // type and payload as they stand in the file
};

struct Declared {
  std::string name;
  quant::DType dtype;
  Shape shape;
  std::uint64_t bytes;   // without padding
  std::uint64_t offset;  // in the data section
};

/// Bytes from `size` to the next multiple of the alignment.
std::size_t padding_after(std::uint64_t size) {
  return static_cast<std::size_t>((kDefaultAlignment - size % kDefaultAlignment) %
                                  kDefaultAlignment);
}

}  // namespace

struct GgufWriter::Impl {
  enum class Stage : std::uint8_t { declaring, writing, finished };

  void set(std::string_view key, std::string value, std::uint64_t n_elems);
  Status add(std::string_view name, quant::DType dtype, const Shape& shape);
  Status begin();
  Status keep(Status status);
  Status emit(std::span<const std::byte> data);
  Status close_complete_tensors();
  Status write(std::span<const std::byte> data);
  Status finish();
  std::string header() const;

  Stage stage = Stage::declaring;
  Status failure;  // the first one; nothing works after it
  std::vector<Entry> entries;
  std::unordered_map<std::string, std::size_t> entry_index;
  std::vector<Declared> tensors;
  std::unordered_set<std::string> tensor_names;
  std::uint64_t data_bytes = 0;     // declared so far, with padding
  std::size_t current = 0;          // tensor being filled
  std::uint64_t current_bytes = 0;  // of it, written so far
  std::optional<AtomicFile> file;   // file mode
  std::vector<std::byte> image;     // memory mode
};

void GgufWriter::Impl::set(std::string_view key, std::string value, std::uint64_t n_elems) {
  if (key == "general.alignment" || is_split_key(key)) return;
  Status problem;
  if (stage != Stage::declaring)
    problem = misuse("set after begin");
  else if (key.empty() || key.size() > kMaxKeyBytes)
    problem = misuse("name of " + std::to_string(key.size()) + " bytes");
  else if (n_elems > kMaxArrayElems)
    problem = misuse("array of " + std::to_string(n_elems) + " elements");
  else if (entries.size() >= kMaxKeys)
    problem = misuse("more than " + std::to_string(kMaxKeys) + " keys");
  if (!problem.ok()) {
    if (failure.ok()) failure = std::move(problem).with_context("key " + quote(key));
    return;
  }
  const auto [place, is_new] = entry_index.emplace(std::string(key), entries.size());
  if (is_new)
    entries.push_back({std::string(key), std::move(value)});
  else
    entries[place->second].value = std::move(value);
}

Status GgufWriter::Impl::add(std::string_view name, quant::DType dtype, const Shape& shape) {
  if (stage != Stage::declaring) return misuse("declared after begin");
  if (name.empty() || name.size() > kMaxWrittenNameBytes)
    return misuse("name of " + std::to_string(name.size()) + " bytes, at most " +
                  std::to_string(kMaxWrittenNameBytes));
  if (tensors.size() >= kMaxTensors) return misuse("too many tensors");
  constexpr std::uint64_t kMaxSize = std::uint64_t{1} << 62;  // sizes and file offsets are signed
  std::uint64_t elems = 1;
  for (int i = 0; i < shape.rank; ++i) {
    if (shape[i] < 1) return misuse("a dimension of " + shape.to_string() + " is below 1");
    if (!checked_mul(elems, static_cast<std::uint64_t>(shape[i]), &elems) || elems > kMaxSize)
      return misuse("its size overflows");
  }
  const quant::DTypeInfo& format = quant::info(dtype);
  const auto cols = static_cast<std::uint64_t>(shape.cols());
  if (cols % format.block_elems != 0)
    return misuse("row of " + std::to_string(cols) + " is no multiple of " +
                  std::string(format.name) + "'s block of " + std::to_string(format.block_elems));
  Declared tensor{std::string(name), dtype, shape, 0, data_bytes};
  if (!checked_mul(elems / format.block_elems, format.block_bytes, &tensor.bytes) ||
      tensor.bytes > kMaxSize - data_bytes)
    return misuse("its size overflows");
  if (!tensor_names.insert(tensor.name).second) return misuse("declared twice");
  data_bytes += tensor.bytes + padding_after(tensor.bytes);
  tensors.push_back(std::move(tensor));
  return {};
}

std::string GgufWriter::Impl::header() const {
  std::string out = "GGUF";
  append(&out, kMaxVersion);
  append<std::uint64_t>(&out, tensors.size());
  append<std::uint64_t>(&out, entries.size());
  for (const Entry& entry : entries) {
    append_text(&out, entry.key);
    out += entry.value;
  }
  for (const Declared& tensor : tensors) {
    append_text(&out, tensor.name);
    append(&out, static_cast<std::uint32_t>(tensor.shape.rank));
    for (int i = tensor.shape.rank - 1; i >= 0; --i) append(&out, tensor.shape[i]);
    append(&out, quant::info(tensor.dtype).gguf_id);
    append(&out, tensor.offset);
  }
  out.append(padding_after(out.size()), '\0');
  return out;
}

/// Remembers a failure and drops the output, which can no longer become whole.
Status GgufWriter::Impl::keep(Status status) {
  if (status.ok()) return status;
  if (failure.ok()) failure = status;
  file.reset();
  image = {};
  return status;
}

Status GgufWriter::Impl::emit(std::span<const std::byte> data) {
  if (file) return file->write(data);
  image.insert(image.end(), data.begin(), data.end());
  return {};
}

Status GgufWriter::Impl::begin() {
  RUNNEL_TRY(failure);
  if (stage != Stage::declaring) return misuse("GgufWriter: begun twice");
  const std::string bytes = header();
  stage = Stage::writing;
  return emit(std::as_bytes(std::span(bytes)));
}

/// Pads the current tensor once it is complete and goes on to the next.
Status GgufWriter::Impl::close_complete_tensors() {
  if (current >= tensors.size() || current_bytes < tensors[current].bytes) return {};
  RUNNEL_TRY(emit(std::span(kZeros).first(padding_after(current_bytes))));
  ++current;
  current_bytes = 0;
  return {};
}

Status GgufWriter::Impl::write(std::span<const std::byte> data) {
  RUNNEL_TRY(failure);
  if (stage != Stage::writing) return misuse("GgufWriter: write() outside begin and finish");
  if (data.empty()) return {};
  if (current >= tensors.size()) return misuse("GgufWriter: data after the last tensor");
  const Declared& tensor = tensors[current];
  if (data.size() > tensor.bytes - current_bytes)
    return misuse("tensor " + quote(tensor.name) + ": more than its " +
                  std::to_string(tensor.bytes) + " bytes");
  RUNNEL_TRY(emit(data));
  current_bytes += data.size();
  return close_complete_tensors();
}

Status GgufWriter::Impl::finish() {
  RUNNEL_TRY(failure);
  if (stage != Stage::writing) return misuse("GgufWriter: finish() without begin");
  if (current < tensors.size())
    return misuse("tensor " + quote(tensors[current].name) + ": has " +
                  std::to_string(current_bytes) + " of " + std::to_string(tensors[current].bytes) +
                  " bytes");
  if (file) RUNNEL_TRY(file->commit());
  file.reset();
  stage = Stage::finished;
  return {};
}

GgufWriter::GgufWriter() : impl_(std::make_unique<Impl>()) {}
GgufWriter::~GgufWriter() = default;
GgufWriter::GgufWriter(GgufWriter&&) noexcept = default;
GgufWriter& GgufWriter::operator=(GgufWriter&&) noexcept = default;

void GgufWriter::set_u32(std::string_view key, std::uint32_t value) {
  impl_->set(key, scalar(GgufType::u32, value), 1);
}

void GgufWriter::set_i32(std::string_view key, std::int32_t value) {
  impl_->set(key, scalar(GgufType::i32, value), 1);
}

void GgufWriter::set_u64(std::string_view key, std::uint64_t value) {
  impl_->set(key, scalar(GgufType::u64, value), 1);
}

void GgufWriter::set_f32(std::string_view key, float value) {
  impl_->set(key, scalar(GgufType::f32, value), 1);
}

void GgufWriter::set_bool(std::string_view key, bool value) {
  impl_->set(key, scalar(GgufType::boolean, static_cast<std::uint8_t>(value)), 1);
}

void GgufWriter::set_string(std::string_view key, std::string_view value) {
  std::string bytes;
  append_type(&bytes, GgufType::string);
  append_text(&bytes, value);
  impl_->set(key, std::move(bytes), 1);
}

void GgufWriter::set_i32s(std::string_view key, std::span<const std::int32_t> values) {
  impl_->set(key, array(GgufType::i32, values), values.size());
}

void GgufWriter::set_f32s(std::string_view key, std::span<const float> values) {
  impl_->set(key, array(GgufType::f32, values), values.size());
}

void GgufWriter::set_strings(std::string_view key, std::span<const std::string_view> values) {
  std::string bytes;
  append_array_header(&bytes, GgufType::string, values.size());
  for (const std::string_view value : values) append_text(&bytes, value);
  impl_->set(key, std::move(bytes), values.size());
}

void GgufWriter::set_raw(const GgufKey& entry) {
  std::string bytes;
  const std::string_view payload(reinterpret_cast<const char*>(entry.payload.data()),
                                 entry.payload.size());
  if (entry.type == GgufType::array) {
    append_array_header(&bytes, entry.element_type, entry.count);
    bytes += payload;
  } else if (entry.type == GgufType::string) {
    append_type(&bytes, GgufType::string);
    append_text(&bytes, payload);
  } else {
    append_type(&bytes, entry.type);
    bytes += payload;
  }
  impl_->set(entry.name, std::move(bytes), entry.count);
}

Status GgufWriter::add_tensor(std::string_view name, quant::DType dtype, const Shape& shape) {
  return impl_->add(name, dtype, shape).with_context("tensor " + quote(name));
}

Status GgufWriter::begin_file(const std::string& path) {
  RUNNEL_TRY(impl_->failure);
  if (impl_->stage != Impl::Stage::declaring) return misuse("GgufWriter: begun twice");
  RUNNEL_ASSIGN(impl_->file, AtomicFile::create(path));
  return impl_->keep(impl_->begin());
}

Status GgufWriter::begin_memory() {
  return impl_->keep(impl_->begin());
}

Status GgufWriter::write(std::span<const std::byte> data) {
  return impl_->keep(impl_->write(data));
}

Status GgufWriter::finish() {
  return impl_->keep(impl_->finish());
}

std::vector<std::byte> GgufWriter::take_memory() {
  if (impl_->stage != Impl::Stage::finished) return {};
  return std::exchange(impl_->image, {});
}

}  // namespace runnel

#include "converters/imatrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "runtime/base/quote.h"
#include "runtime/io/gguf.h"
#include "runtime/io/gguf_writer.h"

namespace runnel::converters {
namespace {

constexpr std::string_view kSums = ".in_sum2", kCounts = ".counts";

Status corrupt(std::string_view tensor, std::string_view what) {
  return Status(Code::corrupt, "tensor " + runnel::quote(tensor) + " " + std::string(what));
}

/// The f32 values of a tensor of finite numbers >= 0.
Result<std::vector<double>> load(const GgufTensor& tensor) {
  if (tensor.dtype != quant::DType::f32) return corrupt(tensor.name, "is not f32");
  std::vector<float> raw(static_cast<std::size_t>(tensor.shape.elems()));
  std::memcpy(raw.data(), tensor.data.data(), raw.size() * sizeof(float));
  for (const float value : raw)
    if (!(value >= 0 && std::isfinite(value)))
      return corrupt(tensor.name, "holds a value that is negative or not finite");
  return std::vector<double>(raw.begin(), raw.end());
}

Result<std::uint32_t> read_u32(const GgufFile& file, std::string_view key) {
  RUNNEL_ASSIGN(const auto value, file.get_int(key));
  return static_cast<std::uint32_t>(
      std::clamp<std::int64_t>(value.value_or(0), 0, std::numeric_limits<std::uint32_t>::max()));
}

Result<Imatrix::Entry> read_entry(const GgufFile& file,
                                  const GgufTensor& sums,
                                  const std::string& weight) {
  const GgufTensor* counts = file.tensor(weight + std::string(kCounts));
  if (counts == nullptr) return corrupt(sums.name, "has no counts beside it");
  Imatrix::Entry entry;
  entry.n_in = sums.shape.cols();
  entry.n_matrices = sums.shape.rows();
  if (counts->shape.elems() != entry.n_matrices)
    return corrupt(counts->name, "does not match the shape of its sums");
  RUNNEL_ASSIGN(entry.sums, load(sums));
  RUNNEL_ASSIGN(entry.counts, load(*counts));
  return entry;
}

Status write_values(GgufWriter& writer, const std::vector<double>& values) {
  std::vector<float> out(values.size());
  std::ranges::transform(values, out.begin(), [](double v) { return static_cast<float>(v); });
  return writer.write(std::as_bytes(std::span(out)));
}

}  // namespace

std::vector<float> Imatrix::Entry::means(std::int64_t matrix) const {
  const double count = counts[static_cast<std::size_t>(matrix)];
  if (!(count > 0)) return {};
  std::vector<float> out(static_cast<std::size_t>(n_in));
  const double* sum = sums.data() + matrix * n_in;
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(sum[i] / count);
  return out;
}

const Imatrix::Entry* Imatrix::find(std::string_view weight) const {
  const auto found = entries.find(weight);
  return found == entries.end() ? nullptr : &found->second;
}

void Imatrix::add(const Rows& rows) {
  auto found = entries.find(rows.weight);
  if (found == entries.end()) {
    Entry fresh;
    fresh.n_in = rows.n_in;
    fresh.n_matrices = rows.n_matrices;
    fresh.sums.resize(static_cast<std::size_t>(rows.n_in * rows.n_matrices));
    fresh.counts.resize(static_cast<std::size_t>(rows.n_matrices));
    found = entries.emplace(std::string(rows.weight), std::move(fresh)).first;
  }
  Entry& entry = found->second;
  check(entry.n_in == rows.n_in && entry.n_matrices == rows.n_matrices,
        "Imatrix::add: a weight changed its shape");
  for (std::int64_t r = 0; r < rows.n_rows; ++r) {
    const float* x = rows.values + r * rows.n_in;
    for (std::int64_t j = 0; j < rows.n_per_row; ++j) {
      const std::int64_t matrix = rows.matrices ? rows.matrices[r * rows.n_per_row + j] : 0;
      check(matrix >= 0 && matrix < rows.n_matrices, "Imatrix::add: no such matrix");
      double* sum = entry.sums.data() + matrix * rows.n_in;
      for (std::int64_t i = 0; i < rows.n_in; ++i) sum[i] += static_cast<double>(x[i]) * x[i];
      entry.counts[static_cast<std::size_t>(matrix)] += 1;
    }
  }
}

Result<Imatrix> Imatrix::read(const std::string& path) {
  RUNNEL_ASSIGN(const GgufFile file, GgufFile::open(path));
  RUNNEL_ASSIGN(const auto type, file.get_string("general.type"));
  if (type.value_or("") != "imatrix")
    return Status(Code::invalid_argument, runnel::quote(path) + " is no importance matrix");
  Imatrix imatrix;
  RUNNEL_ASSIGN(imatrix.n_chunks, read_u32(file, "imatrix.chunk_count"));
  RUNNEL_ASSIGN(imatrix.chunk_size, read_u32(file, "imatrix.chunk_size"));
  RUNNEL_ASSIGN(const auto datasets, file.get_strings("imatrix.datasets"));
  if (datasets) imatrix.datasets.assign(datasets->begin(), datasets->end());
  for (const GgufTensor& tensor : file.tensors()) {
    if (!tensor.name.ends_with(kSums)) continue;  // counts, and what others may add
    const std::string weight(tensor.name.substr(0, tensor.name.size() - kSums.size()));
    Result<Entry> entry = read_entry(file, tensor, weight);
    if (!entry.ok()) return entry.status().with_context(runnel::quote(path));
    imatrix.entries.emplace(weight, *std::move(entry));
  }
  if (imatrix.entries.empty())
    return Status(Code::corrupt, runnel::quote(path) + " holds no sums of any weight");
  return imatrix;
}

Status Imatrix::write(const std::string& path) const {
  for (const auto& [weight, entry] : entries)
    for (const double sum : entry.sums)
      if (!(sum <= std::numeric_limits<float>::max()))
        return corrupt(weight, "was multiplied with values that are not finite");
  GgufWriter writer;
  writer.set_string("general.type", "imatrix");
  const std::vector<std::string_view> names(datasets.begin(), datasets.end());
  writer.set_strings("imatrix.datasets", names);
  writer.set_u32("imatrix.chunk_count", n_chunks);
  writer.set_u32("imatrix.chunk_size", chunk_size);
  for (const auto& [weight, entry] : entries) {
    RUNNEL_TRY(writer.add_tensor(weight + std::string(kSums), quant::DType::f32,
                                 {entry.n_matrices, entry.n_in}));
    RUNNEL_TRY(
        writer.add_tensor(weight + std::string(kCounts), quant::DType::f32, {entry.n_matrices, 1}));
  }
  RUNNEL_TRY(writer.begin_file(path));
  for (const auto& [weight, entry] : entries) {
    RUNNEL_TRY(write_values(writer, entry.sums));
    RUNNEL_TRY(write_values(writer, entry.counts));
  }
  return writer.finish();
}

}  // namespace runnel::converters

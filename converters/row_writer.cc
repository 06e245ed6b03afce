#include "converters/row_writer.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "quant/codecs.h"
#include "runtime/base/quote.h"

namespace runnel::converters {
namespace {

constexpr float kMaxF16 = 65504.0f;
constexpr std::int64_t kMinRowsPerThread = 4;

enum class RowFault : int { none, not_finite, too_large };

// The block formats have no NaN or infinity; f16 also has a small range.
RowFault find_fault(quant::DType to, const float* values, std::int64_t n) {
  if (to == quant::DType::f32 || to == quant::DType::bf16) return RowFault::none;
  bool finite = true;
  float largest = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    finite &= std::isfinite(values[i]);
    largest = std::max(largest, std::fabs(values[i]));
  }
  if (to == quant::DType::f16) {
    return finite && largest > kMaxF16 ? RowFault::too_large : RowFault::none;
  }
  return finite ? RowFault::none : RowFault::not_finite;
}

// Plain floats of a checkpoint need not be aligned in the file; decoders may want them to be.
const std::byte* aligned(quant::DType type, const std::byte* row, std::size_t bytes, float* space) {
  if (quant::info(type).scheme != quant::Scheme::plain) return row;
  if (reinterpret_cast<std::uintptr_t>(row) % alignof(float) == 0) return row;
  std::memcpy(space, row, bytes);
  return reinterpret_cast<const std::byte*>(space);
}

}  // namespace

struct RowWriter::Slab {
  const RowSource* source;
  RowWriter* writer;
  std::int64_t first = 0;
  std::int64_t n_rows = 0;
  int n_parts = 1;
  std::atomic<RowFault> fault{RowFault::none};
};

RowWriter::RowWriter(GgufWriter& out,
                     int n_threads,
                     std::uint64_t total_bytes,
                     Progress progress,
                     std::function<Status()> release)
    : out_(out),
      pool_(n_threads),
      total_bytes_(total_bytes),
      progress_(std::move(progress)),
      release_(std::move(release)),
      rows_(static_cast<std::size_t>(pool_.size())) {}

void RowWriter::work(void* context, int thread_index) {
  Slab& slab = *static_cast<Slab*>(context);
  if (thread_index >= slab.n_parts) return;
  const RowSource& source = *slab.source;
  RowWriter& writer = *slab.writer;
  const auto elems = static_cast<std::size_t>(source.row_elems);
  const std::size_t from_bytes = quant::row_bytes(source.from, elems);
  const std::size_t to_bytes = quant::row_bytes(source.to, elems);
  std::vector<float>& space = writer.rows_[static_cast<std::size_t>(thread_index)];
  const bool copies = source.from == source.to;
  if (!copies && space.size() < 2 * elems) space.resize(2 * elems);
  const std::int64_t begin = slab.n_rows * thread_index / slab.n_parts;
  const std::int64_t end = slab.n_rows * (thread_index + 1) / slab.n_parts;
  for (std::int64_t i = begin; i < end; ++i) {
    const std::byte* row = source.row(slab.first + i);
    std::byte* to = writer.encoded_.data() + static_cast<std::size_t>(i) * to_bytes;
    if (copies) {
      std::memcpy(to, row, to_bytes);
      continue;
    }
    row = aligned(source.from, row, from_bytes, space.data() + elems);
    quant::codec(source.from).decode_row(row, space.data(), source.row_elems);
    const RowFault fault = find_fault(source.to, space.data(), source.row_elems);
    if (fault != RowFault::none) {
      slab.fault = fault;
      return;
    }
    const float* importance = source.importance.empty()
                                  ? nullptr
                                  : source.importance.data() + (slab.first + i) /
                                                                   source.rows_per_matrix *
                                                                   source.row_elems;
    quant::codec(source.to).encode_row(space.data(), importance, to, source.row_elems);
  }
}

Status RowWriter::report(std::string_view tensor, std::uint64_t source_bytes) {
  done_bytes_ += source_bytes;
  since_release_ += source_bytes;
  const double total = static_cast<double>(std::max<std::uint64_t>(total_bytes_, 1));
  const double fraction = std::min(1.0, static_cast<double>(done_bytes_) / total);
  if (progress_ && !progress_(fraction, tensor)) return Status(Code::cancelled, "stopped");
  if (since_release_ < kReleaseBytes || !release_) return {};
  since_release_ = 0;
  return release_();
}

Status RowWriter::write(const RowSource& source) {
  const std::string label = "tensor " + runnel::quote(source.name);
  if (source.row_elems > kMaxRowElems)
    return Status(Code::unsupported, label + ": a row of more than 2^24 values");
  if (source.from != source.to && !quant::info(source.to).encodes)
    return Status(Code::unsupported,
                  label + ": cannot be written as " + std::string(quant::info(source.to).name));
  if (source.from != source.to && quant::info(source.from).scheme == quant::Scheme::plain &&
      source.from == quant::DType::i32)
    return Status(Code::unsupported, label + ": integers cannot become floats");
  const auto elems = static_cast<std::size_t>(source.row_elems);
  const std::size_t from_bytes = quant::row_bytes(source.from, elems);
  const std::size_t to_bytes = quant::row_bytes(source.to, elems);
  const auto slab_rows = static_cast<std::int64_t>(
      std::max<std::size_t>(1, kSlabBytes / std::max<std::size_t>(1, to_bytes)));
  for (std::int64_t first = 0; first < source.n_rows; first += slab_rows) {
    Slab slab{&source, this, first, std::min(slab_rows, source.n_rows - first)};
    slab.n_parts = static_cast<int>(
        std::clamp<std::int64_t>(slab.n_rows / kMinRowsPerThread, 1, pool_.size()));
    const std::size_t bytes = static_cast<std::size_t>(slab.n_rows) * to_bytes;
    if (encoded_.size() < bytes) encoded_.resize(bytes);
    if (slab.n_parts == 1) {
      work(&slab, 0);
    } else {
      pool_.run(work, &slab);
    }
    if (slab.fault == RowFault::not_finite)
      return Status(Code::corrupt, label + " holds NaN or infinity");
    if (slab.fault == RowFault::too_large)
      return Status(Code::unsupported, label + " holds values too large for f16; use bf16");
    RUNNEL_TRY(out_.write(std::span(encoded_).first(bytes)));
    RUNNEL_TRY(report(source.name, static_cast<std::uint64_t>(slab.n_rows) * from_bytes));
  }
  return {};
}

}  // namespace runnel::converters

// Streams tensors row by row into a GgufWriter, changing the number format on the way. Memory is
// bounded by one slab of rows, whatever the tensor's size. Used by one thread; encodes with
// several.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "quant/dtype.h"
#include "runtime/base/status.h"
#include "runtime/base/thread_pool.h"
#include "runtime/io/gguf_writer.h"

namespace runnel::converters {

inline constexpr std::size_t kSlabBytes = 16u << 20;        // encoded rows held at a time
inline constexpr std::int64_t kMaxRowElems = 1 << 24;       // 64 MiB as f32
inline constexpr std::uint64_t kReleaseBytes = 256u << 20;  // source bytes between releases

/// Told about progress; false stops the work with Code::cancelled.
using Progress = std::function<bool(double fraction, std::string_view tensor)>;

/// The rows of one tensor.
struct RowSource {
  std::string_view name;
  quant::DType from = quant::DType::f32;
  quant::DType to = quant::DType::f32;
  std::int64_t n_rows = 0;
  std::int64_t row_elems = 0;
  /// Bytes of one row; called from several threads, valid until the next release.
  std::function<const std::byte*(std::int64_t row)> row;
  /// Weights of the squared error, one per column: [n_matrices, row_elems], each for
  /// rows_per_matrix rows. Empty: all the same.
  std::vector<float> importance;
  std::int64_t rows_per_matrix = 1;
};

class RowWriter {
 public:
  /// `total_bytes`: source bytes of all tensors, for the fractions. `release`: called now and then
  /// between slabs so that the source can give its mapped pages back. Either function may be empty.
  RowWriter(GgufWriter& out,
            int n_threads,
            std::uint64_t total_bytes,
            Progress progress,
            std::function<Status()> release);

  /// Appends one tensor; equal formats are copied bit by bit. ERRORS: cancelled, io, corrupt (NaN
  /// or infinity where the format has none), unsupported (row too long, format not readable or
  /// writable, value too large for f16), naming the tensor.
  Status write(const RowSource& source);

 private:
  struct Slab;
  static void work(void* slab, int thread_index);
  Status report(std::string_view tensor, std::uint64_t source_bytes);

  GgufWriter& out_;
  ThreadPool pool_;
  std::uint64_t total_bytes_;
  std::uint64_t done_bytes_ = 0;
  std::uint64_t since_release_ = 0;
  Progress progress_;
  std::function<Status()> release_;
  std::vector<std::byte> encoded_;
  std::vector<std::vector<float>> rows_;  // per thread: one row as f32, twice: decoded, realigned
};

}  // namespace runnel::converters

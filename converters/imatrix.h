// Importance matrix: how large the inputs of every weight matrix are, channel by channel, measured
// on some text; and the GGUF file it is kept in. The file has general.type "imatrix",
// imatrix.datasets, imatrix.chunk_count, imatrix.chunk_size, and for each weight NAME two f32
// tensors: NAME.in_sum2, [n_matrices, n_in] sums of squares, and NAME.counts, [n_matrices, 1] rows
// summed. SOURCE: tools/imatrix/README.md of ggml-org/llama.cpp, whose files are read as well.
// Not thread-safe while it is filled.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/status.h"

namespace runnel::converters {

class Imatrix {
 public:
  /// One weight: a plain matrix, or the experts of a layer.
  struct Entry {
    std::int64_t n_in = 0;
    std::int64_t n_matrices = 1;
    std::vector<double> sums;    // [n_matrices, n_in] of squared inputs
    std::vector<double> counts;  // [n_matrices] rows summed
    /// Mean squares of one matrix, [n_in]; empty where it has never been used.
    std::vector<float> means(std::int64_t matrix) const;
  };
  /// The rows [n_rows, n_in] that `weight` was multiplied with in one step.
  struct Rows {
    std::string_view weight;
    std::int64_t n_rows = 0, n_in = 0;
    const float* values = nullptr;
    std::int64_t n_matrices = 1, n_per_row = 1;
    const std::int32_t* matrices = nullptr;  // [n_rows, n_per_row]; null: all rows go to matrix 0
  };

  /// ERRORS: as GgufFile::open; corrupt (sums without counts, shapes that do not match, values
  /// that are negative or not finite); invalid_argument (some other GGUF file).
  static Result<Imatrix> read(const std::string& path);
  /// Complete or not at all. ERRORS: as GgufWriter; corrupt when a sum is not finite.
  Status write(const std::string& path) const;

  /// Adds the squares of the rows. REQUIRES: the same n_in and n_matrices as before for a weight;
  /// matrix numbers below n_matrices.
  void add(const Rows& rows);
  /// Null when the weight has never been met.
  const Entry* find(std::string_view weight) const;

  std::map<std::string, Entry, std::less<>> entries;  // by tensor name
  std::vector<std::string> datasets;                  // names of the texts
  std::uint32_t n_chunks = 0;
  std::uint32_t chunk_size = 0;  // tokens
};

}  // namespace runnel::converters

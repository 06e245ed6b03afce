// Reader of safetensors checkpoints, one file or several, over memory maps, zero copy. Everything
// in a header is checked before use. SOURCE: https://github.com/huggingface/safetensors (format).
// Checkpoint owns the maps; const access is thread-safe, reopen() needs exclusive access.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "quant/dtype.h"
#include "runtime/base/mapped_file.h"
#include "runtime/base/status.h"

namespace runnel::converters {

struct SourceTensor {
  std::string name;
  std::string dtype_name;             // as the file spells it
  std::optional<quant::DType> dtype;  // f32, f16 or bf16; nothing when we cannot read it
  std::vector<std::int64_t> shape;    // outermost first, may be empty (a scalar) or hold zeros
  std::uint64_t offset = 0;           // of the data, from the start of the file
  std::uint64_t bytes = 0;            // inside the file
  std::size_t file = 0;               // which file of the checkpoint
};

/// The tensors of one file image, sorted by offset. Data is contiguous and fills the file, as the
/// format demands. ERRORS: corrupt, naming the tensor; `what` stands in front.
Result<std::vector<SourceTensor>> parse_safetensors(std::span<const std::byte> file,
                                                    std::string_view what);

class Checkpoint {
 public:
  /// Opens DIR/model.safetensors, else DIR/model.safetensors.index.json and the files it names.
  /// ERRORS: not_found, io, corrupt, unsupported (only other weight formats there).
  static Result<Checkpoint> open(const std::string& dir);

  const std::vector<SourceTensor>& tensors() const { return tensors_; }
  const SourceTensor* find(std::string_view name) const;  // null when absent
  /// The tensor's bytes; valid until reopen().
  std::span<const std::byte> data(const SourceTensor& tensor) const;
  const std::vector<std::string>& paths() const { return paths_; }

  /// Maps all files anew, which gives the pages touched so far back to the system.
  /// ERRORS: io, corrupt (a file changed its size meanwhile).
  Status reopen();

 private:
  Status add_file(const std::string& dir, const std::string& name);
  Status index_names();

  std::vector<std::string> paths_;
  std::vector<MappedFile> maps_;
  std::vector<SourceTensor> tensors_;
  std::unordered_map<std::string_view, std::size_t> by_name_;  // keys borrow from tensors_
};

}  // namespace runnel::converters

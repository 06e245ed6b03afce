// GGUF reader over memory maps, zero copy. Every size, count, offset and string is checked against
// the file and stated limits before use. SOURCE: GGUF specification, versions 2 and 3.
// GgufFile is immutable after open and thread-safe; it owns the map that all views borrow from.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "quant/dtype.h"
#include "runtime/base/mapped_file.h"
#include "runtime/base/shape.h"
#include "runtime/base/status.h"

namespace runnel {

enum class GgufType : std::uint32_t {
  u8 = 0,
  i8 = 1,
  u16 = 2,
  i16 = 3,
  u32 = 4,
  i32 = 5,
  f32 = 6,
  boolean = 7,
  string = 8,
  array = 9,
  u64 = 10,
  i64 = 11,
  f64 = 12
};

/// One metadata entry; the payload is parsed on access.
struct GgufKey {
  std::string_view name;
  GgufType type = GgufType::u8;          // GgufType::array for arrays
  GgufType element_type = GgufType::u8;  // arrays: type of the elements
  std::uint64_t count = 1;               // arrays: number of elements
  std::span<const std::byte> payload;    // value bytes, checked to be complete
};

struct GgufTensor {
  std::string_view name;
  quant::DType dtype = quant::DType::f32;
  Shape shape;                      // outermost first (GGUF's ne reversed)
  std::span<const std::byte> data;  // row_bytes * rows bytes inside the map
  int shard = 0;                    // which file of a split model
};

class GgufFile {
 public:
  /// Opens a model; for "NAME-00001-of-0000N.gguf" all N files. ERRORS: not_found, io, corrupt,
  /// unsupported.
  static Result<GgufFile> open(const std::string& path);
  /// Parses an image in memory that the caller keeps alive.
  static Result<GgufFile> parse(std::span<const std::byte> image);
  /// Takes ownership of an image in memory.
  static Result<GgufFile> own(std::vector<std::byte> image);

  std::uint32_t version() const;
  std::uint64_t file_bytes() const;                       // all shards
  const std::vector<GgufKey>& keys() const;               // file order, first shard
  const std::vector<GgufTensor>& tensors() const;         // file order
  const GgufKey* find(std::string_view key) const;        // null when absent
  const GgufTensor* tensor(std::string_view name) const;  // null when absent

  // Typed access. Absent key: empty optional. Present with an unusable type: corrupt, naming the
  // key.
  Result<std::optional<std::int64_t>> get_int(
      std::string_view key) const;                                      // any integer or bool type
  Result<std::optional<double>> get_float(std::string_view key) const;  // f32, f64 or integer
  Result<std::optional<bool>> get_bool(std::string_view key) const;
  Result<std::optional<std::string_view>> get_string(std::string_view key) const;
  /// Integer array; a scalar reads as an array of one.
  Result<std::optional<std::vector<std::int64_t>>> get_ints(std::string_view key) const;
  Result<std::optional<std::vector<double>>> get_floats(std::string_view key) const;
  Result<std::optional<std::vector<std::string_view>>> get_strings(std::string_view key) const;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;  // shared: views handed out must outlive moves of GgufFile
};

}  // namespace runnel

// GGUF reader over memory maps, zero copy. Every size, count, offset and string is checked against
// the file and stated limits (gguf_limits.h) before use; errors name the key or tensor. Little
// endian only. SOURCE: GGUF specification, versions 2 and 3.
// GgufFile is immutable after open and thread-safe; it owns the map that all views borrow from.
//   RUNNEL_ASSIGN(GgufFile file, GgufFile::open("model.gguf"));
//   RUNNEL_ASSIGN(auto n_layers, file.get_int("lfm2.block_count"));
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quant/dtype.h"
#include "runtime/base/mapped_file.h"
#include "runtime/base/shape.h"
#include "runtime/base/status.h"

namespace runnel {

/// Metadata value types with their ids in the file.
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

/// "u8", ..., "string", "array".
std::string_view gguf_type_name(GgufType type);

/// One metadata entry; the payload is parsed on access. Names and strings are bytes from outside:
/// not checked to be UTF-8 or printable.
struct GgufKey {
  std::string_view name;
  GgufType type = GgufType::u8;          // GgufType::array for arrays
  GgufType element_type = GgufType::u8;  // arrays: type of the elements; else equal to `type`
  std::uint64_t count = 1;               // arrays: number of elements
  /// Number: its bytes. String: its text without the length. Array: the elements as they stand in
  /// the file (strings with their lengths). Not aligned; checked to be complete.
  std::span<const std::byte> payload;
};

/// One entry of the tensor table. No dimension is zero; tensors do not overlap.
struct GgufTensor {
  std::string_view name;
  quant::DType dtype = quant::DType::f32;
  Shape shape;                      // outermost first (GGUF's ne reversed)
  std::span<const std::byte> data;  // row_bytes * rows bytes inside the map, aligned to 8 or more
  int shard = 0;                    // which file of a split model
};

class GgufFile {
 public:
  /// Opens a model; for "NAME-00001-of-0000N.gguf" (or any other of its shards) all N files, whose
  /// tensors are joined. ERRORS: not_found (naming the missing shard), io, corrupt, unsupported.
  static Result<GgufFile> open(const std::string& path);
  /// Parses an image in memory that the caller keeps alive, unsplit and 8-byte aligned.
  /// ERRORS: corrupt, unsupported, invalid_argument (alignment).
  static Result<GgufFile> parse(std::span<const std::byte> image);
  /// Takes ownership of an image in memory. ERRORS: as parse().
  static Result<GgufFile> own(std::vector<std::byte> image);

  std::uint32_t version() const;                          // 2 or 3
  std::uint64_t file_bytes() const;                       // all shards
  const std::vector<GgufKey>& keys() const;               // file order, first shard
  const std::vector<GgufTensor>& tensors() const;         // file order, shard after shard
  const GgufKey* find(std::string_view key) const;        // null when absent; constant time
  const GgufTensor* tensor(std::string_view name) const;  // null when absent; constant time

  // Typed access. Absent key: empty optional. Present with an unusable type or value: corrupt,
  // naming the key.

  /// Any integer type or bool. A u64 beyond int64 is an error.
  Result<std::optional<std::int64_t>> get_int(std::string_view key) const;
  /// f32, f64 or an integer. Not checked to be finite.
  Result<std::optional<double>> get_float(std::string_view key) const;
  /// bool, or an integer that is 0 or 1.
  Result<std::optional<bool>> get_bool(std::string_view key) const;
  Result<std::optional<std::string_view>> get_string(std::string_view key) const;
  /// Array of integers or bools; a scalar reads as an array of one.
  Result<std::optional<std::vector<std::int64_t>>> get_ints(std::string_view key) const;
  /// Array of f32 or f64; a scalar reads as an array of one. Integers are an error here.
  Result<std::optional<std::vector<double>>> get_floats(std::string_view key) const;
  /// Array of strings; a scalar reads as an array of one. The views point into the map.
  Result<std::optional<std::vector<std::string_view>>> get_strings(std::string_view key) const;

 private:
  struct Impl;
  const Impl& impl() const;
  static Result<GgufFile> from(Impl&& parts);
  std::shared_ptr<const Impl> impl_;  // shared: views handed out must outlive moves of GgufFile
};

}  // namespace runnel

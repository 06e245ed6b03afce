// GGUF v3 writer. Metadata and tensor infos first, then tensor data streamed in declaration order.
// A file is written under a temporary name and renamed by finish(); a writer destroyed before
// finish() leaves nothing behind. Only the header is held in memory (file mode). One owner, one
// thread. SOURCE: GGUF specification v3.
//   GgufWriter writer;
//   writer.set_string("general.architecture", "lfm2");
//   RUNNEL_TRY(writer.add_tensor("output.weight", quant::DType::f32, {4, 8}));
//   RUNNEL_TRY(writer.begin_file("model.gguf"));
//   RUNNEL_TRY(writer.write(bytes));
//   RUNNEL_TRY(writer.finish());
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quant/dtype.h"
#include "runtime/base/shape.h"
#include "runtime/base/status.h"
#include "runtime/io/gguf.h"

namespace runnel {

/// Tensor data is aligned to 32 bytes, the format's default, and padded with zeros. Keys that
/// describe another file's layout (general.alignment, split.*) are silently left out, so that all
/// keys of an opened model can be copied.
class GgufWriter {
 public:
  GgufWriter();
  ~GgufWriter();
  GgufWriter(GgufWriter&&) noexcept;
  GgufWriter& operator=(GgufWriter&&) noexcept;

  // Metadata, in the order it shall stand in the file. A repeated key replaces the earlier value in
  // its place. An impossible one (empty or too long name, too many keys or elements, metadata after
  // begin_*) is reported by begin_file(), begin_memory() and finish().
  void set_u32(std::string_view key, std::uint32_t value);
  void set_i32(std::string_view key, std::int32_t value);
  void set_u64(std::string_view key, std::uint64_t value);
  void set_f32(std::string_view key, float value);
  void set_bool(std::string_view key, bool value);
  void set_string(std::string_view key, std::string_view value);
  void set_i32s(std::string_view key, std::span<const std::int32_t> values);
  void set_f32s(std::string_view key, std::span<const float> values);
  void set_strings(std::string_view key, std::span<const std::string_view> values);
  /// Copies an entry of another file verbatim.
  void set_raw(const GgufKey& entry);

  /// Declares the next tensor. ERRORS: invalid_argument (name empty, longer than 63 bytes or taken;
  /// a dimension below 1; row not a multiple of the block; size overflow; after begin_*).
  Status add_tensor(std::string_view name, quant::DType dtype, const Shape& shape);

  /// Starts writing to `path` (temporary name). After this, no more metadata or tensors.
  /// ERRORS: not_found, io, invalid_argument (bad metadata, begun before).
  Status begin_file(const std::string& path);
  /// Starts writing to memory. ERRORS: invalid_argument.
  Status begin_memory();
  /// Appends data of the current tensor, any number of bytes of it; tensors are filled in
  /// declaration order. ERRORS: io, invalid_argument (more bytes than declared, not begun).
  Status write(std::span<const std::byte> data);
  /// Checks that every tensor is complete, flushes, syncs and renames. After an error the output is
  /// gone. ERRORS: io, invalid_argument (naming the first incomplete tensor).
  Status finish();
  /// The finished image (begin_memory only; empty before finish() and the second time).
  std::vector<std::byte> take_memory();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace runnel

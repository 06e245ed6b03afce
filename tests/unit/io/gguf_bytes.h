// Builds GGUF images byte by byte, honest or hostile. Knows nothing of GgufWriter, so that reader
// and writer cannot share a mistake. SOURCE: GGUF specification v3.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace runnel::test {

/// Little-endian bytes of a number.
template <class T>
std::string raw(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

inline std::string u32(std::uint32_t value) {
  return raw(value);
}

inline std::string u64(std::uint64_t value) {
  return raw(value);
}

/// A string as it stands in the file: length, then bytes.
inline std::string text(std::string_view value) {
  return u64(value.size()) + std::string(value);
}

/// An array value: element type id, count, elements.
inline std::string array(std::uint32_t type, std::uint64_t count, std::string_view elements) {
  return u32(type) + u64(count) + std::string(elements);
}

inline std::vector<std::byte> to_bytes(std::string_view content) {
  std::vector<std::byte> bytes(content.size());
  if (!content.empty()) std::memcpy(bytes.data(), content.data(), content.size());
  return bytes;
}

/// One image. Counts and versions may be set to lies after the honest parts were added.
struct GgufBytes {
  std::string magic = "GGUF";
  std::uint32_t version = 3;
  std::optional<std::uint64_t> n_tensors_claimed, n_keys_claimed;
  std::uint64_t n_tensors = 0, n_keys = 0;
  std::string keys, tensors, data;
  std::size_t alignment = 32;  // of the data section
  bool pad_before_data = true;

  /// `value`: everything after the type id.
  GgufBytes& key(std::string_view name, std::uint32_t type, std::string_view value) {
    keys += text(name) + u32(type) + std::string(value);
    ++n_keys;
    return *this;
  }
  /// `ne`: contiguous dimension first, as in the file.
  GgufBytes& tensor(std::string_view name,
                    std::initializer_list<std::uint64_t> ne,
                    std::uint32_t type,
                    std::uint64_t offset) {
    tensors += text(name) + u32(static_cast<std::uint32_t>(ne.size()));
    for (const std::uint64_t extent : ne) tensors += u64(extent);
    tensors += u32(type) + u64(offset);
    ++n_tensors;
    return *this;
  }
  std::string header() const {
    return magic + u32(version) + u64(n_tensors_claimed.value_or(n_tensors)) +
           u64(n_keys_claimed.value_or(n_keys)) + keys + tensors;
  }
  std::vector<std::byte> build() const {
    std::string image = header();
    if (pad_before_data) image.resize((image.size() + alignment - 1) / alignment * alignment);
    return to_bytes(image + data);
  }
};

/// A small valid file with every value type, an array of each kind and three tensors; its last
/// tensor ends 28 bytes before the file does (padding).
inline GgufBytes small_valid_gguf() {
  GgufBytes file;
  file.key("general.architecture", 8, text("lfm2"))
      .key("k.u8", 0, raw<std::uint8_t>(200))
      .key("k.i8", 1, raw<std::int8_t>(-100))
      .key("k.u16", 2, raw<std::uint16_t>(60000))
      .key("k.i16", 3, raw<std::int16_t>(-30000))
      .key("k.u32", 4, u32(4000000000u))
      .key("k.i32", 5, raw<std::int32_t>(-2000000000))
      .key("k.f32", 6, raw(1.5f))
      .key("k.bool", 7, raw<std::uint8_t>(1))
      .key("k.u64", 10, u64(std::uint64_t{1} << 40))
      .key("k.i64", 11, raw(-(std::int64_t{1} << 40)))
      .key("k.f64", 12, raw(0.1))
      .key("k.ints", 9, array(5, 3, raw(7) + raw(-8) + raw(9)))
      .key("k.floats", 9, array(6, 2, raw(0.5f) + raw(-2.0f)))
      .key("k.strings", 9, array(8, 3, text("a") + text("") + text("bc")))
      .key("k.nested", 9, array(9, 2, array(0, 1, "x") + array(8, 1, text("y"))));
  file.tensor("a.weight", {2, 3}, 0, 0)
      .tensor("b.weight", {32, 2}, 8, 32)
      .tensor("c.bias", {1}, 0, 128);
  file.data.resize(160);
  for (std::size_t i = 0; i < 132; ++i) file.data[i] = static_cast<char>(i);
  return file;
}

}  // namespace runnel::test

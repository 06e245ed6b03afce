#include "runtime/io/gguf_values.h"

#include <limits>
#include <optional>
#include <string>
#include <type_traits>

#include "runtime/base/byte_cursor.h"
#include "runtime/base/quote.h"
#include "runtime/io/gguf_types.h"

namespace runnel {
namespace {

bool is_integer(GgufType type) {
  switch (type) {
    case GgufType::u8:
    case GgufType::i8:
    case GgufType::u16:
    case GgufType::i16:
    case GgufType::u32:
    case GgufType::i32:
    case GgufType::boolean:
    case GgufType::u64:
    case GgufType::i64:
      return true;
    default:
      return false;
  }
}

bool is_float(GgufType type) {
  return type == GgufType::f32 || type == GgufType::f64;
}

Status wrong_type(const GgufKey& key, std::string_view wanted) {
  std::string found(info(key.type).name);
  if (key.type == GgufType::array) found += " of " + std::string(info(key.element_type).name);
  return {Code::corrupt,
          "key " + quote(key.name) + ": is " + found + ", expected " + std::string(wanted)};
}

Status wrong_value(const GgufKey& key) {
  return {Code::corrupt, "key " + quote(key.name) + ": value out of range for its use"};
}

/// The next value of an integer type; nothing for a u64 beyond int64 or a bool that is not 0 or 1.
std::optional<std::int64_t> next_integer(ByteCursor* in, GgufType type) {
  switch (type) {
    case GgufType::u8:
      return in->read<std::uint8_t>();
    case GgufType::i8:
      return in->read<std::int8_t>();
    case GgufType::u16:
      return in->read<std::uint16_t>();
    case GgufType::i16:
      return in->read<std::int16_t>();
    case GgufType::u32:
      return in->read<std::uint32_t>();
    case GgufType::i32:
      return in->read<std::int32_t>();
    case GgufType::i64:
      return in->read<std::int64_t>();
    case GgufType::boolean: {
      const auto value = in->read<std::uint8_t>();
      return value <= 1 ? std::optional<std::int64_t>(value) : std::nullopt;
    }
    case GgufType::u64: {
      const auto value = in->read<std::uint64_t>();
      if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
        return std::nullopt;
      return static_cast<std::int64_t>(value);
    }
    default:
      return std::nullopt;
  }
}

double next_float(ByteCursor* in, GgufType type) {
  return type == GgufType::f32 ? static_cast<double>(in->read<float>()) : in->read<double>();
}

}  // namespace

Result<std::int64_t> gguf_int(const GgufKey& key) {
  if (!is_integer(key.type)) return wrong_type(key, "an integer");
  ByteCursor in(key.payload);
  const std::optional<std::int64_t> value = next_integer(&in, key.type);
  if (!value) return wrong_value(key);
  return *value;
}

Result<double> gguf_float(const GgufKey& key) {
  ByteCursor in(key.payload);
  if (is_float(key.type)) return next_float(&in, key.type);
  if (!is_integer(key.type) || key.type == GgufType::boolean) return wrong_type(key, "a number");
  if (key.type == GgufType::u64) return static_cast<double>(in.read<std::uint64_t>());
  return static_cast<double>(*next_integer(&in, key.type));
}

Result<bool> gguf_bool(const GgufKey& key) {
  if (!is_integer(key.type)) return wrong_type(key, "a bool");
  ByteCursor in(key.payload);
  const std::optional<std::int64_t> value = next_integer(&in, key.type);
  if (!value || *value < 0 || *value > 1) return wrong_value(key);
  return *value == 1;
}

Result<std::string_view> gguf_string(const GgufKey& key) {
  if (key.type != GgufType::string) return wrong_type(key, "a string");
  return ByteCursor(key.payload).take_text(key.payload.size());
}

Result<std::vector<std::int64_t>> gguf_ints(const GgufKey& key) {
  if (!is_integer(key.element_type)) return wrong_type(key, "an array of integers");
  std::vector<std::int64_t> values;
  values.reserve(static_cast<std::size_t>(key.count));
  ByteCursor in(key.payload);
  for (std::uint64_t i = 0; i < key.count; ++i) {
    const std::optional<std::int64_t> value = next_integer(&in, key.element_type);
    if (!value) return wrong_value(key);
    values.push_back(*value);
  }
  return values;
}

Result<std::vector<double>> gguf_floats(const GgufKey& key) {
  if (!is_float(key.element_type)) return wrong_type(key, "an array of floats");
  std::vector<double> values;
  values.reserve(static_cast<std::size_t>(key.count));
  ByteCursor in(key.payload);
  for (std::uint64_t i = 0; i < key.count; ++i) values.push_back(next_float(&in, key.element_type));
  return values;
}

Result<std::vector<std::string_view>> gguf_strings(const GgufKey& key) {
  if (key.element_type != GgufType::string) return wrong_type(key, "an array of strings");
  ByteCursor in(key.payload);
  if (key.type == GgufType::string) return std::vector{in.take_text(key.payload.size())};
  std::vector<std::string_view> values;
  values.reserve(static_cast<std::size_t>(key.count));
  for (std::uint64_t i = 0; i < key.count; ++i)
    values.push_back(in.take_text(in.read<std::uint64_t>()));
  return values;
}

}  // namespace runnel

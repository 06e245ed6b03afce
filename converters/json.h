// JSON from outside: bounded parsing and typed access that names the key in every error.
// Parsed values are plain data; const access is thread-safe. Nothing here throws.
#pragma once
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/status.h"

namespace runnel::converters {

using Json = nlohmann::json;

inline constexpr std::size_t kMaxJsonBytes = 100'000'000;  // a 256k vocabulary needs about 35 MB
inline constexpr int kMaxJsonDepth = 64;                   // real files stay below 10
inline constexpr std::size_t kMaxJsonValues = 4'000'000;   // bounds the memory of the parsed tree

enum class DuplicateKeys : std::uint8_t { last_wins, reject_at_top };

/// Parses a document. ERRORS: corrupt (syntax, size, depth, number of values, invalid UTF-8), with
/// `what` in front. reject_at_top: a key repeated in the outermost object is corrupt.
Result<Json> parse_json(std::string_view text,
                        std::string_view what,
                        DuplicateKeys duplicates = DuplicateKeys::last_wins);

/// Parses DIR/NAME. ERRORS: not_found, io, corrupt; the message starts with NAME.
Result<Json> read_json(const std::string& dir, const std::string& name);

/// DIR/NAME when it exists, else nothing. ERRORS: io, corrupt.
Result<std::optional<Json>> read_json_if_present(const std::string& dir, const std::string& name);

/// Typed view of a JSON object that the caller keeps alive. A key whose value is null counts as
/// absent. An absent key is an empty optional; a value of the wrong type is corrupt, naming the
/// key. Keys are looked up in `object`, then in `outer` when given.
class Fields {
 public:
  /// ERRORS: corrupt (not an object).
  static Result<Fields> of(const Json& object, std::string_view what, const Json* outer = nullptr);

  const Json* find(std::string_view key) const;  // null when absent
  Result<std::optional<std::int64_t>> get_int(std::string_view key) const;
  Result<std::optional<double>> get_float(std::string_view key) const;
  Result<std::optional<bool>> get_bool(std::string_view key) const;
  Result<std::optional<std::string>> get_string(std::string_view key) const;
  Result<std::optional<std::vector<std::int64_t>>> get_ints(std::string_view key) const;
  Result<std::optional<std::vector<std::string>>> get_strings(std::string_view key) const;
  Result<std::optional<Fields>> get_object(std::string_view key) const;

  /// A count in 1 .. 2^31-1, or `fallback` when the key is absent. ERRORS: corrupt.
  Result<std::int64_t> count_or(std::string_view key, std::int64_t fallback) const;
  /// The first key of `keys` that is present. ERRORS: corrupt (range, or none present).
  Result<std::int64_t> count_of(std::initializer_list<std::string_view> keys) const;
  /// A float > 0, or `fallback` when the key is absent. ERRORS: corrupt.
  Result<double> positive_or(std::string_view key, double fallback) const;
  /// A bool, or `fallback` when the key is absent. ERRORS: corrupt.
  Result<bool> bool_or(std::string_view key, bool fallback) const;

  const std::string& what() const { return what_; }
  /// A corrupt Status about one key.
  Status bad(std::string_view key, std::string_view problem) const;

 private:
  Fields(const Json* object, std::string_view what, const Json* outer)
      : object_(object), outer_(outer), what_(what) {}
  const Json* object_;
  const Json* outer_;
  std::string what_;
};

}  // namespace runnel::converters

#include "converters/json.h"

#include <limits>
#include <unordered_set>

#include "runtime/base/mapped_file.h"
#include "runtime/base/quote.h"

namespace runnel::converters {
namespace {

// Depth and number of values, without building anything. Syntax is left to the parser.
Status check_limits(std::string_view text) {
  if (text.size() > kMaxJsonBytes) return Status(Code::corrupt, "JSON larger than 100 MB");
  int depth = 0;
  std::size_t values = 1;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
      continue;
    }
    if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      ++values;
      if (++depth > kMaxJsonDepth) return Status(Code::corrupt, "JSON nested deeper than 64");
    } else if (c == ']' || c == '}') {
      --depth;
    } else if (c == ',') {
      ++values;
    }
  }
  if (values > kMaxJsonValues) return Status(Code::corrupt, "JSON with over 4 million values");
  return {};
}

}  // namespace

Result<Json> parse_json(std::string_view text, std::string_view what, DuplicateKeys duplicates) {
  RUNNEL_TRY(check_limits(text).with_context(what));
  std::unordered_set<std::string> seen;
  std::string repeated;
  const auto watch_keys = [&](int depth, Json::parse_event_t event, Json& value) {
    if (event != Json::parse_event_t::key || depth != 1) return true;
    const auto& key = value.get_ref<const std::string&>();
    if (!seen.insert(key).second) repeated = key;
    return true;
  };
  const bool watch = duplicates == DuplicateKeys::reject_at_top;
  Json json = watch ? Json::parse(text, watch_keys, false) : Json::parse(text, nullptr, false);
  if (json.is_discarded())
    return Status(Code::corrupt, std::string(what) + ": not valid JSON (syntax or UTF-8)");
  if (!repeated.empty())
    return Status(Code::corrupt,
                  std::string(what) + ": key " + runnel::quote(repeated) + " is there twice");
  return json;
}

Result<Json> read_json(const std::string& dir, const std::string& name) {
  auto file = MappedFile::open(dir + "/" + name);
  if (!file.ok()) return file.status();
  const auto bytes = file->bytes();
  return parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, name);
}

Result<std::optional<Json>> read_json_if_present(const std::string& dir, const std::string& name) {
  Result<Json> json = read_json(dir, name);
  if (json.ok()) return std::optional<Json>(*std::move(json));
  if (json.status().code() == Code::not_found) return std::optional<Json>();
  return json.status();
}

Result<Fields> Fields::of(const Json& object, std::string_view what, const Json* outer) {
  if (!object.is_object()) return Status(Code::corrupt, std::string(what) + ": not a JSON object");
  return Fields(&object, what, outer);
}

Status Fields::bad(std::string_view key, std::string_view problem) const {
  return Status(Code::corrupt, what_ + ": '" + std::string(key) + "' " + std::string(problem));
}

const Json* Fields::find(std::string_view key) const {
  for (const Json* object : {object_, outer_}) {
    if (object == nullptr) continue;
    const auto at = object->find(key);
    if (at != object->end() && !at->is_null()) return &*at;
  }
  return nullptr;
}

namespace {

// JSON integers come as signed or unsigned; those beyond int64 count as unusable.
std::optional<std::int64_t> as_int(const Json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    if (number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return {};
    return static_cast<std::int64_t>(number);
  }
  if (value.is_number_integer()) return value.get<std::int64_t>();
  return {};
}

}  // namespace

Result<std::optional<std::int64_t>> Fields::get_int(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::optional<std::int64_t>();
  const auto number = as_int(*value);
  if (!number) return bad(key, "is not an integer");
  return number;
}

Result<std::optional<double>> Fields::get_float(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::optional<double>();
  if (!value->is_number()) return bad(key, "is not a number");
  return std::optional<double>(value->get<double>());
}

Result<std::optional<bool>> Fields::get_bool(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::optional<bool>();
  if (!value->is_boolean()) return bad(key, "is not true or false");
  return std::optional<bool>(value->get<bool>());
}

Result<std::optional<std::string>> Fields::get_string(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::optional<std::string>();
  if (!value->is_string()) return bad(key, "is not a string");
  return std::optional<std::string>(value->get_ref<const std::string&>());
}

Result<std::optional<std::vector<std::int64_t>>> Fields::get_ints(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::optional<std::vector<std::int64_t>>();
  if (!value->is_array()) return bad(key, "is not an array");
  std::vector<std::int64_t> numbers;
  for (const Json& item : *value) {
    const auto number = as_int(item);
    if (!number) return bad(key, "holds something that is not an integer");
    numbers.push_back(*number);
  }
  return std::optional(std::move(numbers));
}

Result<std::optional<std::vector<std::string>>> Fields::get_strings(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::optional<std::vector<std::string>>();
  if (!value->is_array()) return bad(key, "is not an array");
  std::vector<std::string> texts;
  for (const Json& item : *value) {
    if (!item.is_string()) return bad(key, "holds something that is not a string");
    texts.push_back(item.get_ref<const std::string&>());
  }
  return std::optional(std::move(texts));
}

Result<std::optional<Fields>> Fields::get_object(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::optional<Fields>();
  if (!value->is_object()) return bad(key, "is not an object");
  return std::optional<Fields>(Fields(value, what_ + ": " + std::string(key), nullptr));
}

Result<std::int64_t> Fields::count_or(std::string_view key, std::int64_t fallback) const {
  RUNNEL_ASSIGN(const std::optional<std::int64_t> value, get_int(key));
  if (!value) return fallback;
  if (*value < 1 || *value > std::numeric_limits<std::int32_t>::max())
    return bad(key, "is out of range");
  return *value;
}

Result<std::int64_t> Fields::count_of(std::initializer_list<std::string_view> keys) const {
  for (const std::string_view key : keys)
    if (find(key) != nullptr) return count_or(key, 1);
  return bad(*keys.begin(), "is missing");
}

Result<double> Fields::positive_or(std::string_view key, double fallback) const {
  RUNNEL_ASSIGN(const std::optional<double> value, get_float(key));
  if (!value) return fallback;
  if (!(*value > 0) || *value > static_cast<double>(std::numeric_limits<float>::max()))
    return bad(key, "is out of range");
  return *value;
}

Result<bool> Fields::bool_or(std::string_view key, bool fallback) const {
  RUNNEL_ASSIGN(const std::optional<bool> value, get_bool(key));
  return value.value_or(fallback);
}

}  // namespace runnel::converters

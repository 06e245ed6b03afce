// Values of the template language: what Python calls None, bool, int, float, str, list, tuple,
// dict, and a few objects of the template engine. Values are made by Context, which counts their
// memory. Text, List and Dict never change after they are made (templates run sandboxed), so they
// cannot form cycles; their height is limited when they are made, which bounds every recursion
// over them, destruction included.
// shared_ptr: values are shared freely between scopes, and constants between concurrent renders.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "runtime/text/jinja/memory_share.h"

namespace runnel::jinja {

enum class Kind : std::uint8_t {
  undefined,
  none,
  boolean,
  integer,
  real,
  text,
  list,
  dict,
  object
};

/// Python type that a List stands for.
enum class ListKind : std::uint8_t {
  list,
  tuple,
  range,
  generator,  // result of a lazy filter: can be walked through once, has no length
  dict_view   // dict.keys(), values(), items()
};

enum class ObjectKind : std::uint8_t { name_space, macro, loop, cycler, joiner, function, method };

struct Text;
struct List;
struct Dict;

/// Why a value is undefined; the text of the error when it is used.
struct Undefined {
  std::string message;
};

/// Base of the engine's own objects. They are told apart by kind, without RTTI.
struct Object {
  explicit Object(ObjectKind given) : kind(given) {}
  virtual ~Object() = default;
  /// Drops all values held: called at the end of a render on objects that could form cycles.
  virtual void clear() {}
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  const ObjectKind kind;
  int height = 0;
};

class Value {
 public:
  /// None.
  Value() : held_(std::monostate{}) {}
  explicit Value(bool value) : held_(value) {}
  explicit Value(std::int64_t value) : held_(value) {}
  explicit Value(double value) : held_(value) {}
  explicit Value(std::shared_ptr<const Undefined> value) : held_(std::move(value)) {}
  explicit Value(std::shared_ptr<const Text> value) : held_(std::move(value)) {}
  explicit Value(std::shared_ptr<const List> value) : held_(std::move(value)) {}
  explicit Value(std::shared_ptr<const Dict> value) : held_(std::move(value)) {}
  explicit Value(std::shared_ptr<Object> value) : held_(std::move(value)) {}

  Kind kind() const { return kKinds[held_.index()]; }
  bool is_undefined() const { return kind() == Kind::undefined; }
  bool is_none() const { return kind() == Kind::none; }
  bool is_text() const { return kind() == Kind::text; }
  bool is_list() const { return kind() == Kind::list; }
  bool is_dict() const { return kind() == Kind::dict; }
  bool is_object(ObjectKind wanted) const;
  bool is_list(ListKind wanted) const;
  /// An int or a bool: Python's bool is an int.
  bool is_integral() const { return kind() == Kind::integer || kind() == Kind::boolean; }
  bool is_number() const { return is_integral() || kind() == Kind::real; }

  // The accessors below REQUIRE the matching kind.
  bool boolean() const { return *std::get_if<bool>(&held_); }
  double real() const { return *std::get_if<double>(&held_); }
  /// Of an int or a bool.
  std::int64_t integer() const {
    return kind() == Kind::boolean ? (boolean() ? 1 : 0) : *std::get_if<std::int64_t>(&held_);
  }
  /// Of any number.
  double as_real() const { return kind() == Kind::real ? real() : static_cast<double>(integer()); }
  const Undefined& undefined() const {
    return **std::get_if<std::shared_ptr<const Undefined>>(&held_);
  }
  const Text& text() const { return **std::get_if<std::shared_ptr<const Text>>(&held_); }
  const List& list() const { return **std::get_if<std::shared_ptr<const List>>(&held_); }
  const Dict& dict() const { return **std::get_if<std::shared_ptr<const Dict>>(&held_); }
  Object& object() const { return **std::get_if<std::shared_ptr<Object>>(&held_); }

  /// Nesting of containers: 0 for a scalar.
  int height() const;
  /// True when both are the same object in memory, or equal scalars of one kind.
  bool same(const Value& other) const { return held_ == other.held_; }

 private:
  static constexpr Kind kKinds[] = {Kind::none, Kind::boolean, Kind::integer,
                                    Kind::real, Kind::text,    Kind::list,
                                    Kind::dict, Kind::object,  Kind::undefined};
  std::variant<std::monostate,
               bool,
               std::int64_t,
               double,
               std::shared_ptr<const Text>,
               std::shared_ptr<const List>,
               std::shared_ptr<const Dict>,
               std::shared_ptr<Object>,
               std::shared_ptr<const Undefined>>
      held_;
};

struct Text {
  Text(std::string given, std::size_t n_characters, bool safe, std::size_t* used, std::size_t cost)
      : bytes(std::move(given)), length(n_characters), is_safe(safe), share(used, cost) {}

  std::string bytes;   // UTF-8; invalid bytes count as one character each
  std::size_t length;  // characters (code points)
  bool is_safe;        // marked by escape or safe
  MemoryShare share;

  bool is_ascii() const { return length == bytes.size(); }
};

struct List {
  List(std::vector<Value> given,
       ListKind list_kind,
       int nesting,
       std::size_t* used,
       std::size_t cost)
      : items(std::move(given)), kind(list_kind), height(nesting), share(used, cost) {}

  std::vector<Value> items;
  ListKind kind;
  std::string label;  // repr of a range or generator; "dict_items" and the like of a view; kGroup
  int height;
  mutable bool is_spent = false;  // of a generator
  MemoryShare share;
};

/// Label of the tuples that groupby() makes: they have the attributes grouper and list.
inline constexpr std::string_view kGroup = "group";

/// Keeps insertion order; find() is a binary search, so that no input can make it slow.
struct Dict {
  using Entry = std::pair<Value, Value>;
  Dict(std::vector<Entry> given,
       std::vector<std::uint32_t> sorted,
       int nesting,
       std::size_t* used,
       std::size_t cost)
      : items(std::move(given)), order(std::move(sorted)), height(nesting), share(used, cost) {}

  std::vector<Entry> items;
  std::vector<std::uint32_t> order;  // indices of items, sorted by key
  int height;
  MemoryShare share;

  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
};

/// False for undefined, none, false, zero and whatever is empty.
bool is_true(const Value& value);
/// Python's name of the type: "str", "int", "dict", "NoneType", "Undefined" ...
std::string_view type_name(const Value& value);

/// True for values that can be keys: none, numbers, text, tuples of these.
bool is_hashable(const Value& value);
/// A total order of hashable values, where numbers compare by value whatever their type.
/// Negative, zero or positive.
int compare_keys(const Value& a, const Value& b);
/// Of two numbers; exact for any mix of int and float. NaN compares lower than all.
int compare_numbers(const Value& a, const Value& b);

}  // namespace runnel::jinja

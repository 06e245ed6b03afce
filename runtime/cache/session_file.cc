#include "runtime/cache/session_file.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "runtime/base/byte_cursor.h"
#include "runtime/base/checked.h"
#include "runtime/base/checksum.h"

namespace runnel {
namespace {

static_assert(std::endian::native == std::endian::little);
constexpr std::string_view kMagic("RUNNELSS", 8);
constexpr std::uint32_t kVersion = 3;
constexpr std::size_t kFormatBytes = 16;
constexpr std::size_t kStateBytes = 4 + 4 + kFormatBytes + Shape::kMaxRank * 8 + 8;
constexpr std::size_t kCounts = 11, kFields = kCounts + 3 * Cache::kAnchors;
constexpr std::size_t kFixedBytes = 8 + 4 + 4 + kFields * 8;
constexpr std::size_t kSumBytes = 8;
constexpr const char* kOtherFormat =
    " has another format: create the session with the KV cache type it was saved with";

struct Header {
  std::uint32_t n_states = 0;
  std::uint64_t file_bytes = 0, fingerprint = 0, n_tokens = 0, n_columns = 0, n_logits = 0,
                note_bytes = 0, n_slots = 0, n_rows = 0, shift_slots = 0, shift_kept = 0,
                shift_positions = 0;
  std::array<std::array<std::uint64_t, 3>, Cache::kAnchors> anchors{};  // slots, columns, rows
  /// The numbers behind version and n_states, in the order of the file.
  template <class Self>
  static auto fields(Self& self) {
    std::array<decltype(&self.n_rows), kFields> all{
        &self.file_bytes,  &self.fingerprint, &self.n_tokens,       &self.n_columns,
        &self.n_logits,    &self.note_bytes,  &self.n_slots,        &self.n_rows,
        &self.shift_slots, &self.shift_kept,  &self.shift_positions};
    std::size_t i = kCounts;
    for (auto& anchor : self.anchors)
      for (auto& field : anchor) all[i++] = &field;
    return all;
  }
  Extent extent() const { return to_extent({n_slots, n_columns, n_rows}); }
  static Extent to_extent(const std::array<std::uint64_t, 3>& fields) {
    return {static_cast<std::int64_t>(fields[0]), static_cast<std::int64_t>(fields[1]),
            static_cast<std::int64_t>(fields[2])};
  }
  static std::array<std::uint64_t, 3> to_fields(const Extent& extent) {
    return {static_cast<std::uint64_t>(extent.slots), static_cast<std::uint64_t>(extent.columns),
            static_cast<std::uint64_t>(extent.rows)};
  }
};

struct StateEntry {
  std::uint32_t kind = 0, rank = 0;
  std::array<char, kFormatBytes> format{};
  std::array<std::uint64_t, Shape::kMaxRank> dims{};
  std::uint64_t bytes = 0;
  bool operator==(const StateEntry&) const = default;
};

std::uint32_t kind_id(StateKind kind) {
  switch (kind) {
    case StateKind::kv_k:
      return 1;
    case StateKind::kv_v:
      return 2;
    case StateKind::conv:
      return 3;
    case StateKind::kv_window:
      return 4;
    case StateKind::kv_summary:
      return 5;
    case StateKind::none:
      break;
  }
  check(false, "session file: unknown kind of state");
  return 0;
}

StateEntry entry_of(const StateInfo& info, std::uint64_t bytes) {
  StateEntry entry;
  entry.kind = kind_id(info.kind);
  entry.rank = static_cast<std::uint32_t>(info.shape.rank);
  check(info.format.size() <= kFormatBytes, "session file: name of a format is too long");
  std::ranges::copy(info.format, entry.format.begin());
  // A ring's length is this machine's business; files hold columns.
  for (int i = 0; i < Shape::kMaxRank; ++i)
    entry.dims[static_cast<std::size_t>(i)] = static_cast<std::uint64_t>(info.shape[i]);
  if (info.kind == StateKind::conv) entry.dims[0] = 0;
  entry.bytes = bytes;
  return entry;
}

/// Writes sections and their checksums.
class Writer {
 public:
  explicit Writer(AtomicFile& file) : file_(file) {}
  Status add(std::span<const std::byte> bytes) {
    sum_.add(bytes);
    return file_.write(bytes);
  }
  template <class T>
  Status number(T value) {
    return add(std::as_bytes(std::span(&value, 1)));
  }
  /// Ends a section.
  Status seal() {
    const std::uint64_t sum = sum_.value();
    if (index_ == 0) header_sum_ = sum;
    sum_ = Checksum(header_sum_ + ++index_);
    return file_.write(std::as_bytes(std::span(&sum, 1)));
  }

 private:
  AtomicFile& file_;
  Checksum sum_;
  std::uint64_t header_sum_ = 0, index_ = 0;
};

Status write_header(Writer& writer, const Header& header, std::span<const StateEntry> states) {
  RUNNEL_TRY(writer.add(std::as_bytes(std::span(kMagic))));
  RUNNEL_TRY(writer.number(kVersion));
  RUNNEL_TRY(writer.number(header.n_states));
  for (const std::uint64_t* field : Header::fields(header)) RUNNEL_TRY(writer.number(*field));
  for (const StateEntry& state : states) {
    RUNNEL_TRY(writer.number(state.kind));
    RUNNEL_TRY(writer.number(state.rank));
    RUNNEL_TRY(writer.add(std::as_bytes(std::span(state.format))));
    for (std::uint64_t dim : state.dims) RUNNEL_TRY(writer.number(dim));
    RUNNEL_TRY(writer.number(state.bytes));
  }
  return writer.seal();
}

Status corrupt(std::string what) {
  return Status(Code::corrupt, std::move(what));
}

/// Reads sections; a wrong checksum is an error of the section, named.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> file) : cursor_(file), file_(file) {}
  ByteCursor& cursor() { return cursor_; }
  /// Ends the header, which began with the file.
  Status seal_header() {
    Checksum sum;
    sum.add(file_.first(cursor_.offset()));
    header_sum_ = sum.value();
    const auto stored = cursor_.read<std::uint64_t>();
    if (!cursor_.ok()) return corrupt("the file ends within its header");
    if (stored != header_sum_) return corrupt("the header's checksum does not match");
    return {};
  }
  /// The next section, checked.
  Result<std::span<const std::byte>> section(std::uint64_t bytes, const char* name) {
    const std::span<const std::byte> content = cursor_.take(bytes);
    const auto stored = cursor_.read<std::uint64_t>();
    if (!cursor_.ok()) return corrupt(std::string("the file ends within its ") + name);
    Checksum sum(header_sum_ + ++index_);
    sum.add(content);
    if (sum.value() != stored)
      return corrupt(std::string("the checksum of the ") + name + " does not match");
    return content;
  }

 private:
  ByteCursor cursor_;
  std::span<const std::byte> file_;
  std::uint64_t header_sum_ = 0, index_ = 0;
};

/// Header and state entries, with nothing in them believed but that they are what was written.
Result<Header> read_header(Reader& reader,
                           std::size_t file_bytes,
                           std::vector<StateEntry>& states) {
  ByteCursor& cursor = reader.cursor();
  if (cursor.take_text(kMagic.size()) != kMagic) return corrupt("this is no session file");
  const auto version = cursor.read<std::uint32_t>();
  Header header;
  header.n_states = cursor.read<std::uint32_t>();
  for (std::uint64_t* field : Header::fields(header)) *field = cursor.read<std::uint64_t>();
  if (!cursor.ok()) return corrupt("the file ends within its header");
  if (version != kVersion)
    return Status(Code::unsupported, "session file version " + std::to_string(version) +
                                         " is not " + std::to_string(kVersion));
  if (header.n_states > cursor.remaining() / kStateBytes)
    return corrupt("the file ends within its header");
  states.resize(header.n_states);
  for (StateEntry& state : states) {
    state.kind = cursor.read<std::uint32_t>();
    state.rank = cursor.read<std::uint32_t>();
    const std::string_view format = cursor.take_text(kFormatBytes);
    if (cursor.ok()) std::ranges::copy(format, state.format.begin());
    for (std::uint64_t& dim : state.dims) dim = cursor.read<std::uint64_t>();
    state.bytes = cursor.read<std::uint64_t>();
  }
  RUNNEL_TRY(reader.seal_header());
  if (header.file_bytes != file_bytes)
    return corrupt("the file has " + std::to_string(file_bytes) + " bytes, it should have " +
                   std::to_string(header.file_bytes));
  return header;
}

/// The tokens section, every id checked.
Result<std::vector<TokenId>> read_tokens(Reader& reader,
                                         const Header& header,
                                         const SessionExpectations& expected) {
  if (header.fingerprint != expected.fingerprint)
    return Status(Code::invalid_argument, "the session belongs to another model");
  std::uint64_t bytes = 0;
  if (!checked_mul(header.n_tokens, sizeof(TokenId), &bytes) || bytes > reader.cursor().remaining())
    return corrupt("the file ends within its tokens");
  RUNNEL_ASSIGN(const std::span<const std::byte> raw, reader.section(bytes, "tokens"));
  std::vector<TokenId> tokens(static_cast<std::size_t>(header.n_tokens));
  if (!raw.empty()) std::memcpy(tokens.data(), raw.data(), raw.size());
  for (TokenId id : tokens)
    if (id < 0 || id >= expected.n_vocab)
      return corrupt("token id " + std::to_string(id) + " is not in the vocabulary");
  return tokens;
}

/// Bytes of a state's units.
std::size_t section_bytes(const Cache& cache, std::size_t state, std::size_t when) {
  return static_cast<std::size_t>(cache.n_units(state, when)) * cache.unit_bytes(state);
}

/// The file's states are those of the cache, which already holds the file's tokens.
Status check_states(std::span<const StateEntry> states, const Cache& cache) {
  if (states.size() != cache.n_states())
    return Status(Code::invalid_argument, "the session has " + std::to_string(states.size()) +
                                              " states, the model " +
                                              std::to_string(cache.n_states()));
  for (std::size_t i = 0; i < states.size(); ++i) {
    const std::uint64_t bytes = section_bytes(cache, i, kNow);
    StateEntry ours = entry_of(cache.state_info(i), bytes);
    if (states[i] == ours) continue;
    ours.format = states[i].format;
    ours.bytes = states[i].bytes;
    const std::string what = "state " + std::to_string(i) + " of the session";
    if (states[i] == ours) return Status(Code::invalid_argument, what + kOtherFormat);
    return Status(Code::invalid_argument, what + " has another shape than the model's");
  }
  return {};
}

Status read_states(Reader& reader, Cache& cache, std::size_t when = kNow) {
  for (std::size_t i = 0; i < cache.n_states(); ++i) {
    const std::size_t unit = cache.unit_bytes(i);
    const auto n_units = static_cast<std::size_t>(cache.n_units(i, when));
    RUNNEL_ASSIGN(const std::span<const std::byte> section,
                  reader.section(n_units * unit, "states"));
    for (std::size_t u = 0; u < n_units; ++u)
      RUNNEL_TRY(cache.write_unit({i, static_cast<std::int64_t>(u), when},
                                  section.subspan(u * unit, unit)));
  }
  return {};
}

/// The anchors of a file whose tokens and states the cache holds.
Status read_anchors(Reader& reader, const Header& header, Cache& cache) {
  std::uint64_t before = 1;
  for (std::size_t i = 0; i < Cache::kAnchors; ++i) {
    const auto& [slots, columns, rows] = header.anchors[i];
    if (slots == 0 && columns == 0 && rows == 0) continue;
    const Extent extent = Header::to_extent(header.anchors[i]);
    if (slots < before || slots > header.n_slots || columns > slots || rows > slots ||
        cache.window_rows() == 0 || cache.n_anchors() != i || cache.dropped() > 0 ||
        !cache.possible(extent))
      return corrupt("impossible anchor");
    before = slots;
    RUNNEL_TRY(cache.restore_anchor(extent));
    RUNNEL_TRY(read_states(reader, cache, i));
  }
  return {};
}

Status write_states(Writer& writer, const Cache& cache, std::size_t when) {
  std::vector<std::byte> unit;
  for (std::size_t i = 0; i < cache.n_states(); ++i) {
    unit.resize(cache.unit_bytes(i));
    for (std::int64_t u = 0; u < cache.n_units(i, when); ++u) {
      RUNNEL_TRY(cache.read_unit({i, u, when}, unit));
      RUNNEL_TRY(writer.add(unit));
    }
    RUNNEL_TRY(writer.seal());
  }
  return {};
}

/// Gives the cache the shift of the file; whether that was possible.
bool take_shift(const Header& header, Cache& cache) {
  if (!cache.shift_plan()) return false;
  ShiftPlan plan = *cache.shift_plan();
  if (header.shift_slots != static_cast<std::uint64_t>(plan.slots) ||
      header.shift_positions != static_cast<std::uint64_t>(plan.max_position) ||
      header.shift_kept > header.shift_slots)
    return false;
  plan.kept = static_cast<std::int64_t>(header.shift_kept);
  if (!plan.valid()) return false;
  cache.set_kept(plan.kept);
  return true;
}

/// Counts that must agree with the cache before anything is made of them.
Status check_counts(const Header& header, const SessionExpectations& expected, Cache& cache) {
  const bool was_shifted = (header.shift_slots | header.shift_kept | header.shift_positions) != 0;
  if (was_shifted && !take_shift(header, cache))
    return Status(Code::invalid_argument,
                  "the session's context was full and shifted: it goes on in a session of the same "
                  "context size that shifts, too");
  const auto n_tokens = static_cast<std::int64_t>(header.n_tokens);  // no more than file bytes
  const auto n_slots = static_cast<std::uint64_t>(was_shifted ? cache.n_slots(n_tokens) : n_tokens);
  if (n_slots > static_cast<std::uint64_t>(cache.capacity()) ||
      (!was_shifted && cache.shift_plan() && cache.n_slots(n_tokens) != n_tokens))
    return context_full(static_cast<std::int64_t>(n_slots), cache.capacity());
  if (header.n_slots != 0 && header.n_slots != n_slots)
    return corrupt("impossible number of slots");
  if ((header.n_rows > 0) != (header.n_slots > 0 && cache.window_rows() > 0))
    return Status(Code::invalid_argument, std::string("the session") + kOtherFormat);
  if (header.n_columns > header.n_slots || header.n_rows > header.n_slots ||
      !cache.possible(header.extent()))
    return corrupt("impossible number of convolution columns or recent rows");
  if (header.n_logits != 0 && header.n_logits != static_cast<std::uint64_t>(expected.n_vocab))
    return corrupt("impossible number of logits");
  if (header.n_logits != 0 && header.n_slots == 0) return corrupt("logits of no token");
  return {};
}

}  // namespace

Result<AtomicFile> write_session(const std::string& path,
                                 const Cache& cache,
                                 const SessionExtras& extras) {
  Header header;
  header.n_states = static_cast<std::uint32_t>(cache.n_states());
  header.fingerprint = extras.fingerprint;
  header.n_tokens = cache.tokens().size();
  const auto [n_slots, n_columns, n_rows] = Header::to_fields(cache.extent());
  header.n_slots = n_slots;
  header.n_columns = n_columns;
  header.n_rows = n_rows;
  const bool complete = cache.next_index() == cache.size();
  const std::size_t n_anchors = complete && cache.dropped() == 0 ? cache.n_anchors() : 0;
  for (std::size_t i = 0; i < n_anchors; ++i)
    header.anchors[i] = Header::to_fields(cache.extent(i));
  if (cache.dropped() > 0 || !complete) {
    const ShiftPlan plan = cache.shift_plan().value_or(ShiftPlan{});
    header.shift_slots = static_cast<std::uint64_t>(plan.slots);
    header.shift_kept = static_cast<std::uint64_t>(plan.kept);
    header.shift_positions = static_cast<std::uint64_t>(plan.max_position);
  }
  header.n_logits = extras.logits.size();
  header.note_bytes = extras.note.size();
  header.file_bytes = kFixedBytes + kSumBytes + cache.tokens().size_bytes() + kSumBytes +
                      extras.logits.size() * sizeof(float) + kSumBytes + extras.note.size() +
                      kSumBytes;
  std::vector<StateEntry> states;
  for (std::size_t i = 0; i < cache.n_states(); ++i) {
    const std::size_t bytes = section_bytes(cache, i, kNow);
    states.push_back(entry_of(cache.state_info(i), bytes));
    header.file_bytes += kStateBytes + bytes + kSumBytes;
    for (std::size_t a = 0; a < n_anchors; ++a)
      header.file_bytes += section_bytes(cache, i, a) + kSumBytes;
  }
  RUNNEL_ASSIGN(AtomicFile file, AtomicFile::create(path));
  Writer writer(file);
  RUNNEL_TRY(write_header(writer, header, states));
  for (const auto section : {std::as_bytes(cache.tokens()), std::as_bytes(std::span(extras.logits)),
                             std::as_bytes(std::span(extras.note))}) {
    RUNNEL_TRY(writer.add(section));
    RUNNEL_TRY(writer.seal());
  }
  RUNNEL_TRY(write_states(writer, cache, kNow));
  for (std::size_t i = 0; i < n_anchors; ++i) RUNNEL_TRY(write_states(writer, cache, i));
  return file;
}

Status save_session(const std::string& path, const Cache& cache, const SessionExtras& extras) {
  RUNNEL_ASSIGN(AtomicFile file, write_session(path, cache, extras));
  return file.commit();
}

Result<SessionExtras> load_session(std::span<const std::byte> file,
                                   const SessionExpectations& expected,
                                   Cache& cache) {
  Reader reader(file);
  std::vector<StateEntry> states;
  RUNNEL_ASSIGN(const Header header, read_header(reader, file.size(), states));
  RUNNEL_ASSIGN(const std::vector<TokenId> tokens, read_tokens(reader, header, expected));
  RUNNEL_TRY(check_counts(header, expected, cache));
  SessionExtras extras{header.fingerprint, {}, {}};
  RUNNEL_ASSIGN(const auto logits, reader.section(header.n_logits * sizeof(float), "logits"));
  extras.logits.resize(static_cast<std::size_t>(header.n_logits));
  if (!logits.empty()) std::memcpy(extras.logits.data(), logits.data(), logits.size());
  RUNNEL_ASSIGN(const auto note, reader.section(header.note_bytes, "note"));
  extras.note.assign(reinterpret_cast<const char*>(note.data()), note.size());
  RUNNEL_TRY(cache.restore(tokens, header.extent()));
  RUNNEL_TRY(check_states(states, cache));
  RUNNEL_TRY(read_states(reader, cache));
  RUNNEL_TRY(read_anchors(reader, header, cache));
  if (reader.cursor().remaining() != 0) return corrupt("there is something behind the last state");
  return extras;
}

Result<std::vector<TokenId>> read_session_tokens(std::span<const std::byte> file,
                                                 const SessionExpectations& expected) {
  Reader reader(file);
  std::vector<StateEntry> states;
  RUNNEL_ASSIGN(const Header header, read_header(reader, file.size(), states));
  return read_tokens(reader, header, expected);
}

}  // namespace runnel

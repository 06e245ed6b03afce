// Session files: what goes in comes out, on any backend; whatever else is in a file is found out.
#include "runtime/cache/session_file.h"

#include <functional>
#include <random>

#include "runtime/base/checksum.h"
#include "tests/unit/cache/fixture.h"
#include "tests/unit/temp_dir.h"

namespace runnel::tests {
namespace {

constexpr SessionExpectations kExpected{0x1234567890abcdef, 1000};
constexpr std::size_t kFixed = 152, kState = 64;  // SOURCE: session_file.h

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

SessionExtras extras() {
  std::vector<float> logits(1000);
  std::iota(logits.begin(), logits.end(), -3.5f);
  return {kExpected.fingerprint, logits, "a note \xff"};
}

std::string saved(const Cache& cache, const SessionExtras& with = extras()) {
  const test::TempDir dir;
  const Status status = save_session(dir / "s", cache, with);
  REQUIRE_MESSAGE(status.ok(), status.message());
  CHECK(dir.size() == 1);
  return test::read_file(dir / "s");
}

/// A cache whose file is small: keys and values of two numbers a head.
Fixture small(std::int64_t n_tokens = 70) {
  Fixture f(300, kConvLayers, 2);
  f.grow(n_tokens);
  f.scribble(1);
  return f;
}

Result<SessionExtras> load(std::span<const std::byte> file, Fixture& into) {
  return load_session(file, kExpected, *into.cache);
}

Status load_status(std::span<const std::byte> file) {
  Fixture into(300, kConvLayers, 2);
  return load(file, into).status();
}

/// Makes all checksums of a changed file right again. `sections`: lengths behind the header.
void reseal(std::string& file, std::size_t n_states, const std::vector<std::size_t>& sections) {
  std::size_t at = kFixed + n_states * kState;
  const auto put = [&](const Checksum& sum) {
    const std::uint64_t value = sum.value();
    file.replace(at, 8, reinterpret_cast<const char*>(&value), 8);
    at += 8;
    return value;
  };
  Checksum header;
  header.add(bytes_of(file).first(at));
  const std::uint64_t seed = put(header);
  for (std::size_t i = 0; i < sections.size(); ++i) {
    Checksum sum(seed + 1 + i);
    sum.add(bytes_of(file).subspan(at, sections[i]));
    at += sections[i];
    put(sum);
  }
}

const std::vector<std::size_t> kSections{70 * 4, 4000, 8, 6 * 64, 2 * 512, 2 * 512, 6 * 64};

/// The small file with `n` bytes at `offset` replaced by `value`, checksums right.
template <class T>
Status forged(std::size_t offset, T value) {
  std::string file = saved(*small().cache);
  REQUIRE(offset + sizeof value <= file.size());
  file.replace(offset, sizeof value, reinterpret_cast<const char*>(&value), sizeof value);
  reseal(file, 4, kSections);
  return load_status(bytes_of(file));
}

}  // namespace

TEST_CASE("SessionFile: what goes in comes out") {
  for (std::int64_t n : {0, 1, 2, 5, 63, 64, 65, 200}) {
    CAPTURE(n);
    Fixture f(300);
    f.grow(n);
    f.scribble(2);
    const std::string file = saved(*f.cache);
    Fixture g(300);
    auto loaded = load(bytes_of(file), g);
    if (n == 0) {  // logits of no token
      CHECK(loaded.status().code() == Code::corrupt);
      continue;
    }
    REQUIRE_MESSAGE(loaded.ok(), loaded.status().message());
    CHECK(loaded->note == extras().note);
    CHECK(loaded->logits == extras().logits);
    CHECK(std::ranges::equal(g.cache->tokens(), f.cache->tokens()));
    CHECK(g.cache->resume_from() == n);
    CHECK(saved(*g.cache) == file);
    const StateBinding k = f.cache->table().states[1], restored = g.cache->table().states[1];
    REQUIRE(restored.host_pages.size() == k.host_pages.size());
    for (std::int64_t t = 0; t < n; ++t)
      for (std::int64_t row : {t % 64, 64 + t % 64})  // two heads
        CHECK(std::memcmp(k.host_pages[static_cast<std::size_t>(t / 64)] + row * 16,
                          restored.host_pages[static_cast<std::size_t>(t / 64)] + row * 16,
                          16) == 0);
    f.cache->truncate(n - 1);
    g.cache->truncate(n - 1);
    CHECK(g.cache->resume_from() == f.cache->resume_from());
  }
}

TEST_CASE("SessionFile: an empty session is one, too") {
  Fixture f(300), g(300);
  const std::string file = saved(*f.cache, {kExpected.fingerprint, {}, ""});
  const auto loaded = load(bytes_of(file), g);
  REQUIRE_MESSAGE(loaded.ok(), loaded.status().message());
  CHECK(g.cache->size() == 0);
}

TEST_CASE("SessionFile: a device's memory and the host's give the same file") {
  Fixture f(300);
  f.grow(150);
  f.scribble(3);
  FakeDevice device({});
  auto other = Cache::create(states(), {{&device}, {}}, {300, kKernel, kConvLayers});
  REQUIRE(other.ok());
  const std::string file = saved(*f.cache);
  REQUIRE(load_session(bytes_of(file), kExpected, **other).ok());
  CHECK(device.n_uploads > 0);
  CHECK(saved(**other) == file);
  CHECK(device.n_downloads > 0);
}

TEST_CASE("SessionFile: what was rolled back is not in the file") {
  Fixture f(300), g(300);
  f.grow(200);
  f.scribble(4);
  const std::string before = saved(*f.cache);
  f.cache->truncate(70);
  f.grow(70);  // replays; rows 70.. of page 1 still hold the old values
  const std::string file = saved(*f.cache);
  REQUIRE(load(bytes_of(file), g).ok());
  const std::byte* page = g.cache->table().states[1].host_pages[1];
  for (std::size_t row = 6; row < 64; ++row)
    for (std::size_t i = 0; i < 16; ++i) CHECK(page[row * 16 + i] == std::byte{0});
  CHECK(g.cache->table().states[1].host_pages.size() == 2);
}

TEST_CASE("SessionFile: a session that must replay is loaded as such") {
  Fixture f(300), g(300);
  f.grow(200);
  f.cache->truncate(100);
  REQUIRE(load(bytes_of(saved(*f.cache, {kExpected.fingerprint, {}, ""})), g).ok());
  CHECK(g.cache->size() == 100);
  CHECK(g.cache->resume_from() == f.cache->resume_from());
  CHECK(g.cache->resume_from() == 96);
}

TEST_CASE("SessionFile: tiles and windows come back, and nothing of what was rolled back") {
  Fixture f = tiled();
  f.grow(190);
  f.scribble(3);
  f.cache->truncate(180);  // rows 30 .. 179 are left, of which 180 - 128 wants 48 ..
  const std::string file = saved(*f.cache);
  Fixture into = tiled();
  REQUIRE(load(bytes_of(file), into).ok());
  CHECK(into.cache->kv_end() == 180);
  CHECK(into.cache->kv_sealed() == 48);
  CHECK(into.cache->resume_from() == f.cache->resume_from());
  CHECK(saved(*into.cache) == file);
  const auto byte = [&](std::size_t state, std::size_t page, std::size_t at) -> std::byte& {
    return f.cache->table().states[state].host_pages[page][at];
  };
  constexpr std::size_t kTile4 = 512, kBlock4 = 4 * kTile4, kRow = 128;  // kt4: 16 x 64 half bytes
  const auto stays = [&](std::byte& at) {
    at ^= std::byte{0xff};
    const bool same = saved(*f.cache) == file;
    at ^= std::byte{0xff};
    return same;
  };
  CHECK(stays(byte(1, 0, 0)));                       // sinks are no tile
  CHECK_FALSE(stays(byte(1, 0, kTile4)));            // tokens 16 .. 31
  CHECK_FALSE(stays(byte(1, 0, kBlock4 + 2 * 47)));  // scale of token 47
  CHECK(stays(byte(1, 0, kBlock4 + 2 * 48)));
  CHECK(stays(byte(1, 0, 3 * kTile4)));  // not sealed yet
  CHECK(stays(byte(1, 1, 0)));
  CHECK_FALSE(stays(byte(3, 0, 0)));                 // a sink's row
  CHECK_FALSE(stays(byte(3, 0, (16 + 30) * kRow)));  // the oldest row in the ring
  CHECK(stays(byte(3, 0, (16 + 29) * kRow)));        // was token 189
}

/// Tiles, with anchors at 200 and 400 of 600 tokens and other bytes in the rings at each.
Fixture anchored() {
  Fixture f = tiled();
  for (const std::int64_t at : {200, 400, 600}) {
    f.grow(at);
    f.scribble(static_cast<unsigned>(at));
    if (at < 600) f.cache->place_anchor();
  }
  REQUIRE(f.cache->n_anchors() == 2);
  return f;
}

TEST_CASE("SessionFile: anchors come back, and a rollback goes on from them as before") {
  Fixture f = anchored();
  const std::string file = saved(*f.cache);
  Fixture into = tiled();
  REQUIRE(load(bytes_of(file), into).ok());
  CHECK(saved(*into.cache) == file);
  REQUIRE(into.cache->n_anchors() == 2);
  for (const std::int64_t end : {450, 398}) {  // from the second one, then within it
    f.cache->truncate(end);
    into.cache->truncate(end);
    CHECK(into.cache->next_index() == std::min<std::int64_t>(end, 400));
    CHECK(into.cache->resume_from() == f.cache->resume_from());
    CHECK(saved(*into.cache) == saved(*f.cache));
    f.grow(end);
    into.grow(end);
  }
  f.grow(501);
  Fixture again = tiled();
  REQUIRE(load(bytes_of(saved(*f.cache)), again).ok());
  for (const std::int64_t end : {398, 395, 200}) {  // with four columns, with one, the first
    f.cache->truncate(end);
    again.cache->truncate(end);
    CHECK(again.cache->next_index() == end);
    CHECK(saved(*again.cache) == saved(*f.cache));
  }
}

TEST_CASE("SessionFile: anchors that cannot be are refused though the checksums are right") {
  Fixture f = anchored();
  const std::string file = saved(*f.cache);
  const auto forged_at = [&](std::size_t offset, std::uint64_t value) {
    std::string forged = file;
    std::memcpy(forged.data() + offset, &value, 8);
    std::vector<std::size_t> sections{600 * 4, 4000, 8};
    for (const std::size_t when : {kNow, std::size_t{0}, std::size_t{1}})
      for (std::size_t i = 0; i < f.cache->n_states(); ++i)
        sections.push_back(static_cast<std::size_t>(f.cache->n_units(i, when)) *
                           f.cache->unit_bytes(i));
    reseal(forged, f.cache->n_states(), sections);
    Fixture into = tiled();
    return load(bytes_of(forged), into).status();
  };
  constexpr std::size_t kFirst = 104, kSecond = 128;  // SOURCE: session_file.h
  CHECK(forged_at(kFirst, 200).ok());
  for (const std::uint64_t n : {0ull, 401ull, 601ull, 1ull << 40, 1ull << 63, ~0ull})
    CHECK(forged_at(kFirst, n).code() == Code::corrupt);  // slots
  for (const std::uint64_t n : {1ull, 5ull, 201ull, 1ull << 62, ~0ull}) {
    CHECK(forged_at(kFirst + 8, n).code() == Code::corrupt);   // columns
    CHECK(forged_at(kFirst + 16, n).code() == Code::corrupt);  // rows
  }
  CHECK(forged_at(kSecond, 199).code() == Code::corrupt);
  CHECK(forged_at(kSecond, 601).code() == Code::corrupt);
}

TEST_CASE("SessionFile: a window that lacks rows, or other parts in f16, are refused") {
  Fixture f = tiled();
  f.grow(180);
  const std::string file = saved(*f.cache);
  const auto with_rows = [&](std::uint64_t n) {
    std::string forged = file;
    std::memcpy(forged.data() + 72, &n, 8);
    std::vector<std::size_t> sections{180 * 4, 4000, 8};
    for (std::size_t i = 0; i < f.cache->n_states(); ++i)
      sections.push_back(static_cast<std::size_t>(f.cache->n_units(i)) * f.cache->unit_bytes(i));
    reseal(forged, f.cache->n_states(), sections);
    Fixture into = tiled();
    return load(bytes_of(forged), into).status();
  };
  CHECK(with_rows(160).ok());  // as many as the ring has
  CHECK(with_rows(132).ok());  // from 48 on: what the next token reads
  CHECK(with_rows(0).code() == Code::invalid_argument);
  for (const std::uint64_t n : {131ull, 161ull, 180ull, 1ull << 40, ~0ull})
    CHECK(with_rows(n).code() == Code::corrupt);
  Fixture other = tiled();
  REQUIRE(other.cache->state_info(3).format == "f16/16/128/h");
  Fixture rows;
  CHECK(load(bytes_of(file), rows).status().code() == Code::invalid_argument);
}

TEST_CASE("SessionFile: every flipped bit is found") {
  std::string file = saved(*small().cache);
  REQUIRE(load_status(bytes_of(file)).ok());
  for (std::size_t i = 0; i < file.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      file[i] = static_cast<char>(file[i] ^ (1 << bit));
      if (load_status(bytes_of(file)).ok()) {
        CAPTURE(i);
        CAPTURE(bit);
        FAIL("undetected");
      }
      file[i] = static_cast<char>(file[i] ^ (1 << bit));
    }
}

TEST_CASE("SessionFile: random damage is found") {
  const std::string file = saved(*small().cache);
  std::mt19937 random(5);
  for (int round = 0; round < 3000; ++round) {
    std::string damaged = file;
    const auto place = [&] { return random() % file.size(); };
    const std::size_t at = place(), n = std::min(file.size() - at, 1 + random() % 100);
    switch (round % 4) {
      case 0:  // a few bytes anywhere
        for (std::size_t k = 0; k < 1 + n % 8; ++k)
          damaged[place()] ^= static_cast<char>(1 + random() % 255);
        break;
      case 1:  // a run of one value, as a bad disk gives it
        std::fill_n(damaged.begin() + static_cast<std::ptrdiff_t>(at), n,
                    static_cast<char>(random()));
        break;
      case 2:  // a run copied from elsewhere
        damaged.replace(at, n, file, place(), n);
        damaged.resize(file.size(), 'x');
        break;
      default:  // two words swapped
        std::swap_ranges(damaged.begin() + static_cast<std::ptrdiff_t>(at / 16 * 8),
                         damaged.begin() + static_cast<std::ptrdiff_t>(at / 16 * 8) + 8,
                         damaged.begin() + static_cast<std::ptrdiff_t>(file.size() / 2 / 8 * 8));
    }
    if (damaged == file) continue;
    CAPTURE(round);
    CHECK_FALSE(load_status(bytes_of(damaged)).ok());
  }
}

TEST_CASE("SessionFile: a file that ends anywhere too early, or too late, is refused") {
  const std::string file = saved(*small().cache);
  for (std::size_t n = 0; n < file.size(); ++n) {
    const Status status = load_status(bytes_of(file).first(n));
    if (status.code() != Code::corrupt) {
      CAPTURE(n);
      FAIL(status.message());
    }
  }
  CHECK(load_status(bytes_of(file + '\0')).code() == Code::corrupt);
}

TEST_CASE("SessionFile: fields that lie are refused though the checksums are right") {
  CHECK(forged<std::uint64_t>(24, kExpected.fingerprint).ok());  // forged() itself breaks nothing
  CHECK(forged<char>(0, 'X').code() == Code::corrupt);
  CHECK(forged<std::uint32_t>(8, 1).code() == Code::unsupported);  // version
  for (std::uint32_t n : {0u, 3u, 5u, 0xffffffffu})                // n_states
    CHECK_FALSE(forged(12, n).ok());
  for (std::uint64_t n :
       {std::uint64_t{0}, std::uint64_t{69}, std::uint64_t{71}, std::uint64_t{301},
        std::uint64_t{1} << 32, std::uint64_t{1} << 62, ~std::uint64_t{0}}) {
    CHECK_FALSE(forged(16, n).ok());              // file bytes
    CHECK_FALSE(forged(32, n).ok());              // tokens
    CHECK_FALSE(forged(40, n).ok());              // columns
    CHECK_FALSE(forged(48, n).ok());              // logits
    CHECK_FALSE(forged(56, n).ok());              // note
    CHECK_FALSE(forged(64, n).ok());              // slots
    if (n != 0) CHECK_FALSE(forged(72, n).ok());  // rows in windows: it has none
    for (std::size_t field = 24; field < kState; field += 8)
      CHECK_FALSE(forged(kFixed + kState + field, n).ok());  // dims and bytes of the keys
  }
  CHECK(forged<std::uint64_t>(24, 7).code() == Code::invalid_argument);  // fingerprint
  CHECK_FALSE(forged<std::uint64_t>(40, 1).ok());  // fewer columns than the filter needs
  CHECK_FALSE(forged<std::uint64_t>(40, 5).ok());
  CHECK(forged<std::uint32_t>(kFixed, 2).code() == Code::invalid_argument);      // kind
  CHECK(forged<std::uint32_t>(kFixed + 4, 9).code() == Code::invalid_argument);  // rank
  CHECK(forged<char>(kFixed + 8, 'g').code() == Code::invalid_argument);         // format
  const std::size_t tokens = kFixed + 4 * kState + 8;
  CHECK(forged<TokenId>(tokens, 999).ok());
  CHECK(forged<TokenId>(tokens, 1000).code() == Code::corrupt);
  CHECK(forged<TokenId>(tokens + 69 * 4, -1).code() == Code::corrupt);
}

TEST_CASE("SessionFile: a valid file of something else is refused with a reason") {
  Fixture f = small();
  const std::string file = saved(*f.cache);
  Fixture tight(69, kConvLayers, 2), other_shape(300, kConvLayers, 4);
  CHECK(load(bytes_of(file), tight).status().code() == Code::context_full);
  CHECK(load(bytes_of(file), other_shape).status().code() == Code::invalid_argument);
  Fixture into(300, kConvLayers, 2);
  const auto status = load_session(bytes_of(file), {1, 1000}, *into.cache).status();
  CHECK(status.message() == "the session belongs to another model");
  CHECK(load_status(bytes_of(std::string("GGUF and so on, for a while"))).message() ==
        "this is no session file");
  auto tokens = read_session_tokens(bytes_of(file), kExpected);
  REQUIRE(tokens.ok());
  CHECK(std::ranges::equal(*tokens, f.cache->tokens()));
}

}  // namespace runnel::tests

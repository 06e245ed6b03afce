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
constexpr std::size_t kFixed = 96, kState = 64;  // SOURCE: session_file.h

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
    const StateBinding &k = f.cache->table().states[1], &restored = g.cache->table().states[1];
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
  auto other = Cache::create(states(), device, {300, kKernel, kConvLayers});
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
  CHECK(forged<std::uint32_t>(8, 2).code() == Code::unsupported);  // version
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
    if (n != 0) CHECK_FALSE(forged(64, n).ok());  // reserved
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

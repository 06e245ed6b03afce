// Saved sessions: they go on with the same bits, compute nothing again, and move between backends.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "runtime/base/checksum.h"
#include "tests/models/golden.h"
#include "tests/unit/temp_dir.h"

namespace runnel::tests {
namespace {

void load(Session& session, const std::string& path) {
  const auto note = session.load(path);
  REQUIRE_MESSAGE(note.ok(), note.status().message());
}

}  // namespace

TEST_CASE("Save: a restored session goes on with the same bits and computes nothing") {
  const test::TempDir dir;
  for (const char* model : tiny_models())
    for (const char* recipe : {"q8_0", "f32"})
      for (const std::string& backend : usable_backends())
        for (const DType kv : {DType::f32, DType::f16}) {
          CAPTURE(model);
          CAPTURE(recipe);
          CAPTURE(backend);
          const auto prefix = random_ids(100, 320, 1), rest = random_ids(70, 320, 2);
          const auto engine = load_engine(converted(model, recipe), backend);
          const auto session = new_session(*engine, {512, quant::plain_kv(kv), 0});
          append(*session, prefix);
          REQUIRE(session->save(dir / "s", "note").ok());

          const auto fresh = load_engine(converted(model, recipe), backend);
          const auto restored =
              new_session(*fresh, {300, quant::plain_kv(kv), 0});  // another context size will do
          append(*restored, rest);
          fresh->start_profile();
          CHECK(*restored->load(dir / "s") == "note");
          CHECK(*restored->set_tokens(prefix) == 100);
          CHECK(fresh->stop_profile().steps == 0);
          CHECK(last_logits(*restored) == last_logits(*session));
          append(*restored, rest);
          append(*session, rest);
          CHECK(last_logits(*restored) == last_logits(*session));
          REQUIRE(restored->truncate(80).ok());
          REQUIRE(session->truncate(80).ok());
          append(*restored, rest);
          append(*session, rest);
          CHECK(last_logits(*restored) == last_logits(*session));
        }
}

TEST_CASE("Save: a session moves between backends") {
  const test::TempDir dir;
  for (const char* model : tiny_models())
    for (const std::string& from : usable_backends())
      for (const std::string& to : usable_backends()) {
        CAPTURE(model);
        CAPTURE(from);
        CAPTURE(to);
        const auto prefix = random_ids(100, 320, 3), rest = random_ids(10, 320, 4);
        const auto engine = load_engine(converted(model, "f32"), from);
        const auto session = new_session(*engine);
        append(*session, prefix);
        REQUIRE(session->save(dir / "s", "").ok());
        append(*session, rest);
        const auto other = load_engine(converted(model, "f32"), to);
        const auto restored = new_session(*other);
        load(*restored, dir / "s");
        append(*restored, rest);
        CHECK(error_in_deviations(last_logits(*restored), last_logits(*session)) < 2e-3);
      }
}

TEST_CASE("Save: a file that does not fit leaves the session as it was") {
  const test::TempDir dir;
  const auto prefix = random_ids(100, 320, 5), rest = random_ids(10, 320, 6);
  const auto engine = load_engine(converted("tiny-lfm2", "q8_0"), "cpu");
  const auto other = load_engine(converted("tiny-lfm2", "q4_0"), "cpu");
  const auto of_other = new_session(*other),
             wide = new_session(*engine, {512, quant::plain_kv(DType::f16), 0}),
             longer = new_session(*engine);
  append(*of_other, prefix);
  append(*wide, prefix);
  append(*longer, prefix);
  REQUIRE(of_other->save(dir / "other", "").ok());
  REQUIRE(wide->save(dir / "wide", "").ok());
  REQUIRE(longer->save(dir / "longer", "").ok());
  test::write_file(dir / "junk", std::string_view("junk"));
  test::write_file(dir / "empty", std::string_view(""));

  const auto session = new_session(*engine, {64, quant::plain_kv(DType::f32), 0});
  append(*session, std::span(prefix).first(20));
  const auto logits = last_logits(*session);
  CHECK(session->load(dir / "other").status().code() == Code::invalid_argument);
  CHECK(session->load(dir / "wide").status().code() == Code::context_full);
  CHECK(longer->load(dir / "wide").status().code() == Code::invalid_argument);
  CHECK(session->load(dir / "longer").status().code() == Code::context_full);
  CHECK(session->load(dir / "junk").status().code() == Code::corrupt);
  CHECK(session->load(dir / "empty").status().code() == Code::corrupt);
  CHECK(session->load(dir / "none").status().code() == Code::not_found);
  CHECK(session->load(dir.path()).status().code() == Code::io);
  CHECK(last_logits(*session) == logits);
  CHECK(session->tokens().size() == 20);
  append(*session, rest);
  const auto fresh = new_session(*engine);
  append(*fresh, std::span(prefix).first(20));
  append(*fresh, rest);
  CHECK(last_logits(*session) == last_logits(*fresh));
  CHECK(session->save(dir / "none/s", "").code() == Code::not_found);
}

TEST_CASE("Save: a file full of NaN with right checksums harms nobody") {
  const test::TempDir dir;
  const auto engine = load_engine(converted("tiny-lfm2", "q8_0"), "cpu");
  const auto session = new_session(*engine);
  append(*session, random_ids(70, 320, 7));
  REQUIRE(session->save(dir / "s", "").ok());
  std::string file = test::read_file(dir / "s");
  const auto number = [&](std::size_t at) {
    std::uint64_t value;
    std::memcpy(&value, file.data() + at, sizeof value);
    return static_cast<std::size_t>(value);
  };
  // SOURCE: session_file.h. All sections behind the tokens become bytes 0xff: NaN in f32 and f16.
  std::uint32_t n_states;
  std::memcpy(&n_states, file.data() + 12, sizeof n_states);
  std::size_t at = 152 + std::size_t{n_states} * 64;
  const std::uint64_t seed = number(at);
  at += 8;
  std::vector<std::size_t> sections{number(32) * 4, number(48) * 4, number(56)};
  for (std::size_t i = 0; i < n_states; ++i) sections.push_back(number(152 + i * 64 + 56));
  for (std::size_t i = 0; i < sections.size(); ++i) {
    if (i > 0) std::fill_n(file.begin() + static_cast<std::ptrdiff_t>(at), sections[i], '\xff');
    Checksum sum(seed + 1 + i);
    sum.add(std::as_bytes(std::span(file)).subspan(at, sections[i]));
    at += sections[i];
    const std::uint64_t value = sum.value();
    std::memcpy(file.data() + at, &value, sizeof value);
    at += 8;
  }
  REQUIRE(at == file.size());
  test::write_file(dir / "nan", std::string_view(file));
  load(*session, dir / "nan");
  REQUIRE(session->logits().ok());
  CHECK(std::isnan((*session->logits())[0]));
  GenerateOptions options;
  options.max_tokens = 5;
  CHECK(session->generate(options).ok());
  REQUIRE(session->truncate(0).ok());  // and nothing of it stays
  const auto ids = random_ids(50, 320, 8);
  append(*session, ids);
  const auto fresh = new_session(*engine);
  append(*fresh, ids);
  CHECK(last_logits(*session) == last_logits(*fresh));
}

}  // namespace runnel::tests

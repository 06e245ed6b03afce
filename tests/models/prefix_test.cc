// The prefix store: what sessions share is computed once, and the results are the same without it.
#include <doctest/doctest.h>

#include <filesystem>

#include "tests/models/golden.h"
#include "tests/unit/temp_dir.h"

namespace runnel::tests {
namespace {

constexpr std::size_t kPlenty = std::size_t{64} << 20;

std::unique_ptr<Engine> engine_with(PrefixOptions prefixes,
                                    const std::string& backend = "cpu",
                                    const std::string& model = "tiny-lfm2") {
  auto file = GgufFile::open(converted(model, "q8_0"));
  REQUIRE(file.ok());
  EngineOptions options;
  options.backend = backend;
  options.n_threads = 2;
  options.prefixes = std::move(prefixes);
  auto engine = Engine::create(*std::move(file), options);
  REQUIRE_MESSAGE(engine.ok(), engine.status().message());
  return *std::move(engine);
}

std::int64_t set_tokens(Session& session, std::span<const TokenId> ids) {
  const auto kept = session.set_tokens(ids);
  REQUIRE_MESSAGE(kept.ok(), kept.status().message());
  return *kept;
}

std::vector<TokenId> joined(std::span<const TokenId> a, std::span<const TokenId> b) {
  std::vector<TokenId> all(a.begin(), a.end());
  all.insert(all.end(), b.begin(), b.end());
  return all;
}

std::vector<float> logits_without_store(const std::string& backend,
                                        const std::string& model,
                                        std::span<const TokenId> ids) {
  const auto engine = engine_with({}, backend, model);
  const auto session = new_session(*engine);
  CHECK(set_tokens(*session, ids) == 0);
  return last_logits(*session);
}

}  // namespace

TEST_CASE("Prefixes: a system prompt shared by sessions is computed once, with the same results") {
  for (const char* model : tiny_models())
    for (const std::string& backend : usable_backends()) {
      CAPTURE(model);
      CAPTURE(backend);
      const auto engine = engine_with({kPlenty, "", 0}, backend, model);
      const auto system = random_ids(100, 320, 1);
      std::vector<std::unique_ptr<Session>> sessions;
      for (unsigned i = 0; i < 3; ++i) {
        const auto ids = joined(system, random_ids(30, 320, 10 + i));
        sessions.push_back(new_session(*engine));
        CHECK(set_tokens(*sessions.back(), ids) == (i == 0 ? 0 : 100));
        CHECK(last_logits(*sessions.back()) == logits_without_store(backend, model, ids));
      }
      for (unsigned i = 0; i < 3; ++i) {  // and each goes on alone
        const auto rest = random_ids(40, 320, 20 + i);
        REQUIRE(sessions[i]->append(rest).ok());
        const auto ids = joined(joined(system, random_ids(30, 320, 10 + i)), rest);
        CHECK(last_logits(*sessions[i]) == logits_without_store(backend, model, ids));
      }
    }
}

TEST_CASE("Prefixes: a session that returns to an earlier conversation goes on there") {
  const auto engine = engine_with({kPlenty, "", 0});
  const auto a = random_ids(120, 320, 2), b = random_ids(90, 320, 3);
  const auto session = new_session(*engine);
  set_tokens(*session, a);
  REQUIRE(session->append(random_ids(30, 320, 4)).ok());  // a reply
  const auto grown = std::vector<TokenId>(session->tokens().begin(), session->tokens().end());
  CHECK(set_tokens(*session, b) == 0);
  const auto next = joined(grown, random_ids(10, 320, 5));
  CHECK(set_tokens(*session, next) == 150);
  CHECK(last_logits(*session) == logits_without_store("cpu", "tiny-lfm2", next));
}

TEST_CASE("Prefixes: a destroyed session leaves its conversation") {
  const auto engine = engine_with({kPlenty, "", 0});
  auto session = new_session(*engine);
  set_tokens(*session, random_ids(50, 320, 6));
  REQUIRE(session->append(random_ids(20, 320, 7)).ok());
  const auto next = joined(session->tokens(), random_ids(5, 320, 8));
  session.reset();
  CHECK(engine->prefixes()->n_entries() == 1);  // the longer one replaced the prompt's
  session = new_session(*engine);
  CHECK(set_tokens(*session, next) == 70);
}

TEST_CASE("Prefixes: the budget holds, the least recently used go first") {
  const auto probe = engine_with({kPlenty, "", 0});
  set_tokens(*new_session(*probe), random_ids(60, 320, 9));
  const std::size_t one = probe->prefixes()->held_bytes();

  const auto engine = engine_with({3 * one, "", 0});
  std::unique_ptr<Session> session;
  std::vector<std::vector<TokenId>> prompts;
  for (unsigned i = 0; i < 5; ++i) {
    prompts.push_back(random_ids(60, 320, 30 + i));
    session = new_session(*engine);
    set_tokens(*session, prompts.back());
    session.reset();
    CHECK(engine->prefixes()->held_bytes() <= 3 * one);
  }
  CHECK(engine->prefixes()->n_entries() == 3);
  session = new_session(*engine);
  CHECK(set_tokens(*session, prompts[4]) == 59);  // the last token gives the logits
  CHECK(set_tokens(*session, prompts[0]) == 0);
  CHECK(set_tokens(*session, prompts[4]) == 59);

  const auto tiny = engine_with({1000, "", 0});
  set_tokens(*new_session(*tiny), prompts[0]);
  CHECK(tiny->prefixes()->n_entries() == 0);
}

TEST_CASE("Prefixes: pages that entries and sessions share count once") {
  const auto engine = engine_with({kPlenty, "", 0});
  const auto system = random_ids(256, 320, 10);
  std::size_t first = 0;
  for (unsigned i = 0; i < 4; ++i) {
    const auto session = new_session(*engine);
    set_tokens(*session, joined(system, random_ids(20, 320, 40 + i)));
    if (i == 0) first = engine->prefixes()->held_bytes();
  }
  CHECK(engine->prefixes()->n_entries() == 4);
  CHECK(engine->prefixes()->held_bytes() < 3 * first);
}

TEST_CASE("Prefixes: kinds of caches are not mixed up, nor contexts overrun") {
  const auto engine = engine_with({kPlenty, "", 0});
  const auto ids = random_ids(100, 320, 11);
  const auto wide = new_session(*engine, {512, quant::plain_kv(DType::f32), 0}),
             half = new_session(*engine, {512, quant::plain_kv(DType::f16), 0}),
             small = new_session(*engine, {80, quant::plain_kv(DType::f32), 0});
  set_tokens(*wide, ids);
  CHECK(set_tokens(*half, ids) == 0);
  CHECK(set_tokens(*small, std::span(ids).first(80)) == 79);
  CHECK(small->append(std::span(ids).first(1)).code() == Code::context_full);
}

TEST_CASE("Prefixes: state from a file stays with its session") {
  const test::TempDir dir;
  const auto engine = engine_with({kPlenty, "", 0});
  const auto ids = random_ids(60, 320, 12);
  const auto plain = engine_with({});
  const auto writer = new_session(*plain);
  set_tokens(*writer, ids);
  REQUIRE(writer->save(dir / "s", "").ok());
  auto session = new_session(*engine);
  REQUIRE(session->load(dir / "s").ok());
  set_tokens(*session, joined(ids, random_ids(20, 320, 13)));
  session.reset();
  CHECK(engine->prefixes()->n_entries() == 0);
}

TEST_CASE("Prefixes: a folder keeps them for the next run") {
  const test::TempDir dir;
  const auto ids = random_ids(100, 320, 14), rest = random_ids(20, 320, 15);
  {
    const auto engine = engine_with({kPlenty, dir / "cache", kPlenty});
    const auto session = new_session(*engine);
    set_tokens(*session, ids);
  }
  const auto files = [&] {
    std::vector<std::filesystem::path> found;
    for (const auto& entry : std::filesystem::directory_iterator(dir / "cache"))
      found.push_back(entry.path());
    return found;
  };
  REQUIRE(files().size() == 1);
  {
    const auto engine = engine_with({kPlenty, dir / "cache", kPlenty});
    const auto session = new_session(*engine);
    CHECK(set_tokens(*session, joined(ids, rest)) == 100);
    CHECK(last_logits(*session) == logits_without_store("cpu", "tiny-lfm2", joined(ids, rest)));
    const auto half = new_session(*engine, {512, quant::plain_kv(DType::f16), 0});
    CHECK(set_tokens(*half, ids) == 0);
  }
  const auto other = engine_with({kPlenty, dir / "cache", kPlenty}, "cpu", "tiny-llama");
  const auto of_other = new_session(*other);
  CHECK(set_tokens(*of_other, ids) == 0);

  for (const auto& path : files()) {  // damaged files are no prefixes, and go
    std::string file = test::read_file(path);
    file[file.size() / 2] ^= 1;
    test::write_file(path, std::string_view(file));
  }
  const std::size_t before = files().size();
  const auto engine = engine_with({kPlenty, dir / "cache", kPlenty});
  const auto session = new_session(*engine);
  CHECK(set_tokens(*session, joined(ids, rest)) == 0);
  CHECK(files().size() < before);
}

TEST_CASE("Prefixes: a folder stays within its budget, and one that cannot be used harms nobody") {
  const test::TempDir dir;
  for (unsigned i = 0; i < 4; ++i) {
    const auto engine = engine_with({1000, dir / "cache", 300000});  // memory for none of them
    const auto session = new_session(*engine);
    set_tokens(*session, random_ids(100, 320, 50 + i));
  }
  std::uintmax_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(dir / "cache"))
    bytes += entry.file_size();
  CHECK(bytes > 0);
  CHECK(bytes <= 300000);
  test::write_file(dir / "file", std::string_view("x"));
  const auto engine = engine_with({1000, dir / "file", kPlenty});
  const auto session = new_session(*engine);
  CHECK(set_tokens(*session, random_ids(100, 320, 60)) == 0);
}

}  // namespace runnel::tests

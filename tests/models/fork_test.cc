// Forked sessions: parent and children do not disturb each other, and what is shared exists once.
#include <doctest/doctest.h>

#include <thread>

#include "tests/models/golden.h"

namespace runnel::tests {
namespace {

std::unique_ptr<Session> fork(const Session& parent) {
  auto child = parent.fork();
  REQUIRE_MESSAGE(child.ok(), child.status().message());
  return *std::move(child);
}

std::vector<float> fresh_logits(Engine& engine,
                                std::span<const TokenId> prefix,
                                std::span<const TokenId> rest) {
  const auto session = new_session(engine);
  append(*session, prefix);
  append(*session, rest);
  return last_logits(*session);
}

}  // namespace

TEST_CASE("Fork: parent and children go on as if they were alone") {
  for (const char* model : tiny_models())
    for (const std::string& backend : usable_backends()) {
      CAPTURE(model);
      CAPTURE(backend);
      const auto engine = load_engine(converted(model, "q8_0"), backend);
      const auto prefix = random_ids(100, 320, 1), a = random_ids(90, 320, 2),
                 b = random_ids(90, 320, 3), c = random_ids(90, 320, 4);
      const auto parent = new_session(*engine);
      append(*parent, prefix);
      const auto left = fork(*parent), right = fork(*parent);
      CHECK(last_logits(*left) == last_logits(*parent));
      for (std::size_t i = 0; i < 90; i += 9) {  // across a page edge, all in turn
        append(*left, std::span(a).subspan(i, 9));
        append(*parent, std::span(c).subspan(i, 9));
        append(*right, std::span(b).subspan(i, 9));
      }
      CHECK(last_logits(*left) == fresh_logits(*engine, prefix, a));
      CHECK(last_logits(*right) == fresh_logits(*engine, prefix, b));
      CHECK(last_logits(*parent) == fresh_logits(*engine, prefix, c));
    }
}

TEST_CASE("Fork: a child may roll back into what it shares, and outlive its parent") {
  const auto engine = load_engine(converted("tiny-lfm2", "q8_0"), "cpu");
  const auto prefix = random_ids(150, 320, 5), rest = random_ids(20, 320, 6);
  auto parent = new_session(*engine);
  append(*parent, prefix);
  const auto child = fork(*parent);
  REQUIRE(child->truncate(70).ok());
  append(*child, rest);
  const auto grandchild = fork(*child);
  append(*parent, rest);
  CHECK(last_logits(*parent) == fresh_logits(*engine, prefix, rest));
  parent.reset();
  append(*child, rest);
  append(*grandchild, rest);
  std::vector<TokenId> twice(rest);
  twice.insert(twice.end(), rest.begin(), rest.end());
  CHECK(last_logits(*child) == fresh_logits(*engine, std::span(prefix).first(70), twice));
  CHECK(last_logits(*grandchild) == last_logits(*child));
}

TEST_CASE("Fork: a child of a session that must replay replays, too") {
  const auto engine = load_engine(converted("tiny-lfm2", "q8_0"), "cpu");
  const auto prefix = random_ids(150, 320, 7), rest = random_ids(5, 320, 8);
  const auto parent = new_session(*engine);
  append(*parent, prefix);
  REQUIRE(parent->truncate(100).ok());
  const auto child = fork(*parent);
  CHECK(child->logits().status().code() == Code::invalid_argument);
  append(*child, rest);
  CHECK(last_logits(*child) == fresh_logits(*engine, std::span(prefix).first(100), rest));
}

TEST_CASE("Fork: shared pages are counted once") {
  const auto engine = load_engine(converted("tiny-lfm2", "q8_0"), "cpu");
  const auto prefix = random_ids(200, 320, 9);
  const auto parent = new_session(*engine);
  append(*parent, prefix);
  CHECK(parent->memory().shared == 0);
  const std::size_t page = parent->memory().kv / 4;
  std::vector<std::unique_ptr<Session>> children;
  for (int i = 0; i < 5; ++i) children.push_back(fork(*parent));
  CHECK(parent->memory().shared == 4 * page);
  for (const auto& child : children) append(*child, std::span(prefix).first(1));
  for (const auto& child : children) {
    CHECK(child->memory().kv == 4 * page);
    CHECK(child->memory().shared == 3 * page);  // one page of its own
  }
  children.clear();
  CHECK(parent->memory().shared == 0);
}

TEST_CASE("Fork: children work on threads of their own") {
  const auto engine = load_engine(converted("tiny-lfm2", "q8_0"), "cpu");
  const auto prefix = random_ids(100, 320, 10), rest = random_ids(60, 320, 11);
  const auto parent = new_session(*engine);
  append(*parent, prefix);
  std::vector<std::unique_ptr<Session>> children;
  for (int i = 0; i < 4; ++i) children.push_back(fork(*parent));
  std::vector<std::thread> threads;
  for (const auto& child : children)
    threads.emplace_back([&rest, session = child.get()] {
      for (TokenId id : rest) (void)session->append(std::span(&id, 1));
    });
  for (std::thread& thread : threads) thread.join();
  const std::vector<float> expected = fresh_logits(*engine, prefix, rest);
  for (const auto& child : children) CHECK(last_logits(*child) == expected);
}

}  // namespace runnel::tests

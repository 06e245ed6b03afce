#include "runtime/text/hash_table.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace runnel {
namespace {

TEST_CASE("PairTable, FindsWhatWasInserted") {
  PairTable table;
  CHECK(table.find(0) == PairTable::kNone);
  for (std::uint32_t i = 0; i < 5'000; ++i)
    CHECK(table.insert(PairTable::key(i % 70, i / 70), i) == i);
  CHECK(table.insert(PairTable::key(3, 0), 77) == 3);
  for (std::uint32_t i = 0; i < 5'000; ++i) CHECK(table.find(PairTable::key(i % 70, i / 70)) == i);
  CHECK(table.find(PairTable::key(70, 0)) == PairTable::kNone);
  CHECK(table.find(PairTable::key(0, 72)) == PairTable::kNone);
}

TEST_CASE("TextTable, FindsTheFirstWantedText") {
  std::vector<std::string> texts;
  for (int i = 0; i < 2'000; ++i)
    texts.push_back(std::string(static_cast<std::size_t>(i % 20), 'x') + std::to_string(i));
  texts.push_back("");
  texts.push_back("x1");  // again
  texts.push_back("unwanted");
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  std::vector<std::uint8_t> wanted(texts.size(), 1);
  wanted.back() = 0;
  const TextTable table(views, wanted);
  for (std::size_t i = 0; i < 2'000; ++i) CHECK(table.find(views[i]) == static_cast<int>(i));
  CHECK(table.find("") == -1);
  CHECK(table.find("unwanted") == -1);
  CHECK(table.find("x2000") == -1);
  CHECK(TextTable().find("a") == -1);
}

}  // namespace
}  // namespace runnel

#include <random>
#include <string>
#include <vector>

#include "runtime/text/special_matcher.h"
#include "runtime/text/tokenizer.h"
#include "tests/unit/text/test_vocabulary.h"

namespace runnel {
namespace {

using test::Ids;
using test::VocabularySpec;

VocabularySpec bytes_spec() {
  VocabularySpec spec;
  spec.add_bytes();
  return spec;
}

/// Loading fails with this code, and the message names the culprit.
void rejects(const VocabularySpec& spec, Code code, std::string_view culprit) {
  const Result<Tokenizer> tokenizer = test::load(spec);
  CAPTURE(culprit);
  REQUIRE_FALSE(tokenizer.ok());
  CHECK(tokenizer.status().code() == code);
  CHECK_MESSAGE(tokenizer.status().message().find(culprit) != std::string::npos,
                tokenizer.status().message());
}

TEST_CASE("Tokenizer, RejectsMissingAndUnknownParts") {
  VocabularySpec spec = bytes_spec();
  spec.model.clear();
  rejects(spec, Code::not_found, "tokenizer.ggml.model");
  spec.model = "llama";
  rejects(spec, Code::unsupported, "\"llama\"");
  spec = bytes_spec();
  spec.pre = "somebody";
  rejects(spec, Code::unsupported, "\"somebody\"");
  spec = bytes_spec();
  spec.tokens.clear();
  rejects(spec, Code::not_found, "tokenizer.ggml.tokens");
}

TEST_CASE("Tokenizer, RejectsBrokenKindsMergesAndIds") {
  VocabularySpec spec = bytes_spec();
  spec.kinds.pop_back();
  rejects(spec, Code::corrupt, "token_type has 255");
  for (const std::int32_t kind : {-1, 7, 1 << 30}) {
    spec = bytes_spec();
    spec.kinds[3] = kind;
    rejects(spec, Code::corrupt, "token_type[3]");
  }
  for (const char* merge : {"", "a", " ", "a ", " a", "ab"}) {
    spec = bytes_spec();
    spec.merges = {"a b", merge};
    rejects(spec, Code::corrupt, "merges[1]");
  }
  for (const char* key : {"bos", "eos", "eot", "eom", "unknown", "padding"}) {
    const std::string name = std::string("tokenizer.ggml.") + key + "_token_id";
    spec = bytes_spec();
    spec.more = [&](GgufWriter& writer) { writer.set_u32(name, 256); };
    rejects(spec, Code::corrupt, name);
    spec.more = [&](GgufWriter& writer) { writer.set_i32(name, -2); };
    rejects(spec, Code::corrupt, name);
    spec.more = [&](GgufWriter& writer) { writer.set_string(name, "1"); };
    rejects(spec, Code::corrupt, name);
    spec.more = [&](GgufWriter& writer) { writer.set_u32(name, 0xFFFFFFFF); };  // "none"
    CHECK(test::load(spec).ok());
  }
  for (const std::int32_t id : {-1, 256}) {
    spec = bytes_spec();
    spec.more = [&](GgufWriter& writer) {
      writer.set_i32s("runnel.tokenizer.eog_ids", std::vector<std::int32_t>{0, id});
    };
    rejects(spec, Code::corrupt, "eog_ids");
  }
}

TEST_CASE("Tokenizer, LeavesOutMergesOfUnknownPieces") {
  VocabularySpec spec = bytes_spec();
  spec.add("ab");
  spec.add("cd");
  spec.merges = {"zz y", "a zz", "a c", "x \xE2\x82\xAC", "\xFF y", "a b c", "a b", "c d"};
  const Tokenizer tokenizer = test::must_load(spec);
  CHECK(tokenizer.encode("abcd", {}) == Ids{tokenizer.find("ab"), tokenizer.find("cd")});
}

TEST_CASE("Tokenizer, KeepsStrangeTokensRawAndOutOfTheText") {
  VocabularySpec spec = bytes_spec();
  const TokenId raw = spec.add("a b");  // a space is no byte-level character
  const TokenId broken = spec.add("\xFF");
  const TokenId empty = spec.add("");
  const TokenId again = spec.add("a");
  spec.add("", TokenKind::control);
  spec.add("", TokenKind::user_defined);
  const TokenId unused = spec.add("\xC4\xA0x", TokenKind::unused);
  const TokenId overlong =
      spec.add(std::string(SpecialMatcher::kMaxBytes + 1, 'q'), TokenKind::user_defined);
  spec.pre = "other";
  spec.pattern = ".+";  // the whole text is one pre-token
  spec.more = [](GgufWriter& writer) { writer.set_bool("runnel.tokenizer.ignore_merges", true); };
  if (!test::load(spec).ok()) return;  // built without PCRE2
  const Tokenizer tokenizer = test::must_load(spec);
  CHECK(tokenizer.bytes(raw) == "a b");
  CHECK(tokenizer.bytes(broken) == "\xFF");
  CHECK(tokenizer.bytes(empty).empty());
  CHECK(tokenizer.bytes(unused) == "\xC4\xA0x");
  CHECK(tokenizer.encode("a b", {}).size() == 3);
  CHECK(tokenizer.encode("\xFF", {}) == Ids{tokenizer.find("\xFF")});
  CHECK(tokenizer.find("\xFF") < 256);
  CHECK(tokenizer.find("a") != again);
  CHECK(tokenizer.encode(tokenizer.bytes(overlong), {}).size() == SpecialMatcher::kMaxBytes + 1);
}

TEST_CASE("Tokenizer, ManySpecialsInALongTextAreFound") {
  VocabularySpec spec = bytes_spec();
  for (int i = 0; i < 1'000; ++i)
    spec.add("<|reserved_" + std::to_string(i) + "|>", TokenKind::control);
  const Tokenizer tokenizer = test::must_load(spec);
  std::string text;
  for (int i = 0; i < 20'000; ++i)
    text += i % 3 == 0 ? "<|reserved_" + std::to_string(i % 1'000) + "|>" : "<|reserved_";
  const Ids ids = tokenizer.encode(text, {Bos::never, Specials::parse});
  int n_specials = 0;
  for (const TokenId id : ids) n_specials += id >= 256;
  CHECK(n_specials == 6'667);
  CHECK(tokenizer.decode(ids, Tokenizer::Controls::keep) == text);
}

TEST_CASE("Tokenizer, AnyFlippedByteOfAFileGivesAnErrorOrATokenizer") {
  GgufWriter writer;
  writer.set_string("tokenizer.ggml.model", "gpt2");
  writer.set_string("tokenizer.ggml.pre", "lfm2");
  const std::vector<std::string_view> tokens{"<s>", "a", "b", "ab", "\xC4\xA0", "<0x0A>"};
  writer.set_strings("tokenizer.ggml.tokens", tokens);
  writer.set_i32s("tokenizer.ggml.token_type", std::vector<std::int32_t>{3, 1, 1, 1, 4, 6});
  writer.set_strings("tokenizer.ggml.merges", std::vector<std::string_view>{"a b", "b a"});
  writer.set_u32("tokenizer.ggml.bos_token_id", 0);
  REQUIRE(writer.begin_memory().ok());
  REQUIRE(writer.finish().ok());
  const std::vector<std::byte> image = writer.take_memory();
  int n_loaded = 0, n_rejected = 0;
  for (std::size_t at = 0; at < image.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::vector<std::byte> flipped = image;
      flipped[at] ^= static_cast<std::byte>(1 << bit);
      const Result<GgufFile> file = GgufFile::own(std::move(flipped));
      if (!file.ok()) continue;
      const Result<Tokenizer> tokenizer = Tokenizer::load(*file);
      tokenizer.ok() ? ++n_loaded : ++n_rejected;
      if (!tokenizer.ok()) continue;
      for (const char* text : {"<s> ab\nba ", "\xFF\xC4\xA0"})
        for (const TokenId id : tokenizer->encode(text, {Bos::always, Specials::parse}))
          CHECK(tokenizer->kind(id) <= TokenKind::byte);
    }
  }
  CHECK(n_loaded > 100);
  CHECK(n_rejected > 100);
}

}  // namespace
}  // namespace runnel

#include "runtime/text/tokenizer.h"

#include <random>
#include <set>
#include <string>
#include <vector>

#include "runtime/text/pattern_splitter.h"
#include "tests/unit/text/test_vocabulary.h"

namespace runnel {
namespace {

using test::Ids;
using test::VocabularySpec;

/// <s>=0 </s>=1 <|im_end|>=2 <tool>=3 (user defined), then bytes, then "ab" "abc" "Ġab" and "abcd".
VocabularySpec small_spec() {
  VocabularySpec spec;
  spec.add("<s>", TokenKind::control);
  spec.add("</s>", TokenKind::control);
  spec.add("<|im_end|>", TokenKind::control);
  spec.add("<tool>", TokenKind::user_defined);
  spec.add_bytes();
  spec.add_merge("a", "b");
  spec.add_merge("ab", "c");
  spec.add_merge("\xC4\xA0", "ab");
  spec.add("abcd");
  spec.more = [](GgufWriter& writer) { writer.set_u32("tokenizer.ggml.bos_token_id", 0); };
  return spec;
}

TokenId byte_id(const Tokenizer& tokenizer, char byte) {
  return tokenizer.find(std::string_view(&byte, 1));
}

TEST_CASE("Tokenizer, KnowsSpecialsOnlyWhenAsked") {
  const Tokenizer tokenizer = test::must_load(small_spec());
  const TokenId ab = tokenizer.find("ab");
  CHECK(tokenizer.encode("ab<s>ab", {Bos::never, Specials::parse}) == Ids{ab, 0, ab});
  const Ids plain = tokenizer.encode("ab<s>ab", {Bos::never, Specials::as_text});
  CHECK(plain.size() == 5);
  for (const TokenId id : plain) CHECK(tokenizer.kind(id) == TokenKind::normal);
  CHECK(tokenizer.decode(plain, Tokenizer::Controls::skip) == "ab<s>ab");
  CHECK(tokenizer.encode("a<tool>", {}) == Ids{byte_id(tokenizer, 'a'), 3});
  CHECK(tokenizer.encode("<tool><s>", {Bos::never, Specials::parse}) == Ids{3, 0});
}

TEST_CASE("Tokenizer, AddsBosOnceAndOnlyWhenAsked") {
  VocabularySpec spec = small_spec();
  const Tokenizer tokenizer = test::must_load(spec);
  const TokenId ab = tokenizer.find("ab");
  using enum Specials;
  CHECK(tokenizer.encode("ab", {Bos::never, parse}) == Ids{ab});
  CHECK(tokenizer.encode("ab", {Bos::always, as_text}) == Ids{0, ab});
  CHECK(tokenizer.encode("", {Bos::always, as_text}) == Ids{0});
  CHECK(tokenizer.encode("<s>ab", {Bos::always, parse}) == Ids{0, ab});
  CHECK(tokenizer.encode("<s>ab", {Bos::as_model, parse}) == Ids{0, ab});
  CHECK(tokenizer.encode("<s>ab", {Bos::never, parse}) == Ids{0, ab});
  CHECK(tokenizer.encode("<s><s>ab", {Bos::always, parse}) == Ids{0, 0, ab});
  CHECK(tokenizer.encode("ab<s>", {Bos::always, parse}) == Ids{0, ab, 0});
  const Ids as_text_ids = tokenizer.encode("<s>", {Bos::always, as_text});
  CHECK(as_text_ids.size() == 4);
  CHECK(as_text_ids[0] == 0);

  spec.more = [](GgufWriter& writer) {
    writer.set_u32("tokenizer.ggml.bos_token_id", 0);
    writer.set_bool("tokenizer.ggml.add_bos_token", false);
  };
  const Tokenizer without = test::must_load(spec);
  CHECK_FALSE(without.adds_bos());
  CHECK(without.encode("ab", {Bos::as_model, parse}) == Ids{ab});
  CHECK(without.encode("ab", {Bos::always, parse}) == Ids{0, ab});

  spec.more = [](GgufWriter& writer) { writer.set_bool("tokenizer.ggml.add_bos_token", true); };
  const Tokenizer none = test::must_load(spec);
  CHECK(none.bos() == -1);
  CHECK_FALSE(none.adds_bos());
  CHECK(none.encode("ab", {Bos::always, parse}) == Ids{ab});
}

TEST_CASE("Tokenizer, DefaultsFollowThePreTokenizer") {
  VocabularySpec spec = small_spec();
  CHECK(test::must_load(spec).adds_bos());
  spec.pre = "qwen2";
  CHECK_FALSE(test::must_load(spec).adds_bos());
}

TEST_CASE("Tokenizer, IgnoreMergesTakesAWholePreToken") {
  VocabularySpec spec = small_spec();
  const Tokenizer whole = test::must_load(spec);  // the default of lfm2
  const TokenId abcd = whole.find("abcd"), abc = whole.find("abc"), d = byte_id(whole, 'd');
  CHECK(whole.encode("abcd", {}) == Ids{abcd});
  CHECK(whole.encode("abcde", {}) == Ids{abc, d, byte_id(whole, 'e')});
  const auto keys = spec.more;
  spec.more = [](GgufWriter& writer) { writer.set_bool("runnel.tokenizer.ignore_merges", false); };
  CHECK(test::must_load(spec).encode("abcd", {}) == Ids{abc, d});
  spec.more = keys;
  spec.pre = "gpt-2";
  CHECK(test::must_load(spec).encode("abcd", {}) == Ids{abc, d});
}

TEST_CASE("Tokenizer, PlainTextNeverBecomesAControlToken") {
  VocabularySpec spec = small_spec();
  spec.add("stop", TokenKind::control);
  spec.add("to", TokenKind::control);
  spec.merges.insert(spec.merges.end(), {"t o", "s t"});
  const Tokenizer tokenizer = test::must_load(spec);
  CHECK(tokenizer.encode("stop", {}).size() == 4);
  CHECK(tokenizer.encode("stop", {Bos::never, Specials::parse}) == Ids{tokenizer.find("stop")});
}

TEST_CASE("Tokenizer, RoundTripsAnyBytes") {
  const Tokenizer tokenizer = test::must_load(test::demo_spec());
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  CHECK(tokenizer.decode(tokenizer.encode(all, {}), Tokenizer::Controls::keep) == all);
  std::mt19937 random(9);
  for (int round = 0; round < 300; ++round) {
    std::string text(random() % 200, ' ');
    for (char& c : text) c = static_cast<char>(random() % (round % 2 == 0 ? 256 : 128));
    CHECK(tokenizer.decode(tokenizer.encode(text, {}), Tokenizer::Controls::keep) == text);
  }
  CHECK(tokenizer.encode("\xE2\x82", {}) ==
        Ids{byte_id(tokenizer, '\xE2'), byte_id(tokenizer, '\x82')});
}

TEST_CASE("Tokenizer, EncodesALongPreTokenInPieces") {
  const Tokenizer tokenizer = test::must_load(test::demo_spec());
  const std::string text((16 << 20) + 5, '!');
  const Ids ids = tokenizer.encode(text, {});
  CHECK(tokenizer.decode(ids, Tokenizer::Controls::keep) == text);
}

TEST_CASE("Tokenizer, DecodesAndDescribesTokens") {
  const Tokenizer tokenizer = test::must_load(small_spec());
  const TokenId ab = tokenizer.find(" ab");
  REQUIRE(ab >= 0);
  const Ids ids{0, ab, 3, 2};
  CHECK(tokenizer.decode(ids, Tokenizer::Controls::keep) == "<s> ab<tool><|im_end|>");
  CHECK(tokenizer.decode(ids, Tokenizer::Controls::skip) == " ab<tool>");
  CHECK(tokenizer.bytes(ab) == " ab");
  for (const TokenId id : {-1, tokenizer.n_vocab(), 1 << 30, -(1 << 30)}) {
    CHECK(tokenizer.bytes(id).empty());
    CHECK(tokenizer.kind(id) == TokenKind::unused);
    CHECK_FALSE(tokenizer.is_eog(id));
  }
  CHECK(tokenizer.find("no such token") == -1);
  CHECK(tokenizer.find("") == -1);
}

TEST_CASE("Tokenizer, KnowsWhatEndsAGeneration") {
  VocabularySpec spec = small_spec();
  const std::int32_t normal_end = spec.add("<|end|>");
  spec.more = [](GgufWriter& writer) {
    writer.set_u32("tokenizer.ggml.eos_token_id", 10);
    writer.set_u32("tokenizer.ggml.eot_token_id", 11);
    writer.set_u32("tokenizer.ggml.eom_token_id", 15);
    writer.set_u32("tokenizer.ggml.padding_token_id", 12);
    writer.set_i32s("runnel.tokenizer.eog_ids", std::vector<std::int32_t>{13, 14});
  };
  const Tokenizer tokenizer = test::must_load(spec);
  std::set<TokenId> ends;
  for (TokenId id = 0; id < tokenizer.n_vocab(); ++id)
    if (tokenizer.is_eog(id)) ends.insert(id);
  CHECK(ends == std::set<TokenId>{1, 2, 10, 11, 13, 14, 15});  // 1 = </s>, 2 = <|im_end|>
  CHECK(normal_end > 15);
  CHECK(tokenizer.eos() == 10);
  CHECK(tokenizer.pad() == 12);
}

TEST_CASE("Tokenizer, BytesWithoutTokenBecomeUnknownOrNothing") {
  VocabularySpec spec;
  spec.add("<unk>", TokenKind::unknown);
  const TokenId a = spec.add("a");
  const TokenId newline = spec.add("<0x0a>", TokenKind::byte);
  spec.add("<0xZZ>", TokenKind::byte);
  CHECK(test::must_load(spec).encode("ab\na", {}) == Ids{a, newline, a});
  CHECK(test::must_load(spec).bytes(newline) == "\n");
  spec.more = [](GgufWriter& writer) { writer.set_u32("tokenizer.ggml.unknown_token_id", 0); };
  CHECK(test::must_load(spec).encode("ab\na", {}) == Ids{a, 0, newline, a});
}

TEST_CASE("Tokenizer, UsesAPatternForAnUnknownPreTokenizer" *
          doctest::skip(!PatternSplitter::available())) {
  VocabularySpec spec = small_spec();
  spec.pre = "somebody";
  spec.pattern = "a|bc";
  const Tokenizer tokenizer = test::must_load(spec);
  CHECK(tokenizer.encode("ab", {}) == Ids{byte_id(tokenizer, 'a'), byte_id(tokenizer, 'b')});
  spec.pattern = "a|(";
  const Result<Tokenizer> broken = test::load(spec);
  REQUIRE_FALSE(broken.ok());
  CHECK(broken.status().code() == Code::corrupt);
}

}  // namespace
}  // namespace runnel

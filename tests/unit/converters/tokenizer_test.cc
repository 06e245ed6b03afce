#include "converters/hf_tokenizer.h"

#include <doctest/doctest.h>

#include <string>

using namespace runnel;
using namespace runnel::converters;

namespace {

constexpr std::string_view kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

Json split(std::string_view regex) {
  return {{"type", "Split"},
          {"pattern", {{"Regex", regex}}},
          {"behavior", "Isolated"},
          {"invert", false}};
}

Json byte_level(bool use_regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", use_regex}};
}

Json sequence(std::vector<Json> steps) {
  return {{"type", "Sequence"}, {"pretokenizers", steps}};
}

// Ids 0-5 in the vocabulary, 6 and 7 added, 8 and 9 nobody's.
Json small_tokenizer() {
  Json json = Json::parse(R"({
    "added_tokens": [{"id": 0, "content": "<|pad|>", "special": true},
                     {"id": 6, "content": "<|im_end|>", "special": true},
                     {"id": 7, "content": "<tool>", "special": false}],
    "normalizer": null,
    "post_processor": null,
    "model": {"type": "BPE", "vocab": {"<|pad|>": 0, "a": 1, "b": 2, "ab": 3, "c": 4, "abc": 5},
              "merges": ["a b", "ab c"]}})");
  json["pre_tokenizer"] = sequence({split(kLlama3), byte_level(false)});
  return json;
}

Result<HfTokenizer> read(const Json& json, std::int64_t n_vocab = 10) {
  return read_tokenizer(json, n_vocab, "lfm2");
}

Status with(std::string_view pointer, const Json& value) {
  Json json = small_tokenizer();
  json[Json::json_pointer(std::string(pointer))] = value;
  return read(json).status();
}

}  // namespace

TEST_CASE("HfTokenizer fills tokens, types and merges") {
  const auto tokenizer = read(small_tokenizer());
  REQUIRE_MESSAGE(tokenizer.ok(), tokenizer.status().message());
  CHECK(tokenizer->tokens == std::vector<std::string>{"<|pad|>", "a", "b", "ab", "c", "abc",
                                                      "<|im_end|>", "<tool>", "[PAD8]", "[PAD9]"});
  using enum TokenType;
  CHECK(tokenizer->types == std::vector<TokenType>{control, normal, normal, normal, normal, normal,
                                                   control, user_defined, unused, unused});
  CHECK(tokenizer->merges == std::vector<std::string>{"a b", "ab c"});
  CHECK(tokenizer->pre == "lfm2");
  CHECK(tokenizer->pattern.empty());
  CHECK_FALSE(tokenizer->ignore_merges);
  CHECK(tokenizer->find("abc") == 5);
  CHECK(tokenizer->find("<tool>") == 7);
  CHECK_FALSE(tokenizer->find("[PAD8]").has_value());
}

TEST_CASE("HfTokenizer reads merges as pairs too") {
  Json json = small_tokenizer();
  json["model"]["merges"] = Json::parse(R"([["a","b"],["ab","c"]])");
  CHECK(read(json)->merges == std::vector<std::string>{"a b", "ab c"});
  for (const char* bad :
       {R"(["ab"])", R"(["a b c"])", R"([" b"])", R"(["a "])", R"([["a"]])", R"([["a","b","c"]])",
        R"([["a b","c"]])", R"([["","c"]])", "[3]", R"([["a",3]])", "{}", "3"}) {
    CAPTURE(bad);
    CHECK(with("/model/merges", Json::parse(bad)).code() == Code::corrupt);
  }
}

TEST_CASE("HfTokenizer recognises the known pre-tokenizers") {
  const auto pre = [](const Json& steps, std::string_view llama3 = "llama-bpe") {
    Json json = small_tokenizer();
    json["pre_tokenizer"] = steps;
    const auto tokenizer = read_tokenizer(json, 10, llama3);
    return tokenizer.ok() ? tokenizer->pre + "|" + tokenizer->pattern : "error";
  };
  CHECK(pre(sequence({split(kLlama3), byte_level(false)})) == "llama-bpe|");
  CHECK(pre(sequence({split(kLlama3), byte_level(false)}), "lfm2") == "lfm2|");
  CHECK(pre(sequence({split(kQwen2), byte_level(false)})) == "qwen2|");
  CHECK(pre(sequence({split(kGpt2), byte_level(false)})) == "gpt-2|");
  CHECK(pre(byte_level(true)) == "gpt-2|");
  CHECK(pre(sequence({byte_level(true)})) == "gpt-2|");
  CHECK(pre(sequence({split("\\S+|\\s+"), byte_level(false)})) == "default|\\S+|\\s+");
  Json removed = split(kQwen2);
  removed["behavior"] = "Removed";
  CHECK(pre(sequence({removed, byte_level(false)})) == "error");
  removed["invert"] = true;
  CHECK(pre(sequence({removed, byte_level(false)})) == "qwen2|");
}

TEST_CASE("HfTokenizer names what GGUF cannot express") {
  const auto unsupported = [](std::string_view pointer, const Json& value, std::string_view says) {
    CAPTURE(value.dump());
    const Status status = with(pointer, value);
    CHECK(status.code() == Code::unsupported);
    CHECK_MESSAGE(status.message().find(says) != std::string::npos, status.message());
  };
  unsupported("/pre_tokenizer", nullptr, "pre_tokenizer");
  unsupported("/pre_tokenizer", sequence({split(kLlama3)}), "ByteLevel");
  unsupported("/pre_tokenizer", byte_level(false), "one pattern");
  unsupported("/pre_tokenizer", sequence({split(kLlama3), byte_level(true)}), "one pattern");
  unsupported("/pre_tokenizer", sequence({split("a"), split("b"), byte_level(false)}),
              "one pattern");
  unsupported("/pre_tokenizer", sequence({{{"type", "Digits"}}, byte_level(true)}), "'Digits'");
  unsupported("/pre_tokenizer", {{"type", "Metaspace"}}, "'Metaspace'");
  unsupported("/model/type", "Unigram", "'Unigram'");
  unsupported("/model/byte_fallback", true, "byte_fallback");
  unsupported("/model/end_of_word_suffix", "</w>", "end_of_word_suffix");
  unsupported("/normalizer", {{"type", "Lowercase"}}, "'Lowercase'");
}

TEST_CASE("HfTokenizer rejects values of the wrong type everywhere") {
  const Json wrong[] = {3, "x", true, Json::array({3}), {{"x", 3}}};
  for (const char* pointer : {"/model",
                              "/model/vocab",
                              "/model/merges",
                              "/model/ignore_merges",
                              "/model/byte_fallback",
                              "/added_tokens",
                              "/added_tokens/1",
                              "/added_tokens/1/id",
                              "/added_tokens/1/content",
                              "/added_tokens/1/special",
                              "/normalizer",
                              "/pre_tokenizer",
                              "/pre_tokenizer/type",
                              "/pre_tokenizer/pretokenizers",
                              "/pre_tokenizer/pretokenizers/0",
                              "/pre_tokenizer/pretokenizers/0/pattern",
                              "/pre_tokenizer/pretokenizers/0/pattern/Regex",
                              "/pre_tokenizer/pretokenizers/0/behavior",
                              "/pre_tokenizer/pretokenizers/0/invert",
                              "/pre_tokenizer/pretokenizers/1/use_regex",
                              "/model/vocab/a"}) {
    const Json original = small_tokenizer()[Json::json_pointer(pointer)];
    for (const Json& value : wrong) {
      if (value.type() == original.type() || (value.is_number() && original.is_number()) ||
          (value.is_boolean() && original.is_null()))
        continue;
      CAPTURE(pointer);
      CAPTURE(value.dump());
      CHECK_FALSE(with(pointer, value).ok());
    }
  }
}

TEST_CASE("HfTokenizer rejects ids that are out of range or taken") {
  CHECK(with("/model/vocab/a", 10).code() == Code::corrupt);
  CHECK(with("/model/vocab/a", -1).code() == Code::corrupt);
  CHECK(with("/model/vocab/a", 18446744073709551615u).code() == Code::corrupt);
  CHECK(with("/model/vocab/a", 2).code() == Code::corrupt);      // that is b
  CHECK(with("/added_tokens/1/id", 5).code() == Code::corrupt);  // that is abc
  CHECK(with("/added_tokens/1/id", 1 << 30).code() == Code::corrupt);
  CHECK(with("/added_tokens/1/content", "").code() == Code::corrupt);
  CHECK(read(small_tokenizer(), 7).status().code() == Code::corrupt);
  CHECK(read(small_tokenizer(), 8).ok());
  CHECK(read(small_tokenizer(), std::int64_t{1} << 31).status().code() == Code::unsupported);
}

TEST_CASE("HfTokenizer sees which special tokens surround a text") {
  Json json = small_tokenizer();
  const Json piece = {{"Sequence", {{"id", "A"}}}};
  const Json bos = {{"SpecialToken", {{"id", "<|pad|>"}}}};
  const Json eos = {{"SpecialToken", {{"id", "<|im_end|>"}}}};
  const Json processor = {{"type", "TemplateProcessing"}, {"single", {bos, piece, eos}}};
  json["post_processor"] = processor;
  CHECK(read(json)->first == "<|pad|>");
  CHECK(read(json)->last == "<|im_end|>");
  json["post_processor"] = {{"type", "Sequence"},
                            {"processors", {{{"type", "ByteLevel"}}, processor}}};
  CHECK(read(json)->first == "<|pad|>");
  json["post_processor"] = {{"type", "ByteLevel"}};
  CHECK_FALSE(read(json)->first.has_value());
  for (const char* bad : {"3", "[]", R"({"type":"Sequence"})", R"({"type":"TemplateProcessing"})",
                          R"({"type":"TemplateProcessing","single":[3]})",
                          R"({"type":"TemplateProcessing","single":[{"SpecialToken":3}]})",
                          R"({"type":"TemplateProcessing","single":[{"SpecialToken":{}}]})",
                          R"({"type":"Sequence","processors":[3]})"}) {
    CAPTURE(bad);
    CHECK(with("/post_processor", Json::parse(bad)).code() == Code::corrupt);
  }
}

TEST_CASE("HfTokenizer survives truncation and bit flips") {
  const std::string text = small_tokenizer().dump();
  for (std::size_t n = 0; n < text.size(); ++n)
    CHECK_FALSE(parse_json(text.substr(0, n), "t").ok());
  int n_read = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = text;
      flipped[i] = static_cast<char>(flipped[i] ^ (1 << bit));
      const auto json = parse_json(flipped, "t");
      if (json.ok() && read(*json).ok()) ++n_read;
    }
  }
  CHECK(n_read > 0);
}

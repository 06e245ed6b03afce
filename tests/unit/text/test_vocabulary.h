// Makes GGUF images with tokenizers for the tests of this folder.
#pragma once
#include <doctest/doctest.h>

#include <cstdint>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/io/gguf.h"
#include "runtime/io/gguf_writer.h"
#include "runtime/text/byte_level.h"
#include "runtime/text/tokenizer.h"

namespace runnel::test {

inline std::string utf8(char32_t c) {
  const auto byte = [](char32_t value) { return static_cast<char>(value); };
  if (c < 0x80) return {byte(c)};
  if (c < 0x800) return {byte(0xC0 | (c >> 6)), byte(0x80 | (c & 0x3F))};
  if (c < 0x10000)
    return {byte(0xE0 | (c >> 12)), byte(0x80 | ((c >> 6) & 0x3F)), byte(0x80 | (c & 0x3F))};
  return {byte(0xF0 | (c >> 18)), byte(0x80 | ((c >> 12) & 0x3F)), byte(0x80 | ((c >> 6) & 0x3F)),
          byte(0x80 | (c & 0x3F))};
}

/// What a tokenizer test puts into a file. Empty lists and strings are left out.
struct VocabularySpec {
  std::vector<std::string> tokens;
  std::vector<std::int32_t> kinds;  // as many as tokens, or none
  std::vector<std::string> merges;
  std::string model = "gpt2";
  std::string pre = "lfm2";
  std::string pattern;
  std::function<void(GgufWriter&)> more = [](GgufWriter&) {};  // further keys

  std::int32_t add(std::string text, TokenKind kind = TokenKind::normal) {
    tokens.push_back(std::move(text));
    kinds.push_back(static_cast<std::int32_t>(kind));
    return static_cast<std::int32_t>(tokens.size()) - 1;
  }
  /// The 256 byte-level characters, by code point as usual.
  void add_bytes() {
    std::vector<bool> printable(0x144, false);
    for (int byte = 0; byte < 256; ++byte)
      printable[byte_level_char(static_cast<std::uint8_t>(byte))] = true;
    for (char32_t c = 0; c < 0x144; ++c)
      if (printable[c]) add(utf8(c));
  }
  void add_merge(const std::string& left, const std::string& right) {
    merges.push_back(left + " " + right);
    add(left + right);
  }
};

inline GgufFile make_file(const VocabularySpec& spec) {
  GgufWriter writer;
  const auto set_strings = [&](const char* key, const std::vector<std::string>& texts) {
    writer.set_strings(key, std::vector<std::string_view>(texts.begin(), texts.end()));
  };
  if (!spec.model.empty()) writer.set_string("tokenizer.ggml.model", spec.model);
  if (!spec.pre.empty()) writer.set_string("tokenizer.ggml.pre", spec.pre);
  if (!spec.pattern.empty()) writer.set_string("runnel.tokenizer.pattern", spec.pattern);
  if (!spec.tokens.empty()) set_strings("tokenizer.ggml.tokens", spec.tokens);
  if (!spec.kinds.empty()) writer.set_i32s("tokenizer.ggml.token_type", spec.kinds);
  set_strings("tokenizer.ggml.merges", spec.merges);
  spec.more(writer);
  REQUIRE(writer.begin_memory().ok());
  REQUIRE(writer.finish().ok());
  Result<GgufFile> file = GgufFile::own(writer.take_memory());
  REQUIRE_MESSAGE(file.ok(), file.status().message());
  return *std::move(file);
}

inline Result<Tokenizer> load(const VocabularySpec& spec) {
  return Tokenizer::load(make_file(spec));
}

inline Tokenizer must_load(const VocabularySpec& spec) {
  Result<Tokenizer> tokenizer = load(spec);
  REQUIRE_MESSAGE(tokenizer.ok(), tokenizer.status().message());
  return *std::move(tokenizer);
}

/// The demo model's tokenizer: 8192 tokens, BOS 1, EOS 7, pad 0.
inline VocabularySpec demo_spec() {
  VocabularySpec spec;
  std::ifstream in(RUNNEL_SOURCE_DIR "/tests/unit/text/data/demo_merges.txt");
  REQUIRE(in.good());
  int part = 0;
  for (std::string line; std::getline(in, line);) {
    if (line == "---") {
      if (++part == 2) spec.add_bytes();
    } else if (part == 1) {
      spec.add(line, TokenKind::control);
    } else if (part == 2) {
      const std::size_t space = line.find(' ');
      spec.add_merge(line.substr(0, space), line.substr(space + 1));
    }
  }
  spec.more = [](GgufWriter& writer) {
    writer.set_u32("tokenizer.ggml.bos_token_id", 1);
    writer.set_u32("tokenizer.ggml.eos_token_id", 7);
    writer.set_u32("tokenizer.ggml.padding_token_id", 0);
    writer.set_bool("tokenizer.ggml.add_bos_token", true);
    writer.set_bool("runnel.tokenizer.ignore_merges", false);
  };
  return spec;
}

using Ids = std::vector<TokenId>;

}  // namespace runnel::test

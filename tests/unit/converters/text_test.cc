// Tokenizer, special tokens, chat templates and sampling hints in a converted file.
#include <doctest/doctest.h>

#include <string>

#include "tests/unit/converters/test_model.h"

using namespace runnel;
using namespace runnel::converters;
using namespace runnel::converters::test;

namespace {

// A tokenizer of 320 tokens for the tiny models: <|pad|>, <|startoftext|>, <|endoftext|> are 0 to
// 2,
// <|im_end|> is 7.
std::string tokenizer_json() {
  Json json = Json::parse(R"({
    "added_tokens": [{"id": 0, "content": "<|pad|>", "special": true},
                     {"id": 1, "content": "<|startoftext|>", "special": true},
                     {"id": 2, "content": "<|endoftext|>", "special": true},
                     {"id": 7, "content": "<|im_end|>", "special": true}],
    "post_processor": {"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<|startoftext|>"}}, {"Sequence": {"id": "A"}}]},
    "pre_tokenizer": {"type": "ByteLevel", "use_regex": true},
    "model": {"type": "BPE", "vocab": {}, "merges": []}})");
  for (int i = 8; i < 300; ++i) json["model"]["vocab"]["t" + std::to_string(i)] = i;
  json["model"]["merges"].push_back("t8 t9");
  return json.dump();
}

TestModel text_model() {
  TestModel model = TestModel::load("tiny-qwen3");
  model.config = Json::parse(R"({"architectures":["Qwen3ForCausalLM"],"hidden_size":128,
    "num_hidden_layers":2,"num_attention_heads":2,"num_key_value_heads":1,"head_dim":64})");
  model.files["tokenizer.json"] = tokenizer_json();
  return model;
}

Converted with_files(const std::map<std::string, std::string>& files, const char* config = "{}") {
  TestModel model = text_model();
  model.config.merge_patch(Json::parse(config));
  for (const auto& [name, text] : files) model.files[name] = text;
  return Converted(model, "bf16");
}

std::vector<std::int64_t> eog_ids(const Converted& out) {
  const auto value = out.file->get_ints("runnel.tokenizer.eog_ids");
  return value.ok() ? value->value_or(std::vector<std::int64_t>()) : std::vector<std::int64_t>();
}

constexpr const char* kTokenizerConfig = "tokenizer_config.json";
constexpr const char* kGenerationConfig = "generation_config.json";
constexpr std::int64_t kAbsent = -999;

}  // namespace

TEST_CASE("Convert writes the tokenizer arrays") {
  const Converted out = with_files({});
  REQUIRE_MESSAGE(out.status.ok(), out.status.message());
  CHECK(out.text("tokenizer.ggml.model") == "gpt2");
  CHECK(out.text("tokenizer.ggml.pre") == "gpt-2");
  const auto tokens = out.file->get_strings("tokenizer.ggml.tokens");
  REQUIRE((*tokens)->size() == 320);
  CHECK((**tokens)[1] == "<|startoftext|>");
  CHECK((**tokens)[9] == "t9");
  CHECK((**tokens)[319] == "[PAD319]");
  const auto types = out.file->get_ints("tokenizer.ggml.token_type");
  REQUIRE((*types)->size() == 320);
  CHECK((**types)[1] == 3);
  CHECK((**types)[9] == 1);
  CHECK((**types)[319] == 5);
  CHECK((*out.file->get_strings("tokenizer.ggml.merges"))->front() == "t8 t9");
  CHECK(out.file->find("runnel.tokenizer.ignore_merges") == nullptr);
  CHECK(out.file->find("runnel.tokenizer.pattern") == nullptr);
}

TEST_CASE("Convert says when ignore_merges or the pattern is not what the name implies") {
  Json json = Json::parse(tokenizer_json());
  json["model"]["ignore_merges"] = true;
  CHECK(with_files({{"tokenizer.json", json.dump()}}).integer("runnel.tokenizer.ignore_merges") ==
        1);
  json["model"]["ignore_merges"] = false;
  json["normalizer"] = {{"type", "NFC"}};
  json["pre_tokenizer"] = Json::parse(R"({"type":"Sequence","pretokenizers":[
    {"type":"Split","pattern":{"Regex":"\\S+|\\s+"},"behavior":"Isolated","invert":false},
    {"type":"ByteLevel","use_regex":false}]})");
  const Converted out = with_files({{"tokenizer.json", json.dump()}});
  CHECK(out.text("tokenizer.ggml.pre") == "default");
  CHECK(out.text("runnel.tokenizer.pattern") == "\\S+|\\s+");
  CHECK(out.text("runnel.tokenizer.normalizer") == "nfc");
}

TEST_CASE("Convert finds special tokens by text, then by id") {
  const Converted bare = with_files({});
  CHECK(bare.integer("tokenizer.ggml.bos_token_id") == kAbsent);
  CHECK(bare.integer("tokenizer.ggml.add_bos_token") == 0);
  CHECK(bare.integer("tokenizer.ggml.eot_token_id") == 7);

  const Converted ids = with_files({}, R"({"bos_token_id":1,"eos_token_id":2,"pad_token_id":0})");
  CHECK(ids.integer("tokenizer.ggml.bos_token_id") == 1);
  CHECK(ids.integer("tokenizer.ggml.eos_token_id") == 2);
  CHECK(ids.integer("tokenizer.ggml.padding_token_id") == 0);
  CHECK(ids.integer("tokenizer.ggml.add_bos_token") == 1);  // the template puts it there
  CHECK(ids.integer("tokenizer.ggml.add_eos_token") == 0);
  CHECK(eog_ids(ids) == std::vector<std::int64_t>{2, 7});

  const char* texts = R"({"bos_token":"<|startoftext|>","eos_token":{"content":"<|im_end|>"},
                          "pad_token":null,"add_bos_token":false})";
  const Converted named = with_files({{kTokenizerConfig, texts}}, R"({"bos_token_id":9})");
  CHECK(named.integer("tokenizer.ggml.bos_token_id") == 1);
  CHECK(named.integer("tokenizer.ggml.eos_token_id") == 7);
  CHECK(named.integer("tokenizer.ggml.padding_token_id") == kAbsent);
  CHECK(named.integer("tokenizer.ggml.add_bos_token") == 0);  // said so
  CHECK(eog_ids(named).empty());

  const Converted mapped = with_files({{"special_tokens_map.json", R"({"pad_token":"<|pad|>"})"}});
  CHECK(mapped.integer("tokenizer.ggml.padding_token_id") == 0);
}

TEST_CASE("Convert takes several end tokens from generation_config") {
  const Converted out =
      with_files({{kGenerationConfig, R"({"eos_token_id":[2,7,12]})"}}, R"({"eos_token_id":11})");
  CHECK(out.integer("tokenizer.ggml.eos_token_id") == 2);
  CHECK(out.integer("tokenizer.ggml.eot_token_id") == 7);
  CHECK(eog_ids(out) == std::vector<std::int64_t>{2, 7, 12, 11});
  const Converted outside = with_files({{kGenerationConfig, R"({"eos_token_id":[2,-1,320]})"}});
  REQUIRE(outside.status.ok());
  CHECK(eog_ids(outside) == std::vector<std::int64_t>{2, 7});
  CHECK(outside.summary.notes.size() == 2);
}

TEST_CASE("Convert takes the chat template from every place") {
  const char* key = "tokenizer.chat_template";
  CHECK(with_files({}).text(key) == "absent");
  CHECK(with_files({{kTokenizerConfig, R"({"chat_template":"A"})"}}).text(key) == "A");
  CHECK(with_files({{"chat_template.json", R"({"chat_template":"B"})"}}).text(key) == "B");
  CHECK(with_files({{kTokenizerConfig, R"({"chat_template":"A"})"}, {"chat_template.jinja", "C\n"}})
            .text(key) == "C\n");
  const Converted named = with_files({{kTokenizerConfig, R"({"chat_template":[
      {"name":"tool_use","template":"T"},{"name":"default","template":"D"}]})"}});
  CHECK(named.text(key) == "D");
  CHECK(named.text("tokenizer.chat_template.tool_use") == "T");
  for (const char* bad :
       {"3", "{}", "[3]", R"([{"name":"x"}])", R"([{"name":3,"template":"a"}])",
        R"([{"name":"a\nb","template":"a"}])", R"([{"name":"","template":"a"}])"}) {
    CAPTURE(bad);
    const Converted out =
        with_files({{kTokenizerConfig, "{\"chat_template\":" + std::string(bad) + "}"}});
    CHECK(out.status.code() == Code::corrupt);
  }
  CHECK_FALSE(with_files({{"chat_template.jinja", std::string((1 << 20) + 1, 'x')}}).status.ok());
}

TEST_CASE("Convert writes only the sampling hints that are there and make sense") {
  const Converted out = with_files({{kGenerationConfig, R"({"temperature":0.3,"top_k":50,
      "repetition_penalty":1.05,"top_p":1.5,"min_p":null})"}});
  REQUIRE(out.status.ok());
  CHECK(out.number("runnel.sampling.temperature") == doctest::Approx(0.3));
  CHECK(out.integer("runnel.sampling.top_k") == 50);
  CHECK(out.file->find("runnel.sampling.top_k")->type == GgufType::u32);
  CHECK(out.number("runnel.sampling.repeat_penalty") == doctest::Approx(1.05));
  CHECK(out.file->find("runnel.sampling.top_p") == nullptr);
  CHECK(out.file->find("runnel.sampling.min_p") == nullptr);
  REQUIRE(out.summary.notes.size() == 1);
  CHECK(out.summary.notes[0].find("top_p") != std::string::npos);
}

TEST_CASE("Convert rejects text files with wrong types, naming file and key") {
  const auto rejects = [](const char* file, const char* key, const char* value) {
    CAPTURE(file);
    CAPTURE(key);
    CAPTURE(value);
    const Converted out =
        with_files({{file, "{\"" + std::string(key) + "\":" + std::string(value) + "}"}});
    CHECK(out.status.code() == Code::corrupt);
    CHECK(mentions(out.status, file));
    CHECK(mentions(out.status, key));
  };
  for (const char* key : {"bos_token", "eos_token", "pad_token"}) {
    for (const char* value : {"3", "[]", "{}", R"({"content":3})"}) {
      rejects(kTokenizerConfig, key, value);
      rejects("special_tokens_map.json", key, value);
    }
  }
  for (const char* key : {"add_bos_token", "add_eos_token"}) rejects(kTokenizerConfig, key, "1");
  for (const char* key : {"bos_token_id", "eos_token_id", "pad_token_id"})
    for (const char* value : {"\"1\"", "{}", "[1.5]", "[\"a\"]", "1.5"})
      rejects(kGenerationConfig, key, value);
  for (const char* key : {"temperature", "top_k", "top_p", "min_p", "repetition_penalty"})
    for (const char* value : {"\"1\"", "{}", "[]", "true"}) rejects(kGenerationConfig, key, value);
  for (const char* file : {kTokenizerConfig, kGenerationConfig, "special_tokens_map.json",
                           "chat_template.json", "tokenizer.json", "config.json"}) {
    CAPTURE(file);
    for (const char* text : {"", "[]", "3", "{", "\xff", "{\"a\":[[[["}) {
      TestModel model = text_model();
      model.files[file] = text;
      const Converted out(model);
      CHECK(out.status.code() == Code::corrupt);
      CHECK(mentions(out.status, file));
    }
  }
}

TEST_CASE("Convert refuses a SentencePiece tokenizer and does without any") {
  TestModel model = text_model();
  model.files.erase("tokenizer.json");
  const Converted none(model);
  REQUIRE(none.status.ok());
  CHECK(none.file->find("tokenizer.ggml.model") == nullptr);
  CHECK(none.integer("qwen3.vocab_size") == 320);
  model.files["tokenizer.model"] = "x";
  const Converted sentencepiece(model);
  CHECK(sentencepiece.status.code() == Code::unsupported);
  CHECK(mentions(sentencepiece.status, "SentencePiece"));
}

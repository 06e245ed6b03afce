#include "converters/safetensors.h"

#include <doctest/doctest.h>

#include <cstring>

#include "tests/unit/converters/test_model.h"

using namespace runnel;
using namespace runnel::converters;
using namespace runnel::converters::test;

namespace {

std::string image_of(const std::string& header, const std::string& data) {
  const std::uint64_t size = header.size();
  std::string image(8, '\0');
  std::memcpy(image.data(), &size, 8);
  return image + header + data;
}

Result<std::vector<SourceTensor>> parse(const std::string& image) {
  // A copy of exactly this size, so that the address sanitizer sees any read behind it.
  const std::vector<char> copy(image.begin(), image.end());
  return parse_safetensors(std::as_bytes(std::span(copy)), "m");
}

Status parse_header(const std::string& header, std::size_t data_bytes) {
  return parse(image_of(header, std::string(data_bytes, 'x'))).status();
}

const TestTensors kSmall{{"a", make_tensor("BF16", {2, 3}, 1)},
                         {"b", make_tensor("F32", {2}, 2)},
                         {"c", make_tensor("F16", {}, 3)}};

}  // namespace

TEST_CASE("Safetensors reads names, shapes and places") {
  const std::string image = safetensors_image(kSmall);
  const auto tensors = parse(image);
  REQUIRE(tensors.ok());
  REQUIRE(tensors->size() == 3);
  const SourceTensor& b = (*tensors)[1];
  CHECK(b.name == "b");
  CHECK(b.dtype == quant::DType::f32);
  CHECK(b.shape == std::vector<std::int64_t>{2});
  CHECK(image.substr(b.offset, b.bytes) == kSmall.at("b").data);
  CHECK((*tensors)[0].dtype == quant::DType::bf16);
  CHECK((*tensors)[2].dtype == quant::DType::f16);
  CHECK((*tensors)[2].shape.empty());
}

TEST_CASE("Safetensors rejects a file cut at any byte") {
  const std::string image = safetensors_image(kSmall);
  for (std::size_t n = 0; n < image.size(); ++n) CHECK_FALSE(parse(image.substr(0, n)).ok());
  CHECK_FALSE(parse(image + "x").ok());
}

TEST_CASE("Safetensors survives every bit flip in its header") {
  const std::string image = safetensors_image(kSmall);
  const std::size_t header_end = image.size() - 12 - 8 - 2;
  int n_accepted = 0;
  for (std::size_t i = 0; i < header_end; ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = image;
      flipped[i] = static_cast<char>(flipped[i] ^ (1 << bit));
      const auto tensors = parse(flipped);
      if (!tensors.ok()) continue;
      ++n_accepted;  // a changed name, say
      std::uint64_t bytes = 0;
      for (const SourceTensor& tensor : *tensors) {
        REQUIRE(tensor.offset <= flipped.size());
        REQUIRE(tensor.bytes <= flipped.size() - tensor.offset);
        bytes += tensor.bytes;
      }
      REQUIRE(bytes == 12 + 8 + 2);
    }
  }
  CHECK(n_accepted > 0);
}

TEST_CASE("Safetensors rejects headers that lie") {
  const auto corrupt = [](const char* header, std::size_t data_bytes, const char* says) {
    CAPTURE(header);
    const Status status = parse_header(header, data_bytes);
    CHECK(status.code() == Code::corrupt);
    CHECK_MESSAGE(mentions(status, says), status.message());
  };
  CHECK(parse_header(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8).ok());
  CHECK(parse_header("{}", 0).ok());
  corrupt(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8, "'a'");
  corrupt(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,12]}})", 8, "outside");
  corrupt(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8, "outside");
  corrupt(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}})", 8, "outside");
  corrupt(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8, "shape");
  corrupt(R"({"a":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}})", 8, "shape");
  corrupt(R"({"a":{"dtype":"F32","shape":"2","data_offsets":[0,8]}})", 8, "shape");
  corrupt(R"({"a":{"dtype":4,"shape":[2],"data_offsets":[0,8]}})", 8, "dtype");
  corrupt(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}})", 8, "data_offsets");
  corrupt(R"({"a":{"dtype":"F32","shape":[2]}})", 8, "data_offsets");
  corrupt(R"({"a":{"shape":[2],"data_offsets":[0,8]}})", 8, "dtype");
  corrupt(R"({"a":7})", 8, "not a JSON object");
  corrupt("[]", 0, "not an object");
  corrupt("{", 0, "not valid JSON");
  // 2^32 * 2^32 wraps to 0 and 2^62 * 4 wraps in bytes.
  corrupt(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0,
          "shape");
  corrupt(R"({"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}})", 0,
          "does not match");
  corrupt(R"({"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,0]}})", 0,
          "shape");
  corrupt(R"({"a":{"dtype":"F32","shape":[1e400],"data_offsets":[0,0]}})", 0, "not valid JSON");
  corrupt(R"({"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}})", 4,
          "dimensions");
}

TEST_CASE("Safetensors rejects overlaps, holes and repeated names") {
  const std::string a = R"("a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]})";
  const std::string b = R"("b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]})";
  const std::string c = R"("c":{"dtype":"U8","shape":[2],"data_offsets":[6,8]})";
  CHECK(mentions(parse_header("{" + a + "," + b + "}", 6), "overlaps"));
  CHECK(mentions(parse_header("{" + a + "," + c + "}", 8), "hole"));
  CHECK(mentions(parse_header("{" + a + "}", 5), "fill"));
  CHECK(mentions(parse_header("{" + a + "," + a + "}", 4), "twice"));
}

TEST_CASE("Safetensors allows unknown dtypes and empty tensors") {
  const auto tensors = parse(image_of(R"({"a":{"dtype":"F4","shape":[8],"data_offsets":[0,4]},)"
                                      R"("b":{"dtype":"F32","shape":[0,9],"data_offsets":[4,4]}})",
                                      "1234"));
  REQUIRE(tensors.ok());
  CHECK_FALSE((*tensors)[0].dtype.has_value());
  CHECK((*tensors)[1].bytes == 0);
}

TEST_CASE("Safetensors rejects a header of impossible length") {
  std::string image = safetensors_image(kSmall);
  for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{1} << 40, ~std::uint64_t{0},
                                   ~std::uint64_t{0} - 7, std::uint64_t{image.size() - 7}}) {
    std::memcpy(image.data(), &size, 8);
    CHECK_FALSE(parse(image).ok());
  }
}

namespace {

// Two shards; the index maps a to the first, b to the second.
void write_shards(const TempDir& dir, const std::string& second_name) {
  write_file(dir / "model-1.safetensors", safetensors_image({{"a", make_tensor("F32", {2}, 1)}}));
  write_file(dir / "model-2.safetensors", safetensors_image({{"b", make_tensor("F32", {2}, 2)}}));
  const Json index{{"weight_map", {{"a", "model-1.safetensors"}, {"b", second_name}}}};
  write_file(dir / "model.safetensors.index.json", index.dump());
}

}  // namespace

TEST_CASE("Checkpoint joins shards") {
  const TempDir dir;
  write_shards(dir, "model-2.safetensors");
  auto checkpoint = Checkpoint::open(dir.path());
  REQUIRE(checkpoint.ok());
  REQUIRE(checkpoint->find("a") != nullptr);
  REQUIRE(checkpoint->find("b") != nullptr);
  CHECK(checkpoint->find("c") == nullptr);
  const std::string expected = make_tensor("F32", {2}, 2).data;
  for (int round = 0; round < 2; ++round) {
    const auto bytes = checkpoint->data(*checkpoint->find("b"));
    REQUIRE(bytes.size() == expected.size());
    CHECK(std::memcmp(bytes.data(), expected.data(), bytes.size()) == 0);
    REQUIRE(checkpoint->reopen().ok());
  }
  write_file(dir / "model-2.safetensors", "shorter");
  CHECK(checkpoint->reopen().code() == Code::corrupt);
}

TEST_CASE("Checkpoint rejects file names that leave the directory") {
  const TempDir outer;
  for (const char* name : {"../model-2.safetensors", "/etc/model-2.safetensors",
                           "x/model-2.safetensors", "x\\model-2.safetensors", "..", "",
                           "model-2.bin", "C:model-2.safetensors", "a\nb.safetensors"}) {
    CAPTURE(name);
    const TempDir dir;
    write_shards(dir, name);
    const Status status = Checkpoint::open(dir.path()).status();
    CHECK(status.code() == Code::corrupt);
    CHECK(mentions(status, "not allowed"));
  }
}

TEST_CASE("Checkpoint rejects a broken index") {
  const auto open_with = [](const char* index) {
    const TempDir dir;
    write_shards(dir, "model-2.safetensors");
    write_file(dir / "model.safetensors.index.json", index);
    return Checkpoint::open(dir.path()).status();
  };
  CHECK(open_with("{}").code() == Code::corrupt);
  CHECK(open_with("[]").code() == Code::corrupt);
  CHECK(open_with(R"({"weight_map":[]})").code() == Code::corrupt);
  CHECK(open_with(R"({"weight_map":{"a":1}})").code() == Code::corrupt);
  const Status absent = open_with(R"({"weight_map":{"z":"model-1.safetensors"}})");
  CHECK(mentions(absent, "'z'"));
  CHECK(open_with(R"({"weight_map":{"a":"model-3.safetensors"}})").code() == Code::not_found);
}

TEST_CASE("Checkpoint says what it did not find") {
  const TempDir dir;
  CHECK(Checkpoint::open(dir.path()).status().code() == Code::not_found);
  CHECK(Checkpoint::open(dir / "none").status().code() == Code::not_found);
  write_file(dir / "pytorch_model.bin", "x");
  CHECK(Checkpoint::open(dir.path()).status().code() == Code::unsupported);
}

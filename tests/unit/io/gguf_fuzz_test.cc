// Truncation, bit flips and random changes of a small valid file: an error or a readable file,
// never a read outside the image. Meant to run under AddressSanitizer too.
#include <doctest/doctest.h>

#include <random>

#include "runtime/io/gguf.h"
#include "tests/unit/io/gguf_bytes.h"

namespace runnel {
namespace {

/// Reads everything that an opened file offers; returns a sum so that nothing is optimised away.
std::uint64_t read_everything(const GgufFile& file) {
  std::uint64_t sum = file.file_bytes() + file.version();
  for (const GgufKey& key : file.keys()) {
    sum += key.name.size() + key.count + gguf_type_name(key.element_type).size();
    for (const std::byte b : key.payload) sum += static_cast<std::uint64_t>(b);
    sum += file.get_int(key.name).ok() + file.get_float(key.name).ok();
    sum += file.get_bool(key.name).ok() + file.get_string(key.name).ok();
    sum += file.get_ints(key.name).ok() + file.get_floats(key.name).ok();
    const auto strings = file.get_strings(key.name);
    if (!strings.ok()) continue;
    for (const std::string_view text : **strings)
      for (const char c : text) sum += static_cast<unsigned char>(c);
  }
  for (const GgufTensor& tensor : file.tensors()) {
    REQUIRE(file.tensor(tensor.name) == &tensor);
    const auto rows = static_cast<std::size_t>(tensor.shape.rows());
    const auto cols = static_cast<std::size_t>(tensor.shape.cols());
    REQUIRE(tensor.data.size() == rows * quant::row_bytes(tensor.dtype, cols));
    for (const std::byte b : tensor.data) sum += static_cast<std::uint64_t>(b);
  }
  return sum;
}

/// True when the image opened. A refusal must be explained and be one of the documented kinds.
bool survives(std::vector<std::byte> image) {
  image.shrink_to_fit();  // so that the sanitizer sees a read behind the end
  const Result<GgufFile> file = GgufFile::own(std::move(image));
  if (file.ok()) return read_everything(*file) != 0;
  const Status status = file.status();
  REQUIRE((status.code() == Code::corrupt || status.code() == Code::unsupported));
  REQUIRE_FALSE(status.message().empty());
  return false;
}

TEST_CASE("GgufFile, RefusesTruncationAtEveryByte") {
  constexpr std::size_t kFinalPadding = 28;
  const std::vector<std::byte> whole = test::small_valid_gguf().build();
  REQUIRE(survives(whole));
  for (std::size_t n = 0; n < whole.size(); ++n) {
    INFO("bytes kept: ", n);
    const std::vector<std::byte> part(whole.begin(), whole.begin() + static_cast<long>(n));
    CHECK(survives(part) == (n >= whole.size() - kFinalPadding));
  }
}

TEST_CASE("GgufFile, SurvivesEverySingleBitFlip") {
  const test::GgufBytes bytes = test::small_valid_gguf();
  const std::vector<std::byte> whole = bytes.build();
  std::size_t n_opened = 0;
  const std::size_t n_bits = bytes.header().size() * 8;
  for (std::size_t bit = 0; bit < n_bits; ++bit) {
    std::vector<std::byte> image = whole;
    image[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
    n_opened += survives(std::move(image));
  }
  // Flips in names and values are harmless; those in counts, lengths and types mostly are not.
  CHECK(n_opened > n_bits / 10);
  CHECK(n_opened < n_bits * 9 / 10);
}

/// Numbers that sit at the edge of some check.
std::uint64_t edge_number(std::mt19937_64* random) {
  constexpr std::uint64_t kEdges[] = {0, 1, 2, 4, 8, 9, 31, 32, 33, 64, 65, 255, 1 << 16, 1 << 24};
  const std::uint64_t edge = kEdges[(*random)() % std::size(kEdges)];
  switch ((*random)() % 4) {
    case 0:
      return edge;
    case 1:
      return ~edge;
    case 2:
      return (std::uint64_t{1} << ((*random)() % 64)) - edge;
    default:
      return (std::uint64_t{1} << ((*random)() % 64)) + edge;
  }
}

void mutate(std::vector<std::byte>* image, std::mt19937_64* random) {
  if (image->size() < 16) return;
  const std::size_t at = (*random)() % (image->size() - 8);
  switch ((*random)() % 5) {
    case 0:
      (*image)[at] = static_cast<std::byte>((*random)());
      break;
    case 1: {
      const std::uint64_t number = edge_number(random);
      std::memcpy(image->data() + at, &number, (*random)() % 2 ? 8 : 4);
      break;
    }
    case 2: {  // copy a piece over another place
      const std::size_t from = (*random)() % (image->size() - 8);
      const std::size_t n = std::min(image->size() - std::max(at, from), (*random)() % 64);
      std::memmove(image->data() + at, image->data() + from, n);
      break;
    }
    case 3: {  // remove a piece
      const std::size_t n = std::min(image->size() - at, (*random)() % 16);
      const auto begin = image->begin() + static_cast<long>(at);
      image->erase(begin, begin + static_cast<long>(n));
      break;
    }
    default:
      image->insert(image->begin() + static_cast<long>(at), (*random)() % 16,
                    static_cast<std::byte>((*random)()));
  }
}

TEST_CASE("GgufFile, SurvivesRandomChanges") {
  const std::vector<std::byte> whole = test::small_valid_gguf().build();
  std::mt19937_64 random(20240607);
  std::size_t n_opened = 0;
  constexpr std::size_t kRounds = 40000;
  for (std::size_t round = 0; round < kRounds; ++round) {
    std::vector<std::byte> image = whole;
    const std::uint64_t n_changes = 1 + random() % 4;
    for (std::uint64_t i = 0; i < n_changes; ++i) mutate(&image, &random);
    n_opened += survives(std::move(image));
  }
  CHECK(n_opened > kRounds / 100);  // else the changes only ever reach the first check
  CHECK(n_opened < kRounds / 2);
}

}  // namespace
}  // namespace runnel

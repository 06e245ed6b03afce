#include "converters/imatrix.h"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "runtime/io/gguf.h"
#include "runtime/io/gguf_writer.h"
#include "tests/unit/temp_dir.h"

namespace runnel::converters {
namespace {

using runnel::test::TempDir;

/// A file with one pair of tensors, as others write it; each test spoils something.
struct ForeignFile {
  std::string type = "imatrix";
  std::string sums_name = "blk.0.ffn_up.weight.in_sum2";
  std::string counts_name = "blk.0.ffn_up.weight.counts";
  Shape sums_shape{2, 3}, counts_shape{2, 1};
  std::vector<float> sums{2, 4, 6, 9, 9, 9}, counts{2, 3};
  quant::DType dtype = quant::DType::f32;

  Result<Imatrix> read() const {
    const TempDir dir;
    GgufWriter writer;
    writer.set_string("general.type", type);
    writer.set_strings("imatrix.datasets", std::vector<std::string_view>{"a.txt", "b.txt"});
    writer.set_u32("imatrix.chunk_count", 7);
    writer.set_u32("imatrix.chunk_size", 512);
    REQUIRE(writer.add_tensor(sums_name, dtype, sums_shape).ok());
    REQUIRE(writer.add_tensor(counts_name, quant::DType::f32, counts_shape).ok());
    REQUIRE(writer.begin_file(dir / "im.gguf").ok());
    REQUIRE(writer.write(std::as_bytes(std::span(sums))).ok());
    REQUIRE(writer.write(std::as_bytes(std::span(counts))).ok());
    REQUIRE(writer.finish().ok());
    return Imatrix::read(dir / "im.gguf");
  }
};

void check_refused(Code code,
                   std::string_view text,
                   const std::function<void(ForeignFile&)>& spoil) {
  ForeignFile file;
  spoil(file);
  const Result<Imatrix> read = file.read();
  REQUIRE_FALSE(read.ok());
  CHECK(read.status().code() == code);
  CAPTURE(read.status().message());
  CHECK(read.status().message().find(text) != std::string::npos);
}

Imatrix::Rows rows_of(std::string_view weight,
                      const std::vector<float>& values,
                      std::int64_t n_in) {
  Imatrix::Rows rows;
  rows.weight = weight;
  rows.n_in = n_in;
  rows.n_rows = static_cast<std::int64_t>(values.size()) / n_in;
  rows.values = values.data();
  return rows;
}

TEST_CASE("Imatrix, ReadsWhatOthersWrite") {
  const Result<Imatrix> read = ForeignFile{}.read();
  REQUIRE_MESSAGE(read.ok(), read.status().message());
  CHECK(read->n_chunks == 7);
  CHECK(read->chunk_size == 512);
  CHECK(read->datasets == std::vector<std::string>{"a.txt", "b.txt"});
  const Imatrix::Entry* entry = read->find("blk.0.ffn_up.weight");
  REQUIRE(entry != nullptr);
  CHECK(entry->n_in == 3);
  CHECK(entry->n_matrices == 2);
  CHECK(entry->means(0) == std::vector<float>{1, 2, 3});
  CHECK(entry->means(1) == std::vector<float>{3, 3, 3});
  CHECK(read->find("blk.0.ffn_up.weight.in_sum2") == nullptr);
}

TEST_CASE("Imatrix, AddsSquaresRowByRow") {
  Imatrix imatrix;
  const std::vector<float> values{1, 2, 3, -4};
  imatrix.add(rows_of("a", values, 2));
  imatrix.add(rows_of("a", values, 2));
  CHECK(imatrix.find("a")->sums == std::vector<double>{20, 40});
  CHECK(imatrix.find("a")->counts == std::vector<double>{4});
  CHECK(imatrix.find("a")->means(0) == std::vector<float>{5, 10});
}

TEST_CASE("Imatrix, GivesEachExpertItsRows") {
  Imatrix imatrix;
  const std::vector<float> values{1, 2, 3, 4};
  const std::vector<std::int32_t> experts{0, 2, 2, 1};  // two per row
  Imatrix::Rows rows = rows_of("e", values, 2);
  rows.n_matrices = 4;
  rows.n_per_row = 2;
  rows.matrices = experts.data();
  imatrix.add(rows);
  const Imatrix::Entry& entry = *imatrix.find("e");
  CHECK(entry.counts == std::vector<double>{1, 1, 2, 0});
  CHECK(entry.means(0) == std::vector<float>{1, 4});
  CHECK(entry.means(1) == std::vector<float>{9, 16});
  CHECK(entry.means(2) == std::vector<float>{5, 10});
  CHECK(entry.means(3).empty());
}

TEST_CASE("Imatrix, WritesTheFormOfOthersAndReadsItBack") {
  Imatrix imatrix;
  const std::vector<float> values{1, 2, 3, 4};
  const std::vector<std::int32_t> experts{0, 1};
  imatrix.add(rows_of("blk.0.attn_q.weight", values, 4));
  Imatrix::Rows rows = rows_of("blk.0.ffn_up_exps.weight", values, 2);
  rows.n_matrices = 2;
  rows.matrices = experts.data();
  imatrix.add(rows);
  imatrix.datasets = {"text.txt"};
  imatrix.n_chunks = 3;
  imatrix.chunk_size = 128;
  const TempDir dir;
  REQUIRE(imatrix.write(dir / "im.gguf").ok());

  const Result<GgufFile> file = GgufFile::open(dir / "im.gguf");
  REQUIRE(file.ok());
  CHECK(**file->get_string("general.type") == "imatrix");
  CHECK(file->tensors().size() == 4);
  CHECK(file->tensor("blk.0.attn_q.weight.in_sum2")->shape == Shape{1, 4});
  CHECK(file->tensor("blk.0.attn_q.weight.counts")->shape == Shape{1, 1});
  CHECK(file->tensor("blk.0.ffn_up_exps.weight.in_sum2")->shape == Shape{2, 2});
  CHECK(file->tensor("blk.0.ffn_up_exps.weight.counts")->shape == Shape{2, 1});

  const Result<Imatrix> back = Imatrix::read(dir / "im.gguf");
  REQUIRE(back.ok());
  CHECK(back->datasets == imatrix.datasets);
  CHECK(back->n_chunks == 3);
  CHECK(back->chunk_size == 128);
  REQUIRE(back->entries.size() == 2);
  for (const auto& [weight, entry] : imatrix.entries) {
    CHECK(back->find(weight)->sums == entry.sums);
    CHECK(back->find(weight)->counts == entry.counts);
  }
}

TEST_CASE("Imatrix, DoesNotWriteWhatIsNotFinite") {
  Imatrix imatrix;
  const std::vector<float> values{1, INFINITY};
  imatrix.add(rows_of("a", values, 2));
  const TempDir dir;
  CHECK(imatrix.write(dir / "im.gguf").code() == Code::corrupt);
  CHECK(dir.size() == 0);
}

TEST_CASE("Imatrix, RefusesHostileFiles") {
  check_refused(Code::invalid_argument, "no importance", [](auto& f) { f.type = "model"; });
  check_refused(Code::corrupt, "no counts", [](auto& f) { f.counts_name = "other.counts"; });
  check_refused(Code::corrupt, "holds no sums", [](auto& f) { f.sums_name = "other"; });
  check_refused(Code::corrupt, "does not match", [](auto& f) {
    f.counts_shape = Shape{3, 1};
    f.counts = {1, 1, 1};
  });
  for (const float bad : {-1.0f, NAN, INFINITY}) {
    check_refused(Code::corrupt, "not finite", [&](auto& f) { f.sums[4] = bad; });
    check_refused(Code::corrupt, "not finite", [&](auto& f) { f.counts[1] = bad; });
  }
  check_refused(Code::corrupt, "is not f32", [](auto& f) { f.dtype = quant::DType::i32; });
  CHECK(Imatrix::read("/nonexistent/im.gguf").status().code() == Code::not_found);
}

}  // namespace
}  // namespace runnel::converters

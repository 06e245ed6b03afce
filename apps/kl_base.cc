#include "apps/kl_base.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "apps/app.h"

namespace runnel::app {
namespace {

struct Header {
  char magic[8];
  std::uint64_t n_vocab, n_rows, ids_hash;
};
constexpr char kMagic[9] = "RNLKL001";

/// FNV-1a. SOURCE: Fowler, Noll, Vo.
std::uint64_t hash_ids(const std::vector<std::int32_t>& ids) {
  std::uint64_t hash = 0xCBF29CE484222325ull;
  for (std::int32_t id : ids) hash = (hash ^ static_cast<std::uint32_t>(id)) * 0x100000001B3ull;
  return hash;
}

/// Log-probabilities are <= 0; 1/1024 nat from -64 to 0 in 16 bits, error below 5e-4 nat.
std::uint16_t pack(double log_p) {
  return static_cast<std::uint16_t>(std::lround(std::clamp(-log_p, 0.0, 63.99) * 1024.0));
}
double unpack(std::uint16_t code) {
  return -static_cast<double>(code) / 1024.0;
}

}  // namespace

KlBase::KlBase(std::string path,
               std::size_t n_vocab,
               std::size_t n_rows,
               const std::vector<std::int32_t>& ids)
    : path_(std::move(path)), n_vocab_(n_vocab), n_rows_(n_rows), row_(n_vocab) {
  Header expected{};
  std::memcpy(expected.magic, kMagic, 8);
  expected.n_vocab = n_vocab;
  expected.n_rows = n_rows;
  expected.ids_hash = hash_ids(ids);
  compares_ = std::filesystem::exists(path_);
  if (compares_) {
    file_.open(path_, std::ios::binary | std::ios::in);
    Header found{};
    file_.read(reinterpret_cast<char*>(&found), sizeof found);
    if (!file_ || std::memcmp(&found, &expected, sizeof found) != 0)
      fail(Exit::bad_input, path_ + " holds no logits of this text, context and vocabulary");
    return;
  }
  temporary_ = path_ + "." + std::to_string(getpid()) + ".tmp";
  file_.open(temporary_, std::ios::binary | std::ios::out | std::ios::trunc);
  file_.write(reinterpret_cast<const char*>(&expected), sizeof expected);
  if (!file_) fail(Exit::bad_input, "cannot write " + path_);
}

KlBase::~KlBase() {
  if (!compares_ && !finished_) std::remove(temporary_.c_str());
}

void KlBase::take(const float* logits, double norm) {
  const auto bytes = static_cast<std::streamsize>(n_vocab_ * sizeof(std::uint16_t));
  ++rows_done_;
  if (!compares_) {
    for (std::size_t i = 0; i < n_vocab_; ++i)
      row_[i] = pack(static_cast<double>(logits[i]) - norm);
    file_.write(reinterpret_cast<const char*>(row_.data()), bytes);
    return;
  }
  file_.read(reinterpret_cast<char*>(row_.data()), bytes);
  if (!file_) fail(Exit::bad_input, path_ + " ends early");
  // The stored row does not quite add up to 1; left so, that alone would be a divergence of 1e-4.
  double total = 0, divergence = 0;
  for (std::size_t i = 0; i < n_vocab_; ++i) total += std::exp(unpack(row_[i]));
  const double correction = std::log(total);
  for (std::size_t i = 0; i < n_vocab_; ++i) {
    const double base = unpack(row_[i]) - correction;
    divergence += std::exp(base) * (base - (static_cast<double>(logits[i]) - norm));
  }
  divergences_.push_back(std::max(0.0, divergence));
  const auto base_top = std::min_element(row_.begin(), row_.end()) - row_.begin();
  n_same_top_ += std::max_element(logits, logits + n_vocab_) - logits == base_top;
}

void KlBase::finish() {
  if (rows_done_ != n_rows_)
    fail(Exit::bad_input, "fewer positions were scored than " + path_ + " holds");
  if (compares_) return;
  file_.close();
  if (!file_ || std::rename(temporary_.c_str(), path_.c_str()) != 0)
    fail(Exit::bad_input, "cannot write " + path_);
  finished_ = true;
}

KlSummary KlBase::summary() const {
  std::vector<double> sorted = divergences_;
  std::ranges::sort(sorted);
  KlSummary summary;
  for (double value : sorted) summary.mean += value;
  const auto n = static_cast<double>(sorted.size());
  summary.mean /= n;
  summary.p99 = sorted[std::min(sorted.size() - 1, static_cast<std::size_t>(0.99 * n))];
  summary.top1 = static_cast<double>(n_same_top_) / n;
  return summary;
}

}  // namespace runnel::app

// The file behind --kl-base: log-probabilities of every scored position of a base model, written by
// a first run and compared with by later ones. Layout: "RNLKL001", u64 n_vocab, u64 n_rows, u64
// hash of the token ids, then n_rows rows of n_vocab u16 codes of -1024 * log-probability,
// little-endian.
#pragma once
#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

namespace runnel::app {

struct KlSummary {
  double mean = 0;  // KL(base || this model), nats a position
  double p99 = 0;   // its 99th percentile
  double top1 = 0;  // share of positions where both models' likeliest token is the same
};

class KlBase {
 public:
  /// Opens `path` for comparing when it exists, else creates it (temporary name until finish()).
  /// Fails with bad_input when it belongs to another text, context or vocabulary.
  KlBase(std::string path,
         std::size_t n_vocab,
         std::size_t n_rows,
         const std::vector<std::int32_t>& ids);
  ~KlBase();
  KlBase(const KlBase&) = delete;
  KlBase& operator=(const KlBase&) = delete;
  bool compares() const { return compares_; }
  /// The next scored row; `norm` is its log-sum-exp.
  void take(const float* logits, double norm);
  /// Writing: completes and renames the file. Comparing: checks that all rows were used.
  void finish();
  KlSummary summary() const;

 private:
  std::string path_, temporary_;
  std::size_t n_vocab_;
  std::size_t n_rows_, rows_done_ = 0;
  bool compares_ = false, finished_ = false;
  std::fstream file_;
  std::vector<std::uint16_t> row_;
  std::vector<double> divergences_;
  std::size_t n_same_top_ = 0;
};

}  // namespace runnel::app

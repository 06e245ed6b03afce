#include "apps/kv_damage.h"

#include <algorithm>
#include <cmath>

namespace runnel::app {
namespace {

constexpr std::size_t kPieceTokens = 64;  // logits of so many tokens are held at a time

/// log-probabilities of a row, in place.
void log_softmax(std::span<float> row) {
  const float top = *std::ranges::max_element(row);
  double sum = 0;
  for (const float x : row) sum += std::exp(static_cast<double>(x - top));
  const auto norm = static_cast<float>(std::log(sum) + static_cast<double>(top));
  for (float& x : row) x -= norm;
}

std::size_t argmax(std::span<const float> row) {
  return static_cast<std::size_t>(std::ranges::max_element(row) - row.begin());
}

/// Rows of logits of one piece.
struct Rows {
  std::size_t n_vocab = 0;
  std::vector<float> values;  // [n_rows, n_vocab]

  std::span<float> row(std::size_t r) { return std::span(values).subspan(r * n_vocab, n_vocab); }
};

void evaluate(runnel_session* session, std::span<const std::int32_t> ids, Rows& rows) {
  rows.values.clear();
  must(runnel_session_evaluate(
      session, ids.data(), ids.size(),
      [](void* user, std::int32_t, std::int32_t n, const float* logits) {
        Rows& all = *static_cast<Rows*>(user);
        all.values.insert(all.values.end(), logits,
                          logits + static_cast<std::size_t>(n) * all.n_vocab);
        return 1;
      },
      &rows));
  for (std::size_t r = 0; r < ids.size(); ++r) log_softmax(rows.row(r));
}

/// One cache, its session and what it did to the model.
struct Contender {
  std::string kv;
  SessionPtr session;
  std::vector<double> divergences;
  std::size_t n_same_top = 0;

  void compare(std::span<const float> base, std::span<const float> row) {
    double kl = 0;
    for (std::size_t i = 0; i < base.size(); ++i)
      kl += std::exp(static_cast<double>(base[i])) * static_cast<double>(base[i] - row[i]);
    divergences.push_back(std::max(0.0, kl));
    n_same_top += argmax(base) == argmax(row);
  }

  KvDamage damage() {
    std::ranges::sort(divergences);
    const std::size_t n = divergences.size();
    double sum = 0;
    for (const double kl : divergences) sum += kl;
    const auto count = static_cast<double>(n);
    return {kv, sum / count, divergences[std::min(n - 1, n * 99 / 100)],
            static_cast<double>(n_same_top) / count};
  }
};

SessionPtr session_with(runnel_engine* engine, ModelFlags flags, const std::string& kv) {
  flags.kv = kv;
  flags.kv_without.clear();
  flags.kv_force = true;
  return open_session(engine, flags);
}

}  // namespace

std::vector<KvDamage> measure_kv(runnel_engine* engine,
                                 const ModelFlags& flags,
                                 std::span<const std::string> names,
                                 TextChunks& chunks,
                                 std::size_t first,
                                 const std::function<void(double)>& on_step) {
  Rows base, rows;
  base.n_vocab = rows.n_vocab = static_cast<std::size_t>(model_info(engine).n_vocab);
  const SessionPtr exact = session_with(engine, flags, "f32");
  std::vector<Contender> contenders;
  for (const std::string& name : names)
    contenders.push_back({name, session_with(engine, flags, name), {}, 0});
  const std::size_t n_pieces = (chunks.n_tokens + kPieceTokens - 1) / kPieceTokens;
  const auto total = static_cast<double>((chunks.n_chunks - first) * n_pieces);
  for (std::size_t chunk = first; chunk < chunks.n_chunks; ++chunk) {
    must(runnel_session_truncate(exact.get(), 0));
    for (const Contender& one : contenders) must(runnel_session_truncate(one.session.get(), 0));
    const std::span<const std::int32_t> ids = chunks.chunk(chunk);
    for (std::size_t at = 0; at < ids.size(); at += kPieceTokens) {
      const std::size_t n_done = (chunk - first) * n_pieces + at / kPieceTokens;
      on_step(static_cast<double>(n_done) / total);
      const auto piece = ids.subspan(at, std::min(kPieceTokens, ids.size() - at));
      evaluate(exact.get(), piece, base);
      for (Contender& one : contenders) {
        evaluate(one.session.get(), piece, rows);
        for (std::size_t r = 0; r < piece.size(); ++r)
          if (at + r >= ids.size() / 2) one.compare(base.row(r), rows.row(r));
      }
    }
  }
  std::vector<KvDamage> found;
  for (Contender& one : contenders) found.push_back(one.damage());
  return found;
}

}  // namespace runnel::app

// runnel perplexity -m FILE -f TEXT [-c 512] [--kl-base FILE]
// Protocol: the text's tokens (no BOS) are cut into chunks of c tokens, the first token of each
// chunk is replaced by BOS, and positions c/2+1 .. c-1 are scored, each from the logits before it.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "apps/app.h"
#include "apps/kl_base.h"
#include "apps/terminal.h"
#include "apps/text_chunks.h"

namespace runnel::app {
namespace {

struct PerplexityFlags {
  ModelFlags model;
  std::string file, kl_base;
  int chunks = 0;
  bool json = false;
};

/// log(sum(exp(x))) of a row.
double log_sum_exp(const float* row, std::size_t n) {
  const float top = *std::max_element(row, row + n);
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += std::exp(static_cast<double>(row[i] - top));
  return std::log(sum) + static_cast<double>(top);
}

/// Scores one chunk row by row as logits arrive.
struct Scorer {
  std::size_t n_vocab = 0;
  const std::int32_t* ids = nullptr;
  std::int32_t n_ids = 0, first_scored = 0;  // row r predicts ids[r + 1]
  double loss = 0;                           // sum of -log p
  std::int64_t n_scored = 0;
  KlBase* base = nullptr;

  void take(std::int32_t first_row, std::int32_t n_rows, const float* logits) {
    for (std::int32_t r = 0; r < n_rows; ++r) {
      const std::int32_t target = first_row + r + 1;
      if (target < first_scored || target >= n_ids) continue;
      const float* row = logits + static_cast<std::size_t>(r) * n_vocab;
      const double norm = log_sum_exp(row, n_vocab);
      loss += norm - static_cast<double>(row[ids[target]]);
      ++n_scored;
      if (base != nullptr) base->take(row, norm);
    }
  }
};

void print(const PerplexityFlags& flags,
           const Scorer& scorer,
           std::size_t n_chunks,
           const KlBase* base) {
  nlohmann::ordered_json json;
  json["perplexity"] = std::exp(scorer.loss / static_cast<double>(scorer.n_scored));
  json["tokens"] = scorer.n_scored;
  json["chunks"] = n_chunks;
  json["context"] = flags.model.context;
  if (base != nullptr && base->compares()) {
    const KlSummary kl = base->summary();
    json["kl_mean"] = kl.mean;
    json["kl_p99"] = kl.p99;
    json["top1"] = kl.top1;
  }
  if (flags.json) {
    std::puts(json.dump(2).c_str());
    return;
  }
  for (const auto& [name, value] : json.items())
    std::printf("%s: %s\n", name.c_str(), value.dump().c_str());
}

void run(PerplexityFlags flags) {
  if (flags.model.context == 0) flags.model.context = 512;
  const auto context = static_cast<std::size_t>(flags.model.context);
  if (context < 4) fail(Exit::usage, "-c must be at least 4");
  const std::string text = read_file(flags.file);
  const EnginePtr engine = open_engine(flags.model);
  const runnel_model_info info = model_info(engine.get());
  const SessionPtr session = open_session(engine.get(), flags.model);
  TextChunks chunks = text_chunks(engine.get(), text, flags.file, context, flags.chunks);
  Scorer scorer;
  scorer.n_vocab = static_cast<std::size_t>(info.n_vocab);
  scorer.n_ids = flags.model.context;
  scorer.first_scored = flags.model.context / 2 + 1;
  std::optional<KlBase> base;
  if (!flags.kl_base.empty()) {
    const std::size_t n_rows = chunks.n_chunks * (context - context / 2 - 1);
    base.emplace(flags.kl_base, scorer.n_vocab, n_rows, chunks.ids);
    scorer.base = &*base;
  }
  ProgressBar bar("perplexity");
  const InterruptGuard guard = cancel_on_interrupt(session.get());
  for (std::size_t chunk = 0; chunk < chunks.n_chunks; ++chunk) {
    bar.update(static_cast<double>(chunk) / static_cast<double>(chunks.n_chunks));
    scorer.ids = chunks.chunk(chunk).data();
    must(runnel_session_truncate(session.get(), 0));
    must(runnel_session_evaluate(
        session.get(), scorer.ids, context,
        [](void* user, std::int32_t row, std::int32_t n, const float* logits) {
          static_cast<Scorer*>(user)->take(row, n, logits);
          return 1;
        },
        &scorer));
  }
  bar.clear();
  if (base) base->finish();
  print(flags, scorer, chunks.n_chunks, base ? &*base : nullptr);
}

}  // namespace

void declare_perplexity(CLI::App& verb) {
  auto flags = std::make_shared<PerplexityFlags>();
  add_model_flags(verb, flags->model, ModelFlag::required);
  verb.add_option("-f,--file", flags->file, "text to score, \"-\" for standard input")->required();
  verb.add_option("--kl-base", flags->kl_base,
                  "logits to compare with; written when the file is absent");
  verb.add_option("--chunks", flags->chunks, "score only the first N chunks");
  verb.add_flag("--json", flags->json, "one JSON document on stdout");
  verb.callback([flags] { run(*flags); });
}

}  // namespace runnel::app

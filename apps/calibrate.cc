// runnel calibrate -m IN.gguf -f TEXT [-o OUT.gguf] [-c 1024] [--chunks N] [--json]
//                  [--find-streaming-heads]
// The first three quarters of the text's chunks are run to see what attention sees, for --balance
// and for the report. The transform of values goes into the weights. The last quarter then measures
// what each preset of the KV cache does to the new model.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "apps/app.h"
#include "apps/kv_damage.h"
#include "apps/terminal.h"
#include "apps/text_chunks.h"
#include "converters/induction.h"
#include "converters/kv_fold.h"

namespace runnel::app {
namespace {

using converters::GainScope;
using converters::KvFoldOptions;
using converters::KvMoments;
using Json = nlohmann::ordered_json;

/// Heads that give less of their attention to what was said before need not see it.
constexpr double kLeastInduction = 0.1;

struct CalibrateFlags {
  ModelFlags model;
  std::string file, out;
  std::string text;  // of the file
  int chunks = 0;
  bool balance = false, no_fold = false, streaming = false, json = false;
};

/// A file that goes when this does.
struct Temporary {
  std::string path;
  ~Temporary() {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  }
};

struct Counter {
  KvMoments moments;
  converters::InductionScores* induction = nullptr;  // takes the rows instead
  std::map<std::int64_t, std::int64_t> position;     // by layer, in the running chunk
};

/// Leaves out what every cache keeps in f16: the first tokens, which are unlike all others.
int take(void* user, const runnel_attention_inputs* seen) {
  constexpr std::int64_t kSinkTokens = 16;
  Counter& counter = *static_cast<Counter*>(user);
  std::int64_t& position = counter.position[seen->layer];
  const std::int64_t skip = counter.induction != nullptr
                                ? 0
                                : std::clamp<std::int64_t>(kSinkTokens - position, 0, seen->n_rows);
  position += seen->n_rows;
  const converters::AttentionShape& shape = counter.moments.shape();
  KvMoments::Rows rows;
  rows.layer = seen->layer;
  rows.n_rows = seen->n_rows - skip;
  rows.n_kv_heads = seen->n_kv_heads;
  rows.q = seen->q + skip * shape.n_heads * shape.head_dim;
  rows.k = seen->k + skip * seen->n_kv_heads * shape.head_dim;
  rows.v = seen->v + skip * seen->n_kv_heads * shape.head_dim;
  if (counter.induction != nullptr)
    counter.induction->add(rows);
  else
    counter.moments.add(rows);
  return InterruptGuard::interrupted() ? 0 : 1;
}

void stop_if_interrupted() {
  if (InterruptGuard::interrupted()) fail(Exit::interrupted, "interrupted, nothing was written");
}

converters::AttentionShape shape_of(const runnel_model_info& info, const std::string& file) {
  if (info.head_dim % 64 != 0)
    fail(Exit::bad_input, file + ": heads of " + std::to_string(info.head_dim) +
                              " channels are not made of vectors of 64, so the model has no "
                              "quantised KV cache");
  return {info.n_heads, info.head_dim, info.rotary_dim, info.rope_interleaved != 0};
}

struct Text {
  TextChunks chunks;
  std::size_t n_seen = 0;  // chunks for the moments; the others measure
};

Text cut(const CalibrateFlags& flags, const runnel_engine* engine) {
  const auto context = static_cast<std::size_t>(flags.model.context);
  Text text{text_chunks(engine, flags.text, flags.file, context, flags.chunks), 0};
  const std::size_t n = text.chunks.n_chunks;
  if (n < 2)
    fail(Exit::bad_input, flags.file +
                              ": too little text: " + std::to_string(text.chunks.ids.size()) +
                              " tokens are not two chunks "
                              "of " +
                              std::to_string(context) + " (-c)");
  text.n_seen = n - std::max<std::size_t>(1, n / 4);
  return text;
}

/// What the first part of the text shows.
struct Seen {
  KvMoments moments;
  std::size_t n_tokens = 0;
  std::vector<std::vector<double>> induction;  // scores of KV heads, when asked for
};

/// Runs random tokens twice; leaves `counter` as it was.
std::vector<std::vector<double>> measure_induction(runnel_engine* engine,
                                                   ModelFlags flags,
                                                   std::span<const std::int32_t> text,
                                                   Counter& counter) {
  constexpr std::size_t kTokens = 384;  // further apart than any window
  const std::vector<std::int32_t> ids = converters::repeated_tokens(text, kTokens);
  converters::InductionScores induction(counter.moments.shape(),
                                        static_cast<std::int64_t>(ids.size() / 2));
  counter.induction = &induction;
  flags.context = static_cast<int>(ids.size());
  const SessionPtr session = open_session(engine, flags);
  const runnel_status status = runnel_session_append(session.get(), ids.data(), ids.size());
  counter.induction = nullptr;
  stop_if_interrupted();
  must(status);
  return induction.scores();
}

/// Runs the first part of the text.
Seen look(const CalibrateFlags& flags) {
  runnel_engine_options options = engine_options(flags.model);
  Counter counter{KvMoments({}), nullptr, {}};
  options.on_attention = take;
  options.attention_user = &counter;
  const EnginePtr engine = open_engine(flags.model, options);
  counter.moments = KvMoments(shape_of(model_info(engine.get()), flags.model.model));
  Text text = cut(flags, engine.get());
  const SessionPtr session = open_session(engine.get(), flags.model);
  ProgressBar bar("measuring keys and queries");
  for (std::size_t chunk = 0; chunk < text.n_seen; ++chunk) {
    bar.update(static_cast<double>(chunk) / static_cast<double>(text.n_seen));
    counter.position.clear();
    must(runnel_session_truncate(session.get(), 0));
    const std::span<const std::int32_t> ids = text.chunks.chunk(chunk);
    const runnel_status status = runnel_session_append(session.get(), ids.data(), ids.size());
    stop_if_interrupted();
    must(status);
  }
  Seen seen{KvMoments({}), text.n_seen * text.chunks.n_tokens, {}};
  if (flags.streaming)
    seen.induction = measure_induction(engine.get(), flags.model, text.chunks.ids, counter);
  seen.moments = std::move(counter.moments);
  return seen;
}

void write(KvFoldOptions& job, bool show) {
  ProgressBar bar("writing");
  job.progress = [&bar](double fraction, std::string_view tensor) {
    bar.update(fraction, tensor);
    return !InterruptGuard::interrupted();
  };
  const auto summary = converters::fold_kv(job);
  bar.clear();
  stop_if_interrupted();
  if (!summary.ok()) fail(Exit::bad_input, summary.status().message());
  if (!show) return;
  for (const std::string& note : summary->notes) std::fprintf(stderr, "note: %s\n", note.c_str());
}

/// Runs the second part of the text through the model at `path`, once for every preset.
std::vector<KvDamage> measure_damage(const CalibrateFlags& flags, const std::string& path) {
  ModelFlags model = flags.model;
  model.model = path;
  const EnginePtr engine = open_engine(model);
  Text text = cut(flags, engine.get());
  std::vector<std::string> names;
  for (const quant::KvPreset& preset : quant::kKvPresets) names.emplace_back(preset.name);
  ProgressBar bar("measuring presets");
  return measure_kv(engine.get(), model, names, text.chunks, text.n_seen, [&bar](double done) {
    bar.update(done);
    stop_if_interrupted();
  });
}

Json describe(const KvMoments& moments) {
  Json layers = Json::array();
  for (const auto& [layer, seen] : moments.layers()) {
    const auto noise = [&, &one = seen](GainScope scope) {
      return one.noise(moments.shape(), balanced_gains(one, moments.shape(), scope));
    };
    layers.push_back({{"layer", layer},
                      {"noise_balanced", noise(GainScope::per_layer)},
                      {"noise_balanced_per_head", noise(GainScope::per_head)},
                      {"key_mean_share", seen.key_mean_share()},
                      {"value_mean_share", seen.value_mean_share()}});
  }
  return layers;
}

void print(const CalibrateFlags& flags,
           const Seen& seen,
           std::span<const std::uint64_t> streaming,
           const std::vector<KvDamage>& found) {
  Json presets = Json::array();
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double gate = quant::kKvPresets[i].max_kl;
    presets.push_back({{"kv", found[i].kv},
                       {"kl_mean", found[i].kl_mean},
                       {"kl_p99", found[i].kl_p99},
                       {"top1", found[i].top1},
                       {"gate", gate},
                       {"usable", found[i].kl_mean <= gate}});
  }
  if (flags.json) {
    Json all({{"file", flags.out}, {"layers", describe(seen.moments)}, {"presets", presets}});
    if (flags.streaming) {
      all["induction"] = seen.induction;
      all["streaming"] = streaming;
    }
    std::puts(all.dump(2).c_str());
    return;
  }
  std::printf("%-6s %12s %12s %8s %8s\n", "kv", "KL mean", "KL p99", "top-1", "gate");
  for (const Json& row : presets)
    std::printf("%-6s %12.3g %12.3g %8.4f %8.3g%s\n", row["kv"].get<std::string>().c_str(),
                row["kl_mean"].get<double>(), row["kl_p99"].get<double>(),
                row["top1"].get<double>(), row["gate"].get<double>(),
                row["usable"].get<bool>() ? "" : "  refused");
  for (std::size_t layer = 0; layer < seen.induction.size(); ++layer) {
    std::printf("attention layer %zu:", layer);
    for (std::size_t head = 0; head < seen.induction[layer].size(); ++head)
      std::printf(" %.3f%s", seen.induction[layer][head],
                  (streaming[layer] >> head & 1) != 0 ? " (streams)" : "");
    std::puts("");
  }
}

void run(CalibrateFlags flags) {
  if (flags.model.context == 0) flags.model.context = 1024;
  if (flags.model.context < 256) fail(Exit::usage, "-c must be at least 256");
  flags.model.kv = "f32";
  flags.model.sparse_decode = flags.model.sparse_prefill = flags.model.streaming_heads = false;
  if (flags.out.empty()) flags.out = flags.model.model;
  flags.text = read_file(flags.file);
  const InterruptGuard guard(nullptr, nullptr);
  const Seen seen = look(flags);
  const KvMoments& moments = seen.moments;
  KvFoldOptions job;
  job.in_path = flags.model.model;
  job.shape = moments.shape();
  job.n_threads = flags.model.threads;
  job.fold_values = !flags.no_fold;
  if (flags.balance)
    for (const auto& [layer, sums] : moments.layers())
      job.gains.push_back(
          {layer, sums.n_kv_heads, balanced_gains(sums, moments.shape(), GainScope::per_layer)});
  job.record.streaming = converters::streaming_heads(seen.induction, kLeastInduction);
  // Written twice: the presets are measured on the new weights, and then recorded beside them.
  const Temporary draft{flags.out + ".runnel-draft"};
  job.out_path = draft.path;
  write(job, true);
  const std::vector<KvDamage> found = measure_damage(flags, draft.path);
  for (std::size_t i = 0; i < found.size(); ++i) job.record.kl[i] = found[i].kl_mean;
  job.record.text_tokens = seen.n_tokens;
  job.out_path = flags.out;
  write(job, false);
  print(flags, seen, job.record.streaming, found);
}

}  // namespace

void declare_calibrate(CLI::App& verb) {
  auto flags = std::make_shared<CalibrateFlags>();
  add_model_flags(verb, flags->model, ModelFlag::required);
  verb.add_option("-f,--file", flags->file, "text to run, \"-\" for standard input")->required();
  verb.add_option("-o,--output", flags->out, "GGUF file to write (default: the model itself)");
  verb.add_option("--chunks", flags->chunks, "use only the first N chunks");
  verb.add_flag(
      "--balance", flags->balance,
      "also balance the gains of queries and keys (-7 to +3 % of the damage where measured)");
  verb.add_flag("--find-streaming-heads", flags->streaming,
                "also find the heads that need only the first and the newest tokens");
  verb.add_flag("--no-fold", flags->no_fold, "leave the weights of values alone");
  verb.add_flag("--json", flags->json, "one JSON document on stdout");
  verb.callback([flags] { run(*flags); });
}

}  // namespace runnel::app

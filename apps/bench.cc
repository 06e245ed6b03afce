// runnel bench (-m FILE | --shape S --type T) [-p 512] [-n 128] [-d DEPTH] [-r 5]
// Medians over repetitions; random token ids, which cost what real ones do.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "apps/app.h"

namespace runnel::app {
namespace {

using Json = nlohmann::ordered_json;

struct BenchFlags {
  ModelFlags model;
  int n_prompt = 512, n_generate = 128, depth = 0, repeats = 5;
  bool json = false;
};

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::vector<std::int32_t> some_ids(int n, std::int32_t n_vocab) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(n));
  std::uint32_t state = 1;
  for (std::int32_t& id : ids) {
    state = state * 1664525u + 1013904223u;  // SOURCE: Numerical Recipes, LCG
    id = static_cast<std::int32_t>((state >> 8) % static_cast<std::uint32_t>(n_vocab));
  }
  return ids;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

/// Peak resident bytes of this process so far. SOURCE: proc(5), VmHWM.
std::uint64_t peak_resident_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (word == "VmHWM:") {
      std::uint64_t kib = 0;
      status >> kib;
      return kib * 1024;
    }
  return 0;
}

/// Seconds to append `ids`, one step per token when `one_by_one`, from a session of `depth` tokens.
double time_append(runnel_session* session,
                   const std::vector<std::int32_t>& ids,
                   bool one_by_one,
                   int depth) {
  must(runnel_session_truncate(session, depth));
  const std::int32_t bridge = ids[0];
  must(runnel_session_append(session, &bridge, 1));  // any replay after the truncation happens here
  const auto start = std::chrono::steady_clock::now();
  if (one_by_one)
    for (const std::int32_t& id : ids) must(runnel_session_append(session, &id, 1));
  else
    must(runnel_session_append(session, ids.data(), ids.size()));
  return seconds_since(start);
}

Json measure(const BenchFlags& flags,
             runnel_session* session,
             std::int32_t n_vocab,
             int n,
             bool one_by_one) {
  const std::vector<std::int32_t> ids = some_ids(n, n_vocab);
  time_append(session, ids, one_by_one, flags.depth);  // compiles plans, warms caches
  std::vector<double> seconds;
  for (int r = 0; r < flags.repeats; ++r)
    seconds.push_back(time_append(session, ids, one_by_one, flags.depth));
  Json row;
  row["tokens"] = n;
  row["depth"] = flags.depth;
  row["seconds_median"] = median(seconds);
  row["tokens_per_second"] = n / median(seconds);
  row["tokens_per_second_best"] = n / *std::ranges::min_element(seconds);
  return row;
}

void run(BenchFlags flags) {
  const bool by_shape = !flags.model.shape.empty();
  if (by_shape && !flags.model.model.empty()) fail(Exit::usage, "give either -m FILE or --shape");
  if (!by_shape && flags.model.model.empty()) flags.model.model = bundled_model();
  flags.model.context = flags.depth + std::max(flags.n_prompt, flags.n_generate) + 1;
  const auto start = std::chrono::steady_clock::now();
  const EnginePtr engine = open_engine(flags.model);
  const SessionPtr session = open_session(engine.get(), flags.model);
  const runnel_model_info info = model_info(engine.get());
  const std::int32_t first = 0;
  must(runnel_session_append(session.get(), &first, 1));
  const double to_first = seconds_since(start);
  if (flags.depth > 0) {
    must(runnel_session_truncate(session.get(), 0));
    const auto fill = some_ids(flags.depth, info.n_vocab);
    must(runnel_session_append(session.get(), fill.data(), fill.size()));
  } else {
    must(runnel_session_truncate(session.get(), 0));
  }
  Json json;
  json["model"] = info.name;
  json["type"] = info.file_type;
  json["parameters"] = info.n_parameters;
  json["weight_bytes"] = info.weight_bytes;
  json["backend"] = info.backend;
  json["kv"] = flags.model.kv;
  json["load_seconds"] = info.load_seconds;
  json["first_token_seconds"] = to_first;
  if (flags.n_prompt > 0)
    json["prompt"] = measure(flags, session.get(), info.n_vocab, flags.n_prompt, false);
  if (flags.n_generate > 0) {
    json["generate"] = measure(flags, session.get(), info.n_vocab, flags.n_generate, true);
    json["generate"]["weight_gigabytes_per_second"] =
        static_cast<double>(info.bytes_per_token) *
        json["generate"]["tokens_per_second"].get<double>() / 1e9;
  }
  json["peak_resident_bytes"] = peak_resident_bytes();
  if (flags.json) {
    std::puts(json.dump(2).c_str());
    return;
  }
  std::printf("%s, %s, %.1f MiB of weights\n%s\n", info.name, info.file_type,
              static_cast<double>(info.weight_bytes) / 1048576.0, info.backend);
  for (const char* part : {"prompt", "generate"})
    if (json.contains(part))
      std::printf("%-9s %5d tokens at depth %d: %9.1f tokens/s\n", part,
                  json[part]["tokens"].get<int>(), flags.depth,
                  json[part]["tokens_per_second"].get<double>());
  std::printf("load %.3f s, first token after %.3f s, peak memory %.1f MiB\n", info.load_seconds,
              to_first, static_cast<double>(peak_resident_bytes()) / 1048576.0);
}

}  // namespace

void declare_bench(CLI::App& verb) {
  auto flags = std::make_shared<BenchFlags>();
  add_model_flags(verb, flags->model, ModelFlag::bundled);
  verb.add_option("--shape", flags->model.shape,
                  "random weights: lfm2-350m, lfm2-700m, lfm2-1.2b, lfm2-2.6b");
  verb.add_option("--type", flags->model.type, "weight type for --shape");
  verb.add_option("-p,--n-prompt", flags->n_prompt, "prompt tokens; 0 = skip")
      ->check(CLI::Range(0, 1 << 20));
  verb.add_option("-n,--n-gen", flags->n_generate, "generated tokens; 0 = skip")
      ->check(CLI::Range(0, 1 << 20));
  verb.add_option("-d,--n-depth", flags->depth, "tokens already in the cache")
      ->check(CLI::Range(0, 1 << 20));
  verb.add_option("-r,--repetitions", flags->repeats, "measurements; the median is shown")
      ->check(CLI::Range(1, 1000));
  verb.add_flag("--json", flags->json, "one JSON document on stdout");
  verb.callback([flags] { run(*flags); });
}

}  // namespace runnel::app

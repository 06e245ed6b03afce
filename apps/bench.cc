// runnel bench (-m FILE | --shape S --type T,..) [-t N,..] [-d DEPTH,..] [-p 512] [-n 128] [-r 5]
// [--profile] [--json]: a line for each type, number of threads and depth.
#include <cstdio>

#include "apps/bench.h"

namespace runnel::app {
namespace {

void run(BenchFlags flags) {
  const bool by_shape = !flags.model.shape.empty();
  if (by_shape && !flags.model.model.empty()) fail(Exit::usage, "give either -m FILE or --shape");
  if (!by_shape) {
    if (flags.model.model.empty()) flags.model.model = bundled_model();
    flags.types.resize(1);  // the file's own
  }
  std::vector<BenchCase> cases;
  for (const std::string& type : flags.types)
    for (const int threads : flags.threads)
      for (const int depth : flags.depths) cases.push_back({type, threads, depth});
  Json rows = Json::array();
  for (const BenchCase& which : cases) {
    rows.push_back(measure_case(flags, which));
    if (flags.json) continue;
    if (rows.size() == 1) {
      const Json& first = rows[0];
      std::printf("%s, %.1f M parameters, KV cache %s\n", first["model"].get<std::string>().c_str(),
                  first["parameters"].get<double>() / 1e6, flags.model.kv.c_str());
      print_head(flags);
    }
    print_case(rows.back());
  }
  if (flags.json) {
    std::puts(Json{{"version", runnel_version()}, {"rows", std::move(rows)}}.dump(2).c_str());
    return;
  }
  print_ceilings(rows);
  for (const Json& row : rows) print_profile(row);
}

}  // namespace

void declare_bench(CLI::App& verb) {
  auto flags = std::make_shared<BenchFlags>();
  add_model_flags(verb, flags->model, ModelFlag::bundled);
  verb.remove_option(verb.get_option("--threads"));   // here a list
  verb.remove_option(verb.get_option("--ctx-size"));  // here what the depth needs
  verb.add_option("--shape", flags->model.shape,
                  "random weights: lfm2-350m, lfm2-700m, lfm2-1.2b, lfm2-2.6b");
  verb.add_option("--type", flags->types, "weight types for --shape, such as q4_0,q8_0")
      ->delimiter(',');
  verb.add_option("-t,--threads", flags->threads, "numbers of CPU threads (0 = performance cores)")
      ->delimiter(',')
      ->check(CLI::Range(0, 1024));
  verb.add_option("-p,--n-prompt", flags->n_prompt, "prompt tokens; 0 = skip")
      ->check(CLI::Range(0, 1 << 20));
  verb.add_option("-n,--n-gen", flags->n_generate, "generated tokens; 0 = skip")
      ->check(CLI::Range(0, 1 << 20));
  verb.add_option("-d,--n-depth", flags->depths, "numbers of tokens already in the cache")
      ->delimiter(',')
      ->check(CLI::Range(0, 1 << 20));
  verb.add_option("-r,--repetitions", flags->repeats, "measurements; the median is shown")
      ->check(CLI::Range(1, 1000));
  verb.add_flag("--profile", flags->profile, "also the time of each kind of op");
  verb.add_flag("--json", flags->json, "one JSON document on stdout");
  verb.callback([flags] { run(*flags); });
}

}  // namespace runnel::app

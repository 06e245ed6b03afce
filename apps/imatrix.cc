// runnel imatrix -m FILE -f TEXT -o OUT.gguf [-c 512] [--chunks N]
// Runs the text through the model in chunks of c tokens, the first token of each replaced by BOS,
// and sums the squares of what every weight matrix was multiplied with.
#include "converters/imatrix.h"

#include <cstdio>
#include <filesystem>

#include "apps/app.h"
#include "apps/terminal.h"
#include "apps/text_chunks.h"

namespace runnel::app {
namespace {

using converters::Imatrix;

struct ImatrixFlags {
  ModelFlags model;
  std::string file, out;
  int chunks = 0;
};

int take(void* user, const runnel_activations* seen) {
  Imatrix::Rows rows;
  rows.weight = seen->weight;
  rows.n_rows = seen->n_rows;
  rows.n_in = seen->n_in;
  rows.values = seen->rows;
  rows.n_matrices = seen->n_matrices;
  rows.n_per_row = seen->n_per_row;
  rows.matrices = seen->matrices;
  static_cast<Imatrix*>(user)->add(rows);
  return InterruptGuard::interrupted() ? 0 : 1;
}

void run(ImatrixFlags flags) {
  if (flags.model.context == 0) flags.model.context = 512;
  const auto context = static_cast<std::size_t>(flags.model.context);
  const std::string text = read_file(flags.file);
  Imatrix imatrix;
  runnel_engine_options options = engine_options(flags.model);
  options.on_activations = take;
  options.activations_user = &imatrix;
  const EnginePtr engine = open_engine(flags.model, options);
  const SessionPtr session = open_session(engine.get(), flags.model);
  TextChunks chunks = text_chunks(engine.get(), text, flags.file, context, flags.chunks);
  imatrix.datasets = {std::filesystem::path(flags.file).filename().string()};
  imatrix.n_chunks = static_cast<std::uint32_t>(chunks.n_chunks);
  imatrix.chunk_size = static_cast<std::uint32_t>(context);
  ProgressBar bar("imatrix");
  const InterruptGuard guard(nullptr, nullptr);
  for (std::size_t chunk = 0; chunk < chunks.n_chunks; ++chunk) {
    bar.update(static_cast<double>(chunk) / static_cast<double>(chunks.n_chunks));
    must(runnel_session_truncate(session.get(), 0));
    // Every row of logits is asked for, so that the output head sees every token too.
    const runnel_status status = runnel_session_evaluate(
        session.get(), chunks.chunk(chunk).data(), context,
        [](void*, std::int32_t, std::int32_t, const float*) { return 1; }, nullptr);
    if (InterruptGuard::interrupted()) fail(Exit::interrupted, "interrupted, nothing was written");
    must(status);
  }
  bar.clear();
  if (const Status status = imatrix.write(flags.out); !status.ok())
    fail(Exit::bad_input, status.message());
  std::fprintf(stderr, "%s: %zu weights, %zu chunks of %zu tokens\n", flags.out.c_str(),
               imatrix.entries.size(), chunks.n_chunks, context);
}

}  // namespace

void declare_imatrix(CLI::App& verb) {
  auto flags = std::make_shared<ImatrixFlags>();
  add_model_flags(verb, flags->model, ModelFlag::required);
  verb.add_option("-f,--file", flags->file, "text to run, \"-\" for standard input")->required();
  verb.add_option("-o,--output", flags->out, "importance matrix to write (GGUF)")->required();
  verb.add_option("--chunks", flags->chunks, "run only the first N chunks");
  verb.callback([flags] { run(*flags); });
}

}  // namespace runnel::app

// runnel quantize IN.gguf OUT.gguf TYPE [--imatrix FILE]
#include "converters/quantize.h"

#include "apps/app.h"
#include "apps/convert_report.h"

namespace runnel::app {

void declare_quantize(CLI::App& verb) {
  auto options = std::make_shared<converters::QuantizeOptions>();
  verb.add_option("in", options->in_path, "GGUF file to read")->required();
  verb.add_option("out", options->out_path, "GGUF file to write")->required();
  verb.add_option("type", options->recipe, "weight type, e.g. q8_0, q4_k_m, q4_0; f32 dequantises")
      ->required();
  verb.add_option("-t,--threads", options->n_threads, "threads (0 = performance cores)")
      ->check(CLI::Range(0, 1024));
  verb.add_option("--imatrix", options->imatrix_path,
                  "importance matrix of this model, made by runnel imatrix");
  verb.callback([options] {
    if (const Status known = converters::check_recipe(options->recipe); !known.ok())
      fail(Exit::usage, known.message());
    convert_with_progress("quantizing", *options, [&] { return converters::quantize(*options); });
  });
}

}  // namespace runnel::app

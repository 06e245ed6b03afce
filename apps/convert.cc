// runnel convert HF_DIR -o OUT.gguf [--type T]
#include "converters/convert.h"

#include <cstdio>

#include "apps/app.h"
#include "apps/convert_report.h"
#include "apps/terminal.h"

namespace runnel::app {

void declare_convert(CLI::App& verb) {
  auto options = std::make_shared<converters::ConvertOptions>();
  verb.add_option("hf_dir", options->hf_dir, "Hugging Face checkpoint folder")->required();
  verb.add_option("-o,--output", options->out_path, "GGUF file to write")->required();
  verb.add_option("--type", options->recipe,
                  "weight type, e.g. bf16, q8_0, q4_k_m, q4_0; default: as the source");
  verb.add_option("-t,--threads", options->n_threads, "threads (0 = performance cores)")
      ->check(CLI::Range(0, 1024));
  verb.callback([options] {
    if (!options->recipe.empty())
      if (const Status known = converters::check_recipe(options->recipe); !known.ok())
        fail(Exit::usage, known.message());
    convert_with_progress("converting", *options, [&] { return converters::convert(*options); });
  });
}

}  // namespace runnel::app

// Progress, Ctrl-C and the closing line of the verbs that write model files.
#pragma once
#include <cstdio>
#include <string>

#include "apps/app.h"
#include "apps/terminal.h"

namespace runnel::app {

/// Runs `work` (-> Result of a summary) with a progress bar wired into `options`; fails like
/// must().
template <class Options, class Work>
void convert_with_progress(const char* title, Options& options, Work work) {
  ProgressBar bar(title);
  const InterruptGuard guard(nullptr, nullptr);
  options.progress = [&bar](double fraction, std::string_view tensor) {
    bar.update(fraction, tensor);
    return !InterruptGuard::interrupted();
  };
  const auto summary = work();
  bar.clear();
  if (!summary.ok()) {
    if (InterruptGuard::interrupted()) fail(Exit::interrupted, "interrupted, nothing was written");
    using Code = decltype(summary.status().code());
    const bool memory = summary.status().code() == Code::out_of_memory;
    fail(memory ? Exit::out_of_memory : Exit::bad_input, summary.status().message());
  }
  for (const std::string& note : summary->notes) std::fprintf(stderr, "note: %s\n", note.c_str());
  std::fprintf(stderr, "%s: %s, %s, %lld tensors, %.1f M parameters\n", options.out_path.c_str(),
               summary->architecture.c_str(), summary->recipe.c_str(),
               static_cast<long long>(summary->n_tensors),
               static_cast<double>(summary->n_parameters) / 1e6);
}

}  // namespace runnel::app

// runnel check [--backend NAME] [--filter TEXT] [--every N] [-t N]
#include <cstdio>

#include "apps/app.h"
#include "tests/conformance/suite.h"

namespace runnel::app {

void declare_check(CLI::App& verb) {
  auto suite = std::make_shared<conformance::Suite>();
  verb.add_option("--backend", suite->backend,
                  "one of those listed by `runnel devices` (default: all that work here)");
  verb.add_option("--filter", suite->filter, "only cases with this in their name, such as matmul");
  verb.add_option("--every", suite->every, "every Nth case of each op and type")
      ->check(CLI::Range(1, 1 << 20));
  verb.add_option("-t,--threads", suite->n_threads, "CPU threads (0 = performance cores)")
      ->check(CLI::Range(0, 1024));
  verb.callback([suite] {
    ProgressBar bar("checking");
    suite->progress = [&bar](std::size_t done, std::size_t total) {
      bar.update(static_cast<double>(done) / static_cast<double>(total));
    };
    const auto report = conformance::run_suite(*suite);
    bar.clear();
    if (!report.ok())
      fail(report.status().code() == Code::unsupported ? Exit::device : Exit::usage,
           report.status().message());
    std::puts(report->closing_line().c_str());
    if (report->n_failed() != 0)
      fail(Exit::device, "kernels of this machine give wrong results; --backend takes another");
  });
}

}  // namespace runnel::app

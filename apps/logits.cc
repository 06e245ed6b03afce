// runnel logits -m FILE --ids 1,2,3 -o OUT.npy: float32 [n_tokens, n_vocab]. SOURCE: NumPy npy
// format 1.0.
#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "apps/app.h"
#include "apps/terminal.h"

namespace runnel::app {
namespace {

struct LogitsFlags {
  ModelFlags model;
  std::vector<std::int32_t> ids;
  std::string out;
};

/// The file under a temporary name; renamed by commit(), removed when that never happens.
class NpyFile {
 public:
  NpyFile(std::string path, std::size_t rows, std::size_t cols)
      : path_(std::move(path)), temporary_(path_ + "." + std::to_string(getpid()) + ".tmp") {
    out_.open(temporary_, std::ios::binary);
    std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" +
                         std::to_string(rows) + ", " + std::to_string(cols) + "), }";
    while ((10 + header.size() + 1) % 64 != 0) header += ' ';
    header += '\n';
    const char start[] = {'\x93',
                          'N',
                          'U',
                          'M',
                          'P',
                          'Y',
                          1,
                          0,
                          static_cast<char>(header.size() & 0xFF),
                          static_cast<char>(header.size() >> 8)};
    out_.write(start, sizeof start);
    out_ << header;
    if (!out_) fail(Exit::bad_input, "cannot write " + path_);
  }
  ~NpyFile() {
    if (!committed_) std::remove(temporary_.c_str());
  }
  void write(const float* values, std::size_t n) {
    out_.write(reinterpret_cast<const char*>(values),
               static_cast<std::streamsize>(n * sizeof(float)));
  }
  void commit() {
    out_.close();
    if (!out_ || std::rename(temporary_.c_str(), path_.c_str()) != 0)
      fail(Exit::bad_input, "cannot write " + path_);
    committed_ = true;
  }

 private:
  std::string path_, temporary_;
  std::ofstream out_;
  bool committed_ = false;
};

void run(const LogitsFlags& flags) {
  const EnginePtr engine = open_engine(flags.model);
  const SessionPtr session = open_session(engine.get(), flags.model);
  struct Sink {
    NpyFile file;
    std::size_t n_vocab;
  };
  const auto n_vocab = static_cast<std::size_t>(model_info(engine.get()).n_vocab);
  Sink sink{NpyFile(flags.out, flags.ids.size(), n_vocab), n_vocab};
  const InterruptGuard guard = cancel_on_interrupt(session.get());
  must(runnel_session_evaluate(
      session.get(), flags.ids.data(), flags.ids.size(),
      [](void* user, std::int32_t, std::int32_t n_rows, const float* logits) {
        auto& s = *static_cast<Sink*>(user);
        s.file.write(logits, static_cast<std::size_t>(n_rows) * s.n_vocab);
        return 1;
      },
      &sink));
  sink.file.commit();
}

}  // namespace

void declare_logits(CLI::App& verb) {
  auto flags = std::make_shared<LogitsFlags>();
  add_model_flags(verb, flags->model, ModelFlag::required);
  verb.add_option("--ids", flags->ids, "token ids, separated by commas")
      ->required()
      ->delimiter(',');
  verb.add_option("-o,--output", flags->out, "file to write")->required();
  verb.callback([flags] { run(*flags); });
}

}  // namespace runnel::app

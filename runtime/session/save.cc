// Sessions to and from files.
#include "runtime/base/mapped_file.h"
#include "runtime/cache/session_file.h"
#include "runtime/session/session.h"

namespace runnel {

Status Session::save(const std::string& path, std::string_view note) const {
  SessionExtras extras;
  extras.fingerprint = engine_.fingerprint();
  if (have_logits_) {
    RUNNEL_ASSIGN(const std::span<const float> values, logits());
    extras.logits.assign(values.begin(), values.end());
  }
  extras.note = note;
  Result<AtomicFile> file = [&] {
    const auto lock = engine_.exclusive();
    return write_session(path, *cache_, extras);
  }();
  return file.ok() ? file->commit() : file.status();  // other sessions go on while the disk syncs
}

Result<std::string> Session::load(const std::string& path) {
  RUNNEL_ASSIGN(const MappedFile file, MappedFile::open(path));
  RUNNEL_ASSIGN(std::unique_ptr<Cache> loaded,
                engine_.new_cache(options_.context_size, options_.kv, cache_->shift_plan()));
  const SessionExpectations expected{engine_.fingerprint(), engine_.model().config.n_vocab};
  Result<SessionExtras> extras = [&] {
    const auto lock = engine_.exclusive();
    return load_session(file.bytes(), expected, *loaded);
  }();
  if (!extras.ok()) return Status(extras.status()).with_context("loading " + path);
  cache_ = std::move(loaded);
  n_foreign_ = cache_->size();
  have_logits_ = !extras->logits.empty();
  set_logits(extras->logits);
  history_stale_ = true;
  return std::move(extras->note);
}

}  // namespace runnel

// What a Session does with the Engine's prefix store. State that came from a file never gets there:
// it may lie about what its tokens mean.
#include "runtime/session/session.h"

namespace runnel {

Session::~Session() {
  engine_.forget(logits_);
  PrefixStore* store = engine_.prefixes();
  if (store == nullptr || cache_ == nullptr || n_foreign_ > 0) return;
  const auto lock = engine_.exclusive();
  store->keep(std::move(cache_));
}

/// Before `ids` replace what is there: leaves it to the store when much of it would be lost, and
/// takes a longer prefix of `ids` from there.
void Session::adopt_prefix(std::span<const TokenId> ids) {
  PrefixStore* store = engine_.prefixes();
  if (store == nullptr) return;
  const std::int64_t kept = cache_->match_prefix(ids);
  const auto lock = engine_.exclusive();
  std::unique_ptr<Cache> found = store->find(ids, *cache_, kept + PrefixStore::kLeastTokens);
  if (found != nullptr) {
    std::unique_ptr<Cache> former = std::exchange(cache_, std::move(found));
    if (n_foreign_ == 0) store->keep(std::move(former));
    n_foreign_ = 0;
    have_logits_ = false;
    history_stale_ = true;
  } else if (n_foreign_ == 0 && cache_->size() - kept >= PrefixStore::kLeastTokens) {
    auto former = cache_->fork();
    if (former.ok()) store->keep(*std::move(former));
  }
}

/// Lets other sessions start from what this one holds.
void Session::leave_prefix() {
  PrefixStore* store = engine_.prefixes();
  if (store == nullptr || n_foreign_ > 0) return;
  const auto lock = engine_.exclusive();
  auto copy = cache_->fork();
  if (copy.ok()) store->keep(*std::move(copy));
}

}  // namespace runnel

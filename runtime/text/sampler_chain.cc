#include "runtime/text/sampler_chain.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

namespace runnel::sampling {
namespace {

constexpr float kNegativeInfinity = -std::numeric_limits<float>::infinity();

bool better(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

/// Length of the shortest run, in the order of `less`, whose probabilities reach p; the run is
/// sorted at the front of `items`. Sorts in growing pieces: the run is mostly short.
template <class T, class Less, class Probability>
std::size_t sorted_run(std::vector<T>* items, double p, Less less, Probability probability) {
  const std::size_t n = items->size();
  double sum = 0.0;
  std::size_t sorted = 0;
  for (std::size_t piece = 64; sorted < n; piece *= 4) {
    const std::size_t end = std::min(n, sorted + piece);
    const auto at = [&](std::size_t index) {
      return items->begin() + static_cast<std::ptrdiff_t>(index);
    };
    std::partial_sort(at(sorted), at(end), items->end(), less);
    for (; sorted < end; ++sorted) {
      sum += probability((*items)[sorted]);
      if (sum >= p) return sorted + 1;
    }
  }
  return n;
}

}  // namespace

TokenId argmax(std::span<const float> logits) {
  float best = kNegativeInfinity;
  std::size_t best_index = logits.size();
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] > best) {
      best = logits[i];
      best_index = i;
    }
  }
  if (best_index < logits.size()) return static_cast<TokenId>(best_index);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (!std::isnan(logits[i])) return static_cast<TokenId>(i);
  }
  return 0;
}

void softmax(std::span<Candidate> items, float temperature) {
  float best = kNegativeInfinity;
  for (const Candidate& item : items) best = std::max(best, item.logit);
  if (best == kNegativeInfinity) {
    for (Candidate& item : items) item.probability = 0.0;
    items.front().probability = 1.0;
    return;
  }
  double sum = 0.0;
  for (Candidate& item : items) {
    const double distance = static_cast<double>(item.logit) - static_cast<double>(best);
    item.probability = std::exp(distance / static_cast<double>(temperature));
    sum += item.probability;
  }
  for (Candidate& item : items) item.probability /= sum;
}

void top_k(Candidates* candidates, std::int32_t k) {
  std::vector<Candidate>& items = candidates->items;
  const auto keep = static_cast<std::size_t>(k);
  if (keep < items.size()) {
    const auto end = items.begin() + static_cast<std::ptrdiff_t>(keep);
    std::nth_element(items.begin(), end, items.end(), better);
    items.erase(end, items.end());
  }
  std::sort(items.begin(), items.end(), better);
}

void top_p(Candidates* candidates, float p) {
  std::vector<Candidate>& items = candidates->items;
  softmax(items, 1.0f);
  items.resize(sorted_run(&items, static_cast<double>(p), better,
                          [](const Candidate& item) { return item.probability; }));
}

void min_p(Candidates* candidates, float p) {
  std::vector<Candidate>& items = candidates->items;
  softmax(items, 1.0f);
  double best = 0.0;
  for (const Candidate& item : items) best = std::max(best, item.probability);
  const double limit = best * static_cast<double>(p);
  std::erase_if(items, [limit](const Candidate& item) { return item.probability < limit; });
}

void typical(Candidates* candidates, float p) {
  std::vector<Candidate>& items = candidates->items;
  softmax(items, 1.0f);
  double entropy = 0.0;
  for (const Candidate& item : items) {
    if (item.probability > 0.0) entropy -= item.probability * std::log(item.probability);
  }
  std::vector<double>& scores = candidates->scores;
  std::vector<std::uint32_t>& order = candidates->order;
  scores.resize(items.size());
  order.resize(items.size());
  for (std::size_t i = 0; i < items.size(); ++i) {
    scores[i] = std::abs(-std::log(items[i].probability) - entropy);  // +inf for probability 0
    order[i] = static_cast<std::uint32_t>(i);
  }
  const auto nearer = [&](std::uint32_t a, std::uint32_t b) {
    return scores[a] != scores[b] ? scores[a] < scores[b] : better(items[a], items[b]);
  };
  const std::size_t kept = sorted_run(&order, static_cast<double>(p), nearer,
                                      [&](std::uint32_t i) { return items[i].probability; });
  order.resize(kept);
  std::sort(order.begin(), order.end());
  for (std::size_t i = 0; i < kept; ++i) items[i] = items[order[i]];
  items.resize(kept);
}

void exclude_top(Candidates* candidates, float chance, float threshold, Random* random) {
  std::vector<Candidate>& items = candidates->items;
  if (random->uniform() >= static_cast<double>(chance)) return;
  softmax(items, 1.0f);
  const auto limit = static_cast<double>(threshold);
  const Candidate* least = nullptr;
  std::size_t above = 0;
  for (const Candidate& item : items) {
    if (item.probability < limit) continue;
    ++above;
    if (least == nullptr || better(*least, item)) least = &item;
  }
  if (above < 2) return;
  const TokenId kept = least->id;
  std::erase_if(
      items, [&](const Candidate& item) { return item.probability >= limit && item.id != kept; });
}

std::size_t draw(std::span<const Candidate> items, Random* random) {
  double sum = 0.0;
  for (const Candidate& item : items) sum += item.probability;
  const double goal = random->uniform() * sum;
  double reached = 0.0;
  std::size_t last = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (items[i].probability <= 0.0) continue;
    reached += items[i].probability;
    last = i;
    if (goal < reached) return i;
  }
  return last;  // rounding of the sum
}

TokenId mirostat(Candidates* candidates, float tau, float eta, double* mu, Random* random) {
  std::vector<Candidate>& items = candidates->items;
  const Candidate best = *std::min_element(items.begin(), items.end(), better);
  const double limit = std::exp2(-*mu);
  std::erase_if(items, [limit](const Candidate& item) { return item.probability < limit; });
  if (items.empty()) items.push_back(best);
  double sum = 0.0;
  for (const Candidate& item : items) sum += item.probability;
  const Candidate& drawn = items[draw(items, random)];
  const double surprise = -std::log2(drawn.probability / sum);
  *mu -= static_cast<double>(eta) * (surprise - static_cast<double>(tau));
  return drawn.id;
}

std::span<const RepeatFinder::Match> RepeatFinder::find(std::span<const TokenId> history,
                                                        const std::vector<bool>& breakers,
                                                        std::int32_t min_length) {
  matches_.clear();
  const auto n = static_cast<std::int32_t>(history.size());
  // The history read backwards: position 0 is the newest token.
  const auto token = [&](std::int32_t i) { return history[static_cast<std::size_t>(n - 1 - i)]; };
  const auto breaks = [&](TokenId id) {
    return static_cast<std::size_t>(id) < breakers.size() && breakers[static_cast<std::size_t>(id)];
  };
  std::int32_t unbroken = 0;  // no match is longer than the text since the last breaker
  while (unbroken < n && !breaks(token(unbroken))) ++unbroken;
  if (unbroken < min_length) return {};

  prefix_.assign(static_cast<std::size_t>(n), 0);
  std::int32_t left = 0;
  std::int32_t right = 0;
  for (std::int32_t i = 1; i < n; ++i) {
    std::int32_t length = 0;
    if (i < right) length = std::min(right - i, prefix_[static_cast<std::size_t>(i - left)]);
    while (i + length < n && token(length) == token(i + length)) ++length;
    prefix_[static_cast<std::size_t>(i)] = length;
    if (i + length > right) {
      left = i;
      right = i + length;
    }
    const std::int32_t matched = std::min(length, unbroken);
    const TokenId next = token(i - 1);
    if (matched >= min_length && !breaks(next)) matches_.push_back({next, matched});
  }
  std::sort(matches_.begin(), matches_.end(), [](const Match& a, const Match& b) {
    return a.id != b.id ? a.id < b.id : a.length > b.length;
  });
  const auto same_id = [](const Match& a, const Match& b) { return a.id == b.id; };
  matches_.erase(std::unique(matches_.begin(), matches_.end(), same_id), matches_.end());
  return matches_;
}

}  // namespace runnel::sampling

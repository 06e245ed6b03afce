// Measuring of one model with one number of threads at one depth. Random token ids, which cost what
// real ones do.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <optional>

#include "apps/bench.h"

namespace runnel::app {
namespace {

using Ids = std::vector<std::int32_t>;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Ids some_ids(int n, std::int32_t n_vocab) {
  Ids ids(static_cast<std::size_t>(n));
  std::uint32_t state = 1;
  for (std::int32_t& id : ids) {
    state = state * 1664525u + 1013904223u;  // SOURCE: Numerical Recipes, LCG
    id = static_cast<std::int32_t>((state >> 8) % static_cast<std::uint32_t>(n_vocab));
  }
  return ids;
}

double quantile(std::vector<double> values, double q) {
  std::ranges::sort(values);
  const double at = q * static_cast<double>(values.size() - 1);
  const auto low = static_cast<std::size_t>(at);
  const std::size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (at - std::floor(at)) * (values[high] - values[low]);
}

/// The largest resident size, without what measuring the ceilings takes. SOURCE: proc(5), VmHWM,
/// and clear_refs, where 5 sets it back to the present size.
class PeakMemory {
 public:
  PeakMemory() { start(); }
  void start() {
    std::ofstream file("/proc/self/clear_refs");
    known_ = known_ && (file << "5" << std::flush).good();
  }
  /// Looks at the present peak.
  void look() {
    std::ifstream status("/proc/self/status");
    for (std::string word; status >> word;)
      if (word == "VmHWM:") {
        std::uint64_t kib = 0;
        status >> kib;
        bytes_ = std::max(bytes_, kib * 1024);
      }
  }
  /// Null where the system cannot tell.
  Json bytes() const { return known_ && bytes_ > 0 ? Json(bytes_) : Json(); }

 private:
  bool known_ = true;
  std::uint64_t bytes_ = 0;
};

/// Ceilings, measured several times around and between the rest.
class CeilingSamples {
 public:
  void take(runnel_engine* engine) {
    runnel_ceilings sample;
    runnel_ceilings_init(&sample);
    const runnel_status status = runnel_engine_ceilings(engine, &sample);
    if (status == RUNNEL_ERROR_UNSUPPORTED) return;
    must(status);
    samples_.push_back(sample);
  }
  /// Null when the backend cannot measure them.
  Json json() const {
    if (samples_.empty()) return {};
    return {{"samples", samples_.size()},
            {"read_bytes_per_second", of(&runnel_ceilings::read_bytes)},
            {"int8_ops_per_second", of(&runnel_ceilings::int8_ops)},
            {"bf16_ops_per_second", of(&runnel_ceilings::bf16_ops)},
            {"f32_ops_per_second", of(&runnel_ceilings::f32_ops)}};
  }

 private:
  double of(double runnel_ceilings::*field) const {
    std::vector<double> values;
    for (const runnel_ceilings& sample : samples_) values.push_back(sample.*field);
    return median(std::move(values));
  }
  std::vector<runnel_ceilings> samples_;
};

enum class Feed : std::uint8_t { whole, one_by_one };

/// One loaded model and a session of `depth` tokens.
class Bench {
 public:
  Bench(const BenchFlags& flags, const BenchCase& which) : flags_(flags), which_(which) {
    flags_.model.type = which.type;
    flags_.model.threads = which.threads;
    flags_.model.context = which.depth + std::max({flags.n_prompt, flags.n_generate, 1}) + 1;
    const auto start = std::chrono::steady_clock::now();
    engine_ = open_engine(flags_.model);
    session_ = open_session(engine_.get(), flags_.model);
    info_ = model_info(engine_.get());
    const std::int32_t first = 0;
    must(runnel_session_append(session_.get(), &first, 1));
    to_first_token_ = seconds_since(start);
    must(runnel_session_truncate(session_.get(), 0));
    if (which.depth == 0) return;
    const Ids fill = some_ids(which.depth, info_.n_vocab);
    must(runnel_session_append(session_.get(), fill.data(), fill.size()));
  }

  Json run() {
    take_ceilings();
    Json prefill, decode;
    if (flags_.n_prompt > 0) prefill = measure(flags_.n_prompt, Feed::whole);
    take_ceilings();
    if (flags_.n_generate > 0) decode = measure(flags_.n_generate, Feed::one_by_one);
    take_ceilings();
    Json row = describe();
    const Json ceilings = ceilings_.json();
    if (!prefill.is_null()) row["prefill"] = with_share_of_peak(std::move(prefill), ceilings);
    if (!decode.is_null()) row["decode"] = with_share_of_reads(std::move(decode), ceilings);
    row["ceilings"] = ceilings;
    row["load_seconds"] = info_.load_seconds;
    row["first_token_seconds"] = to_first_token_;
    row["peak_resident_bytes"] = memory_.bytes();
    if (flags_.profile) {
      if (flags_.n_prompt > 0) row["profile"]["prefill"] = profile(flags_.n_prompt, Feed::whole);
      if (flags_.n_generate > 0)
        row["profile"]["decode"] = profile(flags_.n_generate, Feed::one_by_one);
    }
    return row;
  }

 private:
  Json describe() const {
    return {{"model", info_.name},
            {"type", info_.file_type},
            {"threads", info_.n_threads},
            {"depth", which_.depth},
            {"kv", flags_.model.kv},
            {"backend", info_.backend},
            {"parameters", info_.n_parameters},
            {"weight_bytes", info_.weight_bytes}};
  }

  void take_ceilings() {
    memory_.look();
    ceilings_.take(engine_.get());
    memory_.start();
  }

  void feed(const Ids& ids, Feed how) {
    if (how == Feed::one_by_one)
      for (const std::int32_t& id : ids) must(runnel_session_append(session_.get(), &id, 1));
    else
      must(runnel_session_append(session_.get(), ids.data(), ids.size()));
  }

  /// Back to the depth, and one token on: what a truncation costs comes with it.
  void rewind() {
    must(runnel_session_truncate(session_.get(), which_.depth));
    const std::int32_t bridge = 1;
    must(runnel_session_append(session_.get(), &bridge, 1));
  }

  Json measure(int n, Feed how) {
    const Ids ids = some_ids(n, info_.n_vocab);
    std::vector<double> seconds, speeds;
    for (int r = -1; r < flags_.repeats; ++r) {
      rewind();
      const auto start = std::chrono::steady_clock::now();
      feed(ids, how);
      if (r < 0) continue;  // compiles plans, warms caches
      seconds.push_back(seconds_since(start));
      speeds.push_back(n / seconds.back());
    }
    return {{"tokens", n},
            {"seconds", seconds},
            {"tokens_per_second", median(speeds)},
            {"spread", spread(speeds)}};
  }

  Json profile(int n, Feed how) {
    const Ids ids = some_ids(n, info_.n_vocab);
    rewind();
    must(runnel_engine_profile_start(engine_.get()));
    feed(ids, how);
    char* text = nullptr;
    must(runnel_engine_profile_stop(engine_.get(), &text));
    return Json::parse(TextPtr(text).get());
  }

  runnel_step_cost cost(int position, int n_tokens) const {
    runnel_step_cost cost;
    runnel_step_cost_init(&cost);
    must(runnel_session_step_cost(session_.get(), position, n_tokens, &cost));
    return cost;
  }

  Json with_share_of_peak(Json prefill, const Json& ceilings) const {
    const runnel_step_cost work = cost(which_.depth + 1, flags_.n_prompt);
    prefill["operations"] = work.int8_ops + work.bf16_ops + work.f32_ops;
    if (ceilings.is_null()) return prefill;
    const double int8 = ceilings["int8_ops_per_second"], f32 = ceilings["f32_ops_per_second"];
    double bf16 = ceilings["bf16_ops_per_second"];
    if (bf16 == 0) bf16 = f32;
    const double least = work.int8_ops / int8 + work.bf16_ops / bf16 + work.f32_ops / f32;
    prefill["fraction_of_peak"] =
        least * prefill["tokens_per_second"].get<double>() / flags_.n_prompt;
    return prefill;
  }

  Json with_share_of_reads(Json decode, const Json& ceilings) const {
    // Keys and values grow by the same for each token: half way is the mean.
    const double kv_bytes = cost(which_.depth + 1 + flags_.n_generate / 2, 1).kv_bytes;
    decode["weight_bytes_per_token"] = info_.bytes_per_token;
    decode["kv_bytes_per_token"] = kv_bytes;
    if (ceilings.is_null()) return decode;
    const double bytes = static_cast<double>(info_.bytes_per_token) + kv_bytes;
    decode["fraction_of_bandwidth"] = bytes * decode["tokens_per_second"].get<double>() /
                                      ceilings["read_bytes_per_second"].get<double>();
    return decode;
  }

  PeakMemory memory_;  // starts before the model is loaded
  BenchFlags flags_;
  BenchCase which_;
  EnginePtr engine_;
  SessionPtr session_;
  runnel_model_info info_{};
  double to_first_token_ = 0;
  CeilingSamples ceilings_;
};

}  // namespace

double median(std::vector<double> values) {
  return quantile(std::move(values), 0.5);
}

double spread(const std::vector<double>& values) {
  const double middle = median(values);
  return (quantile(values, 0.75) - quantile(values, 0.25)) / middle;
}

Json measure_case(const BenchFlags& flags, const BenchCase& which) {
  return Bench(flags, which).run();
}

}  // namespace runnel::app

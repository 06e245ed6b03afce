// --temp and the like, spelled as users of other runtimes know them.
#include <charconv>

#include "apps/app.h"

namespace runnel::app {
namespace {

template <class T, class U>
void take(const std::optional<T>& given, U& field) {
  if (given) field = static_cast<U>(*given);
}

runnel_logit_bias parse_bias(const std::string& text) {
  runnel_logit_bias bias{};
  const std::size_t colon = text.find(':');
  const char* end = text.data() + text.size();
  bool good = colon != std::string::npos;
  if (good) {
    const auto id = std::from_chars(text.data(), text.data() + colon, bias.token);
    const auto value = std::from_chars(text.data() + colon + 1, end, bias.bias);
    good = id.ec == std::errc() && id.ptr == text.data() + colon && value.ec == std::errc() &&
           value.ptr == end;
  }
  if (!good)
    fail(Exit::usage, "--logit-bias takes ID:BIAS, for example 42:-1.5, not \"" + text + "\"");
  return bias;
}

}  // namespace

void add_sampling_flags(CLI::App& verb, SamplingFlags& flags) {
  verb.add_option("--temp", flags.temperature, "temperature; 0 = always the likeliest token");
  verb.add_option("--top-k", flags.top_k, "keep the K likeliest tokens; 0 = off");
  verb.add_option("--top-p", flags.top_p,
                  "keep the likeliest tokens up to this probability; 1 = off");
  verb.add_option("--min-p", flags.min_p, "drop tokens below this share of the likeliest; 0 = off");
  verb.add_option("--typical", flags.typical, "locally typical sampling; 1 = off");
  verb.add_option("--xtc-probability", flags.xtc_probability,
                  "chance to exclude top choices; 0 = off");
  verb.add_option("--xtc-threshold", flags.xtc_threshold, "what counts as a top choice");
  verb.add_option("--dry-multiplier", flags.dry_multiplier, "DRY repetition penalty; 0 = off");
  verb.add_option("--dry-base", flags.dry_base, "DRY growth per repeated token");
  verb.add_option("--dry-allowed-length", flags.dry_allowed_length,
                  "repeats this long cost nothing");
  verb.add_option("--dry-penalty-last-n", flags.dry_last_n, "tokens DRY looks at; -1 = all");
  verb.add_option("--repeat-penalty", flags.repeat_penalty, "penalty of recent tokens; 1 = off");
  verb.add_option("--repeat-last-n", flags.repeat_last_n, "tokens the penalties look at; -1 = all");
  verb.add_option("--presence-penalty", flags.presence_penalty, "0 = off");
  verb.add_option("--frequency-penalty", flags.frequency_penalty, "0 = off");
  verb.add_option("--mirostat-tau", flags.mirostat_tau, "mirostat v2 target surprise; 0 = off");
  verb.add_option("--mirostat-eta", flags.mirostat_eta, "mirostat v2 learning rate");
  verb.add_option("-l,--logit-bias", flags.logit_bias, "ID:BIAS, may be repeated");
  verb.add_option("-s,--seed", flags.seed, "random seed; a fresh one when not given");
}

void apply_sampling(runnel_engine* engine, runnel_session* session, const SamplingFlags& flags) {
  runnel_sampling_options options;
  runnel_sampling_options_init(&options);
  must(runnel_engine_suggested_sampling(engine, &options));
  take(flags.temperature, options.temperature);
  take(flags.top_k, options.top_k);
  take(flags.top_p, options.top_p);
  take(flags.min_p, options.min_p);
  take(flags.typical, options.typical_p);
  take(flags.xtc_probability, options.xtc_probability);
  take(flags.xtc_threshold, options.xtc_threshold);
  take(flags.dry_multiplier, options.dry_multiplier);
  take(flags.dry_base, options.dry_base);
  take(flags.dry_allowed_length, options.dry_allowed_length);
  take(flags.dry_last_n, options.dry_last_n);
  take(flags.repeat_penalty, options.repeat_penalty);
  take(flags.repeat_last_n, options.penalty_last_n);
  take(flags.presence_penalty, options.presence_penalty);
  take(flags.frequency_penalty, options.frequency_penalty);
  take(flags.mirostat_tau, options.mirostat_tau);
  take(flags.mirostat_eta, options.mirostat_eta);
  take(flags.seed, options.seed);
  std::vector<runnel_logit_bias> biases;
  for (const std::string& text : flags.logit_bias) biases.push_back(parse_bias(text));
  options.logit_bias = biases.data();
  options.n_logit_bias = biases.size();
  must(runnel_session_set_sampling(session, &options));
}

}  // namespace runnel::app

// The generation loop: sample, show, append, until something says stop.
#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "runtime/session/session.h"
#include "runtime/text/detokenizer.h"

namespace runnel {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Turns token bytes into callback pieces: whole characters, stop strings cut off.
class TextOutput {
 public:
  explicit TextOutput(const GenerateOptions& options)
      : options_(options), matcher_(options.stops) {}

  /// The reason to stop, if the text gives one.
  std::optional<StopReason> push(std::string_view bytes) {
    const StopMatcher::Match match = matcher_.push(detokenizer_.push(bytes));
    if (!emit(match.text)) return StopReason::callback;
    if (match.stopped) return StopReason::stop_string;
    return std::nullopt;
  }
  /// Shows what is still held back. `reason` becomes stop_string or callback when that happens
  /// here.
  void finish(StopReason& reason) {
    if (reason == StopReason::stop_string || reason == StopReason::callback) return;
    const StopMatcher::Match match = matcher_.push(detokenizer_.flush());
    const std::string rest = match.stopped ? match.text : match.text + matcher_.flush();
    if (match.stopped) reason = StopReason::stop_string;
    if (!emit(rest)) reason = StopReason::callback;
  }

 private:
  bool emit(const std::string& text) {
    return text.empty() || !options_.on_text || options_.on_text(text);
  }
  const GenerateOptions& options_;
  Detokenizer detokenizer_;
  StopMatcher matcher_;
};

}  // namespace

Result<GenerateResult> Session::generate(const GenerateOptions& options) {
  if (!have_logits_) return Status(Code::invalid_argument, "no logits: append tokens first");
  const Tokenizer* tokenizer = engine_.tokenizer();
  const auto start = std::chrono::steady_clock::now();
  TextOutput output(options);
  GenerateResult result;
  result.stop = StopReason::limit;
  while (options.max_tokens < 0 || result.n_tokens < options.max_tokens) {
    if (take_cancel()) {
      result.stop = StopReason::cancelled;
      break;
    }
    RUNNEL_ASSIGN(const TokenId id, sample());
    ++result.n_tokens;
    const bool ends = tokenizer != nullptr && tokenizer->is_eog(id);
    if (ends && !options.ignore_eog) {
      if (options.show_special) output.push(tokenizer->bytes(id));
      result.stop = StopReason::eog;
      break;
    }
    std::optional<StopReason> reason;
    if (tokenizer != nullptr && (options.show_special || tokenizer->kind(id) != TokenKind::control))
      reason = output.push(tokenizer->bytes(id));
    if (!reason && options_.policy == ContextPolicy::stop && cache_->size() >= cache_->capacity())
      reason = StopReason::context_full;
    if (!reason) {
      const Status appended = append(std::span(&id, 1));
      if (appended.code() == Code::cancelled)
        reason = StopReason::cancelled;
      else if (!appended.ok())
        return appended;
    }
    if (reason) {
      result.stop = *reason;
      break;
    }
  }
  output.finish(result.stop);
  result.n_dropped = n_dropped();
  result.generate_seconds = seconds_since(start);
  return result;
}

/// Tokens that the prompt begins with whatever the user says: the system message and the tools.
std::int64_t Session::system_tokens(const nlohmann::ordered_json& messages,
                                    const nlohmann::ordered_json& tools,
                                    std::span<const TokenId> ids) const {
  nlohmann::ordered_json probe = nlohmann::ordered_json::array();
  const bool has_system = !messages.empty() && messages[0].value("role", "") == "system";
  if (has_system) probe.push_back(messages[0]);
  if (!has_system && tools.empty()) return 0;
  probe.push_back({{"role", "user"}, {"content", "?"}});
  // A template that cannot render this shows it in the conversation itself.
  const Result<std::string> text = engine_.render_chat(probe, tools, true);
  if (!text.ok()) return 0;
  const std::vector<TokenId> other =
      engine_.tokenizer()->encode(*text, {Bos::as_model, Specials::parse});
  return std::ranges::mismatch(other, ids).in1 - other.begin();
}

Result<GenerateResult> Session::chat(const nlohmann::ordered_json& messages,
                                     const nlohmann::ordered_json& tools,
                                     const GenerateOptions& options) {
  if (engine_.tokenizer() == nullptr)
    return Status(Code::unsupported, "the model has no tokenizer");
  const auto start = std::chrono::steady_clock::now();
  RUNNEL_ASSIGN(const std::string prompt, engine_.render_chat(messages, tools, true));
  const std::vector<TokenId> ids =
      engine_.tokenizer()->encode(prompt, {Bos::as_model, Specials::parse});
  if (cache_->shift_plan() || options_.kv.tiled()) {
    const std::int64_t n_system = system_tokens(messages, tools, ids);
    keep_first(n_system);
    // Nobody can go back to there from a cache of tiles, so the store gets it as it passes by.
    if (options_.kv.tiled() && engine_.prefixes() != nullptr) shared_end_ = n_system;
  }
  Result<std::int64_t> reused = set_tokens(ids);
  GenerateResult result;
  if (!reused.ok() && reused.status().code() != Code::cancelled) return reused.status();
  if (reused.ok()) {
    const double prompt_seconds = seconds_since(start);
    RUNNEL_ASSIGN(result, generate(options));
    result.n_reused = *reused;
    result.prompt_seconds = prompt_seconds;
  } else {
    result.stop = StopReason::cancelled;
  }
  result.n_prompt = static_cast<std::int64_t>(ids.size());
  return result;
}

}  // namespace runnel

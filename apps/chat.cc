// runnel chat [-m FILE]: a conversation in the terminal, or over a pipe one message a line.
#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <cstdio>
#include <utility>

#include "apps/app.h"
#include "apps/conversation.h"
#include "apps/line_input.h"
#include "apps/terminal.h"

namespace runnel::app {
namespace {

struct ChatFlags {
  ModelFlags model;
  SamplingFlags sampling;
  std::string prompt, system;
  int max_tokens = -1;
};

/// The first word and what follows it, without the white space around.
std::pair<std::string, std::string> first_word(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  text = text.substr(0, text.find_last_not_of(kBlank) + 1);
  const std::size_t end = std::min(text.find_first_of(kBlank), text.size());
  const std::size_t next = std::min(text.find_first_not_of(kBlank, end), text.size());
  return {std::string(text.substr(0, end)), std::string(text.substr(next))};
}

class Chat {
 public:
  explicit Chat(const ChatFlags& flags)
      : flags_(flags),
        interactive_(flags.prompt.empty() && stdin_is_terminal() && stdout_is_terminal()),
        engine_(open_engine(flags.model)),
        session_(open_session(engine_.get(), flags.model)) {
    apply_sampling(engine_.get(), session_.get(), flags_.sampling);
    conversation_.set_system(flags.system);
  }

  void run() {
    converse();
    if (asked_ && !flags_.model.prompt_cache.empty())
      must(runnel_session_save(session_.get(), flags_.model.prompt_cache.c_str(), nullptr));
  }

 private:
  void converse() {
    const InterruptGuard guard(
        [](void* chat) {
          auto* self = static_cast<Chat*>(chat);
          if (self->replying_) runnel_session_cancel(self->session_.get());
        },
        this);
    if (!flags_.prompt.empty()) {
      ask(flags_.prompt);
      if (result_.stop_reason == RUNNEL_STOP_CANCELLED) fail(Exit::interrupted, "");
      return;
    }
    if (interactive_) greet();
    LineInput input(interactive_);
    while (!done_) {
      const std::optional<std::string> text = input.message("> ");
      if (!text) break;
      handle(*text);
    }
    if (interactive_ && !done_) std::puts("");
  }

  struct Command {
    const char* name;
    const char* help;
    void (Chat::*run)(const std::string& argument);
  };
  static const std::array<Command, 10> kCommands;

  void greet() {
    const runnel_model_info info = model_info(engine_.get());
    note(std::string(info.name) + " · " + info.backend + " · /help lists commands, Ctrl-D leaves");
  }
  void note(const std::string& text) {
    std::fprintf(stderr, "%s\n", coloured(text, Colour::dim, stderr_is_terminal()).c_str());
  }
  void complain(const std::string& text) {
    std::fprintf(stderr, "%s\n", coloured(text, Colour::red, stderr_is_terminal()).c_str());
  }

  /// A command when the text begins with "/", else a message.
  void handle(const std::string& text) {
    if (text.find_first_not_of(" \t\r\n") == std::string::npos) return;
    if (text[0] != '/') return ask(text);
    const auto [name, argument] = first_word(text);
    for (const Command& command : kCommands)
      if (name == command.name) return (this->*command.run)(argument);
    complain("unknown command " + name + ", /help lists them; nothing was sent to the model");
  }

  void ask(const std::string& text) {
    conversation_.add("user", text);
    if (!reply()) conversation_.remove_last();
  }

  /// Generates the answer to the conversation and adds it; false when nothing could be computed.
  bool reply() {
    struct Output {
      std::string text;
    } output;
    runnel_generate_options options;
    runnel_generate_options_init(&options);
    options.max_tokens = flags_.max_tokens;
    options.text_user = &output;
    options.on_text = [](void* user, const char* piece, size_t n_bytes) {
      static_cast<Output*>(user)->text.append(piece, n_bytes);
      std::fwrite(piece, 1, n_bytes, stdout);
      std::fflush(stdout);
      return 1;
    };
    runnel_generate_result_init(&result_);
    const std::vector<runnel_message> messages = conversation_.views();
    replying_ = true;
    const runnel_status status = runnel_session_chat(session_.get(), messages.data(),
                                                     messages.size(), nullptr, &options, &result_);
    replying_ = false;
    if (!output.text.empty()) std::puts("");
    std::fflush(stdout);  // the footer on stderr comes after it
    if (status != RUNNEL_OK) {
      const std::string advice = status == RUNNEL_ERROR_CONTEXT_FULL
                                     ? "; /clear starts anew, -c N gives more room, --context-full "
                                       "shift forgets the oldest"
                                     : "";
      if (!interactive_) must(status);
      complain(runnel_last_error() + advice);
      return false;
    }
    conversation_.add("assistant", output.text);
    asked_ = true;
    footer();
    return true;
  }

  void footer() {
    const int computed = result_.n_prompt_tokens - result_.n_reused_tokens;
    char line[160];
    std::snprintf(
        line, sizeof line,
        "[ Prompt: %.1f t/s (%d tokens, %d reused) | Generation: %.1f t/s (%d tokens)%s ]",
        computed / std::max(1e-9, result_.prompt_seconds), computed, result_.n_reused_tokens,
        result_.n_tokens / std::max(1e-9, result_.generate_seconds), result_.n_tokens,
        result_.stop_reason == RUNNEL_STOP_CONTEXT_FULL ? ", context full"
        : result_.stop_reason == RUNNEL_STOP_CANCELLED  ? ", stopped"
                                                        : "");
    note(line);
    if (result_.n_dropped_tokens > 0)
      note("the context is full: the model no longer sees " +
           std::to_string(result_.n_dropped_tokens) + " of the conversation's " +
           std::to_string(runnel_session_position(session_.get())) + " tokens");
  }

  void help(const std::string&) {
    for (const Command& command : kCommands)
      std::fprintf(stderr, "  %-9s %s\n", command.name, command.help);
    std::fputs(
        "  \"\"\"       begins and ends a message of several lines; a trailing \\ goes on, too\n"
        "  Ctrl-C    stops the reply; Ctrl-D leaves\n",
        stderr);
  }
  void clear(const std::string&) {
    conversation_.clear();
    must(runnel_session_truncate(session_.get(), 0));
    note("conversation cleared");
  }
  void regenerate(const std::string&) {
    if (conversation_.last_question() == nullptr)
      return complain("there is no reply to make again");
    conversation_.drop_reply();
    reply();
  }
  void edit(const std::string& text) {
    Message* question = conversation_.last_question();
    if (question == nullptr) return complain("there is no message to edit");
    if (text.empty())
      return complain("usage: /edit NEW TEXT of your last message, which was: " +
                      question->content);
    question->content = text;
    conversation_.drop_reply();
    reply();
  }
  void system(const std::string& text) {
    conversation_.set_system(text);
    note(text.empty() ? "no system message" : "system message set");
  }
  void save(const std::string& path);
  void load(const std::string& path);
  void set(const std::string& text);
  void stats(const std::string&) {
    const runnel_model_info info = model_info(engine_.get());
    std::fprintf(
        stderr,
        "model    %s (%s), %.1f M parameters, %.1f MiB\nbackend  %s\ncontext  %d of %d tokens\n",
        info.name, info.file_type, static_cast<double>(info.n_parameters) / 1e6,
        static_cast<double>(info.weight_bytes) / 1048576.0, info.backend,
        runnel_session_position(session_.get()), runnel_session_context_size(session_.get()));
    if (result_.n_tokens > 0) footer();
  }
  void leave(const std::string&) { done_ = true; }

  ChatFlags flags_;
  bool interactive_;
  EnginePtr engine_;
  SessionPtr session_;
  Conversation conversation_;
  runnel_generate_result result_{};
  std::atomic<bool> replying_{false};
  bool done_ = false, asked_ = false;
};

const std::array<Chat::Command, 10> Chat::kCommands{{
    {"/help", "this list", &Chat::help},
    {"/clear", "forget the conversation, keep the system message", &Chat::clear},
    {"/regen", "another reply to your last message", &Chat::regenerate},
    {"/edit", "TEXT: replace your last message and reply again", &Chat::edit},
    {"/system", "TEXT: set the system message; without TEXT: remove it", &Chat::system},
    {"/save", "FILE: write conversation and state; FILE.json: the text only", &Chat::save},
    {"/load", "FILE: go on from there", &Chat::load},
    {"/set", "NAME VALUE: temp, top-k, top-p, min-p, repeat-penalty, seed, max-tokens", &Chat::set},
    {"/stats", "model, backend, context and speed", &Chat::stats},
    {"/exit", "leave", &Chat::leave},
}};

bool is_transcript(const std::string& path) {
  return path.ends_with(".json");
}

void Chat::save(const std::string& path) {
  if (path.empty()) return complain("usage: /save FILE");
  if (is_transcript(path)) {
    const std::string error = conversation_.save(path);
    if (!error.empty()) return complain(error);
  } else if (runnel_session_save(session_.get(), path.c_str(), conversation_.to_json().c_str()) !=
             RUNNEL_OK) {
    return complain(runnel_last_error());
  }
  note("saved " + path);
}

void Chat::load(const std::string& path) {
  if (path.empty()) return complain("usage: /load FILE");
  char* text = nullptr;
  if (const std::string error = conversation_.load(path); !error.empty()) {
    if (is_transcript(path)) return complain(error);
    if (runnel_session_load(session_.get(), path.c_str(), &text) != RUNNEL_OK)
      return complain(runnel_last_error());
    const TextPtr owned(text);
    const std::string wrong = conversation_.parse(text);
    if (!wrong.empty()) return complain(path + " holds no conversation");
  }
  note("loaded " + std::to_string(conversation_.messages().size()) + " messages from " + path +
       (text == nullptr ? "" : ", nothing to compute again"));
}

/// Parses all of `text` as a number.
template <class T>
bool parse_number(const std::string& text, std::optional<T>& out) {
  T value{};
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return false;
  out = value;
  return true;
}

void Chat::set(const std::string& text) {
  const auto [name, value] = first_word(text);
  SamplingFlags changed = flags_.sampling;
  std::optional<int> max_tokens = flags_.max_tokens;
  const bool known = (name == "temp" && parse_number(value, changed.temperature)) ||
                     (name == "top-k" && parse_number(value, changed.top_k)) ||
                     (name == "top-p" && parse_number(value, changed.top_p)) ||
                     (name == "min-p" && parse_number(value, changed.min_p)) ||
                     (name == "repeat-penalty" && parse_number(value, changed.repeat_penalty)) ||
                     (name == "seed" && parse_number(value, changed.seed)) ||
                     (name == "max-tokens" && parse_number(value, max_tokens));
  if (!known)
    return complain(
        "usage: /set NAME NUMBER, NAME one of temp top-k top-p min-p repeat-penalty seed "
        "max-tokens");
  try {
    apply_sampling(engine_.get(), session_.get(), changed);
  } catch (const Failure& failure) {
    return complain(failure.message);
  }
  flags_.sampling = changed;
  flags_.max_tokens = *max_tokens;
  note(name + " = " + value);
}

}  // namespace

void declare_chat(CLI::App& verb) {
  auto flags = std::make_shared<ChatFlags>();
  add_model_flags(verb, flags->model, ModelFlag::bundled);
  add_session_flags(verb, flags->model);
  verb.add_option("-p,--prompt", flags->prompt, "ask this, print the reply and leave");
  verb.add_option("--system", flags->system, "system message");
  verb.add_option("-n,--n-predict", flags->max_tokens, "tokens a reply may have; -1 = no limit");
  add_sampling_flags(verb, flags->sampling);
  verb.callback([flags] {
    if (flags->model.model.empty()) flags->model.model = bundled_model();
    Chat(*flags).run();
  });
}

}  // namespace runnel::app

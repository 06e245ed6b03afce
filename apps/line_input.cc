#include "apps/line_input.h"

#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "apps/terminal.h"

#if RUNNEL_HAVE_EDIT
#include <editline/readline.h>
#endif

namespace runnel::app {
namespace {

constexpr const char* kFence = "\"\"\"";

/// $XDG_STATE_HOME/runnel/chat_history, else below ~/.local/state; empty without a home.
std::string history_file() {
  namespace fs = std::filesystem;
  fs::path state = environment("XDG_STATE_HOME");
  if (state.empty() && !environment("HOME").empty())
    state = fs::path(environment("HOME")) / ".local" / "state";
  if (state.empty()) return "";
  std::error_code error;
  fs::create_directories(state / "runnel", error);
  return error ? "" : (state / "runnel" / "chat_history").string();
}

#if RUNNEL_HAVE_EDIT
/// A line with editing, null at the end of input. Ctrl-C drops the line and begins another.
char* edit_line(const std::string& prompt) {
  for (;;) {
    InterruptGuard::reset(InterruptGuard::Reads::end);
    char* typed = readline(prompt.c_str());
    const bool dropped = typed == nullptr && InterruptGuard::interrupted();
    InterruptGuard::reset(InterruptGuard::Reads::go_on);
    if (!dropped) return typed;
    std::puts("");
  }
}
#endif

}  // namespace

LineInput::LineInput(bool interactive) : interactive_(interactive) {
  if (!interactive_) return;
#if RUNNEL_HAVE_EDIT
  // The line editor drops what the locale cannot hold: insist on UTF-8.
  if (std::setlocale(LC_CTYPE, "") == nullptr ||
      std::string_view(std::setlocale(LC_CTYPE, nullptr)) == "C")
    std::setlocale(LC_CTYPE, "C.UTF-8");
  using_history();
  stifle_history(1000);
  history_path_ = history_file();
  if (!history_path_.empty()) read_history(history_path_.c_str());
#endif
}

LineInput::~LineInput() {
#if RUNNEL_HAVE_EDIT
  if (interactive_ && !history_path_.empty()) write_history(history_path_.c_str());
#endif
}

std::optional<std::string> LineInput::line(const std::string& prompt) {
#if RUNNEL_HAVE_EDIT
  if (interactive_) {
    char* typed = edit_line(prompt);
    if (typed == nullptr) return std::nullopt;
    std::string text = typed;
    std::free(typed);
    if (!text.empty()) add_history(text.c_str());
    return text;
  }
#endif
  if (interactive_) {
    std::fputs(prompt.c_str(), stdout);
    std::fflush(stdout);
  }
  std::string text;
  if (!std::getline(std::cin, text)) return std::nullopt;
  if (!text.empty() && text.back() == '\r') text.pop_back();
  return text;
}

std::optional<std::string> LineInput::block(std::string text) {
  text.erase(0, 3);
  for (;;) {
    if (const std::size_t end = text.find(kFence); end != std::string::npos)
      return text.substr(0, end);
    const std::optional<std::string> more = line("... ");
    if (!more) return text;
    if (!text.empty()) text += '\n';
    text += *more;
  }
}

std::optional<std::string> LineInput::message(const std::string& prompt) {
  std::optional<std::string> text = line(prompt);
  if (!text) return std::nullopt;
  if (text->starts_with(kFence)) return block(*std::move(text));
  while (!text->empty() && text->back() == '\\') {
    const std::optional<std::string> more = line("... ");
    text->back() = '\n';
    if (!more) break;
    *text += *more;
  }
  return text;
}

}  // namespace runnel::app

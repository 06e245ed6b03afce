// The terminal: is there one, colour, the progress bar, Ctrl-C. Data goes to stdout elsewhere; all
// of this writes to stderr.
#pragma once
#include <string>
#include <string_view>

namespace runnel::app {

bool stdin_is_terminal();
bool stdout_is_terminal();
bool stderr_is_terminal();

/// Text in a colour for a stream that is a terminal, without NO_COLOR; else as it is.
enum class Colour : unsigned char { dim, green, red, cyan };
std::string coloured(std::string_view text, Colour colour, bool terminal);

/// Value of an environment variable; empty when unset.
std::string environment(const char* name);

/// A bar on stderr, redrawn in place; silent where stderr is no terminal.
class ProgressBar {
 public:
  explicit ProgressBar(std::string title) : title_(std::move(title)) {}
  ~ProgressBar() { clear(); }
  void update(double fraction, std::string_view detail = {});
  void clear();

 private:
  std::string title_;
  int shown_percent_ = -1;
  bool drawn_ = false;
};

/// From now on Ctrl-C ends the process with Exit::interrupted, where no InterruptGuard lives.
void end_on_interrupt();

/// Counts Ctrl-C while it lives, instead of ending the process.
class InterruptGuard {
 public:
  /// `on_interrupt` is called from the signal handler: it may only call async-signal-safe code.
  InterruptGuard(void (*on_interrupt)(void*), void* context);
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
  static bool interrupted();
  /// Forgets what was counted so far. From now on Ctrl-C lets a read from the terminal go on, or
  /// ends it with an error.
  enum class Reads : unsigned char { go_on, end };
  static void reset(Reads reads);
};

}  // namespace runnel::app

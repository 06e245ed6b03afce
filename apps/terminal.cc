#include "apps/terminal.h"

#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "apps/app.h"

namespace runnel::app {
namespace {

std::atomic<bool> g_interrupted{false};
std::atomic<void (*)(void*)> g_callback{nullptr};
std::atomic<void*> g_context{nullptr};
std::atomic<bool> g_knocks{false};

// A signal that arrives just before a read begins does not end it: knock until somebody looks.
void knock_every(suseconds_t microseconds) {
  const itimerval period{{0, microseconds}, {0, microseconds}};
  setitimer(ITIMER_REAL, &period, nullptr);
}

void handle_interrupt(int) {
  g_interrupted = true;
  if (g_knocks) knock_every(20000);
  if (const auto callback = g_callback.load()) callback(g_context.load());
}

// Ctrl-C stays ignored where the caller ignored it, as shells do for scripts in the background.
void set_handler(void (*handler)(int), int flags) {
  struct sigaction present {};
  sigaction(SIGINT, nullptr, &present);
  if (present.sa_handler == SIG_IGN) return;
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigaction(SIGINT, &action, nullptr);
}

}  // namespace

void end_on_interrupt() {
  set_handler([](int) { _exit(static_cast<int>(Exit::interrupted)); }, 0);
}

bool stdin_is_terminal() {
  return isatty(STDIN_FILENO) != 0;
}
bool stdout_is_terminal() {
  return isatty(STDOUT_FILENO) != 0;
}
bool stderr_is_terminal() {
  return isatty(STDERR_FILENO) != 0;
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string coloured(std::string_view text, Colour colour, bool terminal) {
  static const bool kAllowed = environment("NO_COLOR").empty() && environment("TERM") != "dumb";
  static constexpr std::array<const char*, 4> kCodes{"\x1b[2m", "\x1b[32m", "\x1b[31m", "\x1b[36m"};
  if (!terminal || !kAllowed) return std::string(text);
  return kCodes[static_cast<std::size_t>(colour)] + std::string(text) + "\x1b[0m";
}

void ProgressBar::update(double fraction, std::string_view detail) {
  const int percent = static_cast<int>(fraction * 100.0);
  if (!stderr_is_terminal() || percent == shown_percent_) return;
  shown_percent_ = percent;
  drawn_ = true;
  constexpr int kWidth = 30;
  std::string bar(static_cast<std::size_t>(percent * kWidth / 100), '#');
  bar.resize(kWidth, '.');
  std::fprintf(stderr, "\r\x1b[K%s [%s] %3d%% %.*s", title_.c_str(), bar.c_str(), percent,
               static_cast<int>(detail.size()), detail.data());
  std::fflush(stderr);
}

void ProgressBar::clear() {
  if (drawn_) std::fputs("\r\x1b[K", stderr);
  drawn_ = false;
}

InterruptGuard::InterruptGuard(void (*on_interrupt)(void*), void* context) {
  g_interrupted = false;
  g_context = context;
  g_callback = on_interrupt;
  set_handler(handle_interrupt, SA_RESTART);  // a line being typed survives
}

InterruptGuard::~InterruptGuard() {
  end_on_interrupt();
  g_callback = nullptr;
}

bool InterruptGuard::interrupted() {
  return g_interrupted;
}

void InterruptGuard::reset(Reads reads) {
  knock_every(0);  // silence
  g_knocks = reads == Reads::end;
  struct sigaction knock {};
  knock.sa_handler = [](int) {};
  sigaction(SIGALRM, &knock, nullptr);
  set_handler(handle_interrupt, reads == Reads::go_on ? SA_RESTART : 0);
  g_interrupted = false;
}

}  // namespace runnel::app

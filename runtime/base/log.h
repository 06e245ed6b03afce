// Log lines go to a sink given by the caller; the library itself never prints.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace runnel {

enum class LogLevel : std::uint8_t { error, warn, info, debug };

/// Where log lines go. Copyable; an empty sink drops everything. The sink may be called from any
/// thread that runs the library. Example: log(LogLevel::warn, "op=", name, " fallback=reference").
class Log {
 public:
  using Sink = std::function<void(LogLevel, std::string_view)>;
  Log() = default;
  Log(Sink sink, LogLevel max_level) : sink_(std::move(sink)), max_level_(max_level) {}
  bool enabled(LogLevel level) const { return sink_ && level <= max_level_; }

  template <class... Pieces>
  void operator()(LogLevel level, const Pieces&... pieces) const {
    if (!enabled(level)) return;
    std::string line;
    (append(line, pieces), ...);
    sink_(level, line);
  }

 private:
  static void append(std::string& line, std::string_view piece) { line += piece; }
  template <class Number>
  requires std::is_arithmetic_v<Number>
  static void append(std::string& line, Number piece) { line += std::to_string(piece); }
  Sink sink_;
  LogLevel max_level_ = LogLevel::warn;
};

}  // namespace runnel

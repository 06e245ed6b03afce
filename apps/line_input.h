// Reads what the user types: with editing and history on a terminal, plain lines from a pipe.
#pragma once
#include <optional>
#include <string>

namespace runnel::app {

class LineInput {
 public:
  /// `interactive`: standard input and output are terminals.
  explicit LineInput(bool interactive);
  ~LineInput();
  LineInput(const LineInput&) = delete;
  LineInput& operator=(const LineInput&) = delete;

  /// The next message, or nothing at the end of input (Ctrl-D). A line that begins with """ goes on
  /// to the next """; a line that ends in a backslash goes on with the next line.
  std::optional<std::string> message(const std::string& prompt);

 private:
  std::optional<std::string> line(const std::string& prompt);
  std::optional<std::string> block(std::string text);
  bool interactive_;
  std::string history_path_;  // empty: not kept
};

}  // namespace runnel::app

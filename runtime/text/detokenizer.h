// Streams token bytes as text that is always valid UTF-8, and finds stop strings across pieces.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace runnel {

/// Holds back an incomplete UTF-8 sequence until its rest arrives; bytes that can never become
/// valid are replaced by U+FFFD. One per stream.
class Detokenizer {
 public:
  /// The text that `bytes` completes; may be empty.
  std::string push(std::string_view bytes);
  /// What is held back at the end of a stream, with U+FFFD for broken bytes.
  std::string flush();

 private:
  std::string held_;
};

/// Looks for stop strings in a stream of pieces; text that may begin a stop string is held back.
class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stops);
  struct Match {
    std::string text;      // safe to show now
    bool stopped = false;  // a stop string was found; it and what follows are dropped
  };
  Match push(std::string_view piece);
  /// The held-back text at the end of a stream without a stop.
  std::string flush();

 private:
  std::vector<std::string> stops_;
  std::string held_;
};

}  // namespace runnel

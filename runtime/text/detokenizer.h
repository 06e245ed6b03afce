// Streams token bytes as text that is always valid UTF-8, and finds stop strings across pieces.
// One object per stream, used by one thread at a time. Example:
//   Match m = stops.push(detokenizer.push(tokenizer.bytes(id)));
//   show(m.text);
//   if (m.stopped) return;
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace runnel {

/// Holds back an incomplete UTF-8 character (at most 3 bytes) until its rest arrives; bytes that
/// can never become valid are replaced by U+FFFD, one per maximal subpart. All pushes and the
/// flush together give what a decoder of the whole text gives, however it was cut.
/// SOURCE: Unicode 15 section 3.9; the same as Python's errors="replace".
class Detokenizer {
 public:
  /// The text that `bytes` completes; may be empty.
  std::string push(std::string_view bytes);
  /// Ends the stream: U+FFFD when a character is still incomplete, else empty. Ready for a new
  /// stream afterwards.
  std::string flush();

 private:
  std::string held_;  // start of a character, 0..3 bytes
};

/// Looks for stop strings in a stream of pieces; text that may begin a stop string is held back.
/// The stop that is complete first wins, among those the longest; how the stream was cut into
/// pieces makes no difference. Time is linear in the text for each stop string.
/// Empty stops and stops that are not valid UTF-8 are ignored. Pieces that are valid UTF-8 give
/// text that is valid UTF-8.
class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stops);
  struct Match {
    std::string text;      // safe to show now
    bool stopped = false;  // a stop string was found; it and what follows are dropped
  };
  /// After a stop was found every further piece is dropped.
  Match push(std::string_view piece);
  /// The held-back text at the end of a stream without a stop. Ready for a new stream afterwards.
  std::string flush();

 private:
  /// One stop string under the Knuth-Morris-Pratt search.
  struct Stop {
    std::string text;
    std::vector<std::size_t> border;  // [text bytes] longest proper border of text[0..i]
    std::size_t n_matched = 0;        // bytes of `text` that end the stream so far
    void step(char byte);
  };
  std::vector<Stop> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace runnel

#include "runtime/text/detokenizer.h"

#include <algorithm>

#include "runtime/text/utf8.h"

namespace runnel {

std::string Detokenizer::push(std::string_view bytes) {
  held_ += bytes;
  const std::string_view all = held_;
  std::string text;
  text.reserve(all.size());
  std::size_t pos = 0;
  while (pos < all.size()) {
    const Utf8Char c = decode_utf8(all, pos);
    if (c.state == Utf8State::incomplete) break;
    text += c.state == Utf8State::valid ? all.substr(pos, c.n_bytes) : kReplacementCharacter;
    pos += c.n_bytes;
  }
  held_.erase(0, pos);
  return text;
}

std::string Detokenizer::flush() {
  if (held_.empty()) return {};
  held_.clear();  // one maximal subpart, so one replacement
  return std::string(kReplacementCharacter);
}

StopMatcher::StopMatcher(std::vector<std::string> stops) {
  for (std::string& text : stops) {
    if (text.empty() || !is_valid_utf8(text)) continue;
    std::vector<std::size_t> border(text.size(), 0);
    for (std::size_t i = 1, k = 0; i < text.size(); ++i) {
      while (k > 0 && text[i] != text[k]) k = border[k - 1];
      if (text[i] == text[k]) ++k;
      border[i] = k;
    }
    stops_.push_back({std::move(text), std::move(border), 0});
  }
}

// REQUIRES: n_matched < text.size(); push() ends the stream at a full match.
void StopMatcher::Stop::step(char byte) {
  while (n_matched > 0 && text[n_matched] != byte) n_matched = border[n_matched - 1];
  if (text[n_matched] == byte) ++n_matched;
}

StopMatcher::Match StopMatcher::push(std::string_view piece) {
  if (stopped_) return {{}, true};
  for (std::size_t i = 0; i < piece.size(); ++i) {
    std::size_t n_stop = 0;  // bytes of the longest stop that ends here
    for (Stop& stop : stops_) {
      stop.step(piece[i]);
      if (stop.n_matched == stop.text.size()) n_stop = std::max(n_stop, stop.n_matched);
    }
    if (n_stop == 0) continue;
    stopped_ = true;
    std::string text = std::move(held_);
    held_.clear();
    text += piece.substr(0, i + 1);
    text.resize(text.size() - n_stop);
    return {std::move(text), true};
  }
  std::size_t n_held = 0;
  for (const Stop& stop : stops_) n_held = std::max(n_held, stop.n_matched);
  held_ += piece;
  std::string text = held_.substr(0, held_.size() - n_held);
  held_.erase(0, text.size());
  return {std::move(text), false};
}

std::string StopMatcher::flush() {
  for (Stop& stop : stops_) stop.n_matched = 0;
  stopped_ = false;
  std::string text = std::move(held_);
  held_.clear();
  return text;
}

}  // namespace runnel

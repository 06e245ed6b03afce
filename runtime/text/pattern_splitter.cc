#include "runtime/text/pattern_splitter.h"

#include <cstdint>
#include <span>
#include <string>

#include "runtime/text/utf8.h"

#if RUNNEL_HAVE_PCRE2
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#endif

namespace runnel {

#if RUNNEL_HAVE_PCRE2
namespace {

template <auto free_function>
struct Free {
  template <class T>
  void operator()(T* object) const {
    free_function(object);
  }
};
using Program = std::unique_ptr<pcre2_code, Free<pcre2_code_free>>;
using CompileContext = std::unique_ptr<pcre2_compile_context, Free<pcre2_compile_context_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, Free<pcre2_match_context_free>>;
using MatchData = std::unique_ptr<pcre2_match_data, Free<pcre2_match_data_free>>;

constexpr std::uint32_t kMaxSteps = 1'000'000;  // backtracking steps of one match
constexpr std::uint32_t kMaxHeapKib = 64 << 10;

/// PCRE2's \s takes U+180E (MONGOLIAN VOWEL SEPARATOR), which lost White_Space in Unicode 6.3.
/// It is shown this character of the same category (Cf) and length instead.
constexpr std::string_view kVowelSeparator = "\xE1\xA0\x8E";
constexpr std::string_view kStandIn = "\xE2\x81\xAA";  // U+206A

/// What PCRE2 is shown for the character at `pos`; `n_bytes` is its length in the text.
std::string_view shown_char(std::string_view text, std::size_t pos, std::size_t& n_bytes) {
  const Utf8Char c = decode_utf8(text, pos);
  n_bytes = c.state == Utf8State::valid ? c.n_bytes : 1;
  if (c.state != Utf8State::valid) return kReplacementCharacter;
  const std::string_view bytes = text.substr(pos, n_bytes);
  return bytes == kVowelSeparator ? kStandIn : bytes;
}

std::string shown_text(std::string_view text) {
  std::string shown;
  shown.reserve(text.size());
  for (std::size_t pos = 0, n = 0; pos < text.size(); pos += n) shown += shown_char(text, pos, n);
  return shown;
}

/// Turns ascending offsets in shown_text(text) into offsets in `text`.
void map_back(std::string_view text, std::span<std::size_t> ends) {
  std::size_t pos = 0, shown = 0;
  for (std::size_t& end : ends) {
    while (shown < end) {
      std::size_t n = 0;
      shown += shown_char(text, pos, n).size();
      pos += n;
    }
    end = pos;
  }
}

/// One match at or after `from`; false when there is none or a limit was passed.
bool match_at(const pcre2_code* program,
              pcre2_match_context* limits,
              pcre2_match_data* data,
              std::string_view text,
              std::size_t from) {
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  int rc = pcre2_match(program, subject, text.size(), from, PCRE2_NO_UTF_CHECK, data, limits);
  if (rc == PCRE2_ERROR_JIT_STACKLIMIT)  // the interpreter keeps its stack on the heap
    rc = pcre2_match(program, subject, text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data,
                     limits);
  return rc >= 0;
}

}  // namespace

struct PatternSplitter::Impl {
  Program program;
  MatchContext limits;
};

bool PatternSplitter::available() {
  return true;
}

Result<PatternSplitter> PatternSplitter::compile(std::string_view pattern) {
  if (pattern.size() > kMaxPatternBytes)
    return Status(Code::unsupported,
                  "pattern has more than " + std::to_string(kMaxPatternBytes) + " bytes");
  const CompileContext context(pcre2_compile_context_create(nullptr));
  auto impl = std::make_unique<Impl>();
  impl->limits.reset(pcre2_match_context_create(nullptr));
  if (!context || !impl->limits) return Status(Code::out_of_memory, "no memory for a pattern");
  // The patterns are written for Oniguruma's Ruby syntax: "." stops at \n only, ^ and $ know lines.
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  constexpr std::uint32_t kOptions =
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
  int error = 0;
  PCRE2_SIZE offset = 0;
  impl->program.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                    kOptions, &error, &offset, context.get()));
  if (!impl->program) {
    std::uint8_t reason[160] = "";
    pcre2_get_error_message(error, reason, sizeof(reason));
    return Status(Code::corrupt, "pattern, byte " + std::to_string(offset) + ": " +
                                     reinterpret_cast<const char*>(reason));
  }
  pcre2_set_match_limit(impl->limits.get(), kMaxSteps);
  pcre2_set_heap_limit(impl->limits.get(), kMaxHeapKib);
  pcre2_jit_compile(impl->program.get(), PCRE2_JIT_COMPLETE);  // without it: the same, slower
  return PatternSplitter(std::move(impl));
}

void PatternSplitter::split(std::string_view text, std::vector<std::size_t>& ends) const {
  const std::size_t n_before = ends.size();
  const std::string shown = shown_text(text);
  const MatchData data(pcre2_match_data_create_from_pattern(impl_->program.get(), nullptr));
  std::size_t done = 0;  // end of the last piece
  const auto end_piece = [&](std::size_t end) {
    if (end > done) ends.push_back(done = end);
  };
  std::size_t from = 0;
  while (data && from < shown.size() &&
         match_at(impl_->program.get(), impl_->limits.get(), data.get(), shown, from)) {
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data.get());
    if (range[0] < from || range[1] < range[0]) break;  // \K can bend a match
    end_piece(range[0]);
    end_piece(range[1]);
    from = range[1];
    if (range[0] != range[1] || from >= shown.size()) continue;
    from += decode_utf8(shown, from).n_bytes;  // an empty match cuts and moves on
  }
  end_piece(shown.size());
  if (shown != text) map_back(text, std::span(ends).subspan(n_before));
}

#else

struct PatternSplitter::Impl {};

bool PatternSplitter::available() {
  return false;
}

Result<PatternSplitter> PatternSplitter::compile(std::string_view) {
  return Status(Code::unsupported, "this build has no PCRE2 for pre-tokenizer patterns");
}

void PatternSplitter::split(std::string_view text, std::vector<std::size_t>& ends) const {
  if (!text.empty()) ends.push_back(text.size());
}

#endif

PatternSplitter::PatternSplitter(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
PatternSplitter::~PatternSplitter() = default;
PatternSplitter::PatternSplitter(PatternSplitter&&) noexcept = default;
PatternSplitter& PatternSplitter::operator=(PatternSplitter&&) noexcept = default;

}  // namespace runnel

// Chat templates: a Jinja engine for what real chat templates use, with limits on depth, time and
// output. A template comes from a stranger's file: no template can crash, hang or read anything.
// Immutable after parse, thread-safe.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "runtime/base/status.h"

namespace runnel {

struct TemplateLimits {
  std::size_t source_bytes = 1 << 20;
  std::size_t output_bytes = 16 << 20;
  std::size_t steps = 20'000'000;  // evaluated nodes and produced items
  int depth = 100;                 // nesting of expressions, blocks and macro calls
  std::chrono::milliseconds time{2000};
  std::size_t value_bytes = 64 << 20;  // memory held by values made while rendering
};

class ChatTemplate {
 public:
  /// ERRORS: corrupt with line number for a syntax error; unsupported for an unknown tag.
  static Result<ChatTemplate> parse(std::string_view source, const TemplateLimits& limits = {});
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;

  /// Renders with the given variables (a JSON object: messages, tools, add_generation_prompt,
  /// bos_token ...). Semantics of Jinja2 as chat templates use it: trim_blocks, lstrip_blocks,
  /// sandboxed, loop controls, raise_exception, strftime_now, tojson without ASCII escaping.
  /// ERRORS: invalid_argument with the message of raise_exception or of the failing expression;
  /// unsupported when a limit is passed.
  Result<std::string> render(const nlohmann::ordered_json& variables) const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

}  // namespace runnel

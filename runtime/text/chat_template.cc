#include "runtime/text/chat_template.h"

#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "runtime/text/jinja/ast.h"
#include "runtime/text/jinja/context.h"
#include "runtime/text/jinja/interpreter.h"
#include "runtime/text/jinja/parser.h"

namespace runnel {
namespace {

using Json = nlohmann::ordered_json;

jinja::Value to_value(jinja::Context* context, const Json& json, int depth);

jinja::Value to_number(jinja::Context* context, const Json& json) {
  if (json.is_number_float()) return jinja::Value(json.get<double>());
  if (json.is_number_unsigned() && json.get<std::uint64_t>() > INT64_MAX) {
    return context->fail("integer overflow in the variables");
  }
  return jinja::Value(json.get<std::int64_t>());
}

jinja::Value to_container(jinja::Context* context, const Json& json, int depth) {
  if (depth > context->limits().depth) {
    return context->fail_unsupported("the variables are nested too deeply");
  }
  if (json.is_array()) {
    std::vector<jinja::Value> items;
    for (const Json& item : json) {
      items.push_back(to_value(context, item, depth + 1));
      if (context->failed()) return {};
    }
    return context->list(std::move(items));
  }
  std::vector<jinja::Dict::Entry> entries;
  for (const auto& [key, item] : json.items()) {
    entries.emplace_back(context->text(key), to_value(context, item, depth + 1));
    if (context->failed()) return {};
  }
  return context->dict(std::move(entries));
}

jinja::Value to_value(jinja::Context* context, const Json& json, int depth) {
  if (json.is_structured()) return to_container(context, json, depth);
  if (json.is_string()) return context->text(json.get_ref<const std::string&>());
  if (json.is_boolean()) return jinja::Value(json.get<bool>());
  if (json.is_number()) return to_number(context, json);
  return {};
}

}  // namespace

struct ChatTemplate::Impl {
  jinja::Template source;
  TemplateLimits limits;
};

ChatTemplate::ChatTemplate(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;

Result<ChatTemplate> ChatTemplate::parse(std::string_view source, const TemplateLimits& limits) {
  RUNNEL_ASSIGN(jinja::Template parsed, jinja::parse_template(source, limits));
  auto impl = std::make_unique<Impl>();
  impl->source = std::move(parsed);
  impl->limits = limits;
  return ChatTemplate(std::move(impl));
}

Result<std::string> ChatTemplate::render(const Json& variables) const {
  if (!variables.is_object()) {
    return Status(Code::invalid_argument, "the variables of a chat template must be an object");
  }
  jinja::Context context(impl_->limits);
  std::string text;
  {
    const jinja::Value values = to_value(&context, variables, 0);
    if (context.failed()) return context.error();
    jinja::Interpreter interpreter(impl_->source, &context, values.dict());
    text = interpreter.render();
  }
  if (context.failed()) return context.error();
  return text;
}

}  // namespace runnel

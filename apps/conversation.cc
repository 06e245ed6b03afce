#include "apps/conversation.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

namespace runnel::app {
namespace {

using Json = nlohmann::ordered_json;
constexpr const char* kFormat = "runnel-chat";
constexpr std::uintmax_t kMaxFileBytes = std::uintmax_t{64} << 20;

}  // namespace

void Conversation::set_system(const std::string& text) {
  if (!messages_.empty() && messages_.front().role == "system") messages_.erase(messages_.begin());
  if (!text.empty()) messages_.insert(messages_.begin(), {"system", text});
}

void Conversation::clear() {
  const bool has_system = !messages_.empty() && messages_.front().role == "system";
  messages_.resize(has_system ? 1 : 0);
}

bool Conversation::drop_reply() {
  if (messages_.empty() || messages_.back().role != "assistant") return false;
  messages_.pop_back();
  return true;
}

Message* Conversation::last_question() {
  const bool answered = !messages_.empty() && messages_.back().role == "assistant";
  const std::size_t n = messages_.size() - (answered ? 1 : 0);
  return n > 0 && messages_[n - 1].role == "user" ? &messages_[n - 1] : nullptr;
}

std::vector<runnel_message> Conversation::views() const {
  std::vector<runnel_message> views;
  for (const Message& message : messages_)
    views.push_back({sizeof(runnel_message), message.role.c_str(), message.content.c_str()});
  return views;
}

std::string Conversation::to_json() const {
  Json json;
  json["format"] = kFormat;
  json["version"] = 1;
  json["messages"] = Json::array();
  for (const Message& message : messages_)
    json["messages"].push_back({{"role", message.role}, {"content", message.content}});
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + '\n';
}

std::string Conversation::save(const std::string& path) const {
  const std::string temporary = path + "." + std::to_string(getpid()) + ".tmp";
  std::ofstream out(temporary, std::ios::binary);
  out << to_json();
  out.close();
  if (out && std::rename(temporary.c_str(), path.c_str()) == 0) return "";
  std::remove(temporary.c_str());
  return "cannot write " + path;
}

std::string Conversation::load(const std::string& path) {
  std::error_code error;
  const std::uintmax_t bytes = std::filesystem::file_size(path, error);
  if (error || bytes > kMaxFileBytes) return "cannot read " + path;
  std::ifstream in(path, std::ios::binary);
  const std::string wrong = parse({std::istreambuf_iterator<char>(in), {}});
  return wrong.empty() ? "" : path + " " + wrong;
}

std::string Conversation::parse(const std::string& text) {
  bool too_deep = false;
  const auto limit = [&](int depth, Json::parse_event_t, Json&) {
    return !(too_deep = too_deep || depth > 8);
  };
  const Json json = Json::parse(text, limit, false);
  if (too_deep || !json.is_object() || json.value("format", Json()) != kFormat ||
      json.value("version", Json()) != 1 || !json.value("messages", Json()).is_array())
    return "is not a saved chat";
  std::vector<Message> loaded;
  for (const Json& entry : json["messages"]) {
    const Json role = entry.is_object() ? entry.value("role", Json()) : Json();
    const Json content = entry.is_object() ? entry.value("content", Json()) : Json();
    if (!role.is_string() || !content.is_string()) return "holds a message without role or content";
    loaded.push_back({role, content});
  }
  messages_ = std::move(loaded);
  return "";
}

}  // namespace runnel::app

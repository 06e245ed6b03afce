// The messages of a chat, as JSON text and in files. A transcript is the JSON alone; a session file
// of the library carries it as its note.
#pragma once
#include <string>
#include <vector>

#include "runtime/api/runnel.h"

namespace runnel::app {

struct Message {
  std::string role, content;
};

class Conversation {
 public:
  /// Empty `text` removes the system message.
  void set_system(const std::string& text);
  void add(std::string role, std::string content) {
    messages_.push_back({std::move(role), std::move(content)});
  }
  void remove_last() { messages_.pop_back(); }
  /// Everything but the system message.
  void clear();
  /// Drops the last reply, and with it nothing else; false when there is none.
  bool drop_reply();
  /// The user message at the end or before the reply at the end; else null.
  Message* last_question();
  const std::vector<Message>& messages() const { return messages_; }
  /// Views for runnel_session_chat, valid until the conversation changes.
  std::vector<runnel_message> views() const;

  std::string to_json() const;
  /// Text of what went wrong, empty when all went well. A failed parse changes nothing.
  std::string parse(const std::string& json);
  /// The same for a transcript in a file. A failed save leaves no file behind.
  std::string save(const std::string& path) const;
  std::string load(const std::string& path);

 private:
  std::vector<Message> messages_;
};

}  // namespace runnel::app

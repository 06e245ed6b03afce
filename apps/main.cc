// runnel VERB [flags]: the verb table, help, and what a mistyped word probably meant.
#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <numeric>
#include <span>

#include "apps/app.h"
#include "apps/terminal.h"

namespace runnel::app {
namespace {

constexpr std::array kVerbs{
    Verb{"chat", "talk to a model (the bundled one without -m)", declare_chat},
    Verb{"run", "answer one prompt", declare_run},
    Verb{"convert", "Hugging Face folder to GGUF", declare_convert},
    Verb{"quantize", "GGUF to GGUF with another weight type", declare_quantize},
    Verb{"imatrix", "measure which weights matter, for quantize", declare_imatrix},
    Verb{"calibrate", "fit a model to its quantised KV cache, measure presets", declare_calibrate},
    Verb{"inspect", "what a model file holds", declare_inspect},
    Verb{"tokenize", "token ids of a text", declare_tokenize},
    Verb{"logits", "logits of token ids, as a .npy file", declare_logits},
    Verb{"perplexity", "perplexity of a text, KL divergence between models", declare_perplexity},
    Verb{"bench", "prompt and generation speed", declare_bench},
    Verb{"devices", "backends compiled in, and whether they work here", declare_devices},
    Verb{"check", "compare the kernels of this machine with the reference", declare_check},
};

/// Edits (insert, delete, replace, swap neighbours as two) that turn a into b. SOURCE: Levenshtein
/// 1966.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replace = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replace, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

/// ", did you mean X?" for the closest known word, or nothing when none is close: any letter is
/// close to any other.
std::string suggestion(std::string_view word, const std::vector<std::string>& known) {
  if (word.starts_with('-') && word.size() < 3) return "";
  std::string best;
  std::size_t best_distance = word.size() / 2 + 1;
  for (const std::string& candidate : known) {
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best.empty() ? "" : ", did you mean " + best + "?";
}

std::vector<std::string> verb_names() {
  std::vector<std::string> names;
  for (const Verb& verb : kVerbs) names.emplace_back(verb.name);
  return names;
}

std::vector<std::string> flag_names(const CLI::App& verb) {
  std::vector<std::string> names;
  for (const CLI::Option* option : verb.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
  }
  return names;
}

/// CLI11 reads an empty word as the number 0; a forgotten shell variable should be seen.
void refuse_empty_numbers(CLI::App& verb) {
  for (CLI::Option* option : verb.get_options()) {
    const std::string type = option->get_type_name();
    if (type.starts_with("INT") || type.starts_with("UINT") || type.starts_with("FLOAT"))
      option->check([](const std::string& word) {
        return std::string(word.empty() ? "a number is missing" : "");
      });
  }
}

int usage_error(const std::string& message) {
  std::fprintf(stderr, "runnel: %s\n", message.c_str());
  return static_cast<int>(Exit::usage);
}

/// Explains what CLI11 could not parse.
int explain(const CLI::ParseError& error, CLI::App& program, std::span<char*> words) {
  if (error.get_exit_code() == 0) {  // --help, --version
    program.exit(error);
    return 0;
  }
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::ExtrasError)) {
    const std::vector<std::string> known = flag_names(*program.get_subcommand(words[1]));
    for (std::string word : words.subspan(2)) {
      word = word.substr(0, word.find('='));
      const bool is_flag = word.size() > 1 && word[0] == '-' && std::isalpha(word.back());
      if (is_flag && std::ranges::find(known, word) == known.end())
        return usage_error("unknown flag " + word + suggestion(word, known));
    }
  }
  return usage_error(error.what());
}

int run_program(int argc, char** argv) {
  CLI::App program("Runnel runs quantised small language models on this machine.", "runnel");
  program.set_version_flag("--version", runnel_version());
  program.require_subcommand(1);
  for (const Verb& verb : kVerbs) {
    CLI::App* declared = program.add_subcommand(verb.name, verb.summary);
    verb.declare(*declared);
    refuse_empty_numbers(*declared);
  }
  if (argc < 2) {
    std::fputs(program.help().c_str(), stderr);
    return static_cast<int>(Exit::usage);
  }
  end_on_interrupt();
  const std::string first = argv[1];
  const auto names = verb_names(), flags = flag_names(program);
  if (first[0] == '-' && std::ranges::find(flags, first) == flags.end())
    return usage_error("unknown flag " + first + suggestion(first, flags) + "; a verb comes first");
  if (first[0] != '-' && std::ranges::find(names, first) == names.end())
    return usage_error("unknown verb \"" + first + "\"" + suggestion(first, names));
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return explain(error, program, std::span(argv, static_cast<std::size_t>(argc)));
  }
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
    fail(Exit::bad_input, "cannot write to standard output");
  return static_cast<int>(Exit::ok);
}

}  // namespace
}  // namespace runnel::app

int main(int argc, char** argv) {
  using runnel::app::Exit;
  try {
    return runnel::app::run_program(argc, argv);
  } catch (const runnel::app::Failure& failure) {
    std::fflush(stdout);
    if (!failure.message.empty())
      std::fprintf(stderr, "%s\n",
                   runnel::app::coloured("runnel: " + failure.message, runnel::app::Colour::red,
                                         runnel::app::stderr_is_terminal())
                       .c_str());
    return static_cast<int>(failure.code);
  } catch (const std::bad_alloc&) {
    std::fputs("runnel: out of memory\n", stderr);
    return static_cast<int>(Exit::out_of_memory);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "runnel: %s\n", error.what());
    return static_cast<int>(Exit::bad_input);
  }
}

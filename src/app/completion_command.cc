// SPDX-License-Identifier: Apache-2.0
// app/completion_command.cc: `zt completion bash|zsh|fish`.
//
// Theory of operation
//   The program knows its own commands: the tree of them is walked and written as a table from each
//   command ("zt admin network") to the words that may follow it. The scripts around the table are
//   small: they find the command that was typed so far and offer its words. Where no word fits,
//   files are offered, for the many options that take one.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "app/command.h"

namespace zt::app {

namespace {

// Word is one thing that may be typed after a command.
struct Word {
  std::string text;
  std::string summary;
};
using Tree = std::map<std::string, std::vector<Word>>;  // By command: "zt admin".

std::vector<Word> words_of(const CLI::App& command) {
  std::vector<Word> words;
  for (const CLI::App* child : command.get_subcommands([](const CLI::App*) { return true; })) {
    words.push_back({child->get_name(), child->get_description()});
  }
  for (const CLI::Option* option : command.get_options([](const CLI::Option*) { return true; })) {
    for (const std::string& name : option->get_lnames()) {
      words.push_back({"--" + name, option->get_description()});
    }
  }
  return words;
}

void walk(const CLI::App& command, const std::string& path, Tree& tree) {
  tree[path] = words_of(command);
  for (const CLI::App* child : command.get_subcommands([](const CLI::App*) { return true; })) {
    walk(*child, path + " " + child->get_name(), tree);
  }
}

// shell_word writes `text` for a shell, between single quotes.
std::string shell_word(std::string_view text) {
  std::string result = "'";
  for (const char c : text) {
    if (c == '\'') {
      result += "'\\''";
    } else {
      result += c == '\n' ? ' ' : c;
    }
  }
  return result + "'";
}

// cases writes the table as the arms of a POSIX `case`.
std::string cases(const Tree& tree) {
  std::string text;
  for (const auto& [command, words] : tree) {
    std::string list;
    for (const Word& word : words) list += (list.empty() ? "" : " ") + word.text;
    text += fmt::format("    {}) offer={} ;;\n", shell_word(command), shell_word(list));
  }
  return text;
}

// find_command is shell code that follows the typed words down the tree: a word that is offered
// and is no option is a command. bash and zsh both take it.
constexpr std::string_view kFindCommand =
    R"(  local command=zt offer= typed
  _zt_words zt
  for typed in "${before[@]}"; do
    case "$typed" in -*|'') continue ;; esac
    case " $offer " in *" $typed "*) command="$command $typed"; _zt_words "$command" ;; esac
  done
)";

std::string words_function(const Tree& tree) {
  return fmt::format("_zt_words() {{\n  offer=\n  case \"$1\" in\n{}  esac\n}}\n", cases(tree));
}

std::string bash_script(const Tree& tree) {
  return fmt::format(R"(# bash completion for zt: source <(zt completion bash)
{0}_zt() {{
  local before=("${{COMP_WORDS[@]:1:COMP_CWORD-1}}") current="${{COMP_WORDS[COMP_CWORD]}}"
{1}  COMPREPLY=($(compgen -W "$offer" -- "$current"))
}}
complete -o bashdefault -o default -F _zt zt
)",
                     words_function(tree), kFindCommand);
}

std::string zsh_script(const Tree& tree) {
  return fmt::format(R"(#compdef zt
# zsh completion for zt: source <(zt completion zsh), after compinit
{0}_zt() {{
  local -a before
  before=("${{(@)words[2,CURRENT-1]}}")
{1}  compadd -- ${{=offer}} || _files
}}
compdef _zt zt
)",
                     words_function(tree), kFindCommand);
}

std::string fish_script(const Tree& tree) {
  std::string lines;
  for (const auto& [command, words] : tree) {
    for (const Word& word : words) {
      const bool is_option = word.text.starts_with("--");
      lines += fmt::format(
          "complete -c zt -n {} {} {} -d {}\n",
          shell_word(fmt::format("test (__zt_command) = '{}'", command)), is_option ? "-l" : "-a",
          is_option ? word.text.substr(2) : shell_word(word.text), shell_word(word.summary));
    }
  }
  std::string known;
  for (const auto& [command, words] : tree) known += " " + shell_word(command);
  return fmt::format(R"(# fish completion for zt: zt completion fish | source
set -g __zt_commands{}
function __zt_command
    set -l command zt
    for typed in (commandline -opc)[2..-1]
        if contains -- "$command $typed" $__zt_commands
            set command "$command $typed"
        end
    end
    echo $command
end
{})",
                     known, lines);
}

ExitCode print_script(const CLI::App& root, const std::string& shell) {
  Tree tree;
  walk(root, "zt", tree);
  const std::string script = shell == "bash"  ? bash_script(tree)
                             : shell == "zsh" ? zsh_script(tree)
                                              : fish_script(tree);
  fmt::print("{}", script);
  return ExitCode::ok;
}

}  // namespace

void add_completion_command(CLI::App& app, Chosen& chosen) {
  auto shell = std::make_shared<std::string>();
  CLI::App* const command =
      app.add_subcommand("completion", "Print a script that completes zt's words in a shell");
  command->add_option("SHELL", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command->callback([shell, &app, &chosen] {
    chosen.action = [shell, &app] { return print_script(app, *shell); };
  });
  command->footer(
      "Put one of these into your shell's start-up file:\n"
      "  source <(zt completion bash)\n"
      "  source <(zt completion zsh)\n"
      "  zt completion fish | source");
}

}  // namespace zt::app

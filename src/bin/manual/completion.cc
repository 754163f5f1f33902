#include <fmt/format.h>

#include <iostream>
#include <memory>

#include "bin/manual/manual.h"

namespace tau::manual {
namespace {

struct Place {       // in the tree of commands: what may follow there
  std::string path;  // " new function"; empty at the top
  std::vector<const CLI::App*> commands;
  std::vector<const CLI::Option*> options;
};

void collect(const CLI::App& app, const std::string& path, std::vector<Place>& out) {
  Place place{
      path, app.get_subcommands([](const CLI::App* sub) { return !sub->get_group().empty(); }), {}};
  for (const auto* option : app.get_options()) {
    if (!option->get_positional() && !option->get_group().empty()) place.options.push_back(option);
  }
  out.push_back(place);
  for (const auto* sub : place.commands) collect(*sub, path + " " + sub->get_name(), out);
}

std::string words_of(const Place& place) {
  std::string out;
  for (const auto* sub : place.commands) out += sub->get_name() + " ";
  for (const auto* option : place.options) {
    for (const auto& name : option->get_lnames()) out += "--" + name + " ";
  }
  if (!out.empty()) out.pop_back();
  return out;
}

// Walks the words before the cursor down the tree; what is no command there is an argument.
std::string walk(const std::vector<Place>& places, std::string_view count, std::string_view word) {
  std::string known;
  for (const auto& place : places) {
    if (!place.path.empty()) known += (known.empty() ? "'" : " | '") + place.path + "'";
  }
  std::string out =
      fmt::format("  for ((i = {}; i < {}; i++)); do\n", word == "words" ? 2 : 1, count);
  out += fmt::format("    case \"$at ${{{}[i]}}\" in\n", word);
  out += fmt::format("      {}) at=\"$at ${{{}[i]}}\" ;;\n    esac\n  done\n", known, word);
  out += "  case $at in\n";
  for (const auto& place : places)
    out += fmt::format("    '{}') next='{}' ;;\n", place.path, words_of(place));
  return out + "  esac\n";
}

std::string bash(const std::string& name, const std::vector<Place>& places) {
  return fmt::format("# bash completion for {0}\n_{0}() {{\n  local at= next= i\n", name) +
         walk(places, "COMP_CWORD", "COMP_WORDS") +
         fmt::format(
             "  COMPREPLY=($(compgen -W \"$next\" -- \"${{COMP_WORDS[COMP_CWORD]}}\"))\n}}\n"
             "complete -o default -F _{0} {0}\n",
             name);
}

std::string zsh(const std::string& name, const std::vector<Place>& places) {
  return fmt::format("#compdef {0}\n# zsh completion for {0}\n_{0}() {{\n  local at= next= i\n",
                     name) +
         walk(places, "CURRENT", "words") +
         fmt::format("  compadd -- ${{=next}} || _files\n}}\n_{0} \"$@\"\n", name);
}

std::string fish_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string fish(const std::string& name, const std::vector<Place>& places) {
  std::string out = fmt::format("# fish completion for {}\n", name);
  for (const auto& place : places) {
    // All commands on the way were given, and none of those that could follow.
    std::string when;
    std::string_view rest = place.path;
    while (!rest.empty()) {
      rest.remove_prefix(1);
      const auto end = rest.find(' ');
      when += fmt::format("{}__fish_seen_subcommand_from {}", when.empty() ? "" : "; and ",
                          rest.substr(0, end));
      rest = end == std::string_view::npos ? std::string_view() : rest.substr(end);
    }
    std::string none;
    for (const auto* sub : place.commands) none += " " + sub->get_name();
    std::string ask = when;
    if (!none.empty())
      ask += fmt::format("{}not __fish_seen_subcommand_from{}", ask.empty() ? "" : "; and ", none);
    for (const auto* sub : place.commands)
      out += fmt::format("complete -c {} -f -n '{}' -a {} -d '{}'\n", name, ask, sub->get_name(),
                         fish_text(sub->get_description()));
    for (const auto* option : place.options) {
      for (const auto& flag : option->get_lnames())
        out += fmt::format("complete -c {} {}-l {}{} -d '{}'\n", name,
                           when.empty() ? "" : fmt::format("-n '{}' ", when), flag,
                           option->get_items_expected_max() > 0 ? " -r" : "",
                           fish_text(option->get_description()));
    }
  }
  return out;
}

}  // namespace

Result<std::string> completion(const CLI::App& app, std::string_view shell) {
  std::vector<Place> places;
  collect(app, "", places);
  if (shell == "bash") return bash(app.get_name(), places);
  if (shell == "zsh") return zsh(app.get_name(), places);
  if (shell == "fish") return fish(app.get_name(), places);
  return fail(ErrorCode::invalid_argument,
              fmt::format("completion is for bash, zsh or fish, not for \"{}\"", shell));
}

void declare(CLI::App& app, About about, Status& status) {
  app.set_version_flag("--version", fmt::format("{} {}", app.get_name(), version()));
  auto shell = std::make_shared<std::string>();
  auto* complete = app.add_subcommand("completion", "Print completion for a shell");
  complete->add_option("SHELL", *shell, "bash, zsh or fish")->required();
  complete->callback([&app, &status, shell] {
    const auto script = completion(app, *shell);
    if (script) {
      std::cout << *script;
    } else {
      status = fail(script.error());
    }
  });
  auto* manual = app.add_subcommand("manual", "Print the manual page")->group("");
  manual->callback([&app, about = std::move(about)] { std::cout << man_page(app, about); });
}

}  // namespace tau::manual

// What a program says of itself, made from its own declaration of commands and options, so that it
// is never behind: a manual page, and completion for shells.
//
// Pure functions of a CLI::App; any thread. Names in the App are our own and need no quoting.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace tau::manual {

struct Section {
  std::string title;  // "FILES"
  std::string text;   // paragraphs, an empty line between them; lines that start with a space are
                      // shown as they are
};

// Of this release. The date, "2026-11-23", makes a page the same wherever it is made.
std::string_view version();
std::string_view release_date();

struct About {
  std::vector<Section> sections;  // after the commands
  std::string see_also;           // "odo(1), dream(1)"
};

// A page of section 1 in man(7)'s language.
std::string man_page(const CLI::App& app, const About& about);

// `shell` is bash, zsh or fish. Errors: invalid_argument.
Result<std::string> completion(const CLI::App& app, std::string_view shell);

// Adds `--version`, `completion SHELL` and the hidden `manual`, which print these. `app` outlives
// parsing; `status` says what became of it.
void declare(CLI::App& app, About about, Status& status);

}  // namespace tau::manual

#include <fmt/format.h>

#include <sstream>

#include "bin/manual/manual.h"

namespace tau::manual {
namespace {

// A line that begins with a dot or a quote would be a request to troff, a backslash an escape, and
// a plain '-' a hyphen that nobody can paste into a shell.
std::string troff(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if ((out.empty() || out.back() == '\n') && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
  }
  return out;
}

void write_text(std::ostream& out, std::string_view text) {
  std::istringstream lines{std::string(text)};
  bool verbatim = false;
  for (std::string line; std::getline(lines, line);) {
    const bool shown_as_is = !line.empty() && line[0] == ' ';
    if (shown_as_is != verbatim) out << (shown_as_is ? ".PP\n.nf\n" : ".fi\n.PP\n");
    verbatim = shown_as_is;
    if (line.empty()) {
      out << ".PP\n";
    } else {
      out << troff(line) << '\n';
    }
  }
  if (verbatim) out << ".fi\n";
}

bool shown(const CLI::App* app) { return !app->get_group().empty(); }

// "--limit INT", "-m,--message TEXT", "NAME"
std::string spelled(const CLI::Option& option) {
  if (option.get_positional()) return option.get_single_name();
  std::string out;
  for (const auto& name : option.get_snames()) out += (out.empty() ? "-" : ", -") + name;
  for (const auto& name : option.get_lnames()) out += (out.empty() ? "--" : ", --") + name;
  const bool takes_value = option.get_items_expected_max() > 0;
  return takes_value ? out + " " + option.get_type_name() : out;
}

// --help is said once, at the top.
void write_options(std::ostream& out, const CLI::App& app) {
  for (const auto* option : app.get_options()) {
    if (option->get_group().empty()) continue;
    if (app.get_parent() && option == app.get_help_ptr()) continue;
    out << ".TP\n.B " << troff(spelled(*option)) << '\n' << troff(option->get_description());
    const std::string by_default = option->get_default_str();
    if (!by_default.empty()) out << troff(fmt::format(" (default: {})", by_default));
    out << '\n';
  }
}

std::string usage(const CLI::App& app, const std::string& path) {
  std::string out = path;
  bool options = false;
  for (const auto* option : app.get_options()) {
    if (!option->get_positional() && option->get_single_name() != "help") options = true;
  }
  if (options) out += " [OPTIONS]";
  for (const auto* option : app.get_options()) {
    if (!option->get_positional()) continue;
    const std::string name = option->get_single_name();
    out += option->get_required() ? " " + name : " [" + name + "]";
  }
  return out;
}

void write_commands(std::ostream& out, const CLI::App& app, const std::string& path) {
  for (const auto* sub : app.get_subcommands(shown)) {
    const std::string name = path + " " + sub->get_name();
    if (sub->get_subcommands(shown).empty()) {
      out << ".SS \"" << troff(usage(*sub, name)) << "\"\n"
          << troff(sub->get_description()) << '\n';
      write_options(out, *sub);
    } else {
      write_commands(out, *sub, name);
    }
  }
}

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

}  // namespace

std::string_view version() { return TAU_VERSION; }
std::string_view release_date() { return TAU_RELEASE_DATE; }

std::string man_page(const CLI::App& app, const About& about) {
  const std::string name = app.get_name();
  std::ostringstream out;
  out << fmt::format(".TH {} 1 {} \"tau {}\" \"tau manual\"\n", upper(name), release_date(),
                     version());
  // What apropos(1) lists: without the name that a description may begin with.
  std::string line = app.get_description();
  if (line.starts_with(name + ": ")) line = line.substr(name.size() + 2);
  if (line.starts_with(name + " ")) line = line.substr(name.size() + 1);
  out << ".SH NAME\n" << name << " \\- " << troff(line) << '\n';
  out << ".SH SYNOPSIS\n.B " << name << "\n[OPTIONS] COMMAND [ARGUMENTS]\n";
  out << ".SH OPTIONS\n";
  write_options(out, app);
  out << ".SH COMMANDS\n";
  write_commands(out, app, name);
  if (const std::string footer = app.get_footer(); !footer.empty()) {
    out << ".SH NOTES\n";
    write_text(out, footer);
  }
  for (const auto& section : about.sections) {
    out << ".SH " << section.title << '\n';
    write_text(out, section.text);
  }
  if (!about.see_also.empty()) out << ".SH SEE ALSO\n" << troff(about.see_also) << '\n';
  return out.str();
}

}  // namespace tau::manual

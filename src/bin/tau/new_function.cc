#include "bin/tau/new_function.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <iterator>

#include "project/deployment.h"
#include "project/writer.h"

namespace tau::cli {
namespace {

namespace fs = std::filesystem;

// A template is a few small files; more is a mistake in its folder.
constexpr std::size_t kTemplateFilesMax = 200;
constexpr std::uintmax_t kTemplateFileBytesMax = 1u << 20;

bool in_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

std::string rename_word(const std::string& text, const std::string& from, const std::string& to) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t found = text.find(from, at);
    if (found == text.npos) return out + text.substr(at);
    const std::size_t end = found + from.size();
    const bool word =
        (found == 0 || !in_word(text[found - 1])) && (end == text.size() || !in_word(text[end]));
    out += text.substr(at, found - at) + (word ? to : from);
    at = end;
  }
  return out;
}

std::string folders_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(folder, ec))
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  std::string out;
  for (const auto& name : names) out += (out.empty() ? "" : ", ") + name;
  return out.empty() ? "none" : out;
}

// What "wasm" starts from besides its template: a module that was compiled elsewhere.
constexpr std::string_view kPrebuilt = "wasm";
constexpr std::uintmax_t kModuleBytesMax = 64u << 20;  // larger ones are not compiled

Result<std::string> read_module(const fs::path& file) {
  std::error_code ec;
  const auto bytes = fs::file_size(file, ec);
  if (ec) return fail(ErrorCode::not_found, "--file " + file.string() + ": " + ec.message());
  if (bytes > kModuleBytesMax)
    return fail(ErrorCode::resource_exhausted,
                fmt::format("--file {}: {} bytes, at most {} are served", file.string(), bytes,
                            kModuleBytesMax));
  std::ifstream in(file, std::ios::binary);
  std::string module{std::istreambuf_iterator<char>(in), {}};
  if (!module.starts_with(std::string_view("\0asm", 4)))
    return fail(ErrorCode::invalid_argument,
                fmt::format("--file {} is no WebAssembly module", file.string()));
  return module;
}

Status check_file(const NewFunction& what) {
  if (what.language == kPrebuilt && what.file.empty())
    return fail(ErrorCode::invalid_argument,
                "--language wasm takes a module that is compiled already: name it by --file "
                "MODULE.wasm");
  if (what.language != kPrebuilt && !what.file.empty())
    return fail(ErrorCode::invalid_argument,
                fmt::format("--file goes with --language wasm; {} is compiled from its source",
                            what.language));
  if (!what.call.empty() && !project::is_variable_name(what.call))
    return fail(ErrorCode::invalid_argument,
                fmt::format("--call \"{}\" is no name of an exported function", what.call));
  return {};
}

Status check(const ProjectFolder& project, const NewFunction& what) {
  if (!project::is_variable_name(what.name))
    return fail(ErrorCode::invalid_argument,
                fmt::format("\"{}\" is no function name: use letters, digits and '_', and begin "
                            "with a letter",
                            what.name));
  if (!what.path.starts_with('/') || what.path.size() > project::kPathBytesMax ||
      what.path.find_first_of(" ?#\t\n") != what.path.npos)
    return fail(ErrorCode::invalid_argument,
                fmt::format("\"{}\" is no path: it begins with '/' and has no query, such as "
                            "--path /{}",
                            what.path, what.name));
  const auto known = project.domains();
  for (const auto& domain : what.domains)
    if (std::ranges::find(known, domain) == known.end())
      return fail(ErrorCode::invalid_argument,
                  fmt::format("no domain \"{}\": {} has no domains/{}.yaml", domain,
                              project.config().string(), domain));
  if (known.empty())
    return fail(ErrorCode::invalid_argument,
                "this project has no domain that a function could answer on: put one into " +
                    (project.config() / "domains").string());
  return {};
}

// What will be written, by path. All is read before anything is written.
using Files = std::vector<std::pair<fs::path, std::string>>;

Status read_template(const fs::path& folder, const NewFunction& what, const fs::path& to,
                     Files& files) {
  std::error_code ec;
  for (const auto& entry : fs::recursive_directory_iterator(folder, ec)) {
    if (!entry.is_regular_file()) continue;
    if (files.size() >= kTemplateFilesMax || entry.file_size() > kTemplateFileBytesMax)
      return fail(ErrorCode::resource_exhausted, "template " + folder.string() + " is too large");
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    files.emplace_back(to / entry.path().lexically_relative(folder),
                       rename_word(text, what.templ, what.name));
  }
  if (ec) return fail(ErrorCode::unavailable, "reading " + folder.string() + ": " + ec.message());
  return {};
}

}  // namespace

Result<fs::path> find_templates(const fs::path& given) {
  std::error_code ec;
  if (!given.empty()) {
    if (fs::is_directory(given, ec)) return given;
    return fail(ErrorCode::not_found, "no templates in " + given.string());
  }
  const fs::path program = fs::read_symlink("/proc/self/exe", ec);
  fs::path at = program.parent_path();
  for (int i = 0; i < 5 && !at.empty(); ++i, at = at.parent_path())
    for (const auto* place : {"share/tau/templates", "sdk/templates"})
      if (fs::is_directory(at / place, ec)) return at / place;
  return fail(ErrorCode::not_found,
              "the templates that belong to this program (share/tau/templates beside its folder) "
              "are missing; say where they are with --templates FOLDER");
}

Result<std::vector<fs::path>> create_function(const ProjectFolder& project,
                                              const NewFunction& given, const fs::path& templates,
                                              Random& random) {
  NewFunction what = given;
  if (what.path.empty()) what.path = "/" + what.name;
  TRY_STATUS(check(project, what));
  TRY_STATUS(check_file(what));
  auto method = project::canonical_method(what.method);
  if (!method) return fail(std::move(method).error().context("--method"));
  if (what.domains.empty()) what.domains = project.domains();

  std::error_code ec;
  if (!project::is_variable_name(what.language) || !fs::is_directory(templates / what.language, ec))
    return fail(ErrorCode::not_found, fmt::format("no language \"{}\"; there are: {}",
                                                  what.language, folders_in(templates)));
  const fs::path source = templates / what.language / what.templ;
  if (what.templ.find('/') != what.templ.npos || !fs::is_directory(source, ec))
    return fail(ErrorCode::not_found,
                fmt::format("no template \"{}\" for {}; there are: {}", what.templ, what.language,
                            folders_in(templates / what.language)));

  const fs::path code = project.code() / "functions" / what.name;
  const fs::path config = project.config() / "functions" / (what.name + ".yaml");
  if (fs::exists(code, ec) || fs::exists(config, ec))
    return fail(ErrorCode::already_exists,
                fmt::format("function {} is already there ({}); nothing was changed", what.name,
                            fs::exists(config, ec) ? config.string() : code.string()));
  project::NewFunction document;
  document.id = project::new_resource_id(project.id, what.name, random);
  document.method = *method;
  document.paths = {what.path};
  document.domains = what.domains;
  document.timeout = what.timeout;
  document.memory = what.memory;
  document.call = what.call.empty() ? what.name : what.call;
  Files files = {{config, project::function_yaml(document)}};
  TRY_STATUS(read_template(source, what, code, files));
  if (!what.file.empty()) {
    TRY(std::string module, read_module(what.file));
    files.emplace_back(code / "main.wasm", std::move(module));
  }
  const fs::path workflow = code / ".taubyte" / "config.yaml";
  if (std::ranges::find(files, workflow, &Files::value_type::first) == files.end())
    return fail(ErrorCode::failed_precondition,
                fmt::format("the template {} has no .taubyte/config.yaml, which says what builds "
                            "it",
                            source.string()));

  std::vector<fs::path> made;
  for (const auto& [file, text] : files) {
    if (const Status written = write_new(file, text); !written) {
      fs::remove_all(code, ec);
      fs::remove(config, ec);
      return fail(written.error());
    }
    made.push_back(file);
  }
  fs::permissions(code / ".taubyte" / "build.sh",
                  fs::perms::owner_exec | fs::perms::group_exec | fs::perms::others_exec,
                  fs::perm_options::add, ec);
  return made;
}

}  // namespace tau::cli

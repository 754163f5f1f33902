// An image: a name that a function's workflow gives for what builds it, and what it means on this
// machine: a toolchain that is installed here plus files of ours, seen through a sandbox; no
// container engine, nothing fetched.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "process/archive.h"
#include "process/runner.h"

namespace tau::monkey {

// What makes builds of small functions several times faster, made once from the image alone
// (precompiled headers, a compiled standard library). What is built is the same with and without.
struct Warmth {
  process::ArchivedFiles files;  // as Image::files
  std::map<std::string, std::string> environment;
  // When a build fails and one of these is among its words, it is tried once more without.
  std::vector<std::string> misfit_words;
};

struct Image {
  std::string name;  // "taubyte/cpp-wasi"
  // What a module depends on besides its sources: names compiler and SDK by version or digest.
  std::string toolchain;
  process::ArchivedFiles files;  // by absolute path without the first '/': "utils/wasm.sh"
  std::map<std::string, std::string> environment;
  std::vector<process::Sandbox::Bind> read_only;  // toolchains outside of the system's folders
  std::shared_ptr<const Warmth> warmth;           // null: cold
};

// Where a language looks for its toolchain: the system's folders, as a sandbox of the runner sees
// them, and one folder of toolchains that Debian has no package for, as tools/setup fills it.
struct Machine {
  process::Runner& runner;
  std::filesystem::path toolchains;
};

// One language: how its image is found on this machine. Without state; lives as long as the
// program. A new one is a file beside this and a line in languages.cc.
class Language {
 public:
  virtual ~Language() = default;
  virtual std::string_view image() const = 0;
  // Looks for the toolchain, in a sandbox. Errors: failed_precondition (it is missing or too old:
  // "the image X needs …: apt-get install …").
  virtual Task<Result<Image>> find(Machine machine) const = 0;
  // Takes seconds to minutes; nothing when this language has none. The files are kept by
  // Image::toolchain until that changes, so anything that they depend on belongs there.
  virtual Task<Result<process::ArchivedFiles>> warm_up(process::Runner& runner, Image image) const;
  // How builds use those files.
  virtual Warmth warmth(process::ArchivedFiles files) const;
};

// All languages, by preference in messages. Each is in the file of its name.
std::vector<const Language*> languages();
const Language& assemblyscript();
const Language& cpp();
const Language& rust();

// What an image's find() runs: a short script in a sandbox, and what it said.
struct Said {
  int code = 0;
  std::string out, err;  // the first 64 KiB
};
Task<Result<Said>> ask_toolchain(process::Runner& runner, std::string script,
                                 std::vector<process::Sandbox::Bind> read_only,
                                 std::map<std::string, std::string> environment);

// Six bytes of hex that change with any of the files.
std::string short_digest(const process::ArchivedFiles& files);

}  // namespace tau::monkey

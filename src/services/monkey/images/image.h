// An image: a name that a function's workflow gives for what builds it, and what it means on this
// machine: a toolchain that is installed here plus files of ours, seen through a sandbox; no
// container engine, nothing fetched.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "process/archive.h"
#include "process/runner.h"

namespace tau::monkey {

class Language;

// What makes builds of small functions several times faster, made once from the image alone
// (precompiled headers, a compiled standard library). What is built is the same with and without.
struct Warmth {
  std::filesystem::path tar;  // unpacked at /, before anything else
  std::map<std::string, std::string> environment;
  // When a build fails and one of these is among its words, it is tried once more without.
  std::vector<std::string> misfit_words;
};

struct Image {
  std::string name;                    // "taubyte/cpp-wasi"
  const Language* language = nullptr;  // who found it; set by Images
  // What a module depends on besides its sources: names compiler and SDK by version or digest.
  std::string toolchain;
  process::ArchivedFiles files;  // by absolute path without the first '/': "utils/wasm.sh"
  std::map<std::string, std::string> environment;
  std::vector<process::Sandbox::Bind> read_only;  // toolchains outside of the system's folders
  // What warmth follows from, if that is less than the toolchain; it is kept by this name.
  std::string warmth_of;
  std::shared_ptr<const Warmth> warmth;  // null: cold
  // A folder inside, "/tmp/go/cache", that the builds of a project hand on to its next ones;
  // nobody else's builds see it. Empty: none.
  std::string kept;
};

// What sources need of other people's, and how it is fetched. The script runs in a sandbox with a
// network, which sees `inputs` at / and, below /known, what the store has of `names`; it must run
// nothing of what it fetches. On descriptor 3 it writes a tar:
//
//   store/<name>      goes to the store of this ecosystem, for every project; the name says what it
//                     is for good (module and version)
//   project/<path>    for these sources alone
//
// A line on standard output goes to the build's log; on failure, all that it said is explained.
// The build finds both below /opt/tau/deps.
struct FetchPlan {
  std::string ecosystem;           // "go"
  std::string key;                 // sources with the same key need the same
  std::vector<std::string> names;  // what the sources say that they need, as far as they say it
  process::ArchivedFiles inputs;
  std::string script;
  std::map<std::string, std::string> environment;
  std::vector<process::Sandbox::Bind> read_only;
};

// Where a language looks for its toolchain: the system's folders, as a sandbox of the runner sees
// them, and one folder of toolchains that Debian has no package for, as tools/setup fills it. Whom
// it asks for modules.
struct Machine {
  process::Runner& runner;
  std::filesystem::path toolchains;
  std::string go_proxy;  // as GOPROXY; empty: the toolchain's own default
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

  // Takes seconds to minutes. A tar, or nothing when this language has none. It is kept by
  // Image::warmth_of until that changes, so anything that it depends on belongs there.
  virtual Task<Result<Bytes>> warm_up(process::Runner& runner, Image image) const;
  // How builds use that tar.
  virtual Warmth warmth(std::filesystem::path tar) const { return {std::move(tar), {}, {}}; }
  // Whether a cold build takes so much longer that it waits for the warm-up.
  virtual bool waits_for_warmth() const { return false; }

  // Nothing: the sources need nobody else's. Errors: invalid_argument (says where).
  virtual Result<std::optional<FetchPlan>> plan_fetch(const Image& image,
                                                      const std::map<std::string, Bytes>& sources,
                                                      const Machine& machine) const;
  // What a person is told when the script failed with these words.
  virtual std::string explain_fetch(const std::string& said) const { return said; }
};

// All languages, by preference in messages. Each is in the file of its name.
std::vector<const Language*> languages();
const Language& assemblyscript();
const Language& cpp();
const Language& go();
const Language& prebuilt();
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

// taubyte/go-wasi: standard Go for wasip1, for functions that are written for Taubyte's SDK and
// TinyGo (sdk/go/build.sh says how). Warmth is the compiled standard library; modules are fetched
// by `go list` from a proxy.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "crypto/ed25519.h"
#include "services/monkey/function_build.h"
#include "services/monkey/images/go_source.h"
#include "services/monkey/images/image.h"
#include "services/monkey/sdk_files.h"

namespace tau::monkey {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kImage = "taubyte/go-wasi";
constexpr int kMinorMin = 24;                          // //go:wasmexport
constexpr const char* kInside = "/toolchains/go";      // where a Go outside of /usr is seen
constexpr std::uint64_t kWarmBytesMax = 256ull << 20;  // 60 MB with Go 1.26
constexpr std::size_t kSaidLinesMax = 8;

struct Place {
  fs::path bin;  // inside the sandbox
  std::vector<process::Sandbox::Bind> binds;
};

// Where a Go might be: in the folder of toolchains, then in the usual places.
std::vector<Place> places(const fs::path& toolchains) {
  const std::vector<fs::path> folders = {toolchains, "/usr/local/go", "/usr/lib/go", "/usr"};
  std::vector<Place> out;
  std::set<fs::path> seen;
  for (const auto& folder : folders) {
    std::error_code error;
    const fs::path program = fs::canonical(folder / "bin" / "go", error);
    if (error || !seen.insert(program).second) continue;
    const fs::path root = program.parent_path().parent_path();
    if (root == "/usr" || root.string().starts_with("/usr/")) {
      out.push_back({program.parent_path(), {}});
    } else {
      out.push_back({fs::path(kInside) / "bin", {{root, kInside}}});
    }
  }
  return out;
}

std::map<std::string, std::string> environment(const fs::path& bin) {
  return {{"PATH", bin.string() + ":/usr/local/bin:/usr/bin:/bin"},
          {"GOOS", "wasip1"},
          {"GOARCH", "wasm"},
          {"CGO_ENABLED", "0"},
          {"GOTOOLCHAIN", "local"},
          {"GOENV", "off"},
          {"GOWORK", "off"},
          {"GOTELEMETRY", "off"},
          {"GOVCS", "*:off"},
          {"GOFLAGS", "-buildvcs=false"},
          {"GOPATH", "/tmp/go/path"},
          {"GOMODCACHE", "/tmp/go/mod"},
          {"GOCACHE", "/tmp/go/cache"},
          {"GOTMPDIR", "/tmp"}};
}

// "go version go1.26.8 linux/amd64" -> "1.26.8"
std::string version_in(std::string_view text) {
  const auto at = text.find("go version go");
  if (at == text.npos) return {};
  text.remove_prefix(at + 13);
  return std::string(text.substr(0, text.find_first_of(" \n")));
}
int minor_of(const std::string& version) {
  int minor = 0;
  if (version.starts_with("1."))
    std::from_chars(version.data() + 2, version.data() + version.size(), minor);
  return minor;
}

class Go final : public Language {
 public:
  std::string_view image() const override { return kImage; }
  bool waits_for_warmth() const override { return true; }

  Task<Result<Image>> find(Machine machine) const override {
    std::string found;
    const auto candidates = places(machine.toolchains);
    for (const auto& place : candidates) {
      const auto said =
          co_await ask_toolchain(machine.runner, "go version", place.binds, environment(place.bin));
      if (!said && said.error().code() == ErrorCode::cancelled) co_return fail(said.error());
      const std::string at =
          place.binds.empty() ? place.bin.string() : (place.binds[0].outside / "bin").string();
      const std::string version = said ? version_in(said->out) : "";
      if (minor_of(version) >= kMinorMin) co_return image_of(place, version);
      const std::string why = !version.empty() ? "go " + version
                              : said           ? said->err.substr(0, 200)
                                               : said.error().message();
      found += (found.empty() ? "" : "; ") + at + ": " + why;
    }
    co_return fail(
        ErrorCode::failed_precondition,
        fmt::format("the image {} needs Go 1.{} or later: install it in /usr/local/go, or in the "
                    "folder that monkey.toolchains of the node's configuration names, which must "
                    "have bin/go ({})",
                    kImage, kMinorMin, found.empty() ? "there is none" : found));
  }

  Task<Result<Bytes>> warm_up(process::Runner& runner, Image image) const override {
    image.warmth.reset();
    image.kept.clear();
    const project::Workflow workflow{".taubyte", image.name, {}, {"warm"}};
    const std::map<std::string, Bytes> sources = {
        {".taubyte/warm.sh", image.files.at("opt/tau/sdk/go/warm.sh").data}};
    BuildLimits limits;
    limits.output_bytes_max = kWarmBytesMax;
    std::string said;
    const process::OutputSink sink = [&](process::Output, BytesView bytes) {
      if (said.size() < 1000) said.append(as_text(bytes));
    };
    CO_TRY_SYNC(auto make, build_command({image, workflow, sources, {}, {}}, limits));
    CO_TRY(const process::Exit made, runner.run(std::move(make), sink));
    if (made.code != 0)
      co_return fail(ErrorCode::failed_precondition, made.why() + ": " + said.substr(0, 1000));
    process::ArchiveLimits bounds;
    bounds.bytes_max = kWarmBytesMax;
    CO_TRY_SYNC(auto out, process::read_tar(made.results, bounds, process::Links::refuse));
    co_return std::move(out["warm.tar"].data);
  }

  Result<std::optional<FetchPlan>> plan_fetch(const Image& image,
                                              const std::map<std::string, Bytes>& sources,
                                              const Machine& machine) const override {
    FetchPlan plan;
    plan.ecosystem = "go";
    Bytes all = to_bytes(image.toolchain);
    const auto add = [&all](std::string_view text) {
      const auto digest = crypto::sha256(as_bytes(text));
      all.insert(all.end(), digest.begin(), digest.end());
    };
    for (const auto& [path, data] : sources) {
      const bool source = path.ends_with(".go");
      const fs::path file = fs::path(path).filename();
      if (!source && file != "go.mod" && file != "go.sum") continue;
      plan.inputs["fetch/" + path] = {data, false};
      add(path);
      add(source ? go_header(as_text(data)) : as_text(data));
    }
    plan.key = to_hex(crypto::sha256(all));
    if (const auto sum = sources.find("go.sum"); sum != sources.end())
      plan.names = go_sum_names(as_text(sum->second));
    plan.script = to_text(image.files.at("opt/tau/sdk/go/fetch.sh").data);
    plan.environment = image.environment;
    plan.environment.erase("GOPROXY");
    plan.environment.erase("GOSUMDB");
    if (!machine.go_proxy.empty()) plan.environment["TAU_GO_PROXY"] = machine.go_proxy;
    plan.read_only = image.read_only;
    return plan;
  }

  std::string explain_fetch(const std::string& said) const override {
    const auto has = [&said](std::string_view words) { return said.find(words) != said.npos; };
    std::string lines;
    std::size_t count = 0;
    for (std::size_t at = 0; at < said.size() && count < kSaidLinesMax; ++count) {
      const auto end = std::min(said.find('\n', at), said.size());
      lines += "\n" + said.substr(at, std::min<std::size_t>(end - at, 500));
      at = end + 1;
    }
    if (has("checksum mismatch") || has("SECURITY ERROR"))
      return "a module is not what go.sum says, so it is not used: if you trust what is published "
             "now, remove its lines from go.sum, run go mod tidy and commit" +
             lines;
    if (has("no such host") || has("dial tcp") || has("connection refused") || has("i/o timeout") ||
        has("network is unreachable") || has("module lookup disabled"))
      return "this node cannot reach a module proxy (it asks monkey.go_proxy, else Go's own); "
             "modules that were built with here before need none" +
             lines;
    if (has("requires go >=") || has("invalid go version"))
      return "go.mod asks for another Go than this node has" + lines;
    const bool missing = has("cannot find module") || has("no required module") ||
                         has("not found") || has("unknown revision") || has("no such file");
    if (has(": error: ") && !missing) return "the Go sources have mistakes" + lines;
    return "a module that go.mod or an import names cannot be had: is its path and version right, "
           "and is it public?" +
           lines;
  }

 private:
  Result<Image> image_of(const Place& place, const std::string& version) const {
    Image image;
    image.name = kImage;
    for (const auto& [path, bytes] : sdk_files()) {
      if (path.starts_with("go/"))
        image.files["opt/tau/sdk/" + std::string(path)] = {to_bytes(bytes), false};
    }
    image.files["utils/wasm.sh"] = image.files.at("opt/tau/sdk/go/build.sh");
    image.environment = environment(place.bin);
    // What was fetched, and nothing else: go.sum is compared, and nobody asked.
    image.environment["GOPROXY"] = "file:///opt/tau/deps/store";
    image.environment["GOSUMDB"] = "off";
    image.read_only = place.binds;
    image.kept = "/tmp/go/cache";
    image.toolchain =
        fmt::format("{}: go {}, sdk {}", kImage, version.substr(0, 40), short_digest(image.files));
    image.warmth_of =
        fmt::format("go {} in {}, {}", version, place.bin.string(),
                    short_digest({{"warm.sh", image.files.at("opt/tau/sdk/go/warm.sh")}}));
    return image;
  }
};

}  // namespace

const Language& go() {
  static const Go language;
  return language;
}

}  // namespace tau::monkey

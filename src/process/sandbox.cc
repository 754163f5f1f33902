#include "process/sandbox.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>

namespace tau::process {
namespace fs = std::filesystem;
namespace {

// Toolchains need a handful of folders; bubblewrap takes 9000 arguments at most.
constexpr std::size_t kMountsMax = 64;
constexpr const char* kDefaultPath = "/usr/local/bin:/usr/bin:/bin";

// What programs read to find servers by name and to trust them (Debian's places).
constexpr const char* kNetworkFiles[] = {"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf",
                                         "/etc/ssl/certs"};

struct Mount {
  enum class Kind { read_only, writable, tmpfs } kind;
  fs::path outside, inside;
  std::uint64_t bytes_max = 0;
};

std::string setting(const char* path) {
  std::ifstream in(path);
  std::string value;
  in >> value;
  return value;
}

}  // namespace

std::vector<Sandbox::Bind> system_binds() {
  std::vector<Sandbox::Bind> out;
  for (const char* path : {"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32",
                           "/etc/alternatives", "/etc/ld.so.cache"}) {
    std::error_code error;
    if (fs::exists(fs::symlink_status(path, error))) out.push_back({path, path});
  }
  return out;
}

Result<std::vector<std::string>> bubblewrap_options(
    const Sandbox& sandbox, const std::map<std::string, std::string>& environment,
    const fs::path& directory) {
  std::vector<Mount> mounts;
  for (const auto& b : sandbox.read_only)
    mounts.push_back({Mount::Kind::read_only, b.outside, b.inside});
  for (const auto& b : sandbox.writable)
    mounts.push_back({Mount::Kind::writable, b.outside, b.inside});
  for (const auto& t : sandbox.tmpfs)
    mounts.push_back({Mount::Kind::tmpfs, {}, t.inside, t.bytes_max});
  if (sandbox.network == Network::machine) {
    for (const char* path : kNetworkFiles) {
      std::error_code error;
      // What a symbolic link leads to may be outside of what is bound.
      const fs::path real = fs::canonical(path, error);
      if (!error) mounts.push_back({Mount::Kind::read_only, real, path});
    }
  }
  if (mounts.size() > kMountsMax)
    return fail(ErrorCode::invalid_argument,
                fmt::format("a sandbox has at most {} mounts", kMountsMax));
  for (const auto& m : mounts) {
    if (!m.inside.is_absolute() || m.inside.lexically_normal() != m.inside)
      return fail(ErrorCode::invalid_argument,
                  fmt::format("\"{}\" is no plain absolute path", m.inside.string()));
  }
  // Outer folders before those inside them, so that none hides another.
  std::ranges::sort(mounts, {}, &Mount::inside);

  // No --new-session: spawn() has made one, which has no terminal and its own share of the
  // processor.
  std::vector<std::string> o = {"--unshare-user",
                                "--disable-userns",
                                "--unshare-pid",
                                "--unshare-ipc",
                                "--unshare-uts",
                                "--unshare-cgroup-try",
                                "--die-with-parent",
                                "--hostname",
                                "build",
                                "--uid",
                                "1000",
                                "--gid",
                                "1000",
                                "--cap-drop",
                                "ALL",
                                "--clearenv"};
  if (sandbox.network == Network::none) o.emplace_back("--unshare-net");
  const auto add = [&o](std::initializer_list<std::string> more) {
    o.insert(o.end(), more.begin(), more.end());
  };
  if (!environment.contains("PATH")) add({"--setenv", "PATH", kDefaultPath});
  for (const auto& [name, value] : environment) {
    if (name.empty() || name.find('=') != std::string::npos || name.find('\0') != name.npos ||
        value.find('\0') != value.npos)
      return fail(ErrorCode::invalid_argument, "an environment variable's name or value is broken");
    add({"--setenv", name, value});
  }
  add({"--proc", "/proc", "--dev", "/dev"});
  for (const auto& m : mounts) {
    if (m.kind == Mount::Kind::tmpfs) {
      add({"--size", std::to_string(m.bytes_max), "--tmpfs", m.inside.string()});
      continue;
    }
    std::error_code error;
    const auto status = fs::symlink_status(m.outside, error);
    if (m.kind == Mount::Kind::read_only && fs::is_symlink(status)) {
      add({"--symlink", fs::read_symlink(m.outside, error).string(), m.inside.string()});
      continue;
    }
    if (!fs::exists(status))
      return fail(ErrorCode::not_found,
                  fmt::format("{} is not there to be bound into a sandbox", m.outside.string()));
    add({m.kind == Mount::Kind::writable ? "--bind" : "--ro-bind", m.outside.string(),
         m.inside.string()});
  }
  if (!directory.empty()) add({"--chdir", directory.string()});
  add({"--remount-ro", "/dev", "--remount-ro", "/"});
  return o;
}

std::string sandbox_advice(std::string_view said) {
  while (!said.empty() && said.back() == '\n') said.remove_suffix(1);
  std::string why = "sandboxed programs do not run on this machine: " + std::string(said);
  std::string todo;
  if (setting("/proc/sys/kernel/unprivileged_userns_clone") == "0")
    todo += "; run: sysctl -w kernel.unprivileged_userns_clone=1";
  if (setting("/proc/sys/user/max_user_namespaces") == "0")
    todo += "; run: sysctl -w user.max_user_namespaces=15000";
  if (setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1")
    todo += "; run: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0";
  if (todo.empty())
    todo =
        "; user, pid, mount and network namespaces must be allowed (kernel.unprivileged_userns_"
        "clone, user.max_user_namespaces, AppArmor or the container that this runs in), the root "
        "file system must be a mount (a plain chroot is not: use pivot_root), and bubblewrap must "
        "be Debian's 0.8.0-2+deb12u1 or later";
  return why + todo;
}

}  // namespace tau::process

#include "bin/tau/credentials.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

#include "bin/tau/cloud.h"
#include "project/yaml.h"

namespace tau::cli {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kKind = "ed25519 ";

Result<crypto::KeyPair> parse_key(const fs::path& file, std::string_view text) {
  while (text.ends_with('\n')) text.remove_suffix(1);
  Bytes seed;
  if (text.starts_with(kKind) && text.size() == kKind.size() + 64) {
    for (std::size_t i = kKind.size(); i < text.size(); i += 2) {
      const auto digit = [](char c) {
        return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
      };
      const int high = digit(text[i]), low = digit(text[i + 1]);
      if (high < 0 || low < 0) break;
      seed.push_back(static_cast<std::uint8_t>(high * 16 + low));
    }
  }
  if (seed.size() != 32)
    return fail(ErrorCode::failed_precondition,
                file.string() +
                    " is no owner key (one line \"ed25519 HEX\"). Restore it from a "
                    "copy; without it your projects can't be changed any more.");
  return crypto::KeyPair::from_seed(seed);
}

Result<OwnerKey> read_key(const fs::path& file) {
  struct stat about{};
  if (::stat(file.c_str(), &about) != 0)
    return fail(ErrorCode::unavailable, file.string() + ": " + std::strerror(errno));
  if (about.st_mode & 077)
    return fail(ErrorCode::permission_denied,
                file.string() +
                    " can be read by others; it is the key to your projects. Do: chmod "
                    "600 " +
                    file.string());
  std::ifstream in(file, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  TRY(auto key, parse_key(file, text));
  return OwnerKey{std::move(key), file, false};
}

}  // namespace

Result<fs::path> config_folder() {
  if (const char* xdg = std::getenv("XDG_CONFIG_HOME"); xdg && *xdg == '/')
    return fs::path(xdg) / "tau";
  if (const char* home = std::getenv("HOME"); home && *home) return fs::path(home) / ".config/tau";
  return fail(ErrorCode::failed_precondition,
              "neither XDG_CONFIG_HOME nor HOME says where your owner key is; set one of them");
}

Result<OwnerKey> owner_key(const fs::path& folder, Random& random) {
  const fs::path file = folder / "owner.key";
  std::error_code ec;
  if (fs::exists(file, ec)) return read_key(file);
  fs::create_directories(folder, ec);
  if (ec) return fail(ErrorCode::unavailable, "making " + folder.string() + ": " + ec.message());
  const auto key = crypto::KeyPair::generate(random);
  const std::string text = std::string(kKind) + to_hex(key.seed()) + "\n";
  // Whole or not at all, and never over another: link() refuses an existing name.
  const fs::path fresh = folder / ("owner.key." + std::to_string(::getpid()));
  const int fd = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  bool good = fd >= 0 &&
              ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
              ::fsync(fd) == 0;
  const int why = errno;
  if (fd >= 0) ::close(fd);
  const bool linked = good && ::link(fresh.c_str(), file.c_str()) == 0;
  const bool lost_race = good && !linked && errno == EEXIST;
  ::unlink(fresh.c_str());
  if (lost_race) return read_key(file);
  if (!linked)
    return fail(ErrorCode::unavailable,
                "writing " + file.string() + ": " + std::strerror(good ? errno : why));
  return OwnerKey{key, file, true};
}

Result<std::string> cloud_url(const std::string& flag) {
  if (!flag.empty()) return flag;
  if (const char* variable = std::getenv("TAU_CLOUD"); variable && *variable)
    return std::string(variable);
  const auto folder = config_folder();
  if (!folder) return std::string(kDefaultCloud);
  const fs::path file = *folder / "config.yaml";
  std::ifstream in(file, std::ios::binary);
  if (!in) return std::string(kDefaultCloud);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  project::Problems problems;
  const auto tree = project::parse_yaml(file.string(), as_bytes(text), problems);
  if (!tree) return fail(ErrorCode::failed_precondition, problems.to_string());
  const auto* entry = tree->find("cloud");
  if (!entry || entry->value.kind != project::YamlNode::Kind::scalar)
    return std::string(kDefaultCloud);
  return entry->value.text;
}

}  // namespace tau::cli

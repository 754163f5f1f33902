#include "node/network.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "base/hex.h"
#include "codec/multibase.h"
#include "codec/peer_id.h"
#include "node/voters.h"
#include "p2p/certificate.h"
#include "store/folder/data_folder.h"

namespace tau::node {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kKeyKind = "ed25519 ";

enum class There : std::uint8_t { nothing, maybe_something };

// Appears whole or not at all, and lasts: a key that is half there would be a node that never
// starts again.
Status write_whole(const fs::path& file, BytesView content, mode_t mode, There there) {
  const auto cannot_write = [&](int why) {
    return fail(ErrorCode::unavailable,
                fmt::format("cannot write {}: {}", file.string(), std::strerror(why)));
  };
  fs::path fresh = file;
  fresh += ".new";
  ::unlink(fresh.c_str());  // of a program that was ended in the middle of this
  const int fd = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0) return cannot_write(errno);
  std::size_t done = 0;
  bool written = true;
  while (written && done < content.size()) {
    const ssize_t n = ::write(fd, content.data() + done, content.size() - done);
    if (n < 0 && errno == EINTR) continue;
    written = n > 0;
    if (written) done += static_cast<std::size_t>(n);
  }
  const auto put_there = there == There::nothing ? ::link : ::rename;
  written = written && ::fsync(fd) == 0 && put_there(fresh.c_str(), file.c_str()) == 0;
  const int why = errno;
  ::close(fd);
  ::unlink(fresh.c_str());
  if (!written && why == EEXIST)
    return fail(ErrorCode::already_exists,
                fmt::format("{} exists; nothing is replaced: choose another name or remove it",
                            file.string()));
  if (!written) return cannot_write(why);
  return store::sync_folder(file.parent_path());
}

Status write_new(const fs::path& file, BytesView content, mode_t mode) {
  return write_whole(file, content, mode, There::nothing);
}

Status check_name(std::string_view name, std::string_view what) {
  const bool fine = !name.empty() && name.size() <= 63 && name.front() != '-' &&
                    name.back() != '-' && std::ranges::all_of(name, [](char c) {
                      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
                    });
  if (fine) return {};
  return fail(ErrorCode::invalid_argument,
              fmt::format("{} \"{}\" must be 1 to 63 of a-z, 0-9 and -", what, name));
}

Status make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error)
    return fail(ErrorCode::unavailable,
                fmt::format("cannot make {}: {}", folder.string(), error.message()));
  return {};
}

}  // namespace

Result<std::string> read_small_file(const fs::path& file, std::size_t bytes_max) {
  std::ifstream in(file, std::ios::binary);
  if (!in)
    return fail(ErrorCode::not_found,
                fmt::format("cannot read {}: {}", file.string(), std::strerror(errno)));
  std::string text(bytes_max + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (text.size() > bytes_max)
    return fail(ErrorCode::invalid_argument, file.string() + " is too large to be what it should");
  return text;
}

Status replace_file(const fs::path& file, BytesView content) {
  return write_whole(file, content, 0644, There::maybe_something);
}

std::string root_key_text(const crypto::PublicKey& root) {
  return codec::base32_encode(root.raw());
}

Result<crypto::PublicKey> parse_root_key(std::string_view text) {
  auto raw = codec::base32_decode(text);
  if (!raw || raw->size() != 32)
    return fail(ErrorCode::invalid_argument,
                fmt::format("network.root_key \"{}\" is no base32 of an Ed25519 public key; "
                            "network.yaml of the network's folder has it",
                            text.substr(0, 80)));
  return crypto::PublicKey::from_raw(*raw);
}

p2p::NodeIdentity make_identity(const crypto::KeyPair& root, std::vector<std::string> roles,
                                std::string host, Random& random, std::int64_t now_unix_ms) {
  return certify(root, crypto::KeyPair::generate(random), std::move(roles), std::move(host),
                 now_unix_ms);
}

p2p::NodeIdentity certify(const crypto::KeyPair& root, crypto::KeyPair key,
                          std::vector<std::string> roles, std::string host,
                          std::int64_t now_unix_ms) {
  p2p::Certificate certificate;
  certificate.network = root_key_text(root.public_key());
  certificate.peer = codec::peer_id_of(key.public_key());
  certificate.roles = std::move(roles);
  certificate.host = std::move(host);
  certificate.not_before_unix_ms = now_unix_ms - kClockSkewMax / std::chrono::milliseconds(1);
  certificate.not_after_unix_ms = now_unix_ms + kCertificateValidFor / std::chrono::milliseconds(1);
  certificate.serial = static_cast<std::uint64_t>(now_unix_ms);
  Bytes signed_bytes = p2p::sign_certificate(root, certificate);
  return {std::move(key), std::move(signed_bytes)};
}

Status write_key(const fs::path& file, const crypto::KeyPair& key) {
  const std::string text = fmt::format("{}{}\n", kKeyKind, to_hex(key.seed()));
  return write_new(file, as_bytes(text), 0600);
}

Result<crypto::KeyPair> read_key(const fs::path& file) {
  struct stat info{};
  if (::stat(file.c_str(), &info) == 0 && (info.st_mode & 077) != 0)
    return fail(ErrorCode::permission_denied,
                fmt::format("others may read the secret key {}: chmod 600 it", file.string()));
  TRY(std::string text, read_small_file(file));
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  if (text.starts_with(kKeyKind)) {
    const auto seed = from_hex(std::string_view(text).substr(kKeyKind.size()));
    if (seed && seed->size() == 32) return crypto::KeyPair::from_seed(*seed);
  }
  return fail(ErrorCode::invalid_argument,
              file.string() + " is no key file: one line, \"ed25519 \" and 64 hex digits");
}

Result<p2p::NodeIdentity> read_identity(const Options& options, std::int64_t now_unix_ms) {
  if (options.network_root_key.empty())
    return fail(ErrorCode::invalid_argument,
                "network.root_key is not set: copy it from network.yaml of the network's folder");
  TRY(const auto root, parse_root_key(options.network_root_key));
  TRY(auto key, read_key(options.identity_key));
  TRY(const std::string certificate, read_small_file(options.identity_certificate));
  const p2p::Admission admission(root, to_bytes(certificate));
  const PeerId id = codec::peer_id_of(key.public_key());
  const auto checked = admission.check(id, as_bytes(certificate), now_unix_ms);
  if (!checked) {
    return fail(Error(checked.error())
                    .context("this node's certificate " + options.identity_certificate.string()));
  }
  for (const std::string& service : options.services) {
    if (!checked->has_role(service))
      return fail(
          ErrorCode::permission_denied,
          fmt::format("services lists {}, but the certificate {} allows only: {}", service,
                      options.identity_certificate.string(), fmt::join(checked->roles, ", ")));
  }
  return p2p::NodeIdentity(std::move(key), to_bytes(certificate));
}

Status create_network(const NewNetwork& what, Random& random) {
  TRY_STATUS(check_name(what.name, "network name"));
  TRY_STATUS(make_folder(what.folder));
  const auto root = crypto::KeyPair::generate(random);
  TRY_STATUS(write_key(what.folder / "root.key", root));
  const std::string text =
      fmt::format("network:\n  name: {}\n  root_key: {}\n  suffix: {}\n", what.name,
                  root_key_text(root.public_key()),
                  what.suffix.empty() ? what.name + ".localhost" : what.suffix);
  return write_new(what.folder / "network.yaml", as_bytes(text), 0644);
}

Result<fs::path> create_node(const NewNode& what, Random& random, std::int64_t now_unix_ms) {
  TRY_STATUS(check_name(what.name, "node name"));
  TRY(const auto root, read_key(what.network / "root.key"));
  TRY(const Options network, read_config(what.network / "network.yaml"));
  if (network.network_root_key != root_key_text(root.public_key()))
    return fail(ErrorCode::failed_precondition,
                fmt::format("root.key and network.yaml in {} are of different networks",
                            what.network.string()));
  const fs::path folder = what.network / what.name;
  TRY_STATUS(make_folder(folder));

  Options options = what.options;
  options.network_name = network.network_name;
  options.network_root_key = network.network_root_key;
  options.network_suffix = network.network_suffix;
  const Options defaults;
  options.identity_key = defaults.identity_key;
  options.identity_certificate = defaults.identity_certificate;
  options.data = defaults.data;
  std::vector<std::string> roles = options.services;
  if (roles.empty()) roles = {"client"};
  const p2p::NodeIdentity identity = make_identity(root, roles, what.name, random, now_unix_ms);
  TRY_STATUS(write_key(folder / options.identity_key, identity.key()));
  TRY_STATUS(write_new(folder / options.identity_certificate, identity.certificate(), 0644));
  for (const VotingService& voting : kVotingServices) {
    auto& founders = options.*voting.founders;
    const auto& services = options.services;
    if (!founders.empty() || std::ranges::find(services, voting.service) == services.end())
      continue;
    TRY(founders, founders_with(what.network, voting, network.*voting.founders, identity.id().str(),
                                root.public_key(), now_unix_ms));
  }
  const std::string text = show_config(options);
  TRY_STATUS(write_new(folder / "config.yaml", as_bytes(text), 0644));
  return folder / "config.yaml";
}

}  // namespace tau::node

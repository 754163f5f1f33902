#include "p2p/certificate.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <utility>

#include "codec/multibase.h"
#include "codec/signed.h"

namespace tau::p2p {
namespace {
constexpr std::string_view kPurpose = "tau certificate v1";
// Peers that are shut out at once: as many as a host has connections, halved. The one that would
// be let in first makes room.
constexpr std::size_t kShutOutMax = 1024;

std::unexpected<Error> refuse(std::string why) {
  return fail(ErrorCode::permission_denied, std::move(why));
}

// Certificates whose signature was checked: the same few come with every connection and with every
// signed record, and checking one costs fifty times what finding it here does. Of the process, so
// that the hosts of a multiverse share it. Bounded: two generations. Thread-safe.
class Opened {
 public:
  using Key = std::array<std::uint8_t, 32>;  // SHA-256 of the root's public key and the bytes
  static Key key_of(const crypto::PublicKey& root, BytesView certificate) {
    Bytes all(root.raw().begin(), root.raw().end());
    all.insert(all.end(), certificate.begin(), certificate.end());
    const auto digest = crypto::sha256(all);
    Key key{};
    std::ranges::copy(digest, key.begin());
    return key;
  }
  static Opened& of_process() {
    static Opened opened;
    return opened;
  }
  std::shared_ptr<const Certificate> find(const Key& key) {
    const std::lock_guard lock(mutex_);
    if (const auto it = young_.find(key); it != young_.end()) return it->second;
    const auto it = old_.find(key);
    if (it == old_.end()) return nullptr;
    const auto found = it->second;
    keep(key, found);
    return found;
  }
  void remember(const Key& key, std::shared_ptr<const Certificate> certificate) {
    const std::lock_guard lock(mutex_);
    keep(key, std::move(certificate));
  }

 private:
  static constexpr std::size_t kGeneration = 2048;  // about 2 MiB of both
  struct Hash {
    std::size_t operator()(const Key& key) const {
      std::size_t h = 0;
      for (std::size_t i = 0; i < sizeof h; ++i) h = h << 8 | key[i];
      return h;
    }
  };
  using Map = std::unordered_map<Key, std::shared_ptr<const Certificate>, Hash>;

  void keep(const Key& key, std::shared_ptr<const Certificate> certificate) {
    if (young_.size() >= kGeneration) {
      old_ = std::move(young_);
      young_.clear();
    }
    young_.insert_or_assign(key, std::move(certificate));
  }

  std::mutex mutex_;
  Map young_, old_;
};
}  // namespace

bool Certificate::has_role(std::string_view role) const {
  return std::find(roles.begin(), roles.end(), role) != roles.end();
}

Bytes sign_certificate(const crypto::KeyPair& root, const Certificate& certificate) {
  return codec::to_cbor(codec::sign_bytes(root, kPurpose, codec::to_cbor(certificate)));
}

Admission::Admission(crypto::PublicKey root, Bytes own_certificate)
    : root_(root), network_(codec::base32_encode(root.raw())), state_(std::make_shared<State>()) {
  state_->own_certificate = std::move(own_certificate);
}

Bytes Admission::own_certificate() const {
  const std::lock_guard lock(state_->mutex);
  return state_->own_certificate;
}

void Admission::renew(Bytes certificate) {
  const std::lock_guard lock(state_->mutex);
  state_->own_certificate = std::move(certificate);
}

std::shared_ptr<const Revocations> Admission::revocations() const {
  const std::lock_guard lock(state_->mutex);
  return state_->revocations;
}

bool Admission::adopt(std::shared_ptr<const Revocations> revocations) {
  const std::lock_guard lock(state_->mutex);
  if (state_->revocations && !revocations->replaces(*state_->revocations)) return false;
  state_->revocations = std::move(revocations);
  return true;
}

bool Admission::revoked(const PeerId& peer) const {
  const auto list = revocations();
  return list && list->whole(peer);
}

void Admission::shut_out(const PeerId& peer, std::int64_t until_unix_ms, std::string why) {
  const std::lock_guard lock(state_->mutex);
  auto& all = state_->shut_out;
  if (all.size() >= kShutOutMax && !all.contains(peer))
    all.erase(std::ranges::min_element(
        all, {}, [](const auto& entry) { return entry.second.until_unix_ms; }));
  all.insert_or_assign(peer, ShutOut{until_unix_ms, std::move(why)});
}

std::optional<std::string> Admission::shut_out_because(const PeerId& peer,
                                                       std::int64_t now_unix_ms) const {
  const std::lock_guard lock(state_->mutex);
  const auto it = state_->shut_out.find(peer);
  if (it == state_->shut_out.end()) return std::nullopt;
  const std::int64_t left = it->second.until_unix_ms - now_unix_ms;
  if (left > 0) return it->second.why + "; try again in " + std::to_string(left / 1000 + 1) + " s";
  state_->shut_out.erase(it);
  return std::nullopt;
}

Result<Certificate> Admission::open_any(BytesView certificate) const {
  if (certificate.size() > kCertificateSizeMax)
    return refuse("longer than " + std::to_string(kCertificateSizeMax) + " bytes");
  const auto key = Opened::key_of(root_, certificate);
  if (const auto opened = Opened::of_process().find(key)) return *opened;
  const auto record = codec::from_cbor<codec::Signed>(certificate);
  if (!record) return refuse(record.error().message());
  if (auto s = codec::check_signature(root_, kPurpose, *record); !s)
    return refuse("not signed by the root of network " + network_);
  auto body = codec::from_cbor<Certificate>(record->body);
  if (!body) return refuse(body.error().message());
  if (body->network != network_) return refuse("is for another network");
  Opened::of_process().remember(key, std::make_shared<const Certificate>(*body));
  return std::move(*body);
}

Result<Certificate> Admission::judge(Certificate opened, std::int64_t now_unix_ms) const {
  if (now_unix_ms < opened.not_before_unix_ms) return refuse("is not valid yet: check the clocks");
  if (now_unix_ms >= opened.not_after_unix_ms)
    return refuse("has expired: renew it (odo network renew)");
  if (const auto list = revocations()) {
    if (const Revocation* entry = list->strike(opened))
      return refuse("was revoked" + (entry->reason.empty() ? "" : ": " + entry->reason));
  }
  return opened;
}

Result<Certificate> Admission::open(const PeerId& remote, BytesView certificate) const {
  auto found = open_any(certificate);
  if (found && found->peer == remote) return found;
  const std::string why =
      found ? "belongs to " + found->peer.str().substr(0, 64) : found.error().message();
  return refuse("certificate of " + remote.str() + ": " + why);
}

Result<Certificate> Admission::check(const PeerId& remote, BytesView certificate,
                                     std::int64_t now_unix_ms) const {
  TRY(Certificate opened, open(remote, certificate));
  auto left = judge(std::move(opened), now_unix_ms);
  if (!left) return refuse("certificate of " + remote.str() + ": " + left.error().message());
  return left;
}

Result<Certificate> Admission::check_any(BytesView certificate, std::int64_t now_unix_ms) const {
  TRY(Certificate opened, open_any(certificate));
  return judge(std::move(opened), now_unix_ms);
}

std::optional<Admission::Refusal> Admission::refusal(const PeerId& remote, BytesView certificate,
                                                     std::int64_t now_unix_ms) const {
  auto opened = open(remote, certificate);
  if (!opened) return Refusal{opened.error().message(), false};
  if (const auto left = judge(*std::move(opened), now_unix_ms); !left)
    return Refusal{"certificate of " + remote.str() + ": " + left.error().message(), true};
  if (const auto why = shut_out_because(remote, now_unix_ms))
    return Refusal{remote.str() + " is shut out: " + *why, true};
  return std::nullopt;
}

}  // namespace tau::p2p

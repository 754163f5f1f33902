#include "command/members.h"

#include <algorithm>
#include <chrono>

#include "codec/multibase.h"

namespace tau::command {

Member& Members::add(std::vector<std::string> roles) {
  const auto key = crypto::KeyPair::generate(random_);
  p2p::Certificate certificate;
  certificate.network = codec::base32_encode(root_.public_key().raw());
  certificate.peer = codec::peer_id_of(key.public_key());
  certificate.roles = std::move(roles);
  certificate.not_before_unix_ms = loop_.wall_unix_ms() - 60'000;
  certificate.not_after_unix_ms = loop_.wall_unix_ms() + 86'400'000;
  const Bytes raw = p2p::sign_certificate(root_, certificate);
  p2p::Admission admission(root_.public_key(), raw);
  members_.push_back(std::make_unique<Member>(loop_, random_, p2p::NodeIdentity(key, raw),
                                              admission, factory_(key, admission)));
  return *members_.back();
}

Task<Status> Members::start() {
  for (auto& member : members_) CO_TRY_STATUS(member->host->start());
  for (std::size_t i = 0; i < members_.size(); ++i)
    for (std::size_t k = 0; k < i; ++k)
      CO_TRY_STATUS(members_[i]->host->connect(members_[k]->host->addresses().at(0)));
  const auto met = [this] {
    return std::ranges::all_of(
        members_, [this](const auto& m) { return m->host->peers().size() + 1 == members_.size(); });
  };
  while (!met()) CO_TRY_STATUS(runtime::sleep_for(std::chrono::milliseconds(1)));
  co_return Status{};
}

Task<void> Members::stop() {
  for (auto& member : members_) co_await member->host->stop();
}

}  // namespace tau::command

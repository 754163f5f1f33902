#include "services/tns/chain.h"

#include <algorithm>
#include <utility>

#include "services/auth/api.h"
#include "services/monkey/api.h"
#include "services/patrick/api.h"

namespace tau::tns {
namespace {

// A network has a handful of patricks and monkeys; renewed certificates come beside the old ones.
constexpr std::size_t kCertificatesMax = 64;
// Clocks of monkeys and patricks, and what a certificate leaves for them. What this keeps out is an
// accident, not a thief, who writes the time that fits.
constexpr std::int64_t kClockSlackMs = 86'400'000;

std::unexpected<Error> no_proof(const std::string& why) {
  return fail(ErrorCode::permission_denied, "no proof: " + why);
}

}  // namespace

Status valid_then(const p2p::Certificate& certificate, std::int64_t then_unix_ms) {
  if (then_unix_ms >= certificate.not_before_unix_ms - kClockSlackMs &&
      then_unix_ms < certificate.not_after_unix_ms + kClockSlackMs)
    return {};
  return no_proof("the certificate of " + certificate.peer.str() +
                  " was not valid when it signed: check the clocks");
}

Result<Facts> facts_of(const patrick::Job& job, const ProjectId& registered,
                       const monkey::ReceiptHead& head) {
  if (job.project != registered)
    return no_proof("the job is for another project than its registration");
  if (head.job != job.id || head.project != job.project || head.branch != job.branch ||
      head.seq != job.seq)
    return no_proof("what was built is not what the job asks for");
  Facts facts;
  facts.project = job.project;
  facts.branch = job.branch;
  facts.seq = job.seq;
  facts.fence = job.fence;
  facts.deployment = head.deployment;
  facts.compiled = head.compiled;
  facts.hosts = head.hosts;
  return facts;
}

Status agrees(const Facts& facts, const Pointer& pointer) {
  if (facts.project != pointer.project || facts.branch != pointer.branch)
    return no_proof("it is for another project or branch");
  if (facts.version() != pointer.version() || (facts.hosts && facts.push != pointer.push))
    return no_proof("it is for another version");
  if (facts.deployment != pointer.deployment) return no_proof("it is for another deployment");
  if (facts.hosts &&
      (*facts.hosts != digest_of_hosts(pointer.hosts) || facts.compiled != pointer.compiled))
    return no_proof("it is for other hosts");
  return {};
}

Result<std::shared_ptr<const p2p::Certificate>> ProofReader::certificate(const Bytes& raw) {
  if (const auto it = certificates_.find(raw); it != certificates_.end()) return it->second;
  if (raw.size() > p2p::kCertificateSizeMax) return no_proof("a certificate is too long");
  // Whose it is stands in it; then it is held against the network's root.
  TRY(const auto shown, codec::from_cbor<codec::Signed>(raw));
  TRY(const auto claimed, codec::from_cbor<p2p::Certificate>(shown.body));
  TRY(auto opened, admission_.open(claimed.peer, raw));
  if (certificates_.size() >= kCertificatesMax) certificates_.clear();
  auto kept = std::make_shared<const p2p::Certificate>(std::move(opened));
  certificates_.emplace(raw, kept);
  return kept;
}

template <class T>
Result<T> ProofReader::open(const p2p::NodeSigned& item, std::string_view role, Signer& signer) {
  TRY(signer.certificate, certificate(item.certificate));
  if (!signer.certificate->has_role(role))
    return no_proof("node " + signer.certificate->peer.str() + " signed a \"" +
                    std::string(T::kPurpose) + "\" without the role " + std::string(role));
  if (const auto list = admission_.revocations()) {
    p2p::Certificate left = *signer.certificate;
    signer.revoked = list->strike(left) != nullptr || !left.has_role(role);
  }
  TRY(const auto key, codec::public_key_of(signer.certificate->peer));
  return codec::open_record<T>(key, item.record);
}

Result<Facts> ProofReader::read_push(const Proof& proof) {
  if (!proof.job || !proof.head) return no_proof("job or head is missing");
  Signer patrick, monkey;
  TRY(const auto job, open<patrick::Job>(*proof.job, patrick::kRole, patrick));
  TRY(const auto head, open<monkey::ReceiptHead>(*proof.head, monkey::kRole, monkey));
  TRY(const auto registration, auth::open_registration(job.registration));
  TRY_STATUS(valid_then(*patrick.certificate, head.built_unix_ms));
  TRY_STATUS(valid_then(*monkey.certificate, head.built_unix_ms));
  TRY(Facts facts, facts_of(job, registration.project(), head));
  facts.revoked = patrick.revoked || monkey.revoked;
  return facts;
}

Result<Facts> ProofReader::read_order(const p2p::NodeSigned& rollback, std::optional<Facts> push) {
  Signer patrick;
  TRY(const auto numbered, open<patrick::NumberedRollback>(rollback, patrick::kRole, patrick));
  TRY(const auto registration, auth::open_registration(numbered.registration));
  const crypto::PublicKey owner(registration.genesis.owner);
  TRY(const auto order, codec::open_record<patrick::RollbackOrder>(owner, numbered.order));
  TRY_STATUS(valid_then(*patrick.certificate, order.made_unix_ms));
  if (order.project != registration.project())
    return no_proof("the order is for another project than its registration");
  Facts facts;
  if (push) {
    if (push->project != order.project || push->branch != order.branch ||
        push->deployment != order.deployment)
      return no_proof("the order goes back to another deployment");
    facts = *push;
    facts.push = push->seq;
  }
  facts.project = order.project;
  facts.branch = order.branch;
  facts.deployment = order.deployment;
  facts.seq = numbered.seq;
  facts.fence.reset();
  facts.revoked = facts.revoked || patrick.revoked;
  return facts;
}

Result<Facts> ProofReader::read(BytesView bytes) {
  if (bytes.size() > kProofBytesMax) return no_proof("it is too large");
  TRY(const auto proof, codec::from_cbor<Proof>(bytes));
  if (!proof.rollback) return read_push(proof);
  std::optional<Facts> push;
  if (proof.job || proof.head) {
    TRY(push, read_push(proof));
  }
  return read_order(*proof.rollback, std::move(push));
}

}  // namespace tau::tns

// What a pointer's proof proves. A proof (api.h) is what others than tns signed: the owner of the
// project (the registration), patrick (the job) and a monkey (the head of its receipt); for a step
// back the owner's order, with patrick's number. Whoever knows the network's root key can check it.
//
// It shows: the project's id is that of a genesis whose owner signed the registration; nodes with
// the roles patrick and monkey, certified by this network, signed job and head; both speak of one
// job, project, branch and seq; the pointer's (seq, fence), deployment, hosts and compiled modules
// are those that they name. It does not show that no other project owns a host, nor that nothing
// newer was published.
//
// When must a certificate have been valid? When the build ended, as the monkey wrote it (for an
// order: when it was made, as the owner wrote it): so what is deployed outlives the certificates of
// those who built it. Who was revoked since is told apart: a thief of a key writes any date.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "p2p/node_signed.h"
#include "services/tns/api.h"

namespace tau::patrick {
struct Job;
}
namespace tau::monkey {
struct ReceiptHead;
}

namespace tau::tns {

struct Facts {
  ProjectId project;
  std::string branch;
  std::uint64_t seq = 0;
  std::optional<std::uint64_t> fence, push;
  codec::Cid deployment;
  std::optional<codec::Cid> compiled;
  // Absent: only the owner's order is there, which names the deployment and no hosts.
  std::optional<HostsDigest> hosts;
  bool revoked = false;  // somebody who signed is no member any more, or lost the role

  std::pair<std::uint64_t, std::uint64_t> version() const { return {seq, fence.value_or(0)}; }
};

// What a push's records say together, their signatures checked already. Errors: permission_denied
// (they speak of different things).
Result<Facts> facts_of(const patrick::Job& job, const ProjectId& registered,
                       const monkey::ReceiptHead& head);
// Whether a certificate was valid at that time, give or take a day. Errors: permission_denied.
Status valid_then(const p2p::Certificate& certificate, std::int64_t then_unix_ms);
// Whether the pointer is the one that was proven. Errors: permission_denied, with what differs.
// `moved`, the time of the move, and `holders`, hints where to fetch, are tns's word alone.
Status agrees(const Facts& facts, const Pointer& pointer);

// Reads proofs; remembers the certificates that it has checked. One thread.
class ProofReader {
 public:
  explicit ProofReader(const p2p::Admission& admission) : admission_(admission) {}

  // About five Ed25519 checks, or three once the certificates are known. Errors: permission_denied,
  // invalid_argument.
  Result<Facts> read(BytesView proof);

 private:
  struct Signer {
    std::shared_ptr<const p2p::Certificate> certificate;
    bool revoked = false;
  };
  template <class T>
  Result<T> open(const p2p::NodeSigned& item, std::string_view role, Signer& signer);
  Result<std::shared_ptr<const p2p::Certificate>> certificate(const Bytes& raw);
  Result<Facts> read_push(const Proof& proof);
  Result<Facts> read_order(const p2p::NodeSigned& rollback, std::optional<Facts> push);

  const p2p::Admission& admission_;
  std::map<Bytes, std::shared_ptr<const p2p::Certificate>> certificates_;
};

}  // namespace tau::tns

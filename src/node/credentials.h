// Credentials: keeps what this node shows, and what it knows of the others' membership, up to date
// while it runs.
//
// - Its own certificate: a renewed one, from the operator's file or from a peer that brings it, is
//   shown from then on; connections stay, and peers are told.
// - The network's revocations: kept on the disk before they count, told to every peer by gossip
//   ("there is number 7"), and compared at each new connection and once a minute with some peer, so
//   that a node that was away learns of them from the first member that it meets.
//
// Everything that travels here is signed by the network's root: whoever brings it need not be
// believed, so every member, and everybody who reaches the node's API, may.
//
// Loop thread only. load() before the host starts; stop() is idempotent.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <tuple>

#include "base/log.h"
#include "base/random.h"
#include "command/caller.h"
#include "command/router.h"
#include "p2p/node_signed.h"
#include "runtime/channel.h"
#include "runtime/task_group.h"
#include "store/kv.h"

namespace tau::node {

inline constexpr std::string_view kCredentialsProtocol = "/tau/credentials/1";
inline constexpr std::string_view kRevocationsTopic = "/tau/revocations/1";

// "This is my certificate, and the number of the revocations that I know": said by the one of two
// with the smaller peer id when they have connected, by whoever has a new certificate, and now and
// then.
struct Compare {
  static constexpr std::string_view kName = "compare";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(10);
  struct Request {
    std::uint64_t number = 0;
    Bytes certificate;
    static constexpr auto fields() {
      return std::tuple{codec::field("number", &Request::number),
                        codec::field("certificate", &Request::certificate)};
    }
  };
  struct Response {
    std::uint64_t number = 0;
    std::optional<Bytes> revocations;  // where the answering node knows later ones
    Bytes certificate;
    static constexpr auto fields() {
      return std::tuple{codec::field("number", &Response::number),
                        codec::field("revocations", &Response::revocations),
                        codec::field("certificate", &Response::certificate)};
    }
  };
};

struct GiveRevocations {
  static constexpr std::string_view kName = "give_revocations";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(10);
  struct Request {
    Bytes revocations;
    static constexpr auto fields() {
      return std::tuple{codec::field("revocations", &Request::revocations)};
    }
  };
  using Response = command::Empty;
};

// A renewed certificate, for the node that is called.
struct GiveCertificate {
  static constexpr std::string_view kName = "give_certificate";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(10);
  struct Request {
    Bytes certificate;
    static constexpr auto fields() {
      return std::tuple{codec::field("certificate", &Request::certificate)};
    }
  };
  using Response = command::Empty;
};
using CredentialsCommands = command::List<Compare, GiveRevocations, GiveCertificate>;

class Credentials {
 public:
  // Writes a renewed certificate where the next start finds it.
  using KeepCertificate = std::function<Status(const Bytes&)>;

  Credentials(runtime::Loop& loop, p2p::Host& host, command::Router& router,
              command::Caller& caller, Random& random, store::Kv& kv, p2p::Admission admission,
              p2p::NodeIdentity identity, KeepCertificate keep, Logger log);
  ~Credentials();

  // What was kept counts from here on. Errors: data_loss (what is kept is no list of this network).
  Task<Status> load();
  void start();
  Task<void> stop();

  // From now on this node is what `certificate` says. The one it has already, or an older one, is
  // success and changes nothing. Errors: permission_denied.
  Task<Status> renew(Bytes certificate);
  // Of whichever node it is: this one, or one that is connected, which is asked to take it. Gives
  // its peer id. Errors: permission_denied, unavailable, and what the node answers.
  Task<Result<PeerId>> deliver(Bytes certificate);
  // They are on the disk, count here and are on their way to the others when it returns. The ones
  // that are known, or older ones, are success and change nothing. Errors: permission_denied,
  // invalid_argument, and those of the store.
  Task<Status> adopt(Bytes revocations);

  std::uint64_t number() const;  // of the revocations; 0: none were ever made
  std::shared_ptr<const p2p::Revocations> revocations() const { return admission_.revocations(); }

  Task<Result<Compare::Response>> handle(command::Peer peer, Compare::Request request);
  Task<Result<GiveRevocations::Response>> handle(command::Peer peer,
                                                 GiveRevocations::Request request);
  Task<Result<GiveCertificate::Response>> handle(command::Peer peer,
                                                 GiveCertificate::Request request);

 private:
  struct Watcher;  // what the host's callbacks hold: outlives this object
  // Whether gossip has told the others already.
  enum class Told : std::uint8_t { nobody, everybody };

  void met(const PeerId& peer);
  void heard(const PeerId& from, BytesView message);
  Task<void> compare_with(PeerId peer, Told told);
  Task<void> catch_up(PeerId from, std::uint64_t number);
  Task<void> look_around();
  Task<Status> keep_revocations(Bytes raw, Told told);
  void warn_of_end();

  runtime::Loop& loop_;
  p2p::Host& host_;
  command::Router& router_;
  command::Caller& caller_;
  Random& random_;
  store::Kv& kv_;
  p2p::Admission admission_;
  p2p::NodeIdentity identity_;
  KeepCertificate keep_;
  Logger log_;
  std::shared_ptr<Watcher> watcher_;
  runtime::Semaphore writing_;  // one list at a time: a later one is never overwritten
  bool catching_up_ = false;
  std::int64_t warned_unix_ms_ = 0;
  runtime::TaskGroup tasks_;
};

}  // namespace tau::node

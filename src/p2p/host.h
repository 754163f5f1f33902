// A libp2p host: what a node is to its peers. Two implementations: p2p/libp2p (rust-libp2p, real
// sockets) and p2p/simulated (virtual time). Both admit only members: a connection exists for the
// code above only after both ends have shown a certificate of the network
// (native/swarm/src/admission.rs).
//
// Threads: everything is called, and every callback runs, on the loop thread of the host's owner.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/strong_id.h"
#include "base/time.h"
#include "p2p/certificate.h"
#include "p2p/conduct.h"
#include "runtime/task.h"

namespace tau::p2p {

// A bidirectional byte stream to one peer (a libp2p stream of one negotiated protocol). Destroying
// it resets it. At most one read and one write at a time.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual const PeerId& remote() const = 0;
  // Up to out.size() bytes; 0 at the end of the other side's data. Errors: unavailable (reset or
  // connection lost).
  virtual Task<Result<std::size_t>> read(std::span<std::uint8_t> out) = 0;
  // All of it, or an error. Suspends while the peer's window is full. `data` must stay valid until
  // the task ends.
  virtual Task<Status> write(BytesView data) = 0;
  virtual Task<Status> close_write() = 0;  // the other side then reads 0
  virtual void reset() = 0;
};

// Reads exactly out.size() bytes. Errors: unavailable when the stream ends before.
Task<Status> read_exactly(Stream& stream, std::span<std::uint8_t> out);

using StreamHandler = std::function<Task<void>(std::unique_ptr<Stream>)>;
using MessageHandler = std::function<void(const PeerId& from, BytesView data)>;
using PeerHandler = std::function<void(const PeerId& peer, bool connected)>;

class Host {
 public:
  virtual ~Host() = default;

  virtual const PeerId& id() const = 0;
  // Multiaddrs that others can dial, each ending in /p2p/<id>. Known once start() has returned.
  virtual std::vector<std::string> addresses() const = 0;

  virtual Task<Status> start() = 0;
  virtual Task<void> stop() = 0;  // idempotent; ends every stream and handler

  // Dials "/ip4/…/tcp/…/p2p/<id>"; already connected is success. Errors: unavailable,
  // permission_denied (not admitted), invalid_argument (no multiaddr).
  virtual Task<Result<PeerId>> connect(std::string multiaddr) = 0;
  virtual void disconnect(const PeerId& peer) = 0;
  // Opens a stream for `protocol` to a peer that is connected. Errors: unavailable, unimplemented
  // (peer lacks the protocol).
  virtual Task<Result<std::unique_ptr<Stream>>> open(PeerId peer, std::string protocol) = 0;

  // Each inbound stream of `protocol` runs `handler` as a task of the host. One handler per
  // protocol; null removes it.
  virtual void handle(std::string protocol, StreamHandler handler) = 0;

  virtual std::vector<PeerId> peers() const = 0;  // admitted and connected
  // What the peer proved at admission; null for a peer that is not connected. This host's own for
  // its own id. Stays as it is when the peer shows another one.
  virtual std::shared_ptr<const Certificate> certificate_of(const PeerId& peer) const = 0;
  // The same of all that are connected, in peer id order. `visit` must not connect or disconnect.
  using PeerVisitor = std::function<void(const PeerId& peer, const Certificate& certificate)>;
  virtual void each_peer(const PeerVisitor& visit) const = 0;
  virtual void on_peer(
      PeerHandler handler) = 0;  // several may be registered; they live as long as the host

  // Shows a renewed certificate at every connection from now on; connections that stand stay, and
  // their peers learn of it by note_certificate(). Errors: permission_denied (not this host's, or
  // not valid now).
  virtual Status show_certificate(Bytes certificate) = 0;
  // A connected peer says that it has a newer certificate than it showed: that one counts from now
  // on. An older one changes nothing. Errors: permission_denied (as at admission), unavailable (not
  // connected).
  virtual Status note_certificate(const PeerId& peer, BytesView certificate) = 0;
  // Holds every peer against admission once more, after revocations: who is refused now is gone
  // from peers() and certificate_of() at once, and its connection is closed.
  virtual void recheck() = 0;
  // How the peers behave: whoever finds one flooding, lying or malformed says so there.
  virtual Conduct& conduct() = 0;

  // Gossipsub. A message that this host published is not given back to it, and one whose author was
  // revoked, or floods, to nobody. Bound: 64 KiB a message.
  virtual void subscribe(std::string topic, MessageHandler handler) = 0;
  virtual Status publish(const std::string& topic, Bytes data) = 0;

  // Kademlia provider records: "I hold the content of this key (a multihash)".
  virtual Task<Status> provide(Bytes key) = 0;
  virtual Task<Result<std::vector<PeerId>>> find_providers(Bytes key, std::size_t at_most) = 0;
  // Where a peer listens, as the peers closest to it know (Kademlia's FIND_NODE); a lookup ends by
  // asking the peer itself. Empty: nobody knows it, or it does not answer. Errors: unavailable.
  virtual Task<Result<std::vector<std::string>>> find_peer(PeerId peer) = 0;

  // In a network that is too large for everybody to be connected to everybody, a peer that is
  // needed is dialed then. `finder`: the addresses that this node knows of a peer, maybe none;
  // nullopt: who is not connected now cannot be reached. Without a finder nobody else can.
  using Finder = std::function<std::optional<std::vector<std::string>>(const PeerId& peer)>;
  void reach_by(Finder finder);
  // Connected, or worth a try by reach().
  bool reachable(const PeerId& peer) const;
  // Connects to `peer` if it is not: by the finder's addresses, then by find_peer(). One that was
  // not reached is not tried again for half a second, then longer, up to 8 s. Errors: unavailable.
  Task<Status> reach(PeerId peer);

  // Who closes connections that nobody seems to need spares protected ones (libp2p's connection
  // managers call it so). One that is lost stays protected.
  void protect(const PeerId& peer, const std::string& reason);
  void unprotect(const PeerId& peer, const std::string& reason);
  bool is_protected(const PeerId& peer) const { return protected_.contains(peer); }

 private:
  struct Missed {
    TimePoint until;
    Duration pause{};
  };
  Task<bool> dial_one_of(PeerId peer, std::vector<std::string> addresses);

  Finder finder_;
  std::map<PeerId, Missed> missed_;
  std::map<PeerId, std::set<std::string>> protected_;
};

}  // namespace tau::p2p

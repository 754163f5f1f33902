// Hosts on real sockets, by rust-libp2p: TCP + noise + yamux and QUIC, relayed circuits, identify,
// Kademlia, gossipsub. Admission runs inside the transport, before libp2p knows that there is a
// connection (native/swarm/src/admission.rs).
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "crypto/ed25519.h"
#include "p2p/host.h"
#include "runtime/channel.h"
#include "runtime/loop.h"
#include "runtime/task_group.h"

namespace tau::p2p::libp2p {

// The threads that libp2p runs on, shared by all hosts of a process. Outlives them.
class Runtime {
 public:
  // Two threads keep a host busy to about 400 MiB/s; a multiverse of idle hosts needs no more.
  explicit Runtime(std::size_t threads = 2);
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

 private:
  friend class LibP2pHost;
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

struct Options {
  crypto::KeyPair key;  // of the node; decides its peer id
  Admission admission;  // the network, and this node's own certificate
  std::vector<std::string> listen = {"/ip4/127.0.0.1/tcp/0"};
  std::vector<std::string> external = {};  // where others reach this host, if not where it listens
  std::vector<std::string> bootstrap =
      {};                     // peers to be connected to, always: dialed again when lost
  bool mdns = false;          // looks for members on the local network
  bool relay_server = false;  // carries connections for members behind a NAT
};

class Events;
class Link;

// Owned by a node; everything on the loop's thread. stop() before destruction. A connection ends
// when the certificate that it was admitted with expires.
class LibP2pHost final : public Host {
 public:
  LibP2pHost(runtime::RealLoop& loop, Runtime& runtime, Options options, Logger log);
  ~LibP2pHost() override;

  const PeerId& id() const override { return id_; }
  std::vector<std::string> addresses() const override;
  Task<Status> start() override;
  Task<void> stop() override;

  Task<Result<PeerId>> connect(std::string multiaddr) override;
  void disconnect(const PeerId& peer) override;
  Task<Result<std::unique_ptr<Stream>>> open(PeerId peer, std::string protocol) override;
  void handle(std::string protocol, StreamHandler handler) override;

  std::vector<PeerId> peers() const override;
  std::shared_ptr<const Certificate> certificate_of(const PeerId& peer) const override;
  void each_peer(const PeerVisitor& visit) const override;
  void on_peer(PeerHandler handler) override;
  Status show_certificate(Bytes certificate) override;
  Status note_certificate(const PeerId& peer, BytesView certificate) override;
  void recheck() override;
  Conduct& conduct() override { return conduct_; }

  void subscribe(std::string topic, MessageHandler handler) override;
  Status publish(const std::string& topic, Bytes data) override;
  Task<Status> provide(Bytes key) override;
  Task<Result<std::vector<PeerId>>> find_providers(Bytes key, std::size_t at_most) override;
  Task<Result<std::vector<std::string>>> find_peer(PeerId peer) override;

  // Listens on one more address while running: "<relay's multiaddr>/p2p-circuit" makes this host
  // reachable through it.
  Task<Status> listen(std::string multiaddr);

 private:
  friend class Events;
  struct Parts;
  struct Peer {
    Certificate shown;                               // as the root signed it
    std::shared_ptr<const Certificate> certificate;  // what is left of it now
    bool refused = false;                            // by now; its connection is being closed
    runtime::TimerId expiry;
  };
  enum class State { fresh, running, stopped };

  void on_peer_up(const PeerId& peer, BytesView certificate);
  void on_peer_down(const PeerId& peer);
  void on_message(const std::string& topic, const PeerId& from, BytesView data);
  void on_stream(const std::string& protocol, std::unique_ptr<Stream> stream);
  void on_address(const std::string& address, bool listening);
  void tell_peer(const PeerId& peer, bool connected);
  const Peer* accepted(const PeerId& peer) const;
  void judge(const PeerId& peer, Peer& entry);
  void watch_expiry(const PeerId& peer);
  Task<void> keep_connected(std::string address);
  Task<void> stop_native();
  Status running() const;

  runtime::RealLoop& loop_;
  Runtime& runtime_;
  const Options options_;
  Logger log_;
  const PeerId id_;
  State state_ = State::fresh;
  std::shared_ptr<Link> link_;
  std::unique_ptr<Parts> parts_;
  Conduct conduct_;
  std::map<PeerId, Peer> peers_;
  std::vector<std::string> listening_;
  std::map<std::string, StreamHandler> handlers_;
  std::map<std::string, std::vector<MessageHandler>> topics_;
  std::vector<PeerHandler> peer_handlers_;
  runtime::Signal peers_changed_;
  runtime::TaskGroup tasks_;
};

}  // namespace tau::p2p::libp2p

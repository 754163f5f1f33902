// For tests: nodes with a replicated map on a simulated network in virtual time, on disks that lose
// what was not synced; they can be stopped, killed, started again on what their disk kept.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "codec/multibase.h"
#include "codec/peer_id.h"
#include "crdt/map.h"
#include "p2p/simulated/network.h"
#include "store/memory/memory_kv.h"

namespace tau::crdt {
using namespace std::chrono_literals;
using runtime::block_on;

// A host whose gossip is lost, doubled and late by chance.
class LossyHost final : public p2p::Host {
 public:
  LossyHost(p2p::Host& host, runtime::Loop& loop, Random& random, unsigned lost_percent)
      : host_(host), loop_(loop), random_(random), lost_percent_(lost_percent) {}
  ~LossyHost() override { *alive_ = false; }
  const PeerId& id() const override { return host_.id(); }
  std::vector<std::string> addresses() const override { return host_.addresses(); }
  Task<Status> start() override { return host_.start(); }
  Task<void> stop() override { return host_.stop(); }
  Task<Result<PeerId>> connect(std::string to) override { return host_.connect(std::move(to)); }
  void disconnect(const PeerId& peer) override { host_.disconnect(peer); }
  Task<Result<std::unique_ptr<p2p::Stream>>> open(PeerId peer, std::string protocol) override {
    return host_.open(std::move(peer), std::move(protocol));
  }
  void handle(std::string protocol, p2p::StreamHandler handler) override {
    host_.handle(std::move(protocol), std::move(handler));
  }
  std::vector<PeerId> peers() const override { return host_.peers(); }
  void each_peer(const PeerVisitor& visit) const override { host_.each_peer(visit); }
  Task<Result<std::vector<std::string>>> find_peer(PeerId peer) override {
    return host_.find_peer(std::move(peer));
  }
  std::shared_ptr<const p2p::Certificate> certificate_of(const PeerId& peer) const override {
    return host_.certificate_of(peer);
  }
  void on_peer(p2p::PeerHandler handler) override { host_.on_peer(std::move(handler)); }
  Status show_certificate(Bytes certificate) override {
    return host_.show_certificate(std::move(certificate));
  }
  Status note_certificate(const PeerId& peer, BytesView certificate) override {
    return host_.note_certificate(peer, certificate);
  }
  void recheck() override { host_.recheck(); }
  p2p::Conduct& conduct() override { return host_.conduct(); }
  void subscribe(std::string topic, p2p::MessageHandler handler) override {
    host_.subscribe(std::move(topic),
                    [this, alive = alive_, handler](const PeerId& from, BytesView data) {
                      if (!*alive || random_.below(100) < lost_percent_) return;
                      if (lost_percent_ == 0) return handler(from, data);
                      for (auto copies = 1 + random_.below(2); copies > 0; --copies)
                        loop_.call_after(std::chrono::milliseconds(random_.below(50)),
                                         [alive, handler, from, bytes = to_bytes(data)] {
                                           if (*alive) handler(from, bytes);
                                         });
                    });
  }
  Status publish(const std::string& topic, Bytes data) override {
    return host_.publish(topic, std::move(data));
  }
  Task<Status> provide(Bytes key) override { return host_.provide(std::move(key)); }
  Task<Result<std::vector<PeerId>>> find_providers(Bytes key, std::size_t at_most) override {
    return host_.find_providers(std::move(key), at_most);
  }

 private:
  p2p::Host& host_;
  runtime::Loop& loop_;
  Random& random_;
  unsigned lost_percent_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

class Fleet {
 public:
  explicit Fleet(std::uint64_t seed, MapOptions options = {.name = "test", .writers = "seer"},
                 Duration sync_latency = 1ms)
      : random_(seed),
        root_(crypto::KeyPair::generate(random_)),
        options_(std::move(options)),
        sync_latency_(sync_latency) {}
  ~Fleet() {
    for (std::size_t i = 0; i < sites_.size(); ++i) stop(i);
  }

  struct Site {
    Site(p2p::NodeIdentity who, p2p::Admission of, Duration sync_latency)
        : identity(std::move(who)), admission(std::move(of)), disk(sync_latency) {}
    p2p::NodeIdentity identity;
    p2p::Admission admission;
    store::MemoryKv disk;
    struct Life {
      std::unique_ptr<store::Kv> rows;
      std::unique_ptr<store::BlockStore> blocks;
      std::unique_ptr<p2p::simulated::SimulatedHost> host;
      std::unique_ptr<LossyHost> lossy;
      std::unique_ptr<content::Exchange> exchange;
      std::unique_ptr<Map> map;
    };
    std::optional<Life> life;
  };

  unsigned gossip_lost_percent = 0;  // of nodes that are started from now on

  // A node that is not started.
  std::size_t add(std::vector<std::string> roles = {"seer"}) {
    const auto key = crypto::KeyPair::generate(random_);
    p2p::Certificate certificate;
    certificate.network = codec::base32_encode(root_.public_key().raw());
    certificate.peer = codec::peer_id_of(key.public_key());
    certificate.roles = std::move(roles);
    certificate.not_before_unix_ms = loop_.wall_unix_ms() - 60'000;
    certificate.not_after_unix_ms = loop_.wall_unix_ms() + 86'400'000;
    const Bytes raw = p2p::sign_certificate(root_, certificate);
    sites_.push_back(std::make_unique<Site>(
        p2p::NodeIdentity(key, raw), p2p::Admission(root_.public_key(), raw), sync_latency_));
    return sites_.size() - 1;
  }
  // Connects to all that run. `with_map`: else a member that only has an exchange.
  void start(std::size_t i, bool with_map = true) {
    Site& site = *sites_[i];
    auto& life = site.life.emplace();
    life.rows = store::with_prefix(site.disk, "crdt/");
    life.blocks = std::make_unique<store::BlockStore>(site.disk);
    life.host = std::make_unique<p2p::simulated::SimulatedHost>(network_, site.identity.id(),
                                                                site.admission, Logger());
    life.exchange = std::make_unique<content::Exchange>(loop_, *life.host, *life.blocks, Logger());
    life.lossy = std::make_unique<LossyHost>(*life.host, loop_, random_, gossip_lost_percent);
    ASSERT_TRUE(block_on(loop_, life.host->start()));
    life.exchange->start();
    if (with_map) {
      life.map = std::make_unique<Map>(loop_, *life.lossy, *life.exchange, *life.rows,
                                       site.identity, site.admission, random_, options_, Logger());
      const auto started = block_on(loop_, life.map->start());
      ASSERT_TRUE(started) << started.error().to_string();
    }
    for (auto& other : sites_)
      if (other->life && other.get() != &site) connect(*life.host, *other->life->host);
  }
  void stop(std::size_t i) {
    Site& site = *sites_[i];
    if (!site.life) return;
    if (site.life->map) block_on(loop_, site.life->map->stop());
    block_on(loop_, site.life->exchange->stop());
    block_on(loop_, site.life->host->stop());
    site.life.reset();
  }
  // The process and the power at once: what was not synced may be lost, and nothing that it does
  // from now on counts.
  void kill(std::size_t i) {
    Site& site = *sites_[i];
    network_.kill(site.identity.id());
    site.disk.crash(random_);
    stop(i);
    site.disk.crash();
  }
  void grow(std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) start(add());
  }
  // Dials whom it is not connected to, as a node's mesh does.
  void reconnect() {
    for (auto& a : sites_)
      for (auto& b : sites_)
        if (a->life && b->life && a != b) connect(*a->life->host, *b->life->host);
  }

  Site& site(std::size_t i) { return *sites_[i]; }
  Map& operator[](std::size_t i) { return *sites_[i]->life->map; }
  PeerId id(std::size_t i) { return sites_[i]->identity.id(); }
  bool runs(std::size_t i) { return sites_[i]->life && sites_[i]->life->map; }
  std::size_t size() const { return sites_.size(); }
  runtime::VirtualLoop& loop() { return loop_; }
  p2p::simulated::SimulatedNetwork& network() { return network_; }
  SeededRandom& random() { return random_; }
  MapOptions& options() { return options_; }
  const crypto::KeyPair& root() const { return root_; }

  Status put(std::size_t i, std::string key, std::string_view value) {
    return block_on(loop_, (*this)[i].put(std::move(key), to_bytes(value)));
  }
  Status erase(std::size_t i, std::string key) {
    return block_on(loop_, (*this)[i].erase(std::move(key)));
  }
  std::optional<std::string> get(std::size_t i, std::string key) {
    auto value = block_on(loop_, (*this)[i].get(std::move(key)));
    EXPECT_TRUE(value) << value.error().to_string();
    if (!value || !*value) return std::nullopt;
    return to_text(**value);
  }
  std::map<std::string, std::string> all(std::size_t i, std::string prefix = "") {
    std::map<std::string, std::string> out;
    auto rows = block_on(loop_, (*this)[i].list(std::move(prefix), "", 1'000'000));
    EXPECT_TRUE(rows) << rows.error().to_string();
    for (const auto& row : *rows) out.emplace(row.key, to_text(row.value));
    return out;
  }
  void wait(Duration d) { (void)block_on(loop_, runtime::sleep_for(d)); }
  template <class F>
  bool wait_for(F condition, Duration limit = 60s) {
    const TimePoint end = loop_.now() + limit;
    while (!condition()) {
      if (loop_.now() > end) return false;
      wait(10ms);
    }
    return true;
  }
  // All that run know the same deltas.
  bool agree() {
    const Context* one = nullptr;
    for (auto& site : sites_) {
      if (!site->life || !site->life->map) continue;
      const Context& context = site->life->map->state().context();
      if (one && context != *one) return false;
      one = &context;
    }
    return true;
  }
  bool converge(Duration limit = 120s) {
    return wait_for(
        [&] {
          reconnect();
          return agree();
        },
        limit);
  }

 private:
  void connect(p2p::Host& a, p2p::Host& b) {
    if (!a.certificate_of(b.id())) (void)block_on(loop_, a.connect(b.addresses().at(0)));
  }

  runtime::VirtualLoop loop_;
  SeededRandom random_;
  crypto::KeyPair root_;
  p2p::simulated::SimulatedNetwork network_{loop_, random_};
  MapOptions options_;
  Duration sync_latency_;
  std::vector<std::unique_ptr<Site>> sites_;
};

}  // namespace tau::crdt

// A small network around a substrate, for its tests: a tns stand-in that signs pointers, a hoarder
// that holds blocks, and an engine whose modules are scripts of one line. Works on any loop, any
// hosts and any network.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "command/members.h"
#include "content/exchange.h"
#include "content/unixfs.h"
#include "guest/http_event/exchange.h"
#include "http/client.h"
#include "project/deployment.h"
#include "services/substrate/service.h"
#include "services/tns/client.h"
#include "store/memory/memory_kv.h"

namespace tau::substrate::scenario {

using namespace std::chrono_literals;

// "say TEXT", "echo", "print TEXT", "flood", "trap", "slow", "busy".
class ScriptModule final : public vm::Module {
 public:
  explicit ScriptModule(std::string script) : script_(std::move(script)) {}
  bool has_function(std::string_view) const override { return true; }
  Result<Bytes> serialize() const override { return to_bytes("machine code of " + script_); }
  Task<std::expected<vm::RunTimes, vm::RunFailure>> run(std::string_view, std::uint32_t,
                                                        void* context,
                                                        vm::RunLimits limits) const override {
    auto& guest = *static_cast<guest::Context*>(context);
    using Kind = vm::RunFailure::Kind;
    const std::string verb = script_.substr(0, script_.find(' '));
    const std::string rest = verb.size() == script_.size() ? "" : script_.substr(verb.size() + 1);
    if (verb == "say") {
      guest.http->add_header("X-Module", "script");
      guest.http->write(rest);
    } else if (verb == "echo") {
      guest.http->set_status(201);
      guest.http->write(as_text(guest.http->request().body));
    } else if (verb == "where") {
      guest.http->write(std::string(guest.http->request().host) + " " +
                        std::string(guest.http->request().path));
    } else if (verb == "print") {
      guest.log.append(rest);
      guest.log.append("beside it\n", guest::LogStream::error);
    } else if (verb == "flood") {
      for (int i = 0; i < 10'000; ++i) guest.log.append("again and again\n");
    } else if (verb == "trap") {
      guest.log.append("before\n");
      co_return std::unexpected(
          vm::RunFailure{Kind::trap, "wasm trap: unreachable", "ping at <wasm>+0x10"});
    } else if (verb == "slow") {
      if (!co_await runtime::sleep_for(limits.time_max))
        co_return std::unexpected(vm::RunFailure{Kind::cancelled, "cancelled", ""});
      co_return std::unexpected(vm::RunFailure{Kind::timeout, "timeout", ""});
    } else if (verb == "busy") {
      co_return std::unexpected(vm::RunFailure{Kind::overloaded, "no slot", ""});
    }
    co_return vm::RunTimes{3us, 4us};
  }

 private:
  std::string script_;
};

class ScriptEngine final : public vm::Engine {
 public:
  Result<std::shared_ptr<const vm::Module>> compile(BytesView wasm, vm::Effort effort) override {
    ++(effort == vm::Effort::quick ? compiled_quickly : compiled);
    if (as_text(wasm) == "broken")
      return fail(ErrorCode::invalid_argument, "unknown import env.missing");
    return std::make_shared<ScriptModule>(to_text(wasm));
  }
  Result<std::shared_ptr<const vm::Module>> load(BytesView artifact) override {
    ++loaded;
    if (!as_text(artifact).starts_with(kMark))
      return fail(ErrorCode::invalid_argument, "no machine code");
    return std::make_shared<ScriptModule>(to_text(artifact.subspan(kMark.size())));
  }
  std::string compatibility() const override { return version; }
  static constexpr std::string_view kMark = "machine code of ";
  std::string version = "script 1";
  std::atomic<int> compiled{0}, compiled_quickly{0}, loaded{0};
};

struct Tns {
  explicit Tns(command::Member& m) : member(m) {}
  Task<Result<tns::Lookup::Response>> handle(command::Peer, tns::Lookup::Request request) {
    ++asked;
    const auto found = pointers.find(request.host);
    if (found == pointers.end())
      co_return fail(ErrorCode::not_found, request.host + " is nobody's name");
    co_return tns::Lookup::Response{member.identity.sign(found->second)};
  }
  command::Member& member;
  std::map<std::string, tns::Pointer> pointers;
  int asked = 0;
};

inline std::string id_of(std::string_view what) {
  return codec::Cid::of(codec::ContentType::raw, as_bytes(what)).to_string();
}

inline project::DeployedFunction function(std::string name, std::string method, std::string path,
                                          codec::Cid module) {
  project::DeployedFunction f;
  f.id = id_of(name);
  f.name = name;
  f.module = module;
  f.call = name;
  f.method = method;
  f.paths = {path};
  f.domains = {"hello.test.localhost"};
  f.timeout_ns = 2'000'000'000;
  f.memory_bytes = 32u << 20;
  return f;
}

class World {
 public:
  World(runtime::Loop& loop, command::Members::HostFactory hosts, net::Network& network,
        std::vector<Plane> planes, std::size_t threads, vm::Engine& engine, std::uint16_t port = 0)
      : loop_(loop),
        network_(network),
        members_(loop, random_, std::move(hosts)),
        pool_(threads),
        engine_(engine),
        planes_(std::move(planes)) {
    members_.add({"substrate"});
    members_.add({"tns"});
    members_.add({"hoarder"});
    tns_ = std::make_unique<Tns>(members_[1]);
    for (std::size_t i : {0, 2})
      exchanges_[i] =
          std::make_unique<content::Exchange>(loop, *members_[i].host, stores_[i].blocks, Logger());
    client_ = std::make_unique<tns::Client>(loop, *members_[0].host, members_[0].caller,
                                            members_[0].admission, Logger());
    options_.listen = {{"127.0.0.1", port}};
    options_.plane.suffix = "test.localhost";
    options_.plane.body_bytes_max = 1000;
    options_.plane.bodies_bytes_max = 10'000;
    make_service();
  }
  void make_service() {
    service = std::make_unique<Service>(loop_, members_[0].router, *client_, *exchanges_[0],
                                        own_kv_, members_[0].admission, engine_, pool_,
                                        system_random_, planes_, options_, Logger());
  }
  // The substrate as it comes back with its disk.
  Task<Status> restart() {
    co_await service->stop();
    make_service();
    co_return co_await service->start();
  }

  Task<Status> start() {
    CO_TRY_STATUS(members_.start());
    members_[1].router.serve(tns::kProtocol, *tns_, command::List<tns::Lookup>{});
    for (std::size_t i : {0, 2}) exchanges_[i]->start();
    client_->start();
    CO_TRY_STATUS(service->start());
    co_return Status{};
  }
  Task<void> stop() {
    co_await service->stop();
    co_await client_->stop();
    for (std::size_t i : {0, 2}) co_await exchanges_[i]->stop();
    co_await members_[1].router.unserve(tns::kProtocol);
    co_await members_.stop();
  }

  // A module at the hoarder.
  Task<Result<codec::Cid>> module(std::string script) {
    co_return co_await content::add_file(stores_[2].blocks, to_bytes(script),
                                         store::Durability::buffered);
  }
  // Puts the deployment to the hoarder, moves the pointer and gossips.
  Task<Status> deploy(std::vector<project::DeployedFunction> functions) {
    project::Deployment d;
    d.project = project;
    d.branch = "main";
    d.name = "hello";
    d.domains = {{id_of("domain"), "main", "hello.test.localhost"}};
    d.functions = std::move(functions);
    CO_TRY_SYNC(const auto encoded, project::encode_deployment(d));
    std::vector<store::Block> blocks;
    blocks.push_back({encoded.cid, encoded.block});
    CO_TRY_STATUS(stores_[2].blocks.put(std::move(blocks), store::Durability::buffered));
    CO_TRY_SYNC_STATUS(point(encoded.cid));
    co_return Status{};
  }
  Status point(codec::Cid deployment) {
    tns::Pointer pointer;
    pointer.project = project;
    pointer.branch = "main";
    pointer.seq = ++seq_;
    pointer.deployment = deployment;
    pointer.hosts = {"hello.test.localhost"};
    pointer.holders = {members_[2].identity.id()};
    pointer.compiled = compiled;
    tns_->pointers["hello.test.localhost"] = pointer;
    if (!gossip) return {};
    return members_[1].host->publish(
        std::string(tns::kMovedTopic),
        codec::to_cbor(tns::Moved{project, "main", seq_, pointer.hosts}));
  }

  Task<Result<http::Response>> call(std::string method, std::string path, std::string body = {},
                                    std::string host = "hello.test.localhost",
                                    http::Headers headers = {}) {
    http::Client client(network_);
    co_return co_await client.send(service->endpoints().at(0),
                                   {method, path, std::move(host), std::move(headers), body});
  }

  struct Store {
    store::MemoryKv kv;
    store::BlockStore blocks{kv};
  };
  runtime::Loop& loop_;
  net::Network& network_;
  SeededRandom random_{7};
  SystemRandom system_random_;  // the planes' loops share it
  command::Members members_;
  std::map<std::size_t, Store> stores_;
  store::MemoryKv own_kv_;  // of the substrate
  std::map<std::size_t, std::unique_ptr<content::Exchange>> exchanges_;
  std::unique_ptr<Tns> tns_;
  std::unique_ptr<tns::Client> client_;
  runtime::ThreadPool pool_;
  vm::Engine& engine_;
  std::vector<Plane> planes_;
  Options options_;
  std::unique_ptr<Service> service;
  std::optional<codec::Cid> compiled;  // of the next pointer
  ProjectId project{id_of("project")};
  std::uint64_t seq_ = 0;
  bool gossip = true;  // whether moves are told
};

}  // namespace tau::substrate::scenario

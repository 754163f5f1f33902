#include "testnet/simulation/liar.h"

#include <algorithm>
#include <array>

#include "codec/record.h"
#include "codec/varint.h"
#include "command/frame.h"
#include "content/bitswap_message.h"
#include "node/mesh.h"
#include "node/network.h"
#include "services/auth/api.h"
#include "services/hoarder/api.h"
#include "services/patrick/api.h"
#include "services/seer/api.h"
#include "services/tns/api.h"

namespace tau::testnet::simulation {
namespace {

using namespace std::chrono_literals;

constexpr std::array<std::string_view, 9> kProtocols = {
    tns::kProtocol,       patrick::kProtocol,  seer::kProtocol,           auth::kProtocol,
    hoarder::kProtocol,   node::kMeshProtocol, content::kBitswapProtocol, "/tau/raft/2/tns",
    "/tau/raft/2/patrick"};
constexpr std::array<std::string_view, 10> kNames = {
    "publish", "claim",  "take_job", "finish_job", "renew_lease",
    "hold",    "report", "release",  "introduce",  "register"};
constexpr Duration kEvery = 40ms;
constexpr std::size_t kAtOnceMax = 64;

}  // namespace

Liar::Liar(World& world, std::uint64_t seed)
    : world_(world),
      random_(seed),
      identity_(node::make_identity(world.root(), {"client"}, std::string(World::kName), random_,
                                    world.loop().wall_unix_ms())),
      host_(world.wires(), identity_.id(),
            p2p::Admission(world.root().public_key(), identity_.certificate()), Logger()),
      tasks_(world.loop()) {}

Task<void> Liar::lie_for(Duration duration) {
  const TimePoint until = world_.loop().now() + duration;
  if (!co_await host_.start()) co_return;
  // What it offers by bitswap is noise.
  host_.handle(std::string(content::kBitswapProtocol),
               [this](std::unique_ptr<p2p::Stream> stream) -> Task<void> {
                 return [](Liar& self, std::unique_ptr<p2p::Stream> s) -> Task<void> {
                   const Bytes bytes = self.noise(4096);
                   (void)co_await s->write(bytes);
                 }(*this, std::move(stream));
               });
  for (std::size_t i = 0; i < world_.size(); ++i)
    (void)co_await host_.connect("/memory/0/p2p/" + world_[i].node->id().str());
  while (world_.loop().now() < until) {
    if (tasks_.running() < kAtOnceMax) tasks_.spawn(lie());
    if (!co_await runtime::sleep_for(kEvery)) break;
  }
}

Task<void> Liar::stop() {
  co_await tasks_.stop();
  co_await host_.stop();
}

Bytes Liar::noise(std::size_t size_max) {
  Bytes bytes(random_.below(size_max));
  random_.fill(bytes);
  return bytes;
}

Bytes Liar::forged_frame() {
  command::RequestFrame frame;
  frame.command = kNames[random_.below(kNames.size())];
  frame.deadline_ms = random_.next_u64();
  seer::Announcement announcement;
  announcement.services = {"substrate"};
  announcement.addresses = {"192.0.2.66"};
  announcement.http_port = 80;
  patrick::FinishJob::Request finish;
  finish.job = JobId(std::to_string(random_.below(9)));
  finish.fence = random_.below(4);
  frame.body = random_.below(2) == 0 ? codec::to_value(announcement) : codec::to_value(finish);
  Bytes payload = codec::to_cbor(frame);
  if (random_.below(3) == 0 && !payload.empty())
    payload[random_.below(payload.size())] ^= static_cast<std::uint8_t>(1 + random_.below(255));
  Bytes bytes;
  codec::put_uvarint(bytes, payload.size());
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

void Liar::gossip() {
  tns::Moved moved;
  moved.project = ProjectId("nobody's");
  moved.branch = "main";
  moved.seq = random_.next_u64();
  moved.hosts = {"p0.blackhole.localhost", "p1.blackhole.localhost"};
  Bytes bytes = random_.below(2) == 0 ? codec::to_cbor(moved) : noise(2000);
  (void)host_.publish(std::string(tns::kMovedTopic), std::move(bytes));
}

Task<void> Liar::lie() {
  ++told_;
  const auto peers = host_.peers();
  if (peers.empty()) co_return;
  const PeerId to = peers[random_.below(peers.size())];
  const std::string protocol(kProtocols[random_.below(kProtocols.size())]);
  switch (random_.below(7)) {
    case 5:
      co_return co_await pose();
    case 6:
      co_return co_await release();
    case 0:
      co_return gossip();
    case 1:
      co_return co_await break_frames(to, protocol, noise(3000), random_.below(2) == 0);
    case 2: {  // a length that nobody has room for, and nothing behind it
      Bytes bytes;
      codec::put_uvarint(bytes, random_.next_u64() >> (1 + random_.below(63)));
      co_return co_await break_frames(to, protocol, std::move(bytes), true);
    }
    case 3: {
      Bytes key = noise(40);
      if (!key.empty()) (void)co_await host_.provide(std::move(key));
      co_return;
    }
    default:
      co_return co_await break_frames(to, protocol, forged_frame(), false);
  }
}

template <class C>
Task<Result<typename C::Response>> Liar::call(PeerId to, std::string_view protocol,
                                              typename C::Request request) {
  CO_TRY(auto stream, host_.open(to, std::string(protocol)));
  const command::RequestFrame frame{std::string(C::kName), 2000, codec::to_value(request)};
  CO_TRY_STATUS(command::write_frame(*stream, codec::to_cbor(frame)));
  CO_TRY(const Bytes answer, command::read_frame(*stream));
  CO_TRY_SYNC(auto response, codec::from_cbor<command::ResponseFrame>(answer));
  CO_TRY_SYNC(const codec::Value body, std::move(response).take());
  co_return codec::from_value<typename C::Response>(body);
}

std::optional<PeerId> Liar::one_of(std::string_view role) {
  std::vector<PeerId> able;
  for (const PeerId& peer : host_.peers())
    if (const auto c = host_.certificate_of(peer); c && c->has_role(role)) able.push_back(peer);
  if (able.empty()) return std::nullopt;
  return able[random_.below(able.size())];
}

// "I am a substrate, at an address of my own."
Task<void> Liar::pose() {
  const auto to = one_of(seer::kRole);
  if (!to) co_return;
  seer::Announcement announcement;
  announcement.services = {"substrate"};
  announcement.addresses = {"192.0.2.66"};
  announcement.http_port = 80;
  seer::Report::Request report{1, 1, 0, {}};
  report.status =
      identity_.sign(seer::NodeStatus{std::move(announcement), 1, 1, world_.loop().wall_unix_ms()});
  (void)co_await runtime::with_deadline(
      5s, "pose", call<seer::Report>(*to, seer::kProtocol, std::move(report)));
}

// "Nobody needs that any more."
Task<void> Liar::release() {
  const auto to = one_of(hoarder::kRole);
  if (!to) co_return;
  const auto held = co_await runtime::with_deadline(
      5s, "list", call<hoarder::ListHeld>(*to, hoarder::kProtocol, {std::nullopt, 100}));
  if (!held || held->held.empty()) co_return;
  const codec::Cid root = held->held[random_.below(held->held.size())].root;
  (void)co_await runtime::with_deadline(5s, "release",
                                        call<hoarder::Release>(*to, hoarder::kProtocol, {root}));
}

Task<void> Liar::break_frames(PeerId to, std::string protocol, Bytes bytes, bool hang) {
  auto stream = co_await runtime::with_deadline(5s, "open", host_.open(to, protocol));
  if (!stream) co_return;
  (void)co_await (*stream)->write(bytes);
  if (hang) {
    (void)co_await runtime::sleep_for(20s);
    co_return;
  }
  std::array<std::uint8_t, 512> answer;
  (void)co_await runtime::with_deadline(5s, "read", (*stream)->read(answer));
}

}  // namespace tau::testnet::simulation

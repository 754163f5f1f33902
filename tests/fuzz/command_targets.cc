// What nodes say to each other: frames on a stream, the requests and answers of every service, and
// signed records.
#include <algorithm>

#include "base/check.h"
#include "codec/multibase.h"
#include "codec/varint.h"
#include "command/frame.h"
#include "consensus/wire.h"
#include "p2p/host.h"
#include "p2p/node_signed.h"
#include "runtime/loop.h"
#include "services/auth/api.h"
#include "services/hoarder/api.h"
#include "services/monkey/api.h"
#include "services/patrick/api.h"
#include "services/seer/api.h"
#include "services/substrate/api.h"
#include "services/tns/api.h"
#include "services/tns/shard_api.h"
#include "targets.h"

namespace tau::fuzz {
namespace {

// A stream whose other side sent these bytes and closed.
class SentBytes final : public p2p::Stream {
 public:
  explicit SentBytes(BytesView bytes) : left_(bytes) {}
  const PeerId& remote() const override { return remote_; }
  Task<Result<std::size_t>> read(std::span<std::uint8_t> out) override {
    const std::size_t n = std::min(out.size(), left_.size());
    std::copy_n(left_.begin(), n, out.begin());
    left_ = left_.subspan(n);
    co_return n;
  }
  Task<Status> write(BytesView) override { co_return Status{}; }
  Task<Status> close_write() override { co_return Status{}; }
  void reset() override {}

 private:
  BytesView left_;
  PeerId remote_{"peer"};
};

// A record that was accepted means the same after being written and read again.
template <class T>
void read_record(const codec::Value& value) {
  const auto record = codec::from_value<T>(value);
  if (!record) return;
  const codec::Value written = codec::to_value(*record);
  const auto again = codec::from_value<T>(written);
  CHECK(again);
  CHECK(codec::to_value(*again) == written);
}
template <class... C>
void read_commands(const codec::Value& value, command::List<C...>) {
  ((read_record<typename C::Request>(value), read_record<typename C::Response>(value)), ...);
}
// What the encoders write for records that hold nothing yet: every command's shape.
template <class... C>
void add_shapes(std::string_view service, std::vector<Seed>& seeds, command::List<C...>) {
  (seeds.push_back(
       {std::string(service) + "-" + std::string(C::kName), codec::to_cbor(typename C::Request{})}),
   ...);
}

void commands(BytesView input) {
  const auto value = codec::decode(input);
  if (!value) return;
  read_commands(*value, auth::Commands{});
  read_commands(*value, hoarder::Commands{});
  read_commands(*value, patrick::Commands{});
  read_commands(*value, seer::Commands{});
  read_commands(*value, substrate::Commands{});
  read_commands(*value, tns::Commands{});
  read_commands(*value, tns::ShardCommands{});
}

std::vector<Seed> command_seeds() {
  std::vector<Seed> seeds;
  // A record with an empty CID cannot be written; those that hold one have their own seeds below.
  add_shapes("auth", seeds, auth::Commands{});
  add_shapes("patrick", seeds, command::List<patrick::TakeJob, patrick::ListJobs>{});
  add_shapes("seer", seeds, seer::Commands{});
  add_shapes("substrate", seeds, substrate::Commands{});
  add_shapes("tns", seeds, tns::Commands{});
  seer::Announcement announcement{{"substrate"}, {"192.0.2.1"}, 80, 5, "127.0.0.1:53", {"/a"}};
  seeds.push_back({"seer-announcement", codec::to_cbor(announcement)});
  return seeds;
}

void command_frame(BytesView input) {
  runtime::VirtualLoop loop;
  SentBytes stream(input);
  const auto payload = runtime::block_on(loop, command::read_frame(stream));
  if (!payload) return;
  CHECK(payload->size() <= command::kFrameSizeMax);
  const auto value = codec::decode(*payload);
  if (!value) return;
  read_record<command::RequestFrame>(*value);
  read_record<command::ResponseFrame>(*value);
  if (auto response = codec::from_value<command::ResponseFrame>(*value))
    (void)std::move(*response).take();
}

Bytes framed(const Bytes& payload) {
  Bytes out;
  codec::put_uvarint(out, payload.size());
  out.insert(out.end(), payload.begin(), payload.end());
  return out;
}

std::vector<Seed> command_frame_seeds() {
  const auto empty = codec::to_value(command::Empty{});
  return {{"request", framed(codec::to_cbor(command::RequestFrame{"list_nodes", 2000, empty}))},
          {"response", framed(codec::to_cbor(command::ResponseFrame::of(empty)))},
          {"error", framed(codec::to_cbor(
                        command::ResponseFrame::of(fail(ErrorCode::not_found, "no such thing"))))},
          {"long", {0xff, 0xff, 0xff, 0x01}}};
}

void raft_frame(BytesView input) {
  runtime::VirtualLoop loop;
  SentBytes stream(input);
  const auto frame = runtime::block_on(loop, consensus::read_packet(stream));
  if (!frame) return;
  const auto bytes = consensus::packet_bytes(*frame);
  CHECK(bytes);
  SentBytes again(*bytes);
  CHECK(runtime::block_on(loop, consensus::read_packet(again)));
}

std::vector<Seed> raft_frame_seeds() {
  const auto packet = [](consensus::Frame frame) {
    consensus::Packet p;
    p.items.push_back({"tns", std::move(frame)});
    return *consensus::packet_bytes(p);
  };
  consensus::Frame vote, append, snapshot, ask;
  vote.vote_request = consensus::VoteRequest{3, 7, 2, false, true};
  append.append = consensus::Append{3, 6, 2, 5, {{3, 1, Bytes{1, 2}}}};
  snapshot.install_snapshot =
      consensus::InstallSnapshot{3, 9, 2, 1, {{1, "peer", 1}}, Bytes{4, 5, 6}};
  ask.ask = consensus::Ask{7, Bytes{1}};
  return {{"vote", packet(vote)},
          {"append", packet(append)},
          {"snapshot", packet(snapshot)},
          {"ask", packet(ask)},
          {"alive", *consensus::packet_bytes({})}};
}

crypto::KeyPair key_of(std::uint8_t byte) { return *crypto::KeyPair::from_seed(Bytes(32, byte)); }
constexpr std::int64_t kNow = 1'700'000'000'000;

p2p::Certificate certificate_of(const crypto::KeyPair& root, const crypto::KeyPair& node) {
  p2p::Certificate certificate;
  certificate.network = codec::base32_encode(root.public_key().raw());
  certificate.peer = codec::peer_id_of(node.public_key());
  certificate.roles = {"tns", "substrate"};
  certificate.not_before_unix_ms = kNow - 1000;
  certificate.not_after_unix_ms = kNow + 1000;
  return certificate;
}

void signed_records(BytesView input) {
  static const p2p::Admission admission(key_of(1).public_key(), {});
  (void)admission.check_any(input, kNow);
  const auto value = codec::decode(input);
  if (!value) return;
  read_record<p2p::Certificate>(*value);
  read_record<auth::Registration>(*value);
  read_record<patrick::Job>(*value);
  read_record<monkey::Receipt>(*value);
  read_record<tns::Pointer>(*value);
  if (const auto item = codec::from_value<codec::Signed>(*value))
    (void)auth::open_registration(*item);
  if (const auto item = codec::from_value<p2p::NodeSigned>(*value))
    (void)p2p::open_node_signed<tns::Pointer>(admission, "tns", *item, kNow);
}

std::vector<Seed> signed_record_seeds() {
  const auto root = key_of(1), node = key_of(2), owner = key_of(3);
  const Bytes certificate = p2p::sign_certificate(root, certificate_of(root, node));
  auth::Registration registration;
  registration.genesis.name = "hello";
  registration.genesis.owner = owner.public_key().raw();
  registration.label = "hello";
  registration.repositories = {{"code", auth::RepositoryKind::code, "local"}};
  tns::Pointer pointer;
  pointer.project = registration.project();
  pointer.branch = "main";
  pointer.seq = 3;
  pointer.deployment = codec::Cid::of(codec::ContentType::dag_cbor, as_bytes("x"));
  pointer.hosts = {"hello.blackhole.localhost"};
  const p2p::NodeIdentity identity(node, certificate);
  return {{"certificate", certificate},
          {"registration", codec::to_cbor(codec::sign_record(owner, registration))},
          {"registration-body", codec::to_cbor(registration)},
          {"pointer", codec::to_cbor(identity.sign(pointer))},
          {"pointer-body", codec::to_cbor(pointer)}};
}

}  // namespace

std::vector<Target> command_targets() {
  return {{"commands", commands, command_seeds},
          {"command_frame", command_frame, command_frame_seeds},
          {"raft_frame", raft_frame, raft_frame_seeds},
          {"signed_records", signed_records, signed_record_seeds}};
}

}  // namespace tau::fuzz

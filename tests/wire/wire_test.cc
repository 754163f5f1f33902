// docs/wire is written from the lists of commands themselves: this test holds the committed pages
// against them. After a change of the wire, `TAU_WRITE_DOCS=1 build/dev/tests/wire_test` writes
// them anew; the difference is part of the commit.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "crdt/wire.h"
#include "node/credentials.h"
#include "p2p/node_signed.h"
#include "services/auth/api.h"
#include "services/hoarder/api.h"
#include "services/monkey/api.h"
#include "services/patrick/api.h"
#include "services/seer/api.h"
#include "services/substrate/api.h"
#include "services/tns/api.h"
#include "services/tns/shard_api.h"

namespace tau {
namespace {

template <class T>
struct Shape {
  static std::string text() { return "map"; }
};
template <std::integral T>
struct Shape<T> {
  static std::string text() { return "integer"; }
};
template <>
struct Shape<bool> {
  static std::string text() { return "boolean"; }
};
template <>
struct Shape<double> {
  static std::string text() { return "float"; }
};
template <>
struct Shape<std::string> {
  static std::string text() { return "text"; }
};
template <class Tag>
struct Shape<StrongId<Tag>> : Shape<std::string> {};
template <>
struct Shape<Bytes> {
  static std::string text() { return "bytes"; }
};
template <std::size_t N>
struct Shape<std::array<std::uint8_t, N>> {
  static std::string text() { return std::to_string(N) + " bytes"; }
};
template <>
struct Shape<codec::Cid> {
  static std::string text() { return "link"; }
};
template <>
struct Shape<codec::Signed> {
  static std::string text() { return "signed record"; }
};
template <>
struct Shape<p2p::NodeSigned> {
  static std::string text() { return "record signed by a node"; }
};
template <class T>
  requires std::is_enum_v<T>
struct Shape<T> : Shape<int> {};
template <class T>
struct Shape<std::optional<T>> {
  static std::string text() { return Shape<T>::text() + ", may be absent"; }
};
template <class T>
std::string fields_of();
template <class T>
struct Shape<std::vector<T>> {
  static std::string text() { return "list of " + Shape<T>::text(); }
};
template <class T>
struct Shape<std::map<std::string, T>> {
  static std::string text() { return "map of " + Shape<T>::text(); }
};
template <codec::Record T>
  requires(!std::same_as<T, codec::Signed> && !std::same_as<T, p2p::NodeSigned>)
struct Shape<T> {
  static std::string text() { return "{" + fields_of<T>() + "}"; }
};
template <class T>
std::string fields_of() {
  std::string out;
  std::apply(
      [&](const auto&... f) {
        ((out += (out.empty() ? "" : ", ") + std::string("`") + std::string(f.name) + "` " +
                 Shape<std::remove_cvref_t<decltype(std::declval<T>().*(f.member))>>::text()),
         ...);
      },
      T::fields());
  return out.empty() ? "nothing" : out;
}

template <class C>
void describe(std::ostream& out) {
  out << "\n## " << C::kName << "\n\nCallers: ";
  if (C::kCallers.roles[0].empty()) {
    out << "every member";
  } else {
    for (std::size_t i = 0; i < C::kCallers.roles.size() && !C::kCallers.roles[i].empty(); ++i)
      out << (i ? ", " : "") << C::kCallers.roles[i];
  }
  out << ". Deadline: " << C::kDeadline / std::chrono::milliseconds(1) << " ms.\n\n";
  out << "- request: " << fields_of<typename C::Request>() << "\n";
  out << "- response: " << fields_of<typename C::Response>() << "\n";
}
template <class... C>
std::string page(std::string_view name, std::string_view protocol, command::List<C...>,
                 std::string from = "") {
  std::ostringstream out;
  if (from.empty()) from = "src/services/" + std::string(name) + "/api.h";
  out << "# " << name << " on the wire\n\nWritten by `tests/wire` from `" << from
      << "`, which says what each field means.\n\n"
      << "Protocol `" << protocol
      << "`. One stream for one call: a request frame, a response frame (`src/command/frame.h`), "
         "DAG-CBOR.\n";
  (describe<C>(out), ...);
  return out.str();
}
template <class T>
void describe_record(std::ostream& out) {
  out << "\n## " << T::kPurpose << "\n\n" << fields_of<T>() << "\n";
}

void hold(const std::string& name, const std::string& text) {
  const std::string path = std::string(TAU_SOURCE_DIR) + "/docs/wire/" + name + ".md";
  if (std::getenv("TAU_WRITE_DOCS")) std::ofstream(path) << text;
  std::ifstream in(path);
  const std::string there{std::istreambuf_iterator<char>(in), {}};
  EXPECT_EQ(there, text) << path
                         << " is not what the commands say; TAU_WRITE_DOCS=1 writes it anew";
}

TEST(Wire, DocsSayWhatTheCommandsSay) {
  hold("auth", page("auth", auth::kProtocol, auth::Commands{}));
  hold("tns", page("tns", tns::kProtocol, tns::Commands{}));
  hold("tns-shards", page("tns-shards", tns::kShardsProtocol, tns::ShardCommands{},
                          "src/services/tns/shard_api.h"));
  hold("patrick", page("patrick", patrick::kProtocol, patrick::Commands{}));
  hold("hoarder", page("hoarder", hoarder::kProtocol, hoarder::Commands{}));
  hold("seer", page("seer", seer::kProtocol, seer::Commands{}));
  hold("substrate", page("substrate", substrate::kProtocol, substrate::Commands{}));
  hold("credentials", page("credentials", node::kCredentialsProtocol, node::CredentialsCommands{},
                           "src/node/credentials.h"));
  std::ostringstream records;
  records << "# Signed records\n\nWritten by `tests/wire`. Each is DAG-CBOR, signed with Ed25519 "
             "over its purpose, a zero byte, and its bytes "
             "(`src/codec/signed.h`).\n";
  describe_record<auth::Registration>(records);
  describe_record<patrick::Job>(records);
  describe_record<monkey::Receipt>(records);
  describe_record<monkey::ReceiptHead>(records);
  describe_record<monkey::Artifacts>(records);
  records << "\nIts block, which a receipt and its pointer name as `compiled`: "
          << fields_of<monkey::Compiled>()
          << ". The links are those of the record, for who holds everything below the block; only "
             "the record is believed, and only by a node "
             "that trusts its signer (`substrate.trusted_compilers`). An artifact is a UnixFS file "
             "of what wasmtime serializes.\n";
  describe_record<patrick::RollbackOrder>(records);
  describe_record<patrick::NumberedRollback>(records);
  describe_record<tns::Pointer>(records);
  records
      << "\n## Proof of a pointer\n\nNot signed itself: what others signed, handed on beside the "
         "pointer (`src/services/tns/chain.h` says what it proves). "
      << fields_of<tns::Proof>()
      << ": a job, the head of a receipt, a numbered rollback. In a head, `hosts` is the "
         "SHA-256 of the DAG-CBOR list of hosts that the pointer answers, sorted; `receipt` "
         "that of the receipt's bytes.\n";
  describe_record<seer::NodeStatus>(records);
  hold("records", records.str());
}

TEST(Wire, DocsSayWhatReplicatedMapsSay) {
  std::ostringstream out;
  out << "# Replicated maps on the wire\n\nWritten by `tests/wire` from `src/crdt/wire.h` and "
         "`src/crdt/delta.h`, which say what each field means. All of it is DAG-CBOR; blocks go by "
         "bitswap. A writer is the text `<peer id>.<16 hexadecimal digits>`.\n";
  const auto part = [&](std::string_view title, const std::string& text) {
    out << "\n## " << title << "\n\n" << text << "\n";
  };
  part(
      "Delta",
      "A block {`delta` map, `signature` bytes, `certificate` bytes}. The signature is Ed25519 "
      "over "
      "\"tau crdt delta v1\", a zero byte, and the DAG-CBOR of the map: `map` text, `incarnation` "
      "integer, `number` integer, `height` integer, `time` integer (ms since 1970), `writers` list "
      "of text, `previous` link, absent in a writer's first, `parents` list of [link, place, "
      "number], `operations` list of [key bytes, value bytes or null, [place, number, …]]. A place "
      "is 0 for the delta's own writer, else 1 and more for those in `writers`; the versions that "
      "an operation names are those it removes.");
  part("Announcement", "Gossip, topic `/tau/crdt/1/<map>`: " + fields_of<crdt::Announcement>());
  part("Request and answer",
       "A stream of protocol `/tau/crdt/1/<map>` for one of each, after its length in four bytes, "
       "big endian, at most 1 MiB.\n\n- request: " +
           fields_of<crdt::SyncRequest>() + "\n- answer: " + fields_of<crdt::SyncAnswer>());
  part("Snapshot", "Its root: " + fields_of<crdt::SnapshotRoot>() +
                       "\n\nA chunk: `writers` list of text, `rows` list of [key bytes, place in "
                       "`writers` from 0, number, height, tag, value bytes], in the order of keys, "
                       "then of writers. The tag is the first 8 bytes of the hash of the version's "
                       "delta, big endian.");
  hold("crdt", out.str());
}

}  // namespace
}  // namespace tau

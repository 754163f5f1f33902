// monkey's receipt: what was built from what, by whom. monkey answers no commands; it takes jobs
// from patrick.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "codec/cid.h"
#include "codec/record.h"
#include "p2p/node_signed.h"

namespace tau::monkey {

inline constexpr std::string_view kRole = "monkey";

struct BuiltFunction {
  std::string name;          // "ping", "app/ping"
  std::string input_digest;  // hex sha-256 over the function's folder, image and workflow
  std::string toolchain;     // "taubyte/cpp-wasi: clang 19.1.7, tau sdk 1"
  codec::Cid module;
  static constexpr auto fields() {
    return std::tuple{codec::field("name", &BuiltFunction::name),
                      codec::field("input", &BuiltFunction::input_digest),
                      codec::field("toolchain", &BuiltFunction::toolchain),
                      codec::field("module", &BuiltFunction::module)};
  }
};

// What monkey signs. `hosts` and `deployment` are what tns publishes.
struct Receipt {
  static constexpr std::string_view kPurpose = "tau receipt v1";
  JobId job;
  ProjectId project;
  std::string branch;
  std::uint64_t seq = 0;
  codec::Cid deployment;
  std::vector<std::string> hosts;
  std::vector<PeerId> holders;
  std::vector<BuiltFunction> functions;
  std::int64_t built_unix_ms = 0;
  // A block of Compiled: machine code of the modules. Not part of the deployment, which is what the
  // commit made and nothing else.
  std::optional<codec::Cid> compiled;
  static constexpr auto fields() {
    return std::tuple{codec::field("job", &Receipt::job),
                      codec::field("project", &Receipt::project),
                      codec::field("branch", &Receipt::branch),
                      codec::field("seq", &Receipt::seq),
                      codec::field("deployment", &Receipt::deployment),
                      codec::field("hosts", &Receipt::hosts),
                      codec::field("holders", &Receipt::holders),
                      codec::field("functions", &Receipt::functions),
                      codec::field("built", &Receipt::built_unix_ms),
                      codec::field("compiled", &Receipt::compiled)};
  }
};

// What else monkey signs: as much of a receipt as shows that a pointer is right, short enough to go
// with the pointer for as long as it stands (tns::Proof).
struct ReceiptHead {
  static constexpr std::string_view kPurpose = "tau receipt head v1";
  JobId job;
  ProjectId project;
  std::string branch;
  std::uint64_t seq = 0;
  codec::Cid deployment;
  std::array<std::uint8_t, 32> hosts{};    // tns::digest_of_hosts(): those that it will answer
  std::array<std::uint8_t, 32> receipt{};  // SHA-256 of the receipt's bytes
  std::int64_t built_unix_ms = 0;
  std::optional<codec::Cid> compiled;
  static constexpr auto fields() {
    return std::tuple{codec::field("job", &ReceiptHead::job),
                      codec::field("project", &ReceiptHead::project),
                      codec::field("branch", &ReceiptHead::branch),
                      codec::field("seq", &ReceiptHead::seq),
                      codec::field("deployment", &ReceiptHead::deployment),
                      codec::field("hosts", &ReceiptHead::hosts),
                      codec::field("receipt", &ReceiptHead::receipt),
                      codec::field("built", &ReceiptHead::built_unix_ms),
                      codec::field("compiled", &ReceiptHead::compiled)};
  }
};
// Of the receipt whose signed bytes are `body`.
ReceiptHead head_of(const Receipt& receipt, BytesView body,
                    const std::array<std::uint8_t, 32>& answered_hosts);

// Machine code that a monkey compiled ahead, so that who believes it need not compile. `artifact`
// is a file (content/unixfs.h) of vm::Module::serialize().
struct Artifact {
  codec::Cid module;
  codec::Cid artifact;
  std::uint64_t bytes = 0;
  static constexpr auto fields() {
    return std::tuple{codec::field("module", &Artifact::module),
                      codec::field("artifact", &Artifact::artifact),
                      codec::field("bytes", &Artifact::bytes)};
  }
};

// What monkey signs about the modules of a deployment. Machine code is believed by its signer
// alone: it runs as the process that loads it.
struct Artifacts {
  static constexpr std::string_view kPurpose = "tau artifacts v1";
  std::string engine;  // vm::Engine::compatibility(): version, settings, instruction set
  std::vector<Artifact> artifacts;
  std::int64_t made_unix_ms = 0;
  static constexpr auto fields() {
    return std::tuple{codec::field("engine", &Artifacts::engine),
                      codec::field("artifacts", &Artifacts::artifacts),
                      codec::field("made", &Artifacts::made_unix_ms)};
  }
};

// The block that a receipt and its pointer name: the signed record, and links to the same files, so
// that who holds everything below the block holds them. Only the record is believed.
struct Compiled {
  p2p::NodeSigned record;  // Artifacts
  std::vector<codec::Cid> links;
  static constexpr auto fields() {
    return std::tuple{codec::field("record", &Compiled::record),
                      codec::field("links", &Compiled::links)};
  }
};

// Of one module: what one write of a node's store takes. 10 MiB of standard Go become about 35.
inline constexpr std::size_t kArtifactBytesMax = 48u << 20;
// A block that every bitswap peer accepts; 2,000 functions take about 400 KiB.
inline constexpr std::size_t kCompiledBytesMax = 1u << 20;

// Checks certificate (role monkey), signature and bounds. Whether the signer is believed is the
// caller's question. Errors: permission_denied, invalid_argument.
Result<p2p::Opened<Artifacts>> open_compiled(const p2p::Admission& admission, BytesView block,
                                             std::int64_t now_unix_ms);

// Bounds of a receipt, for whoever believes one: names, counts, lengths. Errors: invalid_argument.
Status check_receipt(const Receipt& receipt);

}  // namespace tau::monkey

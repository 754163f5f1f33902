#include "services/monkey/api.h"

#include "crypto/ed25519.h"

namespace tau::monkey {
namespace {

constexpr std::size_t kFunctionsMax = 2000;  // of a deployment
constexpr std::size_t kHostsMax = 500;
constexpr std::size_t kHoldersMax = 64;
constexpr std::size_t kTextBytesMax = 300;  // "application/function", a toolchain, a host name

std::unexpected<Error> invalid(std::string what) {
  return fail(ErrorCode::invalid_argument, "receipt: " + std::move(what));
}

}  // namespace

ReceiptHead head_of(const Receipt& receipt, BytesView body,
                    const std::array<std::uint8_t, 32>& answered_hosts) {
  ReceiptHead head;
  head.job = receipt.job;
  head.project = receipt.project;
  head.branch = receipt.branch;
  head.seq = receipt.seq;
  head.deployment = receipt.deployment;
  head.hosts = answered_hosts;
  head.receipt = crypto::sha256(body);
  head.built_unix_ms = receipt.built_unix_ms;
  head.compiled = receipt.compiled;
  return head;
}

Result<p2p::Opened<Artifacts>> open_compiled(const p2p::Admission& admission, BytesView block,
                                             std::int64_t now_unix_ms) {
  const auto broken = [](const std::string& what) {
    return fail(ErrorCode::invalid_argument, "compiled modules: " + what);
  };
  if (block.size() > kCompiledBytesMax) return broken("the block is too large");
  TRY(const auto compiled, codec::from_cbor<Compiled>(block));
  TRY(auto opened,
      p2p::open_node_signed<Artifacts>(admission, kRole, compiled.record, now_unix_ms));
  const Artifacts& record = opened.record;
  if (record.engine.empty() || record.engine.size() > kTextBytesMax)
    return broken("no engine is named");
  if (record.artifacts.size() > kFunctionsMax) return broken("there are too many");
  for (const Artifact& one : record.artifacts) {
    if (!one.module.valid() || !one.artifact.valid() || one.bytes == 0 ||
        one.bytes > kArtifactBytesMax)
      return broken("one is no file of 1 byte to 48 MiB");
  }
  return opened;
}

Status check_receipt(const Receipt& r) {
  if (r.job.empty() || r.job.str().size() > kTextBytesMax) return invalid("no job");
  if (r.project.empty() || r.project.str().size() > kTextBytesMax) return invalid("no project");
  if (r.branch.empty() || r.branch.size() > kTextBytesMax) return invalid("no branch");
  if (r.deployment.type() != codec::ContentType::dag_cbor || !r.deployment.valid())
    return invalid("the deployment is no DAG-CBOR block");
  if (r.compiled && (r.compiled->type() != codec::ContentType::dag_cbor || !r.compiled->valid()))
    return invalid("what was compiled is no DAG-CBOR block");
  if (r.functions.size() > kFunctionsMax || r.hosts.size() > kHostsMax ||
      r.holders.size() > kHoldersMax)
    return invalid("too many functions, hosts or holders");
  for (const auto& host : r.hosts) {
    if (host.empty() || host.size() > kTextBytesMax) return invalid("a host name is broken");
  }
  for (const auto& f : r.functions) {
    if (f.name.size() > kTextBytesMax || f.toolchain.size() > kTextBytesMax ||
        f.input_digest.size() != 64 || !f.module.valid())
      return invalid("function \"" + f.name.substr(0, 64) + "\" is broken");
  }
  return {};
}

}  // namespace tau::monkey

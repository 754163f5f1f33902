#include "services/monkey/artifacts.h"

#include <fmt/format.h>

#include <set>

#include "content/unixfs.h"
#include "crypto/ed25519.h"

namespace tau::monkey {
namespace {

// Larger blocks than files usually have: the code of a small function is one, so that it comes in
// one round trip. Bitswap peers accept two.
constexpr std::size_t kChunkBytes = 1u << 20;

std::string key_of(const codec::Cid& module, const std::string& engine) {
  return to_hex(crypto::sha256(as_bytes("artifact of " + module.to_string() + " for " + engine)));
}

}  // namespace

Task<Result<std::optional<codec::Cid>>> ArtifactMaker::make(std::vector<BuiltFunction> functions,
                                                            BuildLog& log) {
  if (!engine_ || functions.empty()) co_return std::nullopt;
  const TimePoint start = loop_.now();
  Artifacts made;
  made.engine = engine_->compatibility();
  Compiled compiled;
  std::set<codec::Cid> seen;
  for (const auto& function : functions) {
    if (!seen.insert(function.module).second) continue;
    auto artifact = co_await artifact_of(function.module);
    if (!artifact && artifact.error().code() == ErrorCode::cancelled)
      co_return fail(artifact.error());
    if (!artifact) {
      log.line(function.name, "not compiled ahead: " + artifact.error().message());
      continue;
    }
    compiled.links.push_back(artifact->artifact);
    made.artifacts.push_back(std::move(*artifact));
  }
  if (made.artifacts.empty()) co_return std::nullopt;
  made.made_unix_ms = loop_.wall_unix_ms();
  const std::size_t count = made.artifacts.size();
  compiled.record = identity_.sign(made);
  Bytes block = codec::to_cbor(compiled);
  if (block.size() > kCompiledBytesMax) co_return std::nullopt;
  const codec::Cid root = codec::Cid::of(codec::ContentType::dag_cbor, block);
  std::vector<store::Block> blocks;
  blocks.push_back({root, std::move(block)});
  CO_TRY_STATUS(exchange_.put(std::move(blocks), store::Durability::buffered));
  log.line(fmt::format("compiled {} module{} ahead in {} ms", count, count == 1 ? "" : "s",
                       (loop_.now() - start) / std::chrono::milliseconds(1)));
  co_return root;
}

Task<Result<Artifact>> ArtifactMaker::known(codec::Cid module, codec::Cid artifact) {
  content::LocalSource local(exchange_.blocks());
  CO_TRY(const Bytes code, content::read_file(local, artifact, kArtifactBytesMax));
  co_return Artifact{module, artifact, code.size()};
}

Task<Result<Artifact>> ArtifactMaker::artifact_of(codec::Cid module) {
  const std::string key = key_of(module, engine_->compatibility());
  if (const auto before = cache_.find(key)) {
    auto artifact = co_await known(module, *before);
    if (artifact) co_return std::move(*artifact);
    CO_TRY_STATUS(cache_.forget(key));
  }
  content::LocalSource local(exchange_.blocks());
  CO_TRY(const Bytes wasm, content::read_file(local, module, kModuleBytesMax));
  Artifact out;
  out.module = module;
  auto file = co_await pool_.run([&]() -> Result<content::File> {
    TRY(const auto compiled, engine_->compile(wasm, vm::Effort::full));
    TRY(const Bytes code, compiled->serialize());
    out.bytes = code.size();
    if (code.size() > kArtifactBytesMax)
      return fail(ErrorCode::resource_exhausted,
                  fmt::format("its machine code has {} bytes, at most {} are kept", code.size(),
                              kArtifactBytesMax));
    return content::file_of(code, kChunkBytes);
  });
  if (!file) co_return fail(std::move(file).error());
  out.artifact = file->root;
  CO_TRY_STATUS(exchange_.put(std::move(file->blocks), store::Durability::buffered));
  CO_TRY_STATUS(cache_.put(key, out.artifact, loop_.wall_unix_ms()));
  co_return out;
}

}  // namespace tau::monkey

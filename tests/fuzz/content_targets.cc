// Files of strangers: archives, modules, and blocks on their way.
#include "base/check.h"
#include "base/hex.h"
#include "content/bitswap_message.h"
#include "content/dag.h"
#include "content/unixfs.h"
#include "process/archive.h"
#include "services/monkey/wasm_exports.h"
#include "targets.h"

namespace tau::fuzz {
namespace {

void tar(BytesView input) {
  const process::ArchiveLimits limits{1u << 20, 100, 64};
  for (const auto links : {process::Links::refuse, process::Links::skip}) {
    const auto files = process::read_tar(input, limits, links);
    if (!files) continue;
    CHECK(files->size() <= limits.files_max);
    std::uint64_t bytes = 0;
    for (const auto& [path, file] : *files) {
      CHECK(!path.empty() && path.size() <= limits.path_bytes_max && path.front() != '/');
      CHECK(("/" + path + "/").find("/../") == std::string::npos);
      bytes += file.data.size();
    }
    CHECK(bytes <= limits.bytes_max);
    const auto written = process::write_tar(*files);
    CHECK(written);
    CHECK(*process::read_tar(*written, limits, process::Links::refuse) == *files);
  }
}

std::vector<Seed> tar_seeds() {
  return {{"files", *process::write_tar({{"main.cc", {to_bytes("int main() {}"), false}},
                                         {".taubyte/build.sh", {to_bytes("true"), true}}})},
          {"empty", *process::write_tar({})}};
}

void wasm_exports(BytesView input) {
  const auto names = monkey::exported_functions(input);
  if (!names) return;
  std::size_t bytes = 0;
  for (const auto& name : *names) bytes += name.size();
  CHECK(bytes <= input.size());
}

std::vector<Seed> wasm_exports_seeds() {
  // A function type, a function, its export "ping" and its body (core specification, 5.5).
  return {{"module", *from_hex("0061736d01000000010401600000030201000708010470696e6700000a04010200"
                               "0b")},
          {"empty", *from_hex("0061736d01000000")}};
}

void bitswap(BytesView input) {
  const auto message = content::decode_bitswap(input);
  if (!message) return;
  CHECK(message->wants.size() <= content::kWantsPerMessageMax);
  for (const auto& block : message->blocks) CHECK(block.cid.matches(block.data));
  const auto again = content::decode_bitswap(content::encode_bitswap(*message));
  CHECK(again);
  CHECK(again->wants == message->wants);
  CHECK(again->blocks.size() == message->blocks.size());
}

std::vector<Seed> bitswap_seeds() {
  const Bytes data = to_bytes("hello");
  const auto cid = codec::Cid::of(codec::ContentType::raw, data);
  content::BitswapMessage wants, blocks;
  wants.wants = {{cid, content::WantEntry::Type::have, false, true},
                 {cid, content::WantEntry::Type::block, true, false}};
  wants.full = true;
  blocks.blocks = {{cid, data}};
  blocks.presences = {{cid.to_bytes(), true}};
  return {{"wants", content::encode_bitswap(wants)}, {"blocks", content::encode_bitswap(blocks)}};
}

// Links of blocks of every type; the first byte chooses which.
void block_links(BytesView input) {
  if (input.empty()) return;
  constexpr codec::ContentType kKinds[] = {codec::ContentType::raw, codec::ContentType::dag_pb,
                                           codec::ContentType::dag_cbor,
                                           codec::ContentType::dag_json};
  const BytesView data = input.subspan(1);
  const auto cid = codec::Cid::of(kKinds[input[0] % 4], data);
  if (const auto links = content::links_of(cid, data)) CHECK(links->size() <= data.size());
}

std::vector<Seed> block_links_seeds() {
  const auto file = content::file_of(Bytes(3, 'x'));
  const auto folder = content::folder_of({{"a.txt", file.root, file.total_size}});
  Bytes seed = {1};
  seed.insert(seed.end(), folder->data.begin(), folder->data.end());
  return {{"folder", seed},
          {"cbor", *from_hex("02a1616ad82a582500015512202cf24dba5fb0a30e26e83b2a"
                             "c5b9e29e1b161e5c1fa7425e73043362938b9824")}};
}

}  // namespace

std::vector<Target> content_targets() {
  return {{"tar", tar, tar_seeds},
          {"wasm_exports", wasm_exports, wasm_exports_seeds},
          {"bitswap", bitswap, bitswap_seeds},
          {"block_links", block_links, block_links_seeds}};
}

}  // namespace tau::fuzz

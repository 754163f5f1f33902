#include "services/substrate/ready_modules.h"

#include <algorithm>

#include "content/unixfs.h"
#include "crypto/ed25519.h"
#include "services/monkey/api.h"

namespace tau::substrate {
namespace {

// "entry/<engine>/<module>" -> Kept, "code/<engine>/<module>" -> machine code.
constexpr const char* kEntries = "entry/";
constexpr const char* kCode = "code/";
constexpr std::size_t kKeptMax = 5'000;
// Blocks of compiled modules whose contents are remembered: as many as deployments are.
constexpr std::size_t kKnownMax = 1'000;

}  // namespace

ReadyModules::ReadyModules(runtime::Loop& loop, content::Exchange& exchange, vm::Engine& engine,
                           runtime::ThreadPool& pool, store::Kv& kv,
                           const p2p::Admission& admission, Options options, Logger log)
    : loop_(loop),
      exchange_(exchange),
      engine_(engine),
      pool_(pool),
      kv_(kv),
      admission_(admission),
      options_(std::move(options)),
      log_(std::move(log)),
      compatibility_(engine.compatibility()),
      flights_(loop),
      tasks_(loop) {}

Task<Status> ReadyModules::start() {
  CO_TRY(const auto entries, kv_.scan(kEntries, "", 2 * kKeptMax));
  const std::string mine = kEntries + compatibility_ + "/";
  store::Batch stale;
  for (const auto& entry : entries) {
    const auto module =
        codec::Cid::parse(std::string_view(entry.key).substr(entry.key.rfind('/') + 1));
    const auto kept = codec::from_cbor<Kept>(entry.value);
    if (entry.key.starts_with(mine) && module && kept) {
      kept_bytes_ += kept->bytes;
      kept_.emplace(*module, *kept);
      continue;
    }
    stale.erase(entry.key);
    stale.erase(kCode + entry.key.substr(std::string_view(kEntries).size()));
  }
  if (!stale.operations.empty())
    CO_TRY_STATUS(kv_.write(std::move(stale), store::Durability::buffered));
  co_return Status{};
}

Task<void> ReadyModules::stop() { co_await tasks_.stop(); }

void ReadyModules::expect(const std::optional<codec::Cid>& compiled,
                          const std::vector<PeerId>& hints) {
  if (compiled && believes_anybody() && !known_.contains(*compiled))
    tasks_.spawn(expect_beside(*compiled, hints));
}

Task<void> ReadyModules::expect_beside(codec::Cid compiled, std::vector<PeerId> hints) {
  (void)co_await offers(compiled, std::move(hints));
}

Task<std::optional<ReadyModule>> ReadyModules::find_own(codec::Cid module) {
  if (!kept_.contains(module)) co_return std::nullopt;
  auto found = co_await read_own(module);
  if (found) co_return std::move(*found);
  log_.warning("machine code of " + module.to_string() +
               " on this disk is passed over: " + found.error().message());
  const auto entry = kept_.find(module);
  if (entry == kept_.end()) co_return std::nullopt;
  store::Batch batch;
  drop(entry, batch);
  (void)co_await kv_.write(std::move(batch), store::Durability::buffered);
  co_return std::nullopt;
}

Task<Result<ReadyModule>> ReadyModules::read_own(codec::Cid module) {
  const std::string name = compatibility_ + "/" + module.to_string();
  CO_TRY(const auto code, kv_.get(kCode + name));
  if (!code) co_return fail(ErrorCode::data_loss, "it is gone");
  const auto entry = kept_.find(module);
  if (entry == kept_.end()) co_return fail(ErrorCode::not_found, "it was just dropped");
  const Kept kept = entry->second;
  auto loaded =
      co_await pool_.run([this, &kept, &code]() -> Result<std::shared_ptr<const vm::Module>> {
        if (code->size() != kept.bytes || crypto::sha256(*code) != kept.sha256)
          return fail(ErrorCode::data_loss, "it is not what was written");
        return engine_.load(*code);
      });
  if (!loaded) co_return fail(std::move(loaded).error());
  if (const auto still = kept_.find(module); still != kept_.end()) {
    still->second.used_unix_ms = loop_.wall_unix_ms();
    store::Batch batch;
    batch.put(kEntries + name, codec::to_cbor(still->second));
    (void)co_await kv_.write(std::move(batch), store::Durability::buffered);
  }
  co_return ReadyModule{std::move(*loaded), kept.bytes};
}

Task<std::optional<ReadyModule>> ReadyModules::find_trusted(codec::Cid module,
                                                            std::optional<codec::Cid> compiled,
                                                            std::vector<PeerId> hints) {
  if (!compiled || !believes_anybody()) co_return std::nullopt;
  const auto offered = co_await offers(*compiled, hints);
  if (!offered) co_return std::nullopt;
  const auto it = (*offered)->find(module);
  if (it == (*offered)->end()) co_return std::nullopt;
  auto found = co_await fetch(it->second, std::move(hints));
  if (found) co_return std::move(*found);
  log_.info("machine code of " + module.to_string() +
            " from another node is passed over: " + found.error().message());
  co_return std::nullopt;
}

Task<Result<ReadyModule>> ReadyModules::fetch(Offered offered, std::vector<PeerId> hints) {
  content::Fetch how;
  how.hints = std::move(hints);
  how.deadline = options_.fetch_time_max;
  const auto source = exchange_.source(std::move(how));
  CO_TRY(const Bytes code, content::read_file(*source, offered.artifact, offered.bytes));
  if (code.size() != offered.bytes)
    co_return fail(ErrorCode::data_loss, "it has not the length that was signed");
  auto loaded = co_await pool_.run([this, &code] { return engine_.load(code); });
  if (!loaded) co_return fail(std::move(loaded).error());
  co_return ReadyModule{std::move(*loaded), offered.bytes};
}

Task<Result<ReadyModules::OffersPointer>> ReadyModules::offers(codec::Cid compiled,
                                                               std::vector<PeerId> hints) {
  if (const auto found = known_.find(compiled);
      found != known_.end() && loop_.now() < found->second.until)
    co_return found->second.offers;
  co_return co_await flights_.get(tasks_, compiled,
                                  [&] { return fetch_offers(compiled, std::move(hints)); });
}

Task<Result<ReadyModules::OffersPointer>> ReadyModules::fetch_offers(codec::Cid compiled,
                                                                     std::vector<PeerId> hints) {
  content::Fetch how;
  how.hints = std::move(hints);
  how.deadline = options_.fetch_time_max;
  auto block = co_await exchange_.get(compiled, std::move(how));
  if (!block && block.error().code() == ErrorCode::cancelled) co_return fail(block.error());
  auto read = block ? read_offers(*block) : Result<Offers>(fail(block.error()));
  if (!read)
    log_.info("compiled modules " + compiled.to_string() +
              " are passed over: " + read.error().message());
  Known known{std::make_shared<const Offers>(read ? std::move(*read) : Offers{}),
              TimePoint{Duration::max()}};
  // What cannot be had now may be had later; what is not believed stays so.
  if (!block) known.until = loop_.now() + options_.absent_time;
  if (known_.size() >= kKnownMax) known_.clear();  // asked for again, from this disk
  known_.insert_or_assign(compiled, known);
  co_return known.offers;
}

Result<ReadyModules::Offers> ReadyModules::read_offers(BytesView block) const {
  TRY(const auto opened, monkey::open_compiled(admission_, block, loop_.wall_unix_ms()));
  const PeerId& signer = opened.signer.peer;
  if (!options_.trust_network &&
      std::ranges::find(options_.trusted, signer) == options_.trusted.end())
    return fail(ErrorCode::permission_denied, signer.str() + " is no trusted compiler here");
  if (opened.record.engine != compatibility_)
    return fail(ErrorCode::failed_precondition,
                "for engine " + opened.record.engine + ", this node has " + compatibility_);
  Offers offers;
  for (const auto& one : opened.record.artifacts)
    offers.emplace(one.module, Offered{one.artifact, one.bytes});
  return offers;
}

Task<void> ReadyModules::keep(codec::Cid module, std::shared_ptr<const vm::Module> compiled) {
  if (kept_.contains(module)) co_return;
  Kept kept;
  auto code = co_await pool_.run([&]() -> Result<Bytes> {
    TRY(Bytes serialized, compiled->serialize());
    kept.bytes = serialized.size();
    kept.sha256 = crypto::sha256(serialized);
    return serialized;
  });
  kept.used_unix_ms = loop_.wall_unix_ms();
  Status written = code ? Status{} : Status(fail(code.error()));
  if (code && kept.bytes > std::min<std::uint64_t>(monkey::kArtifactBytesMax, options_.bytes_max))
    co_return;
  if (code) written = co_await write(module, kept, std::move(*code));
  if (!written && written.error().code() != ErrorCode::cancelled)
    log_.info("keeping machine code of " + module.to_string() + ": " + written.error().message());
}

Task<Status> ReadyModules::write(codec::Cid module, Kept kept, Bytes code) {
  if (kept_.contains(module)) co_return Status{};
  store::Batch batch;
  while (!kept_.empty() &&
         (kept_.size() >= kKeptMax || kept_bytes_ + kept.bytes > options_.bytes_max))
    drop(std::ranges::min_element(kept_, {}, [](const auto& e) { return e.second.used_unix_ms; }),
         batch);
  kept_bytes_ += kept.bytes;
  kept_.emplace(module, kept);
  const std::string name = compatibility_ + "/" + module.to_string();
  batch.put(kEntries + name, codec::to_cbor(kept));
  batch.put(kCode + name, std::move(code));
  // What is lost is compiled again.
  co_return co_await kv_.write(std::move(batch), store::Durability::buffered);
}

void ReadyModules::drop(std::map<codec::Cid, Kept>::iterator entry, store::Batch& batch) {
  const std::string name = compatibility_ + "/" + entry->first.to_string();
  batch.erase(kEntries + name);
  batch.erase(kCode + name);
  kept_bytes_ -= entry->second.bytes;
  kept_.erase(entry);
}

}  // namespace tau::substrate

#include "store/rocks/rocks_kv.h"

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>
#include <rocksdb/write_buffer_manager.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "runtime/one_shot.h"

namespace tau::store {
namespace {

constexpr std::string_view kFormatKey("\0format", 7);
constexpr int kFormat = 1;

// Larger writes would hold the loop for a millisecond and more.
constexpr std::size_t kInlineWriteMax = 64u << 10;
// Of one group of synced writes: half a second of a slow disk.
constexpr std::size_t kGroupBytesMax = 16u << 20;

// RocksDB's own log would be a file of hundreds of lines per start; what fails comes back as a
// status.
class Silence final : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char*, va_list) override {}
};

ErrorCode code_of(const rocksdb::Status& s) {
  if (s.IsNoSpace()) return ErrorCode::resource_exhausted;
  if (s.IsCorruption()) return ErrorCode::data_loss;
  if (s.IsInvalidArgument()) return ErrorCode::invalid_argument;
  if (s.IsNotSupported()) return ErrorCode::failed_precondition;
  return ErrorCode::unavailable;
}

std::unexpected<Error> failed(const std::string& directory, std::string_view doing,
                              const rocksdb::Status& s) {
  return fail(code_of(s), "store " + directory + ": " + std::string(doing) + ": " + s.ToString());
}

rocksdb::Slice slice(std::string_view s) { return {s.data(), s.size()}; }
rocksdb::Slice slice(BytesView b) { return slice(as_text(b)); }

std::size_t size_of(const Batch& batch) {
  std::size_t n = 0;
  for (const auto& o : batch.operations) n += o.key.size() + (o.value ? o.value->size() : 0);
  return n;
}

// The first key after all that start with `prefix`; empty when there is none.
std::string end_of(std::string prefix) {
  while (!prefix.empty() && static_cast<unsigned char>(prefix.back()) == 0xff) prefix.pop_back();
  if (!prefix.empty()) prefix.back() = static_cast<char>(prefix.back() + 1);
  return prefix;
}

}  // namespace

struct RocksEnvironment::Parts {
  std::shared_ptr<rocksdb::Cache> cache;
  std::shared_ptr<rocksdb::WriteBufferManager> write_buffers;
  std::shared_ptr<rocksdb::TableFactory> tables;
  std::shared_ptr<rocksdb::Logger> silence = std::make_shared<Silence>();
};

RocksEnvironment::RocksEnvironment(runtime::ThreadPool& pool, Options options)
    : pool_(pool), parts_(std::make_unique<Parts>()) {
  parts_->cache = rocksdb::NewLRUCache(options.block_cache_bytes);
  parts_->write_buffers = std::make_shared<rocksdb::WriteBufferManager>(options.write_buffer_bytes);
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = parts_->cache;
  parts_->tables.reset(rocksdb::NewBlockBasedTableFactory(table));
  rocksdb::Env::Default()->SetBackgroundThreads(options.background_threads, rocksdb::Env::LOW);
  rocksdb::Env::Default()->SetBackgroundThreads(options.background_threads, rocksdb::Env::HIGH);
}

RocksEnvironment::~RocksEnvironment() = default;

struct RocksKv::Database {
  std::unique_ptr<rocksdb::DB> db;
};

struct RocksKv::Waiting {
  Batch batch;
  runtime::OneShot<bool> turn;  // true: it is on the disk; false: this writer leads the next group
};

RocksKv::RocksKv(RocksEnvironment& environment, std::string directory,
                 std::unique_ptr<Database> database)
    : environment_(environment), directory_(std::move(directory)), database_(std::move(database)) {}

RocksKv::~RocksKv() {
  CHECK(queue_.empty() && !committing_);
  // What was buffered survives a power cut that follows a clean stop; nobody was promised more.
  (void)database_->db->SyncWAL();
}

Task<Result<std::unique_ptr<RocksKv>>> RocksKv::open(RocksEnvironment& environment,
                                                     std::string directory) {
  CO_TRY(auto database,
         environment.pool_.run([&] { return open_blocking(environment, directory); }));
  co_return std::unique_ptr<RocksKv>(
      new RocksKv(environment, std::move(directory), std::move(database)));
}

Result<std::unique_ptr<RocksKv::Database>> RocksKv::open_blocking(RocksEnvironment& environment,
                                                                  const std::string& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error)
    return fail(ErrorCode::unavailable,
                "cannot make the folder of the store, " + directory + ": " + error.message());
  rocksdb::Options o;
  o.create_if_missing = true;
  o.info_log = environment.parts_->silence;
  o.table_factory = environment.parts_->tables;
  o.write_buffer_manager = environment.parts_->write_buffers;
  o.write_buffer_size = 8u << 20;
  o.max_total_wal_size = 32u << 20;  // also bounds what has to be read again after a kill
  o.max_open_files = 128;            // of each store; many stores share one process's limit
  // Blocks of content stay out of the compactions of small records.
  o.enable_blob_files = true;
  o.min_blob_size = 16u << 10;
  o.enable_blob_garbage_collection = true;
  // Nothing of the statistics is read, and collecting them makes opening and closing slow.
  o.skip_stats_update_on_db_open = true;
  o.skip_checking_sst_file_sizes_on_db_open = true;
  o.stats_dump_period_sec = 0;
  o.stats_persist_period_sec = 0;
  // The write-ahead log has everything.
  o.avoid_flush_during_shutdown = true;
  o.avoid_flush_during_recovery = true;
  o.compression = rocksdb::kNoCompression;

  rocksdb::DB* raw = nullptr;
  const auto opened = rocksdb::DB::Open(o, directory, &raw);
  if (!opened.ok()) {
    const std::string text = opened.ToString();
    if (text.find("lock") != std::string::npos)
      return fail(
          ErrorCode::failed_precondition,
          "store " + directory +
              " is open already: stop the other node, or give this one a folder of its own");
    return failed(directory, "open", opened);
  }
  auto database = std::make_unique<Database>();
  database->db.reset(raw);

  std::string text;
  const auto got = raw->Get({}, slice(kFormatKey), &text);
  if (got.IsNotFound()) {
    const auto put = raw->Put({}, slice(kFormatKey), std::to_string(kFormat));
    if (!put.ok()) return failed(directory, "write the format's version", put);
    return database;
  }
  if (!got.ok()) return failed(directory, "read the format's version", got);
  int format = 0;
  const auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), format);
  if (wrong != std::errc() || end != text.data() + text.size() || format < 1)
    return fail(ErrorCode::data_loss, "store " + directory + " has no readable format version");
  if (format > kFormat)
    return fail(
        ErrorCode::failed_precondition,
        "store " + directory + " has format " + text +
            ", written by a newer program; this one "
            "knows up to " +
            std::to_string(kFormat) +
            ": start the newer program, or move the folder away to begin with an empty store");
  return database;
}

Task<Result<std::optional<Bytes>>> RocksKv::get(std::string key) {
  rocksdb::PinnableSlice value;
  const auto s = database_->db->Get({}, database_->db->DefaultColumnFamily(),
                                    slice(std::string_view(key)), &value);
  if (s.IsNotFound()) co_return std::optional<Bytes>();
  if (!s.ok()) co_return failed(directory_, "read", s);
  co_return std::optional<Bytes>(std::in_place, value.data(), value.data() + value.size());
}

Task<Result<std::vector<Entry>>> RocksKv::scan(std::string prefix, std::string after,
                                               std::size_t limit) {
  std::vector<Entry> found;
  // Keys that start with a zero byte are the store's own.
  std::string from = std::max(prefix, std::string("\x01"));
  if (after >= from) from = after + '\0';
  const std::string end = end_of(prefix);
  const rocksdb::Slice bound = slice(std::string_view(end));
  rocksdb::ReadOptions options;
  if (!end.empty()) options.iterate_upper_bound = &bound;
  const std::unique_ptr<rocksdb::Iterator> it(database_->db->NewIterator(options));
  for (it->Seek(slice(std::string_view(from))); it->Valid() && found.size() < limit; it->Next()) {
    const auto value = it->value();
    found.push_back({it->key().ToString(), Bytes(value.data(), value.data() + value.size())});
  }
  if (!it->status().ok()) co_return failed(directory_, "scan", it->status());
  co_return found;
}

Status RocksKv::write_blocking(const std::vector<const Batch*>& batches, Durability durability) {
  rocksdb::WriteBatch all;
  for (const Batch* batch : batches) {
    for (const auto& operation : batch->operations) {
      const auto key = slice(std::string_view(operation.key));
      const auto s =
          operation.value ? all.Put(key, slice(BytesView(*operation.value))) : all.Delete(key);
      if (!s.ok()) return failed(directory_, "prepare a write", s);
    }
  }
  rocksdb::WriteOptions options;
  options.sync = durability == Durability::synced;
  const auto s = database_->db->Write(options, &all);
  if (!s.ok()) return failed(directory_, "write", s);
  return {};
}

Task<Status> RocksKv::write(Batch batch, Durability durability) {
  CO_TRY_SYNC_STATUS(check_batch(batch));
  if (durability == Durability::synced) co_return co_await write_synced(std::move(batch));
  const std::vector<const Batch*> one = {&batch};
  if (size_of(batch) <= kInlineWriteMax) co_return write_blocking(one, durability);
  co_return co_await environment_.pool_.run([&] { return write_blocking(one, durability); });
}

Task<Status> RocksKv::write_synced(Batch batch) {
  runtime::Loop& loop = (co_await runtime::current_scope()).loop();
  auto mine = std::make_shared<Waiting>(std::move(batch), runtime::OneShot<bool>(loop));
  queue_.push_back(mine);
  if (committing_) {
    const auto turn = co_await mine->turn;
    if (!turn) {
      std::erase(queue_, mine);  // cancelled before a group took it up
      co_return fail(turn.error());
    }
    if (*turn) co_return Status{};
  }
  committing_ = true;

  std::vector<std::shared_ptr<Waiting>> group;
  std::vector<const Batch*> batches;
  for (std::size_t bytes = 0; !queue_.empty();) {
    const std::size_t next = size_of(queue_.front()->batch);
    if (!group.empty() && bytes + next > kGroupBytesMax) break;
    bytes += next;
    group.push_back(std::move(queue_.front()));
    queue_.pop_front();
    batches.push_back(&group.back()->batch);
  }
  const Status status =
      co_await environment_.pool_.run([&] { return write_blocking(batches, Durability::synced); });
  ++fsyncs_;
  for (const auto& other : group) {
    if (other == mine) continue;
    if (status) {
      other->turn.set(true);
    } else {
      other->turn.set(fail(status.error()));
    }
  }
  next_leader();
  co_return status;
}

void RocksKv::next_leader() {
  // A writer whose turn is set already was cancelled and is about to leave.
  while (!queue_.empty() && queue_.front()->turn.is_set()) queue_.pop_front();
  committing_ = !queue_.empty();
  if (committing_) queue_.front()->turn.set(false);
}

}  // namespace tau::store

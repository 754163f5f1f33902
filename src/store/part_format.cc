#include "store/part_format.h"

#include "codec/record.h"

namespace tau::store {
namespace {

struct Record {
  std::uint32_t format = 0;
  std::string program;
  static constexpr auto fields() {
    return std::tuple{codec::field("format", &Record::format),
                      codec::field("program", &Record::program)};
  }
};

std::string key_of(std::string_view part) { return "format/" + std::string(part); }

Task<Status> put(Kv& kv, std::string key, Record record) {
  Batch batch;
  batch.put(std::move(key), codec::to_cbor(record));
  co_return co_await kv.write(std::move(batch), Durability::synced);
}

}  // namespace

Task<Status> bring_up_to_date(Kv& kv, PartFormat part, std::string program) {
  const std::string name(part.name), key = key_of(part.name);
  const auto part_kv = with_prefix(kv, name + "/");
  Record record;
  CO_TRY(const auto stored, kv.get(key));
  if (stored) {
    auto read = codec::from_cbor<Record>(*stored);
    if (!read)
      co_return fail(ErrorCode::data_loss,
                     "the format of " + name +
                         " in this node's store does not read: " + read.error().message());
    record = *std::move(read);
  } else {
    CO_TRY(const auto any, kv.scan(name + "/", "", 1));
    if (any.empty()) record.format = part.format;
  }
  if (record.format > part.format)
    co_return fail(ErrorCode::failed_precondition,
                   "what " + name + " keeps has format " + std::to_string(record.format) +
                       ", written by " + record.program + "; " + program + " reads up to format " +
                       std::to_string(part.format) + ": install that program or a later one");
  const std::uint32_t before = record.format;
  for (const FormatStep& step : part.steps) {
    if (step.from != record.format) continue;
    const Status done = co_await step.run(*part_kv);
    if (!done)
      co_return fail(Error(done.error())
                         .context("bringing what " + name + " keeps from format " +
                                  std::to_string(record.format) + " to " +
                                  std::to_string(record.format + 1) + " (" +
                                  std::string(step.what) + ")"));
    record = {record.format + 1, program};
    CO_TRY_STATUS(put(kv, key, record));
  }
  if (record.format != part.format)
    co_return fail(ErrorCode::failed_precondition,
                   "what " + name + " keeps has format " + std::to_string(record.format) +
                       ", which " + program + " does not read any more: start it once with a " +
                       "program in between (docs/formats.md), which brings it up to date");
  if (!stored && before == part.format) co_return co_await put(kv, key, {part.format, program});
  co_return Status{};
}

}  // namespace tau::store

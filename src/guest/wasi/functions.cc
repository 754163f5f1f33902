// WASI preview 1 as far as guests of wasi-libc and TinyGo use it: arguments, clocks, chance, three
// open descriptors. There is no file system and no environment.
#include <algorithm>
#include <limits>
#include <string>

#include "guest/binding.h"
#include "guest/host_functions.h"

namespace tau::guest {
namespace wasi {

using Error = WasiError;

#define TAU_FUNCTION(result, name, ...) result name(Call& call __VA_OPT__(, ) __VA_ARGS__);
#define TAU_ABSENT(name, ...)
#include "abi/wasi.def"
#undef TAU_ABSENT
#undef TAU_FUNCTION

namespace {

constexpr U32 kVectorsMax = 1024;          // IOV_MAX of POSIX systems
constexpr U32 kSubscriptionsMax = 1024;    // as many events a call
constexpr U32 kRandomBytesMax = 1u << 20;  // a call may not hold the loop
constexpr U32 kSubscriptionSize = 48, kEventSize = 32, kVectorSize = 8;
constexpr std::uint8_t kCharacterDevice = 2;  // printf then flushes at the end of a line
constexpr std::uint64_t kRightRead = 1u << 1, kRightWrite = 1u << 6;
constexpr std::int64_t kMillisecondNs = 1'000'000;

enum Clocks : U32 { kRealtime = 0, kMonotonic = 1 };
enum EventType : std::uint8_t { kClockEvent = 0, kReadEvent = 1, kWriteEvent = 2 };

bool is_open(U32 fd) { return fd <= 2; }
Ptr offset(Ptr p, std::uint64_t by) {
  // Past the end of the 32-bit space there is no memory, so the check that follows fails.
  const std::uint64_t at = p.at + by;
  return {static_cast<U32>(std::min<std::uint64_t>(at, std::numeric_limits<U32>::max()))};
}
Error stored(bool ok) { return ok ? Error::success : Error::fault; }

std::optional<std::int64_t> now_ns(const Context& context, U32 clock) {
  if (clock == kRealtime) return context.clock.wall_unix_ms() * kMillisecondNs;
  if (clock == kMonotonic) return context.clock.now().since_start.count();
  return std::nullopt;
}

Error stat_of_stream(Call& call, Ptr at, std::size_t size, std::size_t type_offset) {
  if (!call.holds(at, size)) return Error::fault;
  std::fill_n(call.memory.begin() + at.at, size, std::uint8_t{0});
  call.memory[at.at + type_offset] = kCharacterDevice;
  return Error::success;
}

struct Subscription {
  std::uint64_t user_data;
  std::uint8_t type;
  U32 id;                // clock or descriptor
  std::int64_t wait_ns;  // of a clock, from now
};

Error read_subscription(const Call& call, Ptr at, Subscription& out) {
  if (!call.holds(at, kSubscriptionSize)) return Error::fault;
  out.user_data = *call.load_number<std::uint64_t>(at);
  out.type = *call.load_number<std::uint8_t>(offset(at, 8));
  out.id = *call.load_number<U32>(offset(at, 16));
  out.wait_ns = 0;
  if (out.type != kClockEvent) return Error::success;
  const auto now = now_ns(call.context, out.id);
  if (!now) return Error::invalid;
  const auto timeout = *call.load_number<std::uint64_t>(offset(at, 24));
  const bool absolute = *call.load_number<std::uint16_t>(offset(at, 40)) & 1;
  const auto clamped = static_cast<std::int64_t>(
      std::min<std::uint64_t>(timeout, std::numeric_limits<std::int64_t>::max()));
  out.wait_ns = absolute ? clamped - std::max<std::int64_t>(*now, 0) : clamped;
  return Error::success;
}

bool write_event(Call& call, Ptr at, const Subscription& s) {
  if (!call.holds(at, kEventSize)) return false;
  std::fill_n(call.memory.begin() + at.at, kEventSize, std::uint8_t{0});
  const Error error =
      s.type == kClockEvent || is_open(s.id) ? Error::success : Error::bad_descriptor;
  call.store_number(at, s.user_data);
  call.store_number(offset(at, 8), static_cast<std::uint16_t>(error));
  call.store_number(offset(at, 10), s.type);
  return true;
}

template <class... A>
Error absent(Call&, A...) {
  return Error::not_implemented;
}
template <class... A>
constexpr auto absent_of(void (*)(A...)) {
  return &absent<A...>;
}

}  // namespace

Error args_sizes_get(Call& call, OutU32 count, OutU32 size) {
  return stored(call.store_number(count, U32{1}) &&
                call.store_number(size, static_cast<U32>(call.context.program.size() + 1)));
}
Error args_get(Call& call, Ptr arguments, Ptr text) {
  const std::string_view program = call.context.program;
  return stored(call.store_number(arguments, text.at) && call.store(text, program) &&
                call.store_number(offset(text, program.size()), std::uint8_t{0}));
}
Error environ_sizes_get(Call& call, OutU32 count, OutU32 size) {
  return stored(call.store_number(count, U32{0}) && call.store_number(size, U32{0}));
}
Error environ_get(Call&, Ptr, Ptr) { return Error::success; }

Error clock_res_get(Call& call, U32 clock, Ptr resolution) {
  if (clock > kMonotonic) return Error::invalid;
  return stored(call.store_number(resolution, clock == kRealtime ? kMillisecondNs : I64{1}));
}
Error clock_time_get(Call& call, U32 clock, I64, Ptr time) {
  const auto now = now_ns(call.context, clock);
  if (!now) return Error::invalid;
  return stored(call.store_number(time, *now));
}

Error random_get(Call& call, OutBytes buffer, U32 size) {
  if (size > kRandomBytesMax) return Error::invalid;
  if (size == 0) return Error::success;
  if (!call.holds(buffer, size)) return Error::fault;
  call.context.random.fill(call.memory.subspan(buffer.at, size));
  return Error::success;
}

Error sched_yield(Call&) { return Error::success; }

// Gives what is ready at once: passed timers and the three streams. A guest that only waits is told
// that it cannot.
Error poll_oneoff(Call& call, Ptr subscriptions, Ptr events, U32 count, OutU32 event_count) {
  if (count == 0 || count > kSubscriptionsMax) return Error::invalid;
  U32 ready = 0;
  std::int64_t shortest_ns = std::numeric_limits<std::int64_t>::max();
  for (U32 i = 0; i < count; ++i) {
    Subscription s{};
    const Error error =
        read_subscription(call, offset(subscriptions, std::uint64_t{i} * kSubscriptionSize), s);
    if (error != Error::success) return error;
    if (s.wait_ns > 0) {
      shortest_ns = std::min(shortest_ns, s.wait_ns);
      continue;
    }
    if (!write_event(call, offset(events, std::uint64_t{ready} * kEventSize), s))
      return Error::fault;
    ++ready;
  }
  if (ready == 0) {
    call.context.log.append("poll_oneoff: waiting is not offered here, asked for " +
                                std::to_string(shortest_ns / kMillisecondNs) + " ms\n",
                            LogStream::error);
    return Error::not_implemented;
  }
  return stored(call.store_number(event_count, ready));
}

void proc_exit(Call& call, U32 code) {
  call.outcome = vm::HostOutcome::exited;
  call.exit_code = code;
}

Error fd_close(Call&, U32 fd) { return is_open(fd) ? Error::success : Error::bad_descriptor; }

Error fd_fdstat_get(Call& call, U32 fd, Ptr stat) {
  if (!is_open(fd)) return Error::bad_descriptor;
  if (const Error e = stat_of_stream(call, stat, 24, 0); e != Error::success) return e;
  call.store_number(offset(stat, 8), fd == 0 ? kRightRead : kRightWrite);
  return Error::success;
}
Error fd_fdstat_set_flags(Call&, U32 fd, U32) {
  return is_open(fd) ? Error::success : Error::bad_descriptor;
}
Error fd_filestat_get(Call& call, U32 fd, Ptr stat) {
  return is_open(fd) ? stat_of_stream(call, stat, 64, 16) : Error::bad_descriptor;
}
// There are no directories: the first question ends wasi-libc's search for them.
Error fd_prestat_get(Call&, U32, Ptr) { return Error::bad_descriptor; }
Error fd_prestat_dir_name(Call&, U32, OutBytes, U32) { return Error::bad_descriptor; }

Error fd_read(Call& call, U32 fd, Ptr, U32, OutU32 size) {
  if (fd != 0) return Error::bad_descriptor;
  return stored(call.store_number(size, U32{0}));  // standard input is empty
}
Error fd_seek(Call&, U32 fd, I64, U32, Ptr) {
  return is_open(fd) ? Error::not_seekable : Error::bad_descriptor;
}
Error fd_tell(Call&, U32 fd, Ptr) {
  return is_open(fd) ? Error::not_seekable : Error::bad_descriptor;
}

Error fd_write(Call& call, U32 fd, Ptr vectors, U32 vector_count, OutU32 size) {
  if (fd != 1 && fd != 2) return Error::bad_descriptor;
  if (vector_count > kVectorsMax) return Error::invalid;
  if (!call.holds(vectors, std::uint64_t{vector_count} * kVectorSize)) return Error::fault;
  std::uint64_t total = 0;
  for (U32 i = 0; i < vector_count; ++i) {
    const Ptr vector = offset(vectors, std::uint64_t{i} * kVectorSize);
    const Ptr at{*call.load_number<U32>(vector)};
    const U32 length = *call.load_number<U32>(offset(vector, 4));
    const auto text = call.text(at, length);
    if (!text) return Error::fault;
    call.context.log.append(*text, fd == 2 ? LogStream::error : LogStream::output);
    total += length;
  }
  return stored(call.store_number(
      size, static_cast<U32>(std::min<std::uint64_t>(total, std::numeric_limits<U32>::max()))));
}

}  // namespace wasi

void add_wasi_functions(std::vector<vm::HostFunction>& table) {
  constexpr std::string_view kModule = "wasi_snapshot_preview1";
#define TAU_FUNCTION(result, name, ...) table.push_back(bind<&wasi::name>(kModule, #name));
#define TAU_ABSENT(name, ...) \
  table.push_back(            \
      bind<wasi::absent_of(static_cast<void (*)(__VA_ARGS__)>(nullptr))>(kModule, #name));
#include "abi/wasi.def"
#undef TAU_ABSENT
#undef TAU_FUNCTION
}

}  // namespace tau::guest

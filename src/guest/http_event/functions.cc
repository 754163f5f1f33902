#include "guest/binding.h"
#include "guest/host_functions.h"
#include "guest/http_event/exchange.h"

namespace tau::guest {
namespace http_event {

#define TAU_FUNCTION(result, name, ...) result name(Call& call __VA_OPT__(, ) __VA_ARGS__);
#include "abi/event.def"
#include "abi/http_event.def"
#undef TAU_FUNCTION

namespace {

constexpr U32 kHttpEvent = 1;

// Runs `use` on the exchange of this event, or says why there is none.
template <class F>
Error on(Call& call, EventId event, F use) {
  if (event != call.context.event_id) return Error::event_not_found;
  if (!call.context.http) return Error::nil_address;
  return use(*call.context.http);
}

Error put_size(Call& call, OutU32 out, std::string_view value) {
  return call.store_number(out, static_cast<U32>(value.size())) ? Error::none
                                                                : Error::memory_write_failed;
}

Error put(Call& call, OutBytes out, std::string_view value) {
  return call.store(out, value) ? Error::none : Error::address_out_of_memory;
}

}  // namespace

void getEventType(Call& call, EventId event, OutU32 type) {
  if (event == call.context.event_id && call.context.http) call.store_number(type, kHttpEvent);
}

Error getHttpEventMethodSize(Call& call, EventId event, OutU32 size) {
  return on(call, event, [&](HttpExchange& x) { return put_size(call, size, x.request().method); });
}
Error getHttpEventMethod(Call& call, EventId event, OutBytes method, U32 size) {
  return on(call, event, [&](HttpExchange& x) {
    if (size != x.request().method.size()) return Error::buffer_too_small;
    return put(call, method, x.request().method);
  });
}
Error getHttpEventHostSize(Call& call, EventId event, OutU32 size) {
  return on(call, event, [&](HttpExchange& x) { return put_size(call, size, x.request().host); });
}
Error getHttpEventHost(Call& call, EventId event, OutBytes host, U32) {
  return on(call, event, [&](HttpExchange& x) { return put(call, host, x.request().host); });
}
Error getHttpEventPathSize(Call& call, EventId event, OutU32 size) {
  return on(call, event, [&](HttpExchange& x) { return put_size(call, size, x.request().path); });
}
Error getHttpEventPath(Call& call, EventId event, OutBytes path, U32) {
  return on(call, event, [&](HttpExchange& x) { return put(call, path, x.request().path); });
}
Error getHttpEventUserAgentSize(Call& call, EventId event, OutU32 size) {
  return on(call, event,
            [&](HttpExchange& x) { return put_size(call, size, x.header("User-Agent")); });
}
Error getHttpEventUserAgent(Call& call, EventId event, OutBytes agent, U32) {
  return on(call, event, [&](HttpExchange& x) { return put(call, agent, x.header("User-Agent")); });
}

Error getHttpEventQueryValueByNameSize(Call& call, EventId event, OutU32 size, InBytes key,
                                       U32 key_size) {
  return on(call, event, [&](HttpExchange& x) {
    const auto name = call.text(key, key_size);
    return name ? put_size(call, size, x.query_value(*name)) : Error::address_out_of_memory;
  });
}
Error getHttpEventQueryValueByName(Call& call, EventId event, InBytes key, U32 key_size,
                                   OutBytes value, U32) {
  return on(call, event, [&](HttpExchange& x) {
    const auto name = call.text(key, key_size);
    return name ? put(call, value, x.query_value(*name)) : Error::address_out_of_memory;
  });
}
Error getHttpEventRequestQueryKeysSize(Call& call, EventId event, OutU32 size) {
  return on(call, event, [&](HttpExchange& x) { return put_size(call, size, x.query_names()); });
}
Error getHttpEventRequestQueryKeys(Call& call, EventId event, OutBytes keys) {
  return on(call, event, [&](HttpExchange& x) { return put(call, keys, x.query_names()); });
}

Error getHttpEventHeadersSize(Call& call, EventId event, OutU32 size, InBytes key, U32 key_size) {
  return on(call, event, [&](HttpExchange& x) {
    const auto name = call.text(key, key_size);
    return name ? put_size(call, size, x.header(*name)) : Error::address_out_of_memory;
  });
}
Error getHttpEventHeaders(Call& call, EventId event, InBytes key, U32 key_size, OutBytes value,
                          U32) {
  return on(call, event, [&](HttpExchange& x) {
    const auto name = call.text(key, key_size);
    return name ? put(call, value, x.header(*name)) : Error::address_out_of_memory;
  });
}
Error getHttpEventRequestHeaderKeysSize(Call& call, EventId event, OutU32 size) {
  return on(call, event, [&](HttpExchange& x) { return put_size(call, size, x.header_names()); });
}
Error getHttpEventRequestHeaderKeys(Call& call, EventId event, OutBytes keys, U32) {
  return on(call, event, [&](HttpExchange& x) { return put(call, keys, x.header_names()); });
}
Error getHttpEventHeaderVarNameByIdSize(Call& call, EventId event, OutU32 size) {
  return getHttpEventRequestHeaderKeysSize(call, event, size);
}
Error getHttpEventHeaderVarNameById(Call& call, EventId event, OutBytes keys) {
  return getHttpEventRequestHeaderKeys(call, event, keys, 0);
}

Error readHttpEventBody(Call& call, EventId event, OutBytes body, U32 size, OutU32 count) {
  return on(call, event, [&](HttpExchange& x) {
    // Before a byte is consumed: a guest with a wrong address may try again.
    if (!call.holds(count, sizeof(U32)) || (size > 0 && !call.holds(body, size))) {
      return Error::address_out_of_memory;
    }
    const auto out = size > 0 ? call.memory.subspan(body.at, size) : std::span<std::uint8_t>();
    const auto [error, read] = x.read_body(out);
    call.store_number(count, static_cast<U32>(read));
    return error;
  });
}
Error closeHttpEventBody(Call& call, EventId event) {
  return on(call, event, [&](HttpExchange& x) {
    x.close_body();
    return Error::none;
  });
}

Error eventHttpHeaderAdd(Call& call, EventId event, InBytes name, U32 name_size, InBytes value,
                         U32 value_size) {
  return on(call, event, [&](HttpExchange& x) {
    const auto n = call.text(name, name_size);
    const auto v = call.text(value, value_size);
    return n && v ? x.add_header(*n, *v) : Error::address_out_of_memory;
  });
}
Error eventHttpRetCode(Call& call, EventId event, U32 code) {
  return on(call, event, [&](HttpExchange& x) { return x.set_status(code); });
}
Error eventHttpWrite(Call& call, EventId event, InBytes body, U32 size, OutU32 written) {
  return on(call, event, [&](HttpExchange& x) {
    const auto bytes = call.text(body, size);
    if (!bytes) return Error::address_out_of_memory;
    if (!call.holds(written, sizeof(U32))) return Error::memory_write_failed;
    const auto [error, count] = x.write(*bytes);
    call.store_number(written, static_cast<U32>(count));
    return error;
  });
}
Error eventHttpFlush(Call& call, EventId event) {
  return on(call, event, [](HttpExchange& x) { return x.flush(); });
}
Error eventHttpRedirect(Call& call, EventId event, InBytes url, U32 url_size, U32 code) {
  return on(call, event, [&](HttpExchange& x) {
    const auto to = call.text(url, url_size);
    return to ? x.redirect(*to, code) : Error::address_out_of_memory;
  });
}

}  // namespace http_event

void add_http_event_functions(std::vector<vm::HostFunction>& table) {
#define TAU_FUNCTION(result, name, ...) \
  table.push_back(bind<&http_event::name>("taubyte/sdk", #name));
#include "abi/event.def"
#include "abi/http_event.def"
#undef TAU_FUNCTION
}

}  // namespace tau::guest

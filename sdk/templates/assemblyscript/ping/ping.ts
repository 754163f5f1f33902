import { Event } from "sdk/event";

// The function's configuration names this one: `call: ping`. Any result but 0 says that it failed.
export function ping(event: Event): u32 {
  const http = event.http();
  if (http.err.length > 0) return 1;
  const written = http.unwrap().write("pong");
  return written.err.length > 0 ? 1 : 0;
}

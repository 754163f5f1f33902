// Tells the request back, prints, and asks the world for what a C++ program asks.
#include <tau/http.h>

#include <chrono>
#include <cstdio>
#include <random>

TAU_HTTP_FUNCTION(echo) {
  std::printf("%s %s\n", event.method().c_str(), event.path().c_str());
  std::fprintf(stderr, "host %s\n", event.host().c_str());
  event.set_header("X-Seen", event.header("x-sent"));
  event.write(event.method() + " " + event.host() + " " + event.path() + "\n");
  for (const std::string& name : event.headers()) {
    event.write("header " + name + ": " + event.header(name) + "\n");
  }
  for (const std::string& name : event.queries()) {
    event.write("query " + name + ": " + event.query(name) + "\n");
  }
  event.write("body " + event.body() + "\n");
}

TAU_HTTP_FUNCTION(world) {
  const auto wall = std::chrono::system_clock::now().time_since_epoch();
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(wall).count();
  std::random_device device;
  event.write(std::to_string(ms) + " " + std::to_string(device()) + "\n");
}

TAU_HTTP_FUNCTION(moved) { event.redirect("elsewhere?x=1"); }

static int& calls() {
  static int count = 0;
  return count;
}

TAU_HTTP_FUNCTION(count) { event.write(std::to_string(++calls())); }

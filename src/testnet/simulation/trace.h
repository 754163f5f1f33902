// What happened in a simulated world, line by line with its time. Every line counts for the digest,
// by which two runs of one seed are compared; they are kept only when somebody will read them.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "base/log.h"
#include "runtime/loop.h"

namespace tau::testnet::simulation {

class Trace {
 public:
  enum class Keep : std::uint8_t { nothing, events, logs };  // logs: what nodes say, too
  static constexpr std::size_t kLinesMax = 200'000;          // the oldest go first

  Trace(const runtime::VirtualLoop& loop, Keep keep) : loop_(loop), keep_(keep) {}
  void say(std::string_view line);
  Logger logger();  // for the nodes; ends with the trace

  std::uint64_t digest() const { return digest_; }
  const std::deque<std::string>& lines() const { return lines_; }

 private:
  void keep(std::string_view line);

  const runtime::VirtualLoop& loop_;
  const Keep keep_;
  std::uint64_t digest_ = 0xcbf29ce484222325;  // FNV-1a
  std::deque<std::string> lines_;
};

}  // namespace tau::testnet::simulation

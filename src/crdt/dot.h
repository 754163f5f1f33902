// The names by which causality is told: who wrote, and the how-manieth delta of that writer it was.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <string>

#include "base/strong_id.h"

namespace tau::crdt {

// "<peer id>.<incarnation, 16 hexadecimal digits>". A store that begins anew draws a new
// incarnation, so that a node which lost its disk never uses a dot twice.
using WriterId = StrongId<struct WriterIdTag>;
WriterId writer_id_of(const PeerId& peer, std::uint64_t incarnation);
bool is_writer_id(const WriterId& writer);  // of that form, and not longer than any can be

struct Dot {
  WriterId writer;
  std::uint64_t number = 0;  // from 1
  friend auto operator<=>(const Dot&, const Dot&) = default;
};

// A causal context: for each writer, the number of its last delta that is known; all before it are
// known as well.
class Context {
 public:
  std::uint64_t of(const WriterId& writer) const {
    const auto it = last_.find(writer);
    return it == last_.end() ? 0 : it->second;
  }
  bool covers(const Dot& dot) const { return dot.number <= of(dot.writer); }
  bool covers(const Context& other) const {
    for (const auto& [writer, number] : other.last_)
      if (number > of(writer)) return false;
    return true;
  }
  void add(const Dot& dot) {
    auto& last = last_[dot.writer];
    if (dot.number > last) last = dot.number;
  }
  void add(const Context& other) {
    for (const auto& [writer, number] : other.last_) add(Dot{writer, number});
  }
  std::size_t size() const { return last_.size(); }
  const std::map<WriterId, std::uint64_t>& all() const { return last_; }
  friend bool operator==(const Context&, const Context&) = default;

 private:
  std::map<WriterId, std::uint64_t> last_;
};

}  // namespace tau::crdt

// What a replica keeps of one key: the versions that no other one has replaced. One, as a rule;
// more where writers did not know of each other. A key without versions is not kept at all: that a
// version was removed is known from the context, which covers its dot.
#pragma once

#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "crdt/dot.h"

namespace tau::crdt {

struct Version {
  Dot dot;
  std::uint64_t height = 0;
  std::uint64_t tag =
      0;  // the first bytes of the delta's hash: tells apart what a liar counts alike
  Bytes value;
  friend bool operator==(const Version&, const Version&) = default;
};

// Of concurrent versions the higher one is the key's value: by height, then by the writer's name,
// then by number and tag. Values are not compared.
bool wins_over(const Version& a, const Version& b);

// Versions of one writer replace each other, and so do equal dots with different tags: the higher
// stays. Of more than this many the highest stay; only nodes that lie get that far.
inline constexpr std::size_t kVersionsMax = 256;

class Entry {
 public:
  const std::vector<Version>& versions() const { return versions_; }  // by writer
  bool empty() const { return versions_.empty(); }
  const Version* winner() const;  // null when there is none
  bool has(const Dot& dot) const;
  bool add(Version version);    // false: a newer one of the writer is there
  bool remove(const Dot& dot);  // false: it was not there

  friend bool operator==(const Entry&, const Entry&) = default;

 private:
  std::vector<Version> versions_;
};

// On disk: a byte 1, then for each version its writer, number, height, tag and value.
Bytes encode(const Entry& entry);
Result<Entry> decode_entry(BytesView data);  // data_loss

}  // namespace tau::crdt

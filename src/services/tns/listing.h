// Listing: what the registry holds, page by page, for tools. Whoever asks walks the shards, because
// no node holds them all: one question goes to a node that holds a shard, the next one to another.
//
// What comes of it is stale: what a node of each shard had applied, read at different times. It is
// for people to look at; what is served is decided by lookups, which come with a proof.
//
// Loop thread only.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "command/caller.h"
#include "services/tns/shard_api.h"

namespace tau::tns {

// A page of a listing. `age`: what was acknowledged longer ago is in it; nothing: not known.
template <class Item>
struct StalePage {
  std::vector<Item> items;
  std::string next;  // the cursor of the next page; empty: this was the last
  std::optional<Duration> age;
};

struct NamesQuestion {
  std::string prefix = {}, suffix = {};  // both must be the name's; empty: any
  std::string cursor = {};               // of the page before; empty: the first page
  std::size_t limit = 100;               // entries, at most kListedMax
};
// Names and whose they are: shard after shard, in each in byte order. A page may be short and not
// the last. Errors: invalid_argument (the cursor, or what no name begins or ends with), unavailable
// (no tns node that holds the shard answers), deadline_exceeded.
Task<Result<StalePage<ListNames::Name>>> list_names(command::Caller& caller,
                                                    NamesQuestion question);

struct PointersQuestion {
  ProjectId project = {};
  std::string prefix = {};  // of branches
  std::string cursor = {};
  std::size_t limit = 100;
};
// Where the branches of a project stand. Errors: as list_names; invalid_argument without a project.
Task<Result<StalePage<ListPointers::Standing>>> list_pointers(command::Caller& caller,
                                                              PointersQuestion question);

}  // namespace tau::tns

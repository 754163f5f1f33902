// Shard: a group of tns nodes and what it agrees on. Its keeper lets every connected tns node
// follow, gives votes to a few, and replaces those that are lost. After a write that failed, or
// when the group goes on without this node, it starts again from its disk by itself; meanwhile it
// answers nothing that it does not know.
//
// Loop thread only, between start() and stop(); within those of its Groups.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "consensus/keeper.h"
#include "services/tns/names.h"

namespace tau::tns {

// What a network of so many founders is kept at: three voters survive the loss of one of them, five
// of two.
std::size_t voters_wanted(std::size_t founders);

class Shard {
 public:
  struct Options {
    std::string group;
    // Who founds the group; read when this node is first started. It is a founder if it is named.
    std::vector<PeerId> founders;
    Names::Limits limits = Names::Limits::of(1);
    consensus::Keeper::Options keeper;
  };

  // `kv` is this shard's own.
  Shard(consensus::Groups& groups, store::Kv& kv, Logger log, Options options);
  ~Shard();
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  Task<Status> start();
  Task<void> stop();  // idempotent

  // Errors: as consensus::Group::propose. Names' commands can be repeated.
  Task<Result<Bytes>> propose(Bytes command) { return group_.propose(std::move(command)); }
  const Names& names() const { return names_; }
  // consensus::Linearizable of what `look` finds. Errors: as consensus::Group::read.
  template <class F>
  auto read(F look) {
    return group_.read(std::move(look));
  }
  // Whether "there is no such thing" would be the truth. Errors: unavailable.
  Status ready() const;
  const consensus::Group& group() const { return group_; }

 private:
  Task<void> mend();

  runtime::Loop& loop_;
  Logger log_;
  Names names_;
  consensus::Group group_;
  consensus::Keeper keeper_;
  runtime::Signal hurt_;
  bool stopped_ = false;  // the group, by mend()
  std::unique_ptr<runtime::TaskGroup> tasks_;
};

}  // namespace tau::tns

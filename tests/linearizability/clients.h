// Clients of tns that do all at once what contradicts each other, and write down what they saw.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "history.h"
#include "runtime/task_group.h"
#include "services/tns/api.h"
#include "visitor.h"

namespace tau::test {

class Clients {
 public:
  Clients(Visitor& visitor, Member& member, History& history, std::string suffix);

  // `count` of them, until stop(). Every few seconds they turn to other projects and names, so that
  // what stayed open is about few others.
  void start(int count);
  void stop();
  std::size_t turns() const { return turn_; }

 private:
  struct Project {
    explicit Project(Random& random) : owner(crypto::KeyPair::generate(random)) {}
    crypto::KeyPair owner;
    std::string label, key;
    std::uint64_t next_seq = 1;
    std::map<std::uint64_t, codec::Cid> known;  // acknowledged versions, by seq
    std::uint64_t stands = 0;                   // as somebody read it
    std::map<int, tns::Seen> seen;              // by client
  };
  Task<void> work(int client);
  Task<void> publish(int client, Project& project, PeerId at);
  Task<void> roll_back(int client, Project& project, PeerId at);
  Task<void> read(int client, Project& project, PeerId at);
  Task<void> look_up(int client, Project& project, PeerId at);
  Task<void> claim(int client, PeerId at);
  void turn();
  auth::Registration registration(const Project& project, const std::string& label) const;
  std::string outcome_of(const Error& error) const;

  Visitor& visitor_;
  Member& member_;
  History& history_;
  std::string suffix_;
  SystemRandom random_;
  std::vector<std::unique_ptr<Project>> projects_;  // all; the last kAtOnce are in use
  std::size_t turn_ = 0, names_ = 0;
  TimePoint next_turn_;
  bool ending_ = false;
  runtime::TaskGroup tasks_;
};

}  // namespace tau::test

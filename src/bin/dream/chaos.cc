#include "chaos.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <fstream>
#include <iostream>
#include <memory>
#include <thread>

#include "bin/tau/cloud.h"
#include "client.h"
#include "project/scalars.h"
#include "testnet/chaos/faults.h"

namespace tau::dream {
namespace {

using namespace std::chrono_literals;
using http::Json;

struct Wishes {
  std::string* control = nullptr;
  std::string universe, lasts, by, total = "60s", file;
  std::vector<std::string> nodes;
  std::uint64_t seed = 0;
  bool seeded = false, one_way = false, json = false, dry = false;
};

Result<std::int64_t> ms_of(const std::string& text, const char* option) {
  auto ns = project::parse_duration(text);
  if (!ns)
    return fail(
        std::move(ns).error().context(fmt::format("{}: a time such as 500ms or 5s", option)));
  return static_cast<std::int64_t>(*ns / 1'000'000);
}

std::string text_of(const Json& fault) {
  const auto number = [&](const char* name) { return fault.value(name, std::int64_t{0}); };
  std::string out = fault.value("fault", "");
  if (fault.contains("nodes"))
    out += fmt::format(" {}", fmt::join(fault["nodes"].get<std::vector<std::string>>(), ", "));
  if (number("by_ms") > 0) out += fmt::format(" by {} ms", number("by_ms"));
  if (fault.value("one_way", false)) out += ", one way";
  if (number("for_ms") > 0) out += fmt::format(" for {:.1f} s", number("for_ms") / 1e3);
  if (number("remaining_ms") > 0)
    out += fmt::format(", {:.1f} s left", number("remaining_ms") / 1e3);
  return out;
}

struct Place {
  net::Endpoint control;
  std::string path;  // of the universe
};

Result<Place> place_of(const Wishes& wishes) {
  TRY(auto control, net::Endpoint::parse(*wishes.control));
  TRY(const std::string universe, universe_meant(control, wishes.universe));
  return Place{std::move(control), "/v1/universes/" + cli::url_encode(universe)};
}

void print(const Wishes& wishes, const Json& happened) {
  if (wishes.json)
    fmt::print("{}\n", happened.dump());
  else
    fmt::print("{:>8.1f} s  {}\n", happened.value("at_ms", std::int64_t{0}) / 1e3,
               text_of(happened));
  std::fflush(stdout);
}

Result<Json> begin(const Place& place, const Json& fault) {
  if (fault.value("fault", "") == "heal")
    return ask(place.control, "DELETE", place.path + "/chaos");
  return ask(place.control, "POST", place.path + "/chaos", fault);
}

Status one(const Wishes& wishes, testnet::FaultKind kind) {
  Json body = {{"fault", testnet::name_of(kind)}, {"nodes", wishes.nodes}};
  if (!wishes.lasts.empty()) {
    TRY(const auto ms, ms_of(wishes.lasts, "--for"));
    body["for_ms"] = ms;
  }
  if (!wishes.by.empty()) {
    TRY(const auto ms, ms_of(wishes.by, "--by"));
    body["by_ms"] = ms;
  }
  if (wishes.one_way) body["one_way"] = true;
  TRY(const Place place, place_of(wishes));
  TRY(const Json begun, begin(place, body));
  print(wishes, begun);
  if (!wishes.json && !body.contains("for_ms")) fmt::print("until: dream chaos heal\n");
  return {};
}

// One fault after the other, each at its time. One that the universe refuses (its node is dead
// already, say) is said, and the others go on.
Status perform(const Wishes& wishes, const std::vector<Json>& plan) {
  TRY(const Place place, place_of(wishes));
  const auto began = std::chrono::steady_clock::now();
  std::size_t refused = 0;
  for (Json fault : plan) {
    const std::chrono::milliseconds at(fault.value("at_ms", std::int64_t{0}));
    std::this_thread::sleep_until(began + at);
    const auto done = begin(place, fault);
    if (done) {
      print(wishes, fault);
      continue;
    }
    if (done.error().code() == ErrorCode::unavailable) return fail(done.error());
    ++refused;
    fault["refused"] = done.error().message();
    print(wishes, fault);
    if (!wishes.json) fmt::print("{:>12}refused: {}\n", "", done.error().message());
  }
  if (!wishes.json)
    fmt::print("{} faults{}; the last ones end by themselves, or by: dream chaos heal\n",
               plan.size() - refused, refused ? fmt::format(", {} refused", refused) : "");
  return {};
}

Status at_random(Wishes& wishes) {
  if (!wishes.seeded) {
    SystemRandom random;
    wishes.seed = random.below(1'000'000);
  }
  TRY(const auto total, ms_of(wishes.total, "--time"));
  if (std::chrono::milliseconds(total) > testnet::kFaultTimeMax)
    return fail(ErrorCode::invalid_argument, "--time is at most one hour");
  if (wishes.nodes.empty()) {
    TRY(const Place place, place_of(wishes));
    TRY(const Json view, ask(place.control, "GET", place.path + "/nodes"));
    for (const Json& node : view.value("nodes", Json::array()))
      if (!node.value("services", Json::array()).empty())
        wishes.nodes.push_back(node.value("name", ""));
  }
  std::vector<Json> plan;
  for (const auto& [at, fault] :
       testnet::random_faults(wishes.seed, wishes.nodes, std::chrono::milliseconds(total))) {
    plan.push_back(testnet::to_json(fault));
    plan.back()["at_ms"] = at / 1ms;
  }
  // On standard error, so that standard output is a file for replay.
  fmt::print(stderr, "seed {}: {} faults within {}\n", wishes.seed, plan.size(), wishes.total);
  if (!wishes.dry) return perform(wishes, plan);
  for (const Json& fault : plan) print(wishes, fault);
  return {};
}

Status replay(const Wishes& wishes) {
  std::ifstream file(wishes.file);
  if (!file)
    return fail(ErrorCode::not_found,
                wishes.file + " cannot be read; dream chaos record > FILE makes one");
  std::vector<Json> plan;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    if (line.empty()) continue;
    Json fault = Json::parse(line, nullptr, false);
    if (!fault.is_discarded() && fault.is_object() && fault.value("fault", "") == "heal") {
      plan.push_back(std::move(fault));
      continue;
    }
    fault.erase("refused");
    if (const auto known = testnet::fault_of(fault); !known)
      return fail(ErrorCode::invalid_argument,
                  fmt::format("{}:{}: {}", wishes.file, number, known.error().message()));
    plan.push_back(std::move(fault));
  }
  return perform(wishes, plan);
}

Status show(const Wishes& wishes, const char* what) {
  TRY(const Place place, place_of(wishes));
  TRY(const Json view, ask(place.control, "GET", place.path + "/chaos"));
  const Json faults = view.value(what, Json::array());
  const bool record = std::string_view(what) == "record";
  if (record) {
    for (const Json& fault : faults) fmt::print("{}\n", fault.dump());
    return {};
  }
  if (wishes.json) {
    fmt::print("{}\n", Json{{what, faults}}.dump(2));
    return {};
  }
  for (const Json& fault : faults) fmt::print("{}\n", text_of(fault));
  if (faults.empty()) fmt::print("nothing is broken on purpose\n");
  return {};
}

Status heal(const Wishes& wishes) {
  TRY(const Place place, place_of(wishes));
  TRY(const Json done, ask(place.control, "DELETE", place.path + "/chaos"));
  if (!wishes.json) fmt::print("nothing is broken on purpose any more\n");
  return {};
}

}  // namespace

void add_chaos(CLI::App& app, std::string& control, Status& status) {
  const auto wishes = std::make_shared<Wishes>();
  wishes->control = &control;
  auto* chaos = app.add_subcommand("chaos", "Break things on purpose");
  chaos->require_subcommand(1);
  const auto usual = [&](CLI::App* command) {
    command->add_option("--universe", wishes->universe, "Which; not needed when there is one");
    command->add_flag("--json", wishes->json, "JSON instead of text");
    command->add_option("--control", control, "Address of dream's control API")
        ->capture_default_str();
  };
  const struct {
    testnet::FaultKind kind;
    const char* summary;
    bool by;
  } kinds[] = {
      {testnet::FaultKind::kill, "End nodes as a power cut does; they start again afterwards",
       false},
      {testnet::FaultKind::pause, "Nothing leaves or reaches these nodes", false},
      {testnet::FaultKind::partition, "Cut these nodes off from all others", false},
      {testnet::FaultKind::delay, "What these nodes send and get takes longer", true},
      {testnet::FaultKind::disk_full, "Writes of these nodes fail", false},
      {testnet::FaultKind::slow_disk, "Disks of these nodes take longer", true},
  };
  for (const auto& kind : kinds) {
    auto* command = chaos->add_subcommand(std::string(testnet::name_of(kind.kind)), kind.summary);
    command->add_option("nodes", wishes->nodes, "Nodes, or services that one node runs")
        ->required();
    command->add_option("--for", wishes->lasts, "How long (5s); without it until healed");
    if (kind.by) command->add_option("--by", wishes->by, "How much longer: 100ms")->required();
    if (kind.kind == testnet::FaultKind::partition)
      command->add_flag("--one-way", wishes->one_way, "They hear the others, and are not heard");
    usual(command);
    command->callback([wishes, &status, kind = kind.kind] { status = one(*wishes, kind); });
  }
  auto* random = chaos->add_subcommand("random", "Faults at random; the same for the same seed");
  auto* seed =
      random->add_option("--seed", wishes->seed, "A number; without it one is chosen and said");
  random->add_option("--time", wishes->total, "How long")->capture_default_str();
  random->add_option("--nodes", wishes->nodes, "Only these")->delimiter(',');
  random->add_flag("--dry-run", wishes->dry, "Show what would happen");
  usual(random);
  random->callback([wishes, &status, seed] {
    wishes->seeded = seed->count() > 0;
    status = at_random(*wishes);
  });
  auto* again = chaos->add_subcommand("replay", "Do what a record says, at the same times");
  again->add_option("file", wishes->file, "Made by: dream chaos record")->required();
  usual(again);
  again->callback([wishes, &status] { status = replay(*wishes); });
  auto* record =
      chaos->add_subcommand("record", "All that was broken, a line of JSON each: for replay");
  usual(record);
  record->callback([wishes, &status] { status = show(*wishes, "record"); });
  auto* now = chaos->add_subcommand("status", "What is broken now");
  usual(now);
  now->callback([wishes, &status] { status = show(*wishes, "active"); });
  auto* better = chaos->add_subcommand("heal", "Everything works again");
  usual(better);
  better->callback([wishes, &status] { status = heal(*wishes); });
}

}  // namespace tau::dream

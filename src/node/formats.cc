#include "node/formats.h"

#include <algorithm>

#include "node/process.h"

namespace tau::node {

const char* const kVersion = TAU_VERSION;

namespace {

// What was written before parts had numbers reads as format 1.
Task<Status> same_records(store::Kv&) { co_return Status{}; }
constexpr store::FormatStep kFirst[] = {{0, "a part without a number gets one", same_records}};

// A rollback is a command that earlier programs would answer otherwise than later ones, and so is a
// publish with a proof: the numbers keep them apart.
constexpr store::FormatStep kTns[] = {
    {0, "a part without a number gets one", same_records},
    {1, "pointers have a history, and can be moved back", same_records},
    {2, "pointers keep the chain of trust that they were published with", same_records},
    {3, "names and pointers in shards; a registry of one group stays one", same_records}};

// What a patrick that decided alone wrote is taken over when the service starts.
constexpr store::FormatStep kPatrick[] = {
    {0, "a part without a number gets one", same_records},
    {1, "all patricks decide together, in a log of their group", same_records}};

// A field that is added as optional keeps the number: records without it read as before. Anything
// else (a new field that must be there, another meaning, another key) is a new number here and a
// step from the one before.
constexpr store::PartFormat kParts[] = {
    {"auth", 1, kFirst},      {"b", 1, kFirst},    {"hoarder", 1, kFirst},   {"monkey", 1, kFirst},
    {"patrick", 2, kPatrick}, {"seer", 1, kFirst}, {"substrate", 1, kFirst}, {"tns", 4, kTns},
};

}  // namespace

std::span<const store::PartFormat> part_formats() { return kParts; }

Task<Status> bring_up_to_date(store::Kv& kv, std::vector<std::string> services) {
  services.emplace_back("b");
  for (const store::PartFormat& part : kParts) {
    if (std::ranges::find(services, part.name) == services.end()) continue;
    CO_TRY_STATUS(store::bring_up_to_date(kv, part, std::string("tau ") + kVersion));
  }
  co_return Status{};
}

}  // namespace tau::node

#include "services/patrick/api.h"

namespace tau::patrick {

std::string_view name_of(JobState state) {
  switch (state) {
    case JobState::waiting:
      return "waiting";
    case JobState::building:
      return "building";
    case JobState::succeeded:
      return "succeeded";
    case JobState::failed:
      return "failed";
    case JobState::superseded:
      return "superseded";
    case JobState::cancelled:
      return "cancelled";
  }
  return "unknown";
}

Status check_bid(const Bid& bid) {
  constexpr std::size_t kIdBytesMax = 100;  // a CID has 59
  if (bid.warm.size() > kWarmMax)
    return fail(ErrorCode::invalid_argument, "a bid names at most " + std::to_string(kWarmMax) +
                                                 " projects; this one has " +
                                                 std::to_string(bid.warm.size()));
  for (const auto& project : bid.warm)
    if (project.empty() || project.str().size() > kIdBytesMax)
      return fail(ErrorCode::invalid_argument, "a bid names something that is no project");
  return {};
}

}  // namespace tau::patrick

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
  }
  return "unknown";
}

}  // namespace tau::patrick

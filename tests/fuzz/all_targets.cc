#include "targets.h"

namespace tau::fuzz {

std::vector<Target> all_targets() {
  std::vector<Target> all;
  for (const auto& some : {codec_targets(), command_targets(), content_targets(), crdt_targets(),
                           project_targets(), wire_targets()})
    all.insert(all.end(), some.begin(), some.end());
  return all;
}

}  // namespace tau::fuzz

// The guest SDK, compiled into the program (embed_sdk.cmake): "cpp/build.sh", "abi/event.def", ….
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"

namespace tau::monkey {

std::vector<std::pair<std::string_view, BytesView>> sdk_files();

}  // namespace tau::monkey

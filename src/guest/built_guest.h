// C++ guests that CMake compiled (tau_cpp_guest): for tests and benches.
#pragma once

#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

#include "base/bytes.h"

namespace tau::guest {

inline Bytes built_guest(const std::string& name) {
  const std::string path = std::string(TAU_GUESTS) + "/" + name + "/main.wasm";
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("no guest at " + path);
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

}  // namespace tau::guest

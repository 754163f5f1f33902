// Compiles C++ guests with the SDK's own build script: for tests and benches of this checkout.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

#include "base/bytes.h"

namespace tau::guest {

// `folder` below the checkout. Throws with the compiler's words if it does not compile.
inline Bytes build_cpp_guest(const std::string& checkout, const std::string& folder) {
  char out[] = "/tmp/tau-guest-XXXXXX";
  if (!mkdtemp(out)) throw std::runtime_error("mkdtemp");
  const std::string command = "SRC='" + checkout + "/" + folder + "' OUT='" + out + "' TAU_SDK='" +
                              checkout + "/sdk' sh -c '. \"$TAU_SDK/cpp/build.sh\"; build' >" +
                              out + "/log 2>&1";
  const int code = std::system(command.c_str());
  const auto read = [&](const char* name) {
    std::ifstream file(std::string(out) + "/" + name, std::ios::binary);
    return Bytes(std::istreambuf_iterator<char>(file), {});
  };
  const Bytes log = read("log"), wasm = read("main.wasm");
  std::filesystem::remove_all(out);
  if (code != 0) throw std::runtime_error("build " + folder + ": " + to_text(log));
  return wasm;
}

}  // namespace tau::guest

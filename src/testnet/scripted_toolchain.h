// Builds and runs functions without compiler and engine: a "module" carries its source, and running
// it writes what the source's event.write("…") says. For the simulated world.
#pragma once

#include "process/simulated.h"
#include "vm/engine.h"

namespace tau::testnet {

// What a monkey runs in its sandbox: the probe of the toolchain, and a build of src/main.cc that
// takes a second of virtual time. `builder` becomes a part of the module: what two machines build
// then differs, as it does where a build is not reproducible. A source with the word "broken" does
// not compile.
Task<Result<process::Exit>> scripted_build(const process::Command& command,
                                           process::OutputSink& sink);
Task<Result<process::Exit>> scripted_build_by(std::string builder, const process::Command& command,
                                              process::OutputSink& sink);

class ScriptedEngine final : public vm::Engine {
 public:
  Result<std::shared_ptr<const vm::Module>> compile(BytesView wasm, vm::Effort effort) override;
  Result<std::shared_ptr<const vm::Module>> load(BytesView artifact) override;
  std::string compatibility() const override { return "scripted 1"; }
};

}  // namespace tau::testnet

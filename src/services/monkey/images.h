// The images of this machine: those whose toolchain was found, and why the others are absent.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "services/monkey/images/image.h"

namespace tau::monkey {

// Loop thread only. A toolchain that was missing is looked for again whenever its image is asked
// for, so that a machine that was set right needs no restart.
class Images {
 public:
  explicit Images(Machine machine) : machine_(std::move(machine)) {}

  // Looks for every toolchain. Errors: failed_precondition (no sandbox: says what to enable); a
  // missing toolchain is none.
  Task<Status> probe();
  // With or without a tag: "taubyte/cpp-wasi:v1". Errors: not_found (no such image; names those
  // that there are), failed_precondition (its toolchain is missing: says what to install).
  Task<Result<std::shared_ptr<const Image>>> get(std::string name);
  // Of the images that were found: makes the tar of its warmth; builds use it from use() on.
  Task<Result<Bytes>> warm_up(std::string name);
  void use(const std::string& name, std::filesystem::path tar);
  void cool(const std::string& name);  // its tar is gone

  std::vector<std::shared_ptr<const Image>> present() const;
  const Machine& machine() const { return machine_; }
  // Why images are absent, a line each.
  std::vector<std::string> absent() const;

 private:
  Task<Result<std::shared_ptr<const Image>>> look_for(const Language& language);

  Machine machine_;
  std::map<std::string, std::shared_ptr<const Image>, std::less<>> found_;
  std::map<std::string, std::string, std::less<>> absent_;
};

}  // namespace tau::monkey

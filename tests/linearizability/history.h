// What clients of tns did and saw, one JSON object a line: README.md.
#pragma once

#include <chrono>
#include <fstream>
#include <string>

#include "http/json.h"

namespace tau::test {

class History {
 public:
  explicit History(const std::string& path) : out_(path) {}

  static std::int64_t now() {
    return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
  }
  // `operation` has client, key, kind and what else the kind has; `call` is when it began.
  void add(http::Json operation, std::int64_t call, const std::string& outcome,
           const std::string& why = "") {
    if (!why.empty()) operation["why"] = why;  // for people
    operation["call"] = call;
    operation["return"] = now();
    operation["outcome"] = outcome;
    out_ << operation.dump() << "\n";
    ++size_;
    if (outcome == "ok") ++succeeded_;
  }
  std::size_t size() const { return size_; }
  std::size_t succeeded() const { return succeeded_; }
  void flush() { out_.flush(); }

 private:
  std::ofstream out_;
  std::size_t size_ = 0, succeeded_ = 0;
};

}  // namespace tau::test

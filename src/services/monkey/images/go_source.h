// What is read of a Go function's sources without Go.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tau::monkey {

// The package and import clauses of a Go file, and what stands between them, comments apart; two
// files with the same header import the same (Go specification, "Source file organization").
std::string go_header(std::string_view source);

// The files of a GOPROXY that a go.sum has checksums of: "golang.org/x/text/@v/v0.3.0.zip". Lines
// that are none are passed over. At most 6000.
std::vector<std::string> go_sum_names(std::string_view go_sum);

}  // namespace tau::monkey

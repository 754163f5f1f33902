// Walking content: what a block links to.
#pragma once

#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "codec/cid.h"

namespace tau::content {

// In the order of the block, repeated links included. Raw blocks have none. Errors:
// invalid_argument (the data is not of the type that its CID names), unimplemented (a type without
// a decoder here).
Result<std::vector<codec::Cid>> links_of(const codec::Cid& cid, BytesView data);

}  // namespace tau::content

// A deployment: what one commit of a project made, as one block of DAG-CBOR. Its CID is what tns
// points to, what hoarders hold and what a substrate serves from; the blocks it links to (modules,
// the compiled config) hang below it. It never changes: another commit is another CID.
//
// Both directions validate, so that a hostile deployment cannot hurt who reads it: everything has a
// bound, names are plain, hosts are lower case, and no two functions share a route.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "base/strong_id.h"
#include "codec/cid.h"
#include "codec/record.h"

namespace tau::project {

inline constexpr std::uint64_t kDeploymentVersion = 1;
// One block, which every bitswap peer accepts; 1000 functions of usual size are about 500 KiB.
inline constexpr std::size_t kDeploymentBytesMax = 1u << 20;
inline constexpr std::size_t kFunctionsMax = 2000;
inline constexpr std::size_t kDomainsMax = 500;
inline constexpr std::size_t kPathsMax = 64;            // of one function
inline constexpr std::size_t kFunctionDomainsMax = 64;  // of one function
inline constexpr std::size_t kRoutesMax = 20'000;       // of one deployment: 4 MiB of table at most
inline constexpr std::size_t kNameBytesMax = 128;       // names, ids, exports
inline constexpr std::size_t kPathBytesMax = 1024;      // of a route
inline constexpr std::size_t kBranchBytesMax = 128;
inline constexpr std::uint64_t kTimeoutMinNs = 1'000'000;        // 1 ms: less never answers
inline constexpr std::uint64_t kTimeoutMaxNs = 600'000'000'000;  // 10 min, as a build
inline constexpr std::uint64_t kMemoryMinBytes = 64u << 10;      // one wasm page
inline constexpr std::uint64_t kMemoryMaxBytes = 4ull << 30;     // all that wasm32 can address

struct DeployedFunction {
  std::string id;  // a CID, from the project's config
  std::string name;
  std::optional<std::string> application;  // absent: of the project itself
  codec::Cid module;                       // a UnixFS file (content/unixfs.h): the wasm bytes
  std::string call;                        // the export that is called
  std::string method;                      // upper case
  std::vector<std::string> paths;          // exact, begin with '/'
  std::vector<std::string> domains;        // fqdns, lower case, no dot at the end
  std::uint64_t timeout_ns = 0;
  std::uint64_t memory_bytes = 0;

  static constexpr auto fields() {
    using F = DeployedFunction;
    return std::tuple{codec::field("id", &F::id),
                      codec::field("name", &F::name),
                      codec::field("application", &F::application),
                      codec::field("module", &F::module),
                      codec::field("call", &F::call),
                      codec::field("method", &F::method),
                      codec::field("paths", &F::paths),
                      codec::field("domains", &F::domains),
                      codec::field("timeout_ns", &F::timeout_ns),
                      codec::field("memory_bytes", &F::memory_bytes)};
  }
  friend bool operator==(const DeployedFunction&, const DeployedFunction&) = default;
};

struct DeployedDomain {
  std::string id;
  std::string name;
  std::string fqdn;  // lower case, no dot at the end

  static constexpr auto fields() {
    using D = DeployedDomain;
    return std::tuple{codec::field("id", &D::id), codec::field("name", &D::name),
                      codec::field("fqdn", &D::fqdn)};
  }
  friend bool operator==(const DeployedDomain&, const DeployedDomain&) = default;
};

struct Deployment {
  std::uint64_t version = kDeploymentVersion;
  ProjectId project;
  std::string branch;
  std::string name;  // the project's
  std::vector<DeployedFunction> functions;
  std::vector<DeployedDomain> domains;
  std::optional<codec::Cid> config;  // of the source tree it was compiled from, for people

  static constexpr auto fields() {
    using D = Deployment;
    return std::tuple{
        codec::field("version", &D::version),     codec::field("project", &D::project),
        codec::field("branch", &D::branch),       codec::field("name", &D::name),
        codec::field("functions", &D::functions), codec::field("domains", &D::domains),
        codec::field("config", &D::config)};
  }
  friend bool operator==(const Deployment&, const Deployment&) = default;
};

struct EncodedDeployment {
  codec::Cid cid;
  Bytes block;
};

// What both directions demand. Errors: invalid_argument that names the function and the field.
Status validate(const Deployment& deployment);
Result<EncodedDeployment> encode_deployment(const Deployment& deployment);
Result<Deployment> decode_deployment(BytesView block);

// What the root links to, without duplicates: modules, then the config.
std::vector<codec::Cid> links_of(const Deployment& deployment);
// The fqdns that its functions answer on, sorted: what tns is asked to claim.
std::vector<std::string> hosts_of(const Deployment& deployment);

// Host, path and method to a function: derived, never stored. Immutable; any thread.
class Routes {
 public:
  explicit Routes(const Deployment& deployment);  // a validated one

  enum class Found : std::uint8_t { function, no_host, no_path, other_method };
  struct Answer {
    Found found = Found::no_host;
    std::size_t function = 0;          // index into Deployment::functions
    std::vector<std::string> allowed;  // other_method: what Allow should say, sorted
  };
  // `host` in lower case without port or dot at the end; `path` as it came, without its query.
  Answer find(std::string_view host, std::string_view method, std::string_view path) const;
  std::size_t size() const { return size_; }

 private:
  using Methods = std::map<std::string, std::size_t, std::less<>>;
  using Paths = std::map<std::string, Methods, std::less<>>;
  std::map<std::string, Paths, std::less<>> hosts_;
  std::size_t size_ = 0;
};

// Lower case, without the dot at the end. Errors: invalid_argument, says which rule of DNS names is
// broken.
Result<std::string> canonical_fqdn(std::string_view fqdn);
// One of the nine methods of HTTP, in upper case.
Result<std::string> canonical_method(std::string_view method);
// [a-zA-Z_][a-zA-Z0-9_]*, at most kNameBytesMax: the rule for names that code may use.
bool is_variable_name(std::string_view name);
// The same with '-' after the first character: the rule for names of files and folders.
bool is_resource_name(std::string_view name);
// Says what is wrong with the path of a route, or nothing.
Status check_path(std::string_view path);

}  // namespace tau::project

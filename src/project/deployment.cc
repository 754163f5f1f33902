#include "project/deployment.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

namespace tau::project {
namespace {

std::unexpected<Error> invalid(std::string message) {
  return fail(ErrorCode::invalid_argument, std::move(message));
}

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

Status check_id(std::string_view what, const std::string& id) {
  if (id.size() > kNameBytesMax || !codec::Cid::parse(id))
    return invalid(fmt::format("{}: id \"{}\" is no CID", what, id.substr(0, 64)));
  return {};
}

Status check_fqdn(std::string_view what, const std::string& fqdn) {
  const auto canonical = canonical_fqdn(fqdn);
  if (!canonical) return fail(Error(canonical.error()).context(what));
  if (*canonical != fqdn)
    return invalid(fmt::format("{}: \"{}\" is not in canonical form", what, fqdn));
  return {};
}

Status check_function(const DeployedFunction& f) {
  const std::string what = fmt::format("function \"{}\"", f.name.substr(0, 64));
  if (!is_resource_name(f.name)) return invalid(what + ": not a name");
  TRY_STATUS(check_id(what, f.id));
  if (f.application && !is_resource_name(*f.application))
    return invalid(what + ": application is not a name");
  if (!f.module.valid()) return invalid(what + ": no module");
  if (f.module.type() != codec::ContentType::raw && f.module.type() != codec::ContentType::dag_pb)
    return invalid(what + ": the module is no UnixFS file");
  if (!is_variable_name(f.call)) return invalid(what + ": call is no name of an export");
  const auto method = canonical_method(f.method);
  if (!method || *method != f.method) return invalid(what + ": not a method of HTTP");
  if (f.paths.empty() || f.paths.size() > kPathsMax)
    return invalid(fmt::format("{}: {} paths, must be 1 to {}", what, f.paths.size(), kPathsMax));
  for (const auto& path : f.paths) {
    if (auto status = check_path(path); !status)
      return fail(std::move(status).error().context(what));
  }
  if (f.domains.empty() || f.domains.size() > kFunctionDomainsMax)
    return invalid(fmt::format("{}: {} domains, must be 1 to {}", what, f.domains.size(),
                               kFunctionDomainsMax));
  for (const auto& fqdn : f.domains) TRY_STATUS(check_fqdn(what, fqdn));
  if (f.timeout_ns < kTimeoutMinNs || f.timeout_ns > kTimeoutMaxNs)
    return invalid(what + ": the timeout must be between 1 ms and 10 min");
  if (f.memory_bytes < kMemoryMinBytes || f.memory_bytes > kMemoryMaxBytes)
    return invalid(what + ": memory must be between 64 KiB and 4 GiB");
  return {};
}

}  // namespace

Status validate(const Deployment& d) {
  if (d.version != kDeploymentVersion)
    return fail(
        ErrorCode::unimplemented,
        fmt::format("deployment: version {} is unknown here, upgrade this node", d.version));
  TRY_STATUS(check_id("deployment", d.project.str()));
  if (d.branch.empty() || d.branch.size() > kBranchBytesMax)
    return invalid(fmt::format("deployment: a branch has 1 to {} bytes", kBranchBytesMax));
  if (!is_resource_name(d.name)) return invalid("deployment: the project's name is not a name");
  if (d.functions.size() > kFunctionsMax)
    return invalid(fmt::format("deployment: more than {} functions", kFunctionsMax));
  if (d.domains.size() > kDomainsMax)
    return invalid(fmt::format("deployment: more than {} domains", kDomainsMax));
  std::set<std::string_view> ids, hosts;
  for (const auto& domain : d.domains) {
    const std::string what = fmt::format("domain \"{}\"", domain.name.substr(0, 64));
    if (!is_resource_name(domain.name)) return invalid(what + ": not a name");
    TRY_STATUS(check_id(what, domain.id));
    TRY_STATUS(check_fqdn(what, domain.fqdn));
    if (!ids.insert(domain.id).second) return invalid(what + ": its id is there twice");
    hosts.insert(domain.fqdn);
  }
  std::size_t count = 0;
  std::set<std::tuple<std::string_view, std::string_view, std::string_view>> routes;
  for (const auto& f : d.functions) {
    TRY_STATUS(check_function(f));
    const std::string what = fmt::format("function \"{}\"", f.name);
    if (!ids.insert(f.id).second) return invalid(what + ": its id is there twice");
    count += f.paths.size() * f.domains.size();
    if (count > kRoutesMax) return invalid(fmt::format("deployment: over {} routes", kRoutesMax));
    for (const auto& fqdn : f.domains) {
      if (!hosts.contains(fqdn))
        return invalid(fmt::format("{}: {} is no domain of the deployment", what, fqdn));
      for (const auto& path : f.paths) {
        if (!routes.emplace(fqdn, f.method, path).second)
          return invalid(fmt::format("{}: {} {}{} is there twice", what, f.method, fqdn, path));
      }
    }
  }
  return {};
}

Result<EncodedDeployment> encode_deployment(const Deployment& deployment) {
  TRY_STATUS(validate(deployment));
  EncodedDeployment out;
  out.block = codec::to_cbor(deployment);
  if (out.block.size() > kDeploymentBytesMax)
    return fail(ErrorCode::resource_exhausted, fmt::format("deployment: {} bytes, at most {} fit",
                                                           out.block.size(), kDeploymentBytesMax));
  out.cid = codec::Cid::of(codec::ContentType::dag_cbor, out.block);
  return out;
}

Result<Deployment> decode_deployment(BytesView block) {
  if (block.size() > kDeploymentBytesMax)
    return fail(ErrorCode::resource_exhausted,
                fmt::format("deployment: {} bytes, at most {} are read", block.size(),
                            kDeploymentBytesMax));
  auto deployment = codec::from_cbor<Deployment>(block);
  if (!deployment) return fail(std::move(deployment).error().context("deployment"));
  TRY_STATUS(validate(*deployment));
  return deployment;
}

std::vector<codec::Cid> links_of(const Deployment& deployment) {
  std::vector<codec::Cid> out;
  std::set<codec::Cid> seen;
  for (const auto& f : deployment.functions) {
    if (seen.insert(f.module).second) out.push_back(f.module);
  }
  if (deployment.config && seen.insert(*deployment.config).second)
    out.push_back(*deployment.config);
  return out;
}

std::vector<std::string> hosts_of(const Deployment& deployment) {
  std::set<std::string> hosts;
  for (const auto& f : deployment.functions) hosts.insert(f.domains.begin(), f.domains.end());
  return {hosts.begin(), hosts.end()};
}

Routes::Routes(const Deployment& deployment) {
  for (std::size_t i = 0; i < deployment.functions.size(); ++i) {
    const auto& f = deployment.functions[i];
    for (const auto& fqdn : f.domains) {
      for (const auto& path : f.paths)
        size_ += hosts_[fqdn][path].emplace(f.method, i).second ? 1 : 0;
    }
  }
}

Routes::Answer Routes::find(std::string_view host, std::string_view method,
                            std::string_view path) const {
  Answer answer;
  const auto paths = hosts_.find(host);
  if (paths == hosts_.end()) return answer;
  answer.found = Found::no_path;
  const auto methods = paths->second.find(path);
  if (methods == paths->second.end()) return answer;
  auto function = methods->second.find(method);
  // Who answers GET answers HEAD (RFC 9110, 9.3.2): the server leaves the body out.
  if (function == methods->second.end() && method == "HEAD") function = methods->second.find("GET");
  if (function == methods->second.end()) {
    answer.found = Found::other_method;
    for (const auto& entry : methods->second) {
      answer.allowed.push_back(entry.first);
      if (entry.first == "GET" && !methods->second.contains("HEAD"))
        answer.allowed.emplace_back("HEAD");
    }
    return answer;
  }
  answer.found = Found::function;
  answer.function = function->second;
  return answer;
}

Result<std::string> canonical_fqdn(std::string_view fqdn) {
  const auto refuse = [&](std::string_view why) {
    return invalid(fmt::format("\"{}\" is no domain name: {}", fqdn.substr(0, 253), why));
  };
  if (fqdn.ends_with('.')) fqdn.remove_suffix(1);
  if (fqdn.empty()) return refuse("it is empty");
  if (fqdn.size() > 253) return refuse("it has more than 253 characters");
  std::string out;
  bool letters = false;
  for (std::size_t at = 0; at <= fqdn.size();) {
    const auto end = std::min(fqdn.find('.', at), fqdn.size());
    const auto label = fqdn.substr(at, end - at);
    at = end + 1;
    if (label.empty()) return refuse("a part between dots is empty");
    if (label.size() > 63) return refuse("a part between dots has more than 63 characters");
    if (label.front() == '-' || label.back() == '-')
      return refuse("a part between dots begins or ends with '-'");
    if (!out.empty()) out += '.';
    for (const char c : label) {
      if (!is_letter(c) && !is_digit(c) && c != '-' && c != '_')
        return refuse("only letters, digits, '-' and '_' are allowed");
      letters = letters || is_letter(c);
      out += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    }
  }
  if (!letters) return refuse("it has no letter, so it looks like an address");
  return out;
}

Result<std::string> canonical_method(std::string_view method) {
  static constexpr std::array<std::string_view, 9> kMethods = {
      "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"};
  std::string upper(method.substr(0, 16));
  for (char& c : upper) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
  }
  if (method.size() < 16 && std::ranges::find(kMethods, upper) != kMethods.end()) return upper;
  return invalid(fmt::format(
      "\"{}\" is no method of HTTP: use GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, TRACE or "
      "PATCH",
      method.substr(0, 32)));
}

bool is_variable_name(std::string_view name) {
  return !name.empty() && name.size() <= kNameBytesMax && !is_digit(name[0]) &&
         std::ranges::all_of(name, [](char c) { return is_letter(c) || is_digit(c) || c == '_'; });
}

bool is_resource_name(std::string_view name) {
  return !name.empty() && name.size() <= kNameBytesMax && !is_digit(name[0]) && name[0] != '-' &&
         std::ranges::all_of(
             name, [](char c) { return is_letter(c) || is_digit(c) || c == '_' || c == '-'; });
}

Status check_path(std::string_view path) {
  const auto refuse = [&](std::string_view why) {
    return invalid(fmt::format("path \"{}\" {}", path.substr(0, 100), why));
  };
  if (!path.starts_with('/')) return refuse("must begin with '/'");
  if (path.size() > kPathBytesMax) return refuse("is too long");
  for (const char c : path) {
    if (static_cast<unsigned char>(c) <= 0x20 || c == 0x7f) return refuse("has white space");
    if (c == '?' || c == '#') return refuse("must not have a query or a fragment");
  }
  return {};
}

}  // namespace tau::project

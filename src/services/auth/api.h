// auth on the wire: who owns which project.
//
// A project's root of trust is its owner's public key. The project's id is the CID of its genesis,
// which holds that key, so that anybody can check that a registration is its owner's without asking
// anyone.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "codec/signed.h"
#include "command/command.h"

namespace tau::auth {

struct Genesis {
  std::string name;                      // what the owner called it
  std::array<std::uint8_t, 32> owner{};  // Ed25519 public key
  std::array<std::uint8_t, 16> nonce{};
  static constexpr auto fields() {
    return std::tuple{codec::field("name", &Genesis::name), codec::field("owner", &Genesis::owner),
                      codec::field("nonce", &Genesis::nonce)};
  }
};
// The text of the genesis's CID (version 1, dag-cbor).
ProjectId project_id_of(const Genesis& genesis);

enum class RepositoryKind : std::uint8_t { config = 1, code = 2 };

struct Repository {
  std::string name;  // "config", "code": unique within the project
  RepositoryKind kind = RepositoryKind::config;
  std::string provider;  // who hosts it: "local"
  static constexpr auto fields() {
    return std::tuple{codec::field("name", &Repository::name),
                      codec::field("kind", &Repository::kind),
                      codec::field("provider", &Repository::provider)};
  }
};

// What the owner signs: these repositories, as hosted by these providers, speak for the project.
struct Registration {
  static constexpr std::string_view kPurpose = "tau registration v1";
  Genesis genesis;
  std::string
      label;  // the first name under the network's suffix: "hello" in hello.blackhole.localhost
  std::vector<Repository> repositories;
  std::int64_t made_unix_ms = 0;
  static constexpr auto fields() {
    return std::tuple{codec::field("genesis", &Registration::genesis),
                      codec::field("label", &Registration::label),
                      codec::field("repositories", &Registration::repositories),
                      codec::field("made", &Registration::made_unix_ms)};
  }
  ProjectId project() const { return project_id_of(genesis); }
};

inline constexpr std::size_t kRepositoriesMax = 64;
// 1 to 63 of a-z, 0-9 and '-', not at either end (RFC 1123), as one label of a host name.
Status check_label(std::string_view label);
// Checks the owner's signature (the owner is the one the genesis names), names and bounds.
// Errors: permission_denied, invalid_argument.
Result<Registration> open_registration(const codec::Signed& registration);

inline constexpr std::string_view kRole = "auth";
inline constexpr std::string_view kProtocol = "/tau/auth/1";

// Stores a registration (fsynced) and claims its label in tns. Again with the same project:
// replaces it if newer. Errors: already_exists (the label is another project's; says so),
// permission_denied (not the owner).
struct Register {
  static constexpr std::string_view kName = "register";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(10);
  struct Request {
    codec::Signed registration;
    static constexpr auto fields() {
      return std::tuple{codec::field("registration", &Request::registration)};
    }
  };
  struct Response {
    ProjectId project;
    static constexpr auto fields() {
      return std::tuple{codec::field("project", &Response::project)};
    }
  };
};

// Errors: not_found.
struct GetProject {
  static constexpr std::string_view kName = "get_project";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(5);
  struct Request {
    ProjectId project;
    static constexpr auto fields() {
      return std::tuple{codec::field("project", &Request::project)};
    }
  };
  struct Response {
    codec::Signed registration;
    static constexpr auto fields() {
      return std::tuple{codec::field("registration", &Response::registration)};
    }
  };
};

// A page of projects after `after`, in id order.
struct ListProjects {
  static constexpr std::string_view kName = "list_projects";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(5);
  struct Request {
    ProjectId after;
    std::uint32_t limit = 100;  // at most 100
    static constexpr auto fields() {
      return std::tuple{codec::field("after", &Request::after),
                        codec::field("limit", &Request::limit)};
    }
  };
  struct Response {
    std::vector<codec::Signed> registrations;
    static constexpr auto fields() {
      return std::tuple{codec::field("registrations", &Response::registrations)};
    }
  };
};

using Commands = command::List<Register, GetProject, ListProjects>;

}  // namespace tau::auth

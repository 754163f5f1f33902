// What auth must do, on whatever hosts the test brings.
#pragma once

#include <gtest/gtest.h>

#include <set>

#include "command/members.h"
#include "services/auth/service.h"
#include "services/tns/api.h"
#include "store/memory/memory_kv.h"

namespace tau::auth {

// Stands in for tns behind its wire interface: the real one is tested in its own folder.
class LabelBook {
 public:
  Task<Result<command::Empty>> handle(command::Peer, tns::Claim::Request request) {
    CO_TRY_SYNC(const auto registration, open_registration(request.registration));
    const auto it = owners.emplace(registration.label, registration.project()).first;
    if (it->second != registration.project())
      co_return fail(ErrorCode::already_exists, "the label is another project's");
    co_return command::Empty{};
  }
  std::map<std::string, ProjectId> owners;
};

inline codec::Signed registration_of(const crypto::KeyPair& owner, std::string label,
                                     std::int64_t made) {
  Registration r;
  r.genesis = {"hello", owner.public_key().raw(), {}};
  r.label = std::move(label);
  r.repositories = {{"config", RepositoryKind::config, "local"},
                    {"code", RepositoryKind::code, "local"}};
  r.made_unix_ms = made;
  return codec::sign_record(owner, r);
}

inline void run_auth_scenario(runtime::Loop& loop, Random& random,
                              command::Members::HostFactory hosts) {
  command::Members members(loop, random, std::move(hosts));
  auto& auth_node = members.add({"auth"});
  auto& tns_node = members.add({"tns"});
  auto& client = members.add({"client"});
  ASSERT_TRUE(runtime::block_on(loop, members.start()));
  LabelBook book;
  tns_node.router.serve(tns::kProtocol, book, command::List<tns::Claim>{});
  store::MemoryKv kv;
  Service service(auth_node.router, auth_node.caller, kv);
  ASSERT_TRUE(runtime::block_on(loop, service.start()));

  const auto ann = crypto::KeyPair::generate(random), bob = crypto::KeyPair::generate(random);
  const auto put = [&](const codec::Signed& registration) {
    return runtime::block_on(loop,
                             client.caller.call_any<Register>(kRole, kProtocol, {registration}));
  };
  const auto first = registration_of(ann, "hello", 1);
  const auto project = put(first);
  ASSERT_TRUE(project) << project.error().to_string();
  EXPECT_TRUE(put(first)) << "the same again is no error";

  const auto read = runtime::block_on(
      loop, client.caller.call_any<GetProject>(kRole, kProtocol, {project->project}));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->registration, first);

  EXPECT_EQ(put(registration_of(bob, "hello", 1)).error().code(), ErrorCode::already_exists);
  EXPECT_EQ(put(registration_of(ann, "other", 1)).error().code(), ErrorCode::failed_precondition);
  EXPECT_TRUE(put(registration_of(ann, "other", 2)));
  auto forged = first;
  forged.signature[0] ^= 1;
  EXPECT_EQ(put(forged).error().code(), ErrorCode::permission_denied);

  const auto list = runtime::block_on(
      loop, client.caller.call_any<ListProjects>(kRole, kProtocol, {ProjectId(), 100}));
  ASSERT_TRUE(list);
  EXPECT_EQ(list->registrations.size(), 1u);
  EXPECT_EQ(runtime::block_on(
                loop, client.caller.call_any<GetProject>(kRole, kProtocol, {ProjectId("x")}))
                .error()
                .code(),
            ErrorCode::not_found);

  runtime::block_on(loop, service.stop());
  runtime::block_on(loop, service.stop());
  runtime::block_on(loop, tns_node.router.unserve(tns::kProtocol));
  runtime::block_on(loop, members.stop());
}

}  // namespace tau::auth

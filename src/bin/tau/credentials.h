// What belongs to the person: the folder with the owner's key and the settings of tau.
//
//   $XDG_CONFIG_HOME/tau (else ~/.config/tau)
//     owner.key     "ed25519 HEX": the secret of RFC 8032, mode 0600. Who has it owns the projects.
//     config.yaml   cloud: URL
#pragma once

#include <filesystem>
#include <string>

#include "base/error.h"
#include "base/random.h"
#include "crypto/ed25519.h"

namespace tau::cli {

// Errors: failed_precondition (neither XDG_CONFIG_HOME nor HOME is set).
Result<std::filesystem::path> config_folder();

struct OwnerKey {
  crypto::KeyPair key;
  std::filesystem::path file;
  bool is_new = false;
};
// The owner's key; made the first time. Errors: permission_denied (others may read it),
// invalid_argument (broken), unavailable (the disk).
Result<OwnerKey> owner_key(const std::filesystem::path& folder, Random& random);

// flag, else TAU_CLOUD, else config.yaml, else the dream of this machine.
Result<std::string> cloud_url(const std::string& flag);

}  // namespace tau::cli

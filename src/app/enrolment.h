// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/enrolment.h: how a connector or relay comes in: by what it keeps, or by an enrolment token.

#include <expected>
#include <filesystem>
#include <optional>
#include <string>

#include "app/command.h"
#include "app/state_directory.h"
#include "crypto/identity.h"
#include "node/controller_session.h"
#include "zt/grant/enrolment_token.h"

namespace zt::app {

// Entrance is everything that a node needs to reach its controller.
struct Entrance {
  StateDirectory state;
  crypto::Identity identity;
  Authority controller;
  Digest controller_key;
  node::Credential credential;
  std::optional<NodeRecord> record;  // Of an earlier enrolment.
};

struct EntranceError {
  ExitCode code = ExitCode::failed;
  std::string sentence;
};

struct EntranceOptions {
  grant::NodeKind kind = grant::NodeKind::connector;
  std::filesystem::path state;
  std::string name;
};

// open_entrance prefers what the state directory holds: then a token is not needed and not used.
[[nodiscard]] std::expected<Entrance, EntranceError> open_entrance(const EntranceOptions& options,
                                                                   const TokenSource& token,
                                                                   UnixTime now);

}  // namespace zt::app

// SPDX-License-Identifier: Apache-2.0
#include "app/enrolment.h"

#include <fmt/format.h>

#include <utility>

namespace zt::app {

namespace {

using Error = std::unexpected<EntranceError>;

}  // namespace

std::expected<Entrance, EntranceError> open_entrance(const EntranceOptions& options,
                                                     const TokenSource& token, UnixTime now) {
  const std::string kind(grant::to_text(options.kind));
  auto state = StateDirectory::open(options.state);
  if (!state) return Error({.code = ExitCode::failed, .sentence = state.error()});
  auto record = state->read();
  if (!record) return Error({.code = ExitCode::failed, .sentence = record.error()});
  auto identity = state->identity("zt " + kind, now);
  if (!identity) return Error({.code = ExitCode::failed, .sentence = identity.error()});

  if (*record) {
    const NodeRecord& held = **record;
    if (held.kind != kind) {
      return Error({.code = ExitCode::usage,
                    .sentence = fmt::format("{} holds the state of a {}, not of a {}",
                                            options.state.string(), held.kind, kind)});
    }
    return Entrance{.state = std::move(*state),
                    .identity = std::move(*identity),
                    .controller = held.controller,
                    .controller_key = held.controller_key,
                    .credential = node::KnownIdentity{},
                    .record = held};
  }

  const auto text = token.read();
  if (!text) return Error({.code = ExitCode::usage, .sentence = text.error()});
  if (!*text) {
    return Error({.code = ExitCode::usage,
                  .sentence = fmt::format("this {} is not enrolled yet and no token was given: use "
                                          "--token-file, --token or ZT_TOKEN",
                                          kind)});
  }
  auto parsed = grant::EnrolmentToken::parse(**text);
  if (!parsed) {
    return Error({.code = ExitCode::usage,
                  .sentence = fmt::format("the enrolment token is wrong: {}",
                                          grant::to_text(parsed.error()))});
  }
  if (parsed->kind != options.kind) {
    return Error({.code = ExitCode::usage,
                  .sentence = fmt::format("the token enrols a {}, not a {}",
                                          grant::to_text(parsed->kind), kind)});
  }
  return Entrance{
      .state = std::move(*state),
      .identity = std::move(*identity),
      .controller = parsed->controller,
      .controller_key = parsed->controller_key,
      .credential =
          node::Enrolment{.secret = std::move(parsed->secret), .kind = kind, .name = options.name},
      .record = std::nullopt};
}

}  // namespace zt::app

// SPDX-License-Identifier: Apache-2.0
#pragma once
// base/engine.h: the one shape that every sans-I/O core has.
//
// Contract
//   1. Change an engine by exactly one call: a handle…(input, now), a command, or
//      handle_timeout(now).
//   2. Then drain it: call its poll_…() functions until each returns nothing, and carry out what
//   they
//      returned.
//   3. Then ask next_deadline() and wait for it, or for the next input, whichever comes first.
//   The instant of `now` never goes backwards. An engine reads no clock, opens no socket, starts no
//   thread, and calls nobody back. Given the same seed and the same calls it gives the same
//   outputs.

#include <concepts>
#include <optional>
#include <utility>

#include "zt/base/time.h"

namespace zt {

// Engine is a role's core. Byte-moving cores (quic::Endpoint) keep the contract with more than one
// poll function and document it.
template <class E>
concept Engine = requires(E& engine, const E& view, typename E::Input input, const Now& now) {
  { engine.handle(std::move(input), now) } -> std::same_as<void>;
  { engine.handle_timeout(now) } -> std::same_as<void>;
  { engine.poll_output() } -> std::same_as<std::optional<typename E::Output>>;
  { view.next_deadline() } -> std::same_as<std::optional<Instant>>;
};

}  // namespace zt

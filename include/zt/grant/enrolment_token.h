// SPDX-License-Identifier: Apache-2.0
#pragma once
// grant/enrolment_token.h: the one string that turns a fresh machine into a node.
//
// Theory of operation
//   "zt1." and the base64url of {"u": controller URL, "p": pin, "s": secret, "k": "connector" or
//   "relay"}: a word that a shell, a URL and a YAML file carry unchanged. The digit is the version.
//   It is a secret as a whole, although only `s` needs to be.
//
// Limits   kEnrolmentTokenSizeMax bytes.

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string_view>

#include "zt/base/host.h"
#include "zt/base/ids.h"
#include "zt/base/secret.h"
#include "zt/grant/bootstrap.h"

namespace zt::grant {

inline constexpr std::size_t kEnrolmentTokenSizeMax = 2048;

enum class NodeKind : std::uint8_t { connector, relay };

// to_text returns "connector" or "relay"; parse_node_kind is its inverse.
[[nodiscard]] std::string_view to_text(NodeKind kind);
[[nodiscard]] std::optional<NodeKind> parse_node_kind(std::string_view text);

struct EnrolmentToken {
  Authority controller;
  Digest controller_key;  // The pin.
  Secret secret;          // As make_shared_secret returns it.
  NodeKind kind = NodeKind::connector;

  // parse reads what format wrote, and no white space around it. It fails with any BootstrapError.
  [[nodiscard]] static std::expected<EnrolmentToken, BootstrapError> parse(const Secret& text);
  [[nodiscard]] Secret format() const;
};

}  // namespace zt::grant

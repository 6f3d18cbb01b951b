// SPDX-License-Identifier: Apache-2.0
#include "zt/grant/enrolment_token.h"

#include <string>
#include <utility>

#include "wire/json.h"
#include "zt/base/bytes.h"

namespace zt::grant {
namespace {

constexpr std::string_view kPrefix = "zt1.";

// is_later_version tells whether `text` begins like one of our tokens of another version: "zt2.",
// "zt10.".
bool is_later_version(std::string_view text) {
  const std::size_t dot = text.substr(0, 8).find('.');
  if (!text.starts_with("zt") || dot == std::string_view::npos || dot < 3) return false;
  return text.substr(2, dot - 2).find_first_not_of("0123456789") == std::string_view::npos;
}

std::expected<EnrolmentToken, BootstrapError> parse_members(const wire::Json& object) {
  const auto malformed = std::unexpected(BootstrapError::malformed);
  if (!wire::has_exactly(object, {"u", "p", "s", "k"})) return malformed;
  const auto url = wire::text_member(object, "u");
  const auto pin_text = wire::text_member(object, "p");
  const auto secret = wire::text_member(object, "s");
  const auto kind_text = wire::text_member(object, "k");
  if (!url || !pin_text || !secret || !kind_text) return malformed;
  const auto pin = Digest::parse(*pin_text);
  const auto kind = parse_node_kind(*kind_text);
  if (!pin || !kind || !is_shared_secret(*secret)) return malformed;
  auto controller = parse_controller_url(*url);
  if (!controller) return std::unexpected(BootstrapError::wrong_url);
  return EnrolmentToken{
      .controller = std::move(*controller),
      .controller_key = *pin,
      .secret = Secret(*secret),
      .kind = *kind,
  };
}

}  // namespace

std::string_view to_text(NodeKind kind) {
  return kind == NodeKind::connector ? "connector" : "relay";
}

std::optional<NodeKind> parse_node_kind(std::string_view text) {
  if (text == to_text(NodeKind::connector)) return NodeKind::connector;
  if (text == to_text(NodeKind::relay)) return NodeKind::relay;
  return std::nullopt;
}

std::expected<EnrolmentToken, BootstrapError> EnrolmentToken::parse(const Secret& text) {
  const std::string_view token = text.reveal();
  if (!token.starts_with(kPrefix)) {
    return std::unexpected(is_later_version(token) ? BootstrapError::unsupported_version
                                                   : BootstrapError::wrong_kind);
  }
  if (token.size() > kEnrolmentTokenSizeMax) return std::unexpected(BootstrapError::malformed);
  auto decoded = from_base64url(token.substr(kPrefix.size()));
  if (!decoded) return std::unexpected(BootstrapError::malformed);
  const auto object = wire::parse_json(as_text(*decoded));
  wipe(decoded->data(), decoded->size());
  if (!object) return std::unexpected(BootstrapError::malformed);
  return parse_members(*object);
}

Secret EnrolmentToken::format() const {
  const wire::Json object = {
      {"u", to_controller_url(controller)},
      {"p", controller_key.to_text()},
      {"s", secret.reveal()},
      {"k", grant::to_text(kind)},
  };
  const Secret json(wire::json_text(object));
  return Secret(std::string(kPrefix) + to_base64url(as_bytes(json.reveal())));
}

}  // namespace zt::grant

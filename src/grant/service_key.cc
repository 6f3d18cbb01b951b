// SPDX-License-Identifier: Apache-2.0
#include "zt/grant/service_key.h"

#include <optional>
#include <string>
#include <utility>

#include "grant/claims.h"
#include "wire/json.h"

namespace zt::grant {
namespace {

constexpr std::string_view kKind = "service-key";

}  // namespace

std::expected<ServiceKey, BootstrapError> ServiceKey::parse(const Secret& text) {
  const auto malformed = std::unexpected(BootstrapError::malformed);
  if (text.reveal().size() > kServiceKeySizeMax) return malformed;
  const auto object = wire::parse_json(text.reveal());
  if (!object) return malformed;
  if (wire::text_member(*object, "zt") != kKind) return std::unexpected(BootstrapError::wrong_kind);
  if (!wire::has_exactly(*object, {"zt", "url", "pin", "key_id", "secret"})) return malformed;
  KeyId id;
  const auto url = wire::text_member(*object, "url");
  const auto pin_text = wire::text_member(*object, "pin");
  const auto secret = wire::text_member(*object, "secret");
  if (!url || !pin_text || !secret || !id_member(*object, "key_id", id)) return malformed;
  const auto pin = Digest::parse(*pin_text);
  if (!pin || !is_shared_secret(*secret)) return malformed;
  auto controller = parse_controller_url(*url);
  if (!controller) return std::unexpected(BootstrapError::wrong_url);
  return ServiceKey{
      .controller = std::move(*controller),
      .controller_key = *pin,
      .id = std::move(id),
      .secret = Secret(*secret),
  };
}

Secret ServiceKey::format() const {
  const wire::Json object = {
      {"zt", kKind},
      {"url", to_controller_url(controller)},
      {"pin", controller_key.to_text()},
      {"key_id", id.text},
      {"secret", secret.reveal()},
  };
  return Secret(wire::pretty_json_text(object) + "\n");
}

}  // namespace zt::grant

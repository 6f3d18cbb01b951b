// SPDX-License-Identifier: Apache-2.0
#pragma once
// grant/bootstrap.h: what a node must hold to find its controller, trust it, and be believed once.
//
// Theory of operation
//   Three values: where the controller is (an https URL without a path), which public key it must
//   show (the pin: SHA-256 of the DER SubjectPublicKeyInfo, so that no certificate authority can
//   stand in for it), and a secret of 256 random bits. enrolment_token.h and service_key.h are the
//   two texts that carry them.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "zt/base/host.h"
#include "zt/base/random.h"
#include "zt/base/secret.h"

namespace zt::grant {

// BootstrapError tells a person what is wrong with the text that they gave.
enum class BootstrapError : std::uint8_t {
  wrong_kind,           // Not this kind of text at all.
  unsupported_version,  // Of a later zt; this one is too old for it.
  malformed,            // The right kind, but damaged: often cut off when copied.
  wrong_url,            // The controller's URL is not https://HOST[:PORT].
};

// to_text returns a phrase: "damaged or incomplete".
[[nodiscard]] std::string_view to_text(BootstrapError error);

// parse_controller_url accepts "https://HOST[:PORT]" and nothing after it; the port is 443 if none
// is given.
[[nodiscard]] std::optional<Authority> parse_controller_url(std::string_view url);

// to_controller_url writes what parse_controller_url reads, without the port if it is 443.
[[nodiscard]] std::string to_controller_url(const Authority& controller);

// make_shared_secret draws 256 bits and returns their base64url text. This text is what is sent and
// hashed.
[[nodiscard]] Secret make_shared_secret(Random& random);

// is_shared_secret tells whether `text` has the form that make_shared_secret gives it.
[[nodiscard]] bool is_shared_secret(std::string_view text);

}  // namespace zt::grant

// SPDX-License-Identifier: Apache-2.0
#include "zt/grant/bootstrap.h"

#include <array>
#include <cstddef>

#include "zt/base/bytes.h"

namespace zt::grant {
namespace {

constexpr std::string_view kScheme = "https://";
constexpr std::string_view kDefaultPort = ":443";
constexpr std::size_t kSharedSecretSize = 32;

}  // namespace

std::string_view to_text(BootstrapError error) {
  switch (error) {
    case BootstrapError::wrong_kind:
      return "not a text of this kind";
    case BootstrapError::unsupported_version:
      return "made for a later version of zt";
    case BootstrapError::malformed:
      return "damaged or incomplete";
    case BootstrapError::wrong_url:
      return "its controller URL is not https://HOST[:PORT]";
  }
  return "unknown";
}

std::optional<Authority> parse_controller_url(std::string_view url) {
  if (!url.starts_with(kScheme)) return std::nullopt;
  const std::string text(url.substr(kScheme.size()));
  if (auto authority = Authority::parse(text)) return authority;
  return Authority::parse(text + std::string(kDefaultPort));
}

std::string to_controller_url(const Authority& controller) {
  std::string text = controller.to_text();
  if (text.ends_with(kDefaultPort)) text.resize(text.size() - kDefaultPort.size());
  return std::string(kScheme) + text;
}

Secret make_shared_secret(Random& random) {
  std::array<std::byte, kSharedSecretSize> bytes{};
  random.fill(bytes);
  Secret secret(to_base64url(bytes));
  wipe(bytes.data(), bytes.size());
  return secret;
}

bool is_shared_secret(std::string_view text) {
  const auto decoded = from_base64url(text);
  return decoded && decoded->size() == kSharedSecretSize;
}

}  // namespace zt::grant

// SPDX-License-Identifier: Apache-2.0
#include "app/admin_access.h"

#include <fmt/format.h>

#include "io/files.h"
#include "wire/json.h"
#include "zt/base/bytes.h"
#include "zt/grant/bootstrap.h"

namespace zt::app {

namespace {

using wire::Json;

constexpr std::size_t kFileSizeMax = 4096;

}  // namespace

std::expected<AdminAccess, std::string> AdminAccess::read(const std::filesystem::path& path) {
  const auto text = io::read_secret_file(path, kFileSizeMax);
  if (!text) {
    return std::unexpected(fmt::format("{}: {}", path.string(), io::to_text(text.error())));
  }
  const Json object = wire::parse_json_object(text->reveal());
  if (object.is_object() && wire::text_or_empty(object, "zt") == "admin") {
    const auto controller = grant::parse_controller_url(wire::text_or_empty(object, "url"));
    const auto pin = Digest::parse(wire::text_or_empty(object, "pin"));
    Secret key(wire::text_or_empty(object, "api_key"));
    if (controller && pin && !key.is_empty()) {
      return AdminAccess{
          .controller = *controller, .controller_key = *pin, .api_key = std::move(key)};
    }
  }
  return std::unexpected(
      fmt::format("{}: not the access of an administrator of zt", path.string()));
}

Secret AdminAccess::format() const {
  const Json object = {{"zt", "admin"},
                       {"url", grant::to_controller_url(controller)},
                       {"pin", controller_key.to_text()},
                       {"api_key", api_key.reveal()}};
  return Secret(wire::pretty_json_text(object) + "\n");
}

std::expected<void, std::string> AdminAccess::write(const std::filesystem::path& path) const {
  const Secret text = format();
  const auto written = io::write_file(path, as_bytes(text.reveal()), io::FileMode::secret);
  if (!written) {
    return std::unexpected(fmt::format("{}: {}", path.string(), io::to_text(written.error())));
  }
  return {};
}

}  // namespace zt::app

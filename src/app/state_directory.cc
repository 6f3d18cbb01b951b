// SPDX-License-Identifier: Apache-2.0
#include "app/state_directory.h"

#include <fmt/format.h>

#include <utility>

#include "wire/json.h"
#include "zt/base/bytes.h"
#include "zt/grant/bootstrap.h"

namespace zt::app {

namespace {

using wire::Json;

constexpr std::size_t kIdentitySizeMax = 16 << 10;
constexpr std::size_t kRecordSizeMax = 64 << 10;
constexpr std::string_view kCertificateEnd = "-----END CERTIFICATE-----\n";

std::string sentence(const std::filesystem::path& path, io::FileError error) {
  return fmt::format("{}: {}", path.string(), io::to_text(error));
}

std::optional<NodeRecord> parse_record(std::string_view text) {
  const Json object = wire::parse_json_object(text);
  if (!object.is_object() || wire::text_or_empty(object, "zt") != "node") return std::nullopt;
  const auto controller = grant::parse_controller_url(wire::text_or_empty(object, "controller"));
  const auto pin = Digest::parse(wire::text_or_empty(object, "pin"));
  const auto tenant = parse_id_as<TenantIdTag>(wire::text_or_empty(object, "tenant"));
  NodeRecord record{.kind = wire::text_or_empty(object, "kind"),
                    .node = wire::text_or_empty(object, "node")};
  if (!controller || !pin || !tenant || record.kind.empty() || record.node.empty()) {
    return std::nullopt;
  }
  record.controller = *controller;
  record.controller_key = *pin;
  record.tenant = *tenant;
  record.network.text = wire::text_or_empty(object, "network");
  const auto jwks = object.find("jwks");
  if (jwks != object.end() && jwks->is_object()) record.jwks = wire::json_text(*jwks);
  return record;
}

}  // namespace

std::expected<StateDirectory, std::string> StateDirectory::open(const std::filesystem::path& path) {
  if (const auto made = io::make_private_directory(path); !made) {
    return std::unexpected(sentence(path, made.error()));
  }
  auto lock = io::FileLock::acquire(path / "lock");
  if (!lock && lock.error() == io::FileError::locked) {
    return std::unexpected(
        fmt::format("{}: another zt process uses this state directory", path.string()));
  }
  if (!lock) return std::unexpected(sentence(path / "lock", lock.error()));
  return StateDirectory(path, std::move(*lock));
}

std::expected<crypto::Identity, std::string> StateDirectory::identity(
    const std::string& common_name, UnixTime now) const {
  const std::filesystem::path file = path_ / "identity.pem";
  const auto held = io::read_secret_file(file, kIdentitySizeMax);
  if (held) {
    const std::string_view text = held->reveal();
    const std::size_t end = text.find(kCertificateEnd);
    if (end == std::string_view::npos) {
      return std::unexpected(fmt::format("{}: not an identity", file.string()));
    }
    const std::size_t split = end + kCertificateEnd.size();
    auto identity = crypto::Identity::from_pem(text.substr(0, split), Secret(text.substr(split)));
    if (!identity) return std::unexpected(fmt::format("{}: not an identity", file.string()));
    return std::move(*identity);
  }
  if (held.error() != io::FileError::not_found) {
    return std::unexpected(sentence(file, held.error()));
  }
  crypto::Identity identity = crypto::Identity::create(common_name, now);
  const Secret pem(identity.certificate_pem() + std::string(identity.key_pem().reveal()));
  const auto written = io::write_file(file, as_bytes(pem.reveal()), io::FileMode::secret);
  if (!written) return std::unexpected(sentence(file, written.error()));
  return identity;
}

std::expected<std::optional<NodeRecord>, std::string> StateDirectory::read() const {
  const std::filesystem::path file = path_ / "node.json";
  const auto text = io::read_file(file, kRecordSizeMax);
  if (!text && text.error() == io::FileError::not_found) return std::nullopt;
  if (!text) return std::unexpected(sentence(file, text.error()));
  auto record = parse_record(*text);
  if (!record) return std::unexpected(fmt::format("{}: not a node's record", file.string()));
  return record;
}

std::expected<void, std::string> StateDirectory::write(const NodeRecord& record) const {
  Json object = {{"zt", "node"},
                 {"kind", record.kind},
                 {"controller", grant::to_controller_url(record.controller)},
                 {"pin", record.controller_key.to_text()},
                 {"tenant", record.tenant.text},
                 {"node", record.node}};
  if (!record.network.is_empty()) object["network"] = record.network.text;
  const Json jwks = wire::parse_json_object(record.jwks);
  if (jwks.is_object()) object["jwks"] = jwks;
  const std::filesystem::path file = path_ / "node.json";
  const auto written =
      io::write_file(file, as_bytes(wire::pretty_json_text(object) + "\n"), io::FileMode::secret);
  if (!written) return std::unexpected(sentence(file, written.error()));
  return {};
}

}  // namespace zt::app

// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/admin_access.h: how `zt admin` reaches a controller: where it is, its pin, and an API key.
//
// Theory of operation
//   A file holds {"zt":"admin","url":…,"pin":…,"api_key":…}, mode 0600. The controller writes one
//   at its first start.

#include <expected>
#include <filesystem>
#include <string>

#include "zt/base/host.h"
#include "zt/base/ids.h"
#include "zt/base/secret.h"

namespace zt::app {

struct AdminAccess {
  Authority controller;
  Digest controller_key;  // The pin.
  Secret api_key;

  // read and write fail with a sentence that names the file.
  [[nodiscard]] static std::expected<AdminAccess, std::string> read(
      const std::filesystem::path& path);
  [[nodiscard]] std::expected<void, std::string> write(const std::filesystem::path& path) const;

  // format returns what such a file holds.
  [[nodiscard]] Secret format() const;
};

}  // namespace zt::app

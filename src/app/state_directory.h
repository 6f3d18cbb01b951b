// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/state_directory.h: what a node keeps over restarts: its key, what enrolment made of it,
// and what it has not reported yet.
//
// Theory of operation
//   One directory, mode 0700, locked while a process uses it, with
//     identity.pem  certificate and private key, made by the first start (0600)
//     node.json     who the node is and which controller it belongs to (0600)
//     flows.log     flow reports that the controller has not got yet (0600, node/flow_spool.h)
//   Files are replaced whole or not at all, so a full disk or a power cut leaves the former ones.
//   Enrolment secrets are never written.
//
// Threats  Others on the machine: modes are checked when the files are read.

#include <expected>
#include <filesystem>
#include <optional>
#include <string>

#include "crypto/identity.h"
#include "io/files.h"
#include "zt/base/host.h"
#include "zt/base/ids.h"
#include "zt/base/time.h"

namespace zt::app {

// NodeRecord is node.json.
struct NodeRecord {
  std::string kind;  // "connector" or "relay".
  Authority controller;
  Digest controller_key;  // The pin.
  TenantId tenant;
  NetworkId network;  // Of a connector.
  std::string node;   // "con_…" or "rly_…".
  std::string jwks;   // The tenant's keys as JSON text; of a connector.

  friend bool operator==(const NodeRecord&, const NodeRecord&) = default;
};

// Errors are sentences for the user; they name the file.
class StateDirectory {
 public:
  // open makes the directory if it is missing, and locks it.
  [[nodiscard]] static std::expected<StateDirectory, std::string> open(
      const std::filesystem::path& path);

  // identity reads the node's identity, or makes one with `common_name`.
  [[nodiscard]] std::expected<crypto::Identity, std::string> identity(
      const std::string& common_name, UnixTime now) const;

  // read returns nothing if the node was never enrolled.
  [[nodiscard]] std::expected<std::optional<NodeRecord>, std::string> read() const;
  [[nodiscard]] std::expected<void, std::string> write(const NodeRecord& record) const;

  [[nodiscard]] std::filesystem::path flow_file() const { return path_ / "flows.log"; }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  StateDirectory(std::filesystem::path path, io::FileLock lock)
      : path_(std::move(path)), lock_(std::move(lock)) {}

  std::filesystem::path path_;
  io::FileLock lock_;
};

}  // namespace zt::app

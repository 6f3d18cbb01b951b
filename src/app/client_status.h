// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/client_status.h: the client's state as one JSON object, and as the tables that people read.
//
// Theory of operation
//   The running client writes the object, `zt client status` shows it. It has a "version" member:
//   members are added without raising it, and nothing changes its meaning.

#include <string>
#include <string_view>
#include <vector>

#include "node/client_node.h"
#include "zt/base/ip.h"
#include "zt/base/time.h"

namespace zt::app {

// IngressStatus is one adapter that listens.
struct IngressStatus {
  std::string kind;  // "forward", "forward-udp", "socks", "http-proxy".
  SocketAddress local;
  std::string target;  // Of a forward.
};

// ClientFacts is what the client knows beside its node.
struct ClientFacts {
  std::string controller;
  SubjectId subject;  // Empty before the sign-in.
  std::string subject_name;
  DeviceId device;
};

// status_json writes the object.
[[nodiscard]] std::string status_json(const node::ClientNode& node, const ClientFacts& facts,
                                      const std::vector<IngressStatus>& ingress, const Now& now);

// These show the object as tables; a malformed one shows as it is. paths_text shows what was tried
// to reach each connector directly.
[[nodiscard]] std::string status_text(std::string_view json);
[[nodiscard]] std::string paths_text(std::string_view json);
[[nodiscard]] std::string resources_text(std::string_view json);

}  // namespace zt::app

// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/client_up.h: `zt client up`: runs the client with its ingress adapters until it is told to
// stop.

#include <string>
#include <vector>

#include "app/busy_polling.h"
#include "app/command.h"
#include "app/path_settings.h"

namespace zt::app {

struct ClientUpSettings {
  std::string key_file;
  std::string state;
  std::string socket;                 // Of the control server.
  std::vector<std::string> forwards;  // [udp:][BIND:]PORT=HOST:PORT
  std::string socks;                  // [ADDRESS:]PORT; empty: none.
  std::string http_proxy;             // Likewise.
  bool is_background = false;
  std::string log_file;  // Of the background; empty: STATE/client.log.
  PathSettings paths;
  BusyPolling busy_polling;
  LogSettings log;
};

// client_up returns when the client has ended; in the background, when it is up or has failed.
ExitCode client_up(const ClientUpSettings& settings);

}  // namespace zt::app

// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/local_network.h: keeps a node told of where this machine is in the network.
//
// Theory of operation
//   The kernel tells of changes (io/network_watch.h). Where it cannot, the addresses are read every
//   kInterval: a change is then noticed later. If they cannot be read, the node keeps the last ones
//   that it was told.

#include <functional>
#include <memory>

#include "app/log.h"
#include "io/loop.h"
#include "io/network_watch.h"
#include "io/udp.h"
#include "node/link.h"

namespace zt::app {

class LocalNetwork {
 public:
  using OnLocal = std::move_only_function<void(const node::LocalPort&)>;

  // `loop`, `log` and `port` outlive the object. `on_local` is called by start(), and when
  // something may have changed.
  LocalNetwork(io::Loop& loop, Log& log, const io::UdpPort& port, OnLocal on_local);
  LocalNetwork(const LocalNetwork&) = delete;
  LocalNetwork& operator=(const LocalNetwork&) = delete;

  // start calls on_local at once.
  void start();

 private:
  static constexpr Duration kInterval = std::chrono::seconds(10);

  void read();

  io::Loop& loop_;
  Log& log_;
  const io::UdpPort& port_;
  OnLocal on_local_;
  std::unique_ptr<io::NetworkWatch> watch_;
  io::Timer timer_;
};

}  // namespace zt::app

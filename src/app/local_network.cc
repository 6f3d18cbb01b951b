// SPDX-License-Identifier: Apache-2.0
#include "app/local_network.h"

#include <utility>

#include "io/network_info.h"

namespace zt::app {

LocalNetwork::LocalNetwork(io::Loop& loop, Log& log, const io::UdpPort& port, OnLocal on_local)
    : loop_(loop), log_(log), port_(port), on_local_(std::move(on_local)), timer_(loop, [this] {
        timer_.arm(loop_.now().instant + kInterval);
        read();
      }) {}

void LocalNetwork::start() {
  auto watch = io::NetworkWatch::create(loop_, [this] {
    log_.write(LogLevel::info, "the network has changed", {}, loop_.now().unix_time);
    read();
  });
  if (watch) {
    watch_ = std::move(*watch);
  } else {
    log_.write(LogLevel::warn, "changes of the network are noticed late",
               {{"reason", std::string(io::to_text(watch.error()))}}, loop_.now().unix_time);
    timer_.arm(loop_.now().instant + kInterval);
  }
  read();
}

void LocalNetwork::read() {
  auto addresses = io::own_addresses();
  if (!addresses) {
    log_.write(LogLevel::warn, "cannot read the addresses of this machine",
               {{"reason", std::string(io::to_text(addresses.error()))}}, loop_.now().unix_time);
    return;
  }
  on_local_({.port = port_.port(),
             .is_v4 = port_.has_v4(),
             .is_v6 = port_.has_v6(),
             .addresses = std::move(*addresses),
             .sources = io::default_sources(),
             .gateway = io::default_gateway()});
}

}  // namespace zt::app

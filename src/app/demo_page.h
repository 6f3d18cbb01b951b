// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/demo_page.h: the private service of `zt demo`: one web page on a loopback port.
//
// Theory of operation
//   Whatever a client sends up to the end of a head is answered with the page, and the connection
//   is closed. It serves the demo and nobody else.
//
// Limits   connections_max; head_size_max bytes; a deadline for each connection.

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "io/loop.h"
#include "io/stream.h"
#include "io/tcp.h"

namespace zt::app {

class DemoPage {
 public:
  // open listens on any loopback port; null if there is none.
  [[nodiscard]] static std::unique_ptr<DemoPage> open(io::Loop& loop);
  DemoPage(const DemoPage&) = delete;
  DemoPage& operator=(const DemoPage&) = delete;
  ~DemoPage();

  [[nodiscard]] std::uint16_t port() const { return listener_->local().port; }

 private:
  static constexpr std::size_t kConnectionsMax = 64;
  static constexpr std::size_t kHeadSizeMax = 16 << 10;
  static constexpr Duration kTimeout = std::chrono::seconds(10);

  struct Connection;

  explicit DemoPage(io::Loop& loop);
  void accept(io::Descriptor socket);
  void receive(std::uint64_t number);

  io::Loop& loop_;
  std::unique_ptr<io::TcpListener> listener_;
  std::uint64_t next_number_ = 1;
  std::map<std::uint64_t, std::unique_ptr<Connection>> connections_;
};

}  // namespace zt::app

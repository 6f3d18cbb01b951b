// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/link_sockets.h: the sockets of TCP links, opened by us or by others.
//
// Theory of operation
//   Each link has a name of the discard prefix 100::/64 (node/tcp_links.h), under which the node
//   sees it as the remote address of datagrams. Links that we open are named by the node, others
//   here; a name is used once. What is sent to a link waits in it until the end of the turn and
//   leaves as few writes; what has no room is dropped, as a router does.
//
// Limits   links_max links of others, links_per_source_max of one source (an IPv4 address, an IPv6
//          /64); more are closed. Each has the limits of http::DatagramLink. One that `is_used` has
//          not called used for unused_timeout is closed, so a stranger's lasts no longer.
// Cost     A receive of 64 KiB is one batch of trains; sending copies a datagram once.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "http/datagram_link.h"
#include "http/tls_session.h"
#include "io/loop.h"
#include "io/stream.h"
#include "io/tcp.h"
#include "io/udp.h"
#include "node/tcp_links.h"
#include "zt/base/ip.h"

namespace zt::app {

class LinkSockets {
 public:
  struct Limits {
    std::size_t links_max = 4096;
    std::size_t links_per_source_max = 1024;  // An office behind one address.
    Duration unused_timeout = std::chrono::seconds(10);
    http::DatagramLink::Limits link;
  };

  struct Handlers {
    // The callback may send, and must not close links.
    std::move_only_function<void(const io::Datagrams&)> on_datagrams;
    // Of a link that we opened; may be empty if we open none.
    std::move_only_function<void(const SocketAddress& link, const SocketAddress& remote)> on_opened;
    // Of any link, unless by close(). `reason` is for a person.
    std::move_only_function<void(const SocketAddress& link, const std::string& reason)> on_closed;
    // Tells whether a link of others is of use; empty: all are.
    std::move_only_function<bool(const SocketAddress& link)> is_used;
  };

  // `loop` outlives the object.
  LinkSockets(io::Loop& loop, const Limits& limits, Handlers handlers);
  LinkSockets(const LinkSockets&) = delete;
  LinkSockets& operator=(const LinkSockets&) = delete;
  ~LinkSockets();

  // open opens a link; on_opened or on_closed follows, never from inside open().
  void open(const node::TcpLinkWanted& wanted);
  void close(const SocketAddress& link);
  // adopt goes on with a connection of an http::Server.
  void adopt(io::StreamEnds ends, const SocketAddress& remote, http::Upgraded upgraded);
  // send takes a train whose remote is a link's name. What is sent to no link is lost.
  void send(const io::Datagrams& datagrams);

  // flush writes what waits, before the turn's end: the loop may have ended.
  void flush();

  [[nodiscard]] std::size_t count() const { return sockets_.size(); }
  // dropped_size counts the bytes that had no room.
  [[nodiscard]] std::uint64_t dropped_size() const { return dropped_size_; }

 private:
  struct Socket;

  void start(Socket& socket, io::StreamEnds ends);
  void receive(const SocketAddress& link);
  void flush(const SocketAddress& link);
  bool judge(Socket& socket);
  void end(const SocketAddress& link, const std::string& reason);
  void tick();
  [[nodiscard]] Socket* find(const SocketAddress& link);

  io::Loop& loop_;
  Limits limits_;
  Handlers handlers_;
  http::TlsContext tls_;
  http::LinkWorkspace workspace_;
  std::vector<std::byte> scratch_;
  // Names of links of others begin far from those that a node gives.
  std::uint64_t next_link_ = std::uint64_t{1} << 32U;
  std::map<SocketAddress, std::unique_ptr<Socket>> sockets_;
  std::set<SocketAddress> touched_;
  std::uint64_t dropped_size_ = 0;
  io::Deferred flushing_;
  io::Timer timer_;
};

}  // namespace zt::app

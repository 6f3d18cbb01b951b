// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/upnp_port.h: has a gateway map a UDP port by UPnP-IGD.
//
// Theory of operation
//   Carries out UpnpWanted and UpnpUnwanted of path/port_mapping.h, one step after the other on the
//   loop; nothing here blocks:
//
//     search (UDP, 1900) ─► description ─► external address ─► AddPortMapping ─► answered
//
//   Who was found is kept, and a renewal begins at the address. Searches go to the multicast group
//   and to the gateway itself, for some networks lose the former.
//
//   The outside port is the inside one, and if that is taken a few random ones. A gateway that
//   makes mappings without an end only is not used: a crash of ours would leave the port open.
//
// Limits   Bodies of kBodySizeMax; one exchange at a time. kPortsMax ports are tried.
// Time     kSearchTime for the search, kCallTime for an exchange: half a minute for all of it.
//          The program's end waits for the last one, kFinishTime at most.
// Threats  Those of app/igd.h. Only the gateway's own address is listened to and called; what else
//          answers on the local network is not looked at. A gateway that goes on sending, fast or
//          slowly, is cut off by the numbers above.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/igd.h"
#include "io/loop.h"
#include "io/udp.h"
#include "zt/base/random.h"
#include "zt/base/time.h"
#include "zt/path/port_mapping.h"

namespace zt::app {

class UpnpPort {
 public:
  static constexpr Duration kSearchTime = std::chrono::seconds(4);
  static constexpr Duration kSearchInterval = std::chrono::seconds(1);
  static constexpr Duration kCallTime = std::chrono::seconds(5);
  static constexpr Duration kFinishTime = std::chrono::seconds(2);  // For finish().
  static constexpr std::size_t kBodySizeMax = 64 << 10;
  static constexpr unsigned kPortsMax = 3;

  using OnAnswer = std::move_only_function<void(const path::UpnpAnswer&)>;

  // `loop`, `buffers` and `random` outlive the object. `on_answer` is called once for each map(),
  // from the loop, unless unmap() comes first.
  UpnpPort(io::Loop& loop, io::UdpBuffers& buffers, Random& random, OnAnswer on_answer);
  UpnpPort(const UpnpPort&) = delete;
  UpnpPort& operator=(const UpnpPort&) = delete;
  ~UpnpPort();

  // map makes a mapping, or renews the one that there is.
  void map(const path::UpnpWanted& wanted);
  // unmap deletes what map() has made, or gives up making it.
  void unmap();
  // finish is unmap at the end of the program, after which map() does nothing: it takes turns of
  // the loop, whose run() has returned, until the mapping is gone, for at most `timeout`.
  void finish(Duration timeout);

 private:
  class Exchange;
  struct Reply {
    int status = 0;
    std::string body;
  };
  using OnReply = std::move_only_function<void(std::optional<Reply>)>;

  void search();
  void send_search();
  void take_answer(const io::Datagrams& datagrams);
  void describe(const IgdLocation& location);
  void ask_address();
  void add(std::uint16_t port);
  void take_added(const std::optional<Reply>& reply, std::uint16_t port);
  void call(std::string_view action, const IgdArguments& arguments, OnReply on_reply);
  void exchange(const IgdLocation& location, std::string_view action, const std::string& body,
                OnReply on_reply);
  void next_service();
  void fail(path::MappingFailure failure);
  void answer(const path::UpnpAnswer& answer);
  void give_up();

  io::Loop& loop_;
  io::UdpBuffers& buffers_;
  Random& random_;
  OnAnswer on_answer_;

  std::optional<path::UpnpWanted> wanted_;   // Until it is answered.
  std::optional<path::MappingPlace> place_;  // Where the rest is from.
  std::vector<IgdService> services_;         // The first one is in use.
  std::optional<IpAddress> external_;
  std::optional<std::uint16_t> mapped_;  // The outside port of what was made.
  unsigned ports_tried_ = 0;
  bool is_finished_ = false;

  std::unique_ptr<io::UdpSocket> socket_;  // While searching.
  Instant search_end_;
  io::Timer timer_;  // Of the search.
  std::unique_ptr<Exchange> exchange_;
};

}  // namespace zt::app

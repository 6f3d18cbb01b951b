// SPDX-License-Identifier: Apache-2.0
// Against the kernel, in a network namespace of its own: an application on loopback is told.
#include "app/icmp_answers.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <catch2/catch_test_macros.hpp>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <string>

#include "../io/own_namespace.h"
#include "../io/run_until.h"
#include "io/loop.h"
#include "io/native_address.h"
#include "io/udp.h"
#include "zt/base/bytes.h"

namespace zt::app {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::size_t kPayloadMax = 1300;

// Application is a connected UDP socket that lets nobody fragment.
class Application {
 public:
  explicit Application(const SocketAddress& port) : is_v4_(port.ip.is_v4()) {
    const io::NativeAddress native(port);
    socket_ = io::Descriptor(
        ::socket(native.generic.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const int wanted = is_v4_ ? int{IP_PMTUDISC_DO} : int{IPV6_PMTUDISC_DO};
    REQUIRE(::setsockopt(socket_.number(), level(), is_v4_ ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER,
                         &wanted, sizeof wanted) == 0);
    REQUIRE(::connect(socket_.number(), &native.generic, native.size) == 0);
  }

  // send returns 0, or the error.
  int send(std::size_t size) {
    const Bytes payload(size, std::byte{0x5a});
    return ::send(socket_.number(), payload.data(), payload.size(), 0) >= 0 ? 0 : errno;
  }
  // error waits until there is one, and takes it.
  int error() {
    pollfd wanted{.fd = socket_.number(), .events = 0, .revents = 0};
    REQUIRE(::poll(&wanted, 1, 60'000) == 1);
    return option(SOL_SOCKET, SO_ERROR);
  }
  bool has_error() {
    pollfd wanted{.fd = socket_.number(), .events = 0, .revents = 0};
    return ::poll(&wanted, 1, 0) == 1;
  }
  int mtu() { return option(level(), is_v4_ ? IP_MTU : IPV6_MTU); }

 private:
  [[nodiscard]] int level() const { return is_v4_ ? int{IPPROTO_IP} : int{IPPROTO_IPV6}; }
  int option(int option_level, int name) {
    int value = 0;
    socklen_t size = sizeof value;
    REQUIRE(::getsockopt(socket_.number(), option_level, name, &value, &size) == 0);
    return value;
  }

  bool is_v4_;
  io::Descriptor socket_;
};

// Port is a UDP socket on all addresses, in front of something that carries kPayloadMax bytes.
class Port {
 public:
  explicit Port(const IpAddress& any) {
    auto opened = io::UdpSocket::bind(
        loop_, buffers_, {.ip = any, .port = 0}, {.is_fragmented = true, .is_local_told = true},
        {.on_datagrams =
             [this](const io::Datagrams& train) {
               io::for_each_datagram(train, [&](BytesView payload) { receive(train, payload); });
             },
         .on_writable = {},
         .on_error = {}});
    REQUIRE(opened);
    socket_ = std::move(*opened);
  }

  void run_until_received(std::size_t count) {
    REQUIRE(io::run_until(loop_, [&] { return received_ >= count; }));
  }
  [[nodiscard]] std::uint16_t port() const { return socket_->local().port; }
  void pass(Duration time) { now_.instant += time; }
  [[nodiscard]] std::uint64_t sent_count() const { return answers_.sent_count(); }

 private:
  void receive(const io::Datagrams& train, BytesView payload) {
    ++received_;
    REQUIRE(train.local);
    if (payload.size() <= kPayloadMax) return;
    answers_.too_large({.source = train.remote,
                        .destination = {.ip = *train.local, .port = port()},
                        .payload = payload},
                       kPayloadMax, sender_, now_);
  }

  io::Loop loop_;
  io::UdpBuffers buffers_;
  Log log_{stderr, "test", {.level = LogLevel::error, .format = LogFormat::text}};
  Now now_;  // A made clock.
  IcmpAnswers answers_{log_, now_.instant};
  path::Allowance sender_{IcmpAnswers::kSenderRate, now_.instant};
  std::size_t received_ = 0;
  std::unique_ptr<io::UdpSocket> socket_;
};

IpAddress ip_of(std::string_view text) {
  return IpAddress::parse(text).value();
}

void need_raw_sockets() {
  if (!io::IcmpSocket::open(io::IcmpSocket::Family::v4)) SKIP("needs CAP_NET_RAW");
}

}  // namespace

TEST_CASE("an application hears EMSGSIZE, and its kernel learns what fits", "[rfc1191]") {
  const io::OwnNamespace here;
  io::ip("link set lo up");
  need_raw_sockets();
  struct Row {
    const char* any;
    const char* address;  // That the application sends to; the port is on all.
    int mtu;
  };
  for (const Row row : {Row{"0.0.0.0", "127.0.0.1", 1328}, Row{"0.0.0.0", "127.1.2.3", 1328},
                        Row{"::", "::1", 1348}}) {
    CAPTURE(row.address);
    if (ip_of(row.any).is_v6() && io::run_ip("address add fd00::1/128 dev lo nodad") != 0)
      SKIP("needs IPv6");
    Port port(ip_of(row.any));
    Application application({.ip = ip_of(row.address), .port = port.port()});
    REQUIRE(application.send(9000) == 0);
    port.run_until_received(1);
    CHECK(application.error() == EMSGSIZE);
    CHECK(application.mtu() == row.mtu);
    CHECK(application.send(kPayloadMax + 1) == EMSGSIZE);  // Its own kernel says so.
    CHECK(application.send(kPayloadMax) == 0);
    port.run_until_received(2);
    CHECK_FALSE(application.has_error());
    CHECK(port.sent_count() == 1);
  }
}

TEST_CASE("a sender is told four times, and then once a second", "[rfc1812-4.3.2.8][rfc4443-2.4]") {
  const io::OwnNamespace here;
  io::ip("link set lo up");
  need_raw_sockets();
  Port port(ip_of("0.0.0.0"));
  std::size_t sent = 0;
  const auto send_another = [&] {
    // An address of its own each time: of one that has learnt, nothing comes.
    const IpAddress address = IpAddress::v4({127, 0, 1, static_cast<std::uint8_t>(++sent)});
    Application application({.ip = address, .port = port.port()});
    REQUIRE(application.send(9000) == 0);
    port.run_until_received(sent);
  };
  for (int i = 0; i < 6; ++i) send_another();
  CHECK(port.sent_count() == 4);
  port.pass(seconds(1) - milliseconds(1));
  send_another();
  CHECK(port.sent_count() == 4);
  port.pass(milliseconds(1));
  send_another();
  send_another();
  CHECK(port.sent_count() == 5);
}

TEST_CASE("all senders together are told fifty times, and then a hundred times a second") {
  const io::OwnNamespace here;
  io::ip("link set lo up");
  need_raw_sockets();
  Log log(stderr, "test", {.level = LogLevel::error, .format = LogFormat::text});
  Now now;
  IcmpAnswers answers(log, now.instant);
  const Bytes payload(2000);
  const auto tell_all = [&] {
    for (int i = 0; i < 200; ++i) {
      path::Allowance sender(IcmpAnswers::kSenderRate, now.instant);
      answers.too_large({.source = {.ip = ip_of("127.0.0.1"), .port = 9},
                         .destination = {.ip = ip_of("127.0.0.1"), .port = 10},
                         .payload = payload},
                        kPayloadMax, sender, now);
    }
  };
  tell_all();
  CHECK(answers.sent_count() == 50);
  now.instant += milliseconds(100);
  tell_all();
  CHECK(answers.sent_count() == 60);
}

}  // namespace zt::app

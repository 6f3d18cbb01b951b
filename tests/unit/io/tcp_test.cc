// SPDX-License-Identifier: Apache-2.0
#include "io/tcp.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <optional>
#include <vector>

#include "io/native_address.h"
#include "run_until.h"

namespace zt::io {
namespace {

using std::chrono::milliseconds;

const IpAddress kLoopbackV4 = IpAddress::v4({127, 0, 0, 1});
const IpAddress kLoopbackV6 = IpAddress::v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});

using Result = std::expected<Dial::Connected, Dial::Failure>;

struct Server {
  Server(Loop& loop, const SocketAddress& local, const TcpListener::Options& options = {}) {
    auto opened = TcpListener::open(loop, local, options,
                                    [this](Descriptor socket, const SocketAddress& remote) {
                                      sockets.push_back(std::move(socket));
                                      remotes.push_back(remote);
                                    });
    REQUIRE(opened.has_value());
    listener = std::move(*opened);
  }
  [[nodiscard]] SocketAddress address() const { return listener->local(); }
  std::unique_ptr<TcpListener> listener;
  std::vector<Descriptor> sockets;
  std::vector<SocketAddress> remotes;
};

// An address that refuses: bound, so that nobody else takes it, and not listening.
struct Closed {
  explicit Closed(const IpAddress& ip)
      : socket(::socket(ip.is_v4() ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const NativeAddress native({ip, 0});
    REQUIRE(::bind(socket.number(), &native.generic, native.size) == 0);
    address = *local_address_of(socket.number());
  }
  Descriptor socket;
  SocketAddress address;
};

// An address that does not answer: its backlog is full, and the kernel drops what comes then.
struct Silent {
  Silent() : socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    const NativeAddress any({kLoopbackV4, 0});
    REQUIRE(::bind(socket.number(), &any.generic, any.size) == 0);
    REQUIRE(::listen(socket.number(), 0) == 0);
    address = *local_address_of(socket.number());
    const NativeAddress native(address);
    for (int i = 0; i < 4; ++i) {
      Descriptor& client =
          clients.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      (void)::connect(client.number(), &native.generic, native.size);
    }
  }
  Descriptor socket;
  SocketAddress address;
  std::vector<Descriptor> clients;
};

Result dial(Loop& loop, const std::vector<SocketAddress>& addresses,
            const Dial::Options& options = {}) {
  std::optional<Result> result;
  Dial dialing(loop, addresses, options, [&](Result end) { result.emplace(std::move(end)); });
  REQUIRE_FALSE(result.has_value());
  REQUIRE(run_until(loop, [&] { return result.has_value(); }));
  return std::move(*result);
}

}  // namespace

TEST_CASE("a dial and a listener make a connection whose ends know each other") {
  Loop loop;
  for (const IpAddress& ip : {kLoopbackV4, kLoopbackV6}) {
    Server server(loop, {ip, 0});
    const Result result = dial(loop, {server.address()});
    REQUIRE(result.has_value());
    CHECK(result->remote == server.address());
    REQUIRE(run_until(loop, [&] { return !server.sockets.empty(); }));
    CHECK(server.remotes.front() == local_address_of(result->socket.number()));
    for (const int number : {result->socket.number(), server.sockets.front().number()}) {
      int value = 0;
      socklen_t size = sizeof value;
      REQUIRE(::getsockopt(number, IPPROTO_TCP, TCP_NODELAY, &value, &size) == 0);
      CHECK(value == 1);
      REQUIRE(::getsockopt(number, SOL_SOCKET, SO_KEEPALIVE, &value, &size) == 0);
      CHECK(value == 1);
      CHECK((::fcntl(number, F_GETFD) & FD_CLOEXEC) != 0);
      CHECK((::fcntl(number, F_GETFL) & O_NONBLOCK) != 0);
    }
  }
}

TEST_CASE("a port where nobody listens is `refused`") {
  Loop loop;
  const Closed closed(kLoopbackV4);
  const Result result = dial(loop, {closed.address});
  REQUIRE_FALSE(result.has_value());
  CHECK(result.error() == Dial::Failure{SocketError::refused, closed.address});
}

TEST_CASE("an address without a route is `unreachable`") {
  Loop loop;
  // The kernel has no route to broadcast for TCP.
  const Result result = dial(loop, {{IpAddress::v4({255, 255, 255, 255}), 9}});
  REQUIRE_FALSE(result.has_value());
  CHECK(result.error().error == SocketError::unreachable);
}

TEST_CASE("a dial without addresses is `invalid`") {
  Loop loop;
  const Result result = dial(loop, {});
  REQUIRE_FALSE(result.has_value());
  CHECK(result.error().error == SocketError::invalid);
}

TEST_CASE("an address that does not answer is `timed_out`, after its own time or the total") {
  Loop loop;
  const Silent silent;
  const bool is_total = GENERATE(false, true);
  const Dial::Options options{
      .attempt_timeout = is_total ? std::chrono::hours(1) : milliseconds(20),
      .total_timeout = is_total ? milliseconds(20) : std::chrono::hours(1)};
  const Instant start = loop.now().instant;
  const Result result = dial(loop, {silent.address}, options);
  REQUIRE_FALSE(result.has_value());
  CHECK(result.error() == Dial::Failure{SocketError::timed_out, silent.address});
  CHECK(loop.now().instant - start >= milliseconds(20));
}

TEST_CASE("the next address is tried at once after a failure") {
  Loop loop;
  const Closed closed(kLoopbackV6);
  const Server server(loop, {kLoopbackV4, 0});
  const Result result =
      dial(loop, {closed.address, server.address()}, {.attempt_delay = std::chrono::hours(1)});
  REQUIRE(result.has_value());
  CHECK(result->remote == server.address());
}

TEST_CASE("the next address is tried after the delay while the first one is silent") {
  Loop loop;
  const Silent silent;
  const Server server(loop, {kLoopbackV6, 0});
  const Instant start = loop.now().instant;
  const Result result =
      dial(loop, {silent.address, server.address()}, {.attempt_delay = milliseconds(10)});
  REQUIRE(result.has_value());
  CHECK(result->remote == server.address());
  CHECK(loop.now().instant - start >= milliseconds(10));
}

TEST_CASE("of several failures the one that says most is reported") {
  Loop loop;
  const Silent silent;
  const Closed closed(kLoopbackV4);
  const SocketAddress nowhere{IpAddress::v4({255, 255, 255, 255}), 9};
  const Dial::Options options{.attempt_delay = milliseconds(1),
                              .attempt_timeout = milliseconds(10)};
  const Result refused = dial(loop, {nowhere, closed.address, silent.address}, options);
  CHECK(refused.error() == Dial::Failure{SocketError::refused, closed.address});
  const Result timed_out = dial(loop, {nowhere, silent.address}, options);
  CHECK(timed_out.error() == Dial::Failure{SocketError::timed_out, silent.address});
}

TEST_CASE("addresses_max addresses are tried, and not one more") {
  Loop loop;
  const Closed closed(kLoopbackV4);
  const Server server(loop, {kLoopbackV4, 0});
  const std::vector<SocketAddress> addresses{closed.address, closed.address, server.address()};
  CHECK_FALSE(dial(loop, addresses, {.addresses_max = 2}).has_value());
  CHECK(dial(loop, addresses, {.addresses_max = 3}).has_value());
}

TEST_CASE("a dial that is destroyed calls nobody") {
  Loop loop;
  const Server server(loop, {kLoopbackV4, 0});
  bool has_ended = false;
  {
    const std::array addresses{server.address()};
    const Dial dialing(loop, addresses, {}, [&](const Result&) { has_ended = true; });
  }
  for (int i = 0; i < 4; ++i) (void)loop.try_turn();
  CHECK_FALSE(has_ended);
}

TEST_CASE("addresses are sorted so that the families alternate, the first one's family first") {
  const SocketAddress a4{IpAddress::v4({1, 1, 1, 1}), 1};
  const SocketAddress b4{IpAddress::v4({2, 2, 2, 2}), 1};
  const SocketAddress c4{IpAddress::v4({3, 3, 3, 3}), 1};
  const SocketAddress a6{kLoopbackV6, 1};
  const SocketAddress b6{kLoopbackV6, 2};
  using List = std::vector<SocketAddress>;
  CHECK(sort_for_dialing(List{}) == List{});
  CHECK(sort_for_dialing(List{a4, b4}) == List{a4, b4});
  CHECK(sort_for_dialing(List{a4, b4, c4, a6, b6}) == List{a4, a6, b4, b6, c4});
  CHECK(sort_for_dialing(List{a6, a4, b4, c4}) == List{a6, a4, b4, c4});
  CHECK(sort_for_dialing(List{a6, b6, a4}) == List{a6, a4, b6});
}

TEST_CASE("an address that is taken, or not ours, is refused to a listener with its reason") {
  Loop loop;
  const Server server(loop, {kLoopbackV4, 0});
  const auto none = [](Descriptor, const SocketAddress&) {};
  const auto again = TcpListener::open(loop, server.address(), {}, none);
  REQUIRE_FALSE(again.has_value());
  CHECK(again.error() == SocketError::in_use);
  const auto foreign = TcpListener::open(loop, {IpAddress::v4({192, 0, 2, 1}), 0}, {}, none);
  REQUIRE_FALSE(foreign.has_value());
  CHECK(foreign.error() == SocketError::invalid);
}

TEST_CASE("a listener that is paused leaves clients in the backlog until it resumes") {
  Loop loop;
  Server server(loop, {kLoopbackV4, 0});
  server.listener->pause();
  const Result result = dial(loop, {server.address()});
  REQUIRE(result.has_value());
  for (int i = 0; i < 4; ++i) (void)loop.try_turn();
  CHECK(server.sockets.empty());
  server.listener->resume();
  CHECK(run_until(loop, [&] { return server.sockets.size() == 1; }));
}

TEST_CASE("without descriptors a listener pauses, and goes on when there are some again") {
  Loop loop;
  Server server(loop, {kLoopbackV4, 0}, {.acceptor = {.pause_on_limit = milliseconds(1)}});
  const Result result = dial(loop, {server.address()});
  REQUIRE(result.has_value());
  server.sockets.clear();
  const Descriptor client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  rlimit normal{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &normal) == 0);
  rlimit none = normal;
  none.rlim_cur = 0;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  const NativeAddress native(server.address());
  const int connected = ::connect(client.number(), &native.generic, native.size);
  const bool has_paused =
      run_until(loop, [&] { return server.listener->statistics().pauses >= 2; });
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &normal) == 0);
  CHECK(connected == 0);
  CHECK(has_paused);
  CHECK(run_until(loop, [&] { return !server.sockets.empty(); }));
}

TEST_CASE("a listener may be destroyed by its own callback") {
  Loop loop;
  std::unique_ptr<TcpListener> listener;
  int count = 0;
  auto opened =
      TcpListener::open(loop, {kLoopbackV4, 0}, {}, [&](const Descriptor&, const SocketAddress&) {
        ++count;
        listener.reset();
      });
  REQUIRE(opened.has_value());
  listener = std::move(*opened);
  const SocketAddress address = listener->local();
  const NativeAddress native(address);
  std::array<Descriptor, 2> clients;
  for (Descriptor& client : clients) {
    client = Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::connect(client.number(), &native.generic, native.size) == 0);
  }
  REQUIRE(run_until(loop, [&] { return count > 0; }));
  (void)loop.try_turn();
  CHECK(count == 1);
}

}  // namespace zt::io

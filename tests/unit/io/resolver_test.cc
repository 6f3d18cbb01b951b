// SPDX-License-Identifier: Apache-2.0
#include "io/resolver.h"

#include <algorithm>
#include <array>
#include <catch2/catch_test_macros.hpp>
#include <cctype>
#include <optional>
#include <string>

#include "io/files.h"
#include "io/network_info.h"
#include "io/udp.h"
#include "run_until.h"
#include "temporary_directory.h"

namespace zt::io {
namespace {

using Result = std::expected<Resolver::Answer, ResolveError>;

const IpAddress kLoopback = IpAddress::v4({127, 0, 0, 1});
const IpAddress kV4 = IpAddress::v4({10, 1, 2, 3});
const IpAddress kV6 = IpAddress::v6({0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7});

// Responder answers DNS questions (RFC 1035) by the first label of the name.
struct Responder {
  explicit Responder(Loop& loop) {
    UdpSocket::Handlers handlers;
    handlers.on_datagrams = [this](const Datagrams& train) {
      for (std::size_t at = 0; at < train.bytes.size(); at += train.segment_size) {
        const auto rest = train.bytes.subspan(at);
        respond(train.remote, rest.first(std::min(rest.size(), train.segment_size)));
      }
    };
    auto opened = UdpSocket::bind(loop, buffers, {kLoopback, 0}, {}, std::move(handlers));
    REQUIRE(opened.has_value());
    socket = std::move(*opened);
  }

  void respond(const SocketAddress& remote, BytesView question) {
    ++questions;
    if (question.size() < 17) return;
    const std::size_t label_size = std::to_integer<std::size_t>(question[12]);
    std::string label(as_text(question.subspan(13, label_size)));
    std::ranges::transform(label, label.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    std::size_t end = 12;
    while (question[end] != std::byte{}) end += std::to_integer<std::size_t>(question[end]) + 1;
    const bool is_a = question[end + 2] == std::byte{1};
    if (label == "silent") return;
    Bytes answer(question.begin(), question.begin() + static_cast<long>(end) + 5);
    answer[2] = std::byte{0x81};  // A response, recursion desired.
    answer[3] = std::byte{0x80};  // Recursion available.
    if (label == "none") answer[3] = std::byte{0x83};
    if (label == "fail") answer[3] = std::byte{0x82};
    const bool has_answer = label == "both" || label == (is_a ? "four" : "six");
    answer[7] = has_answer ? std::byte{1} : std::byte{0};
    answer[11] = std::byte{0};  // No OPT record.
    if (has_answer) append_record(answer, is_a);
    (void)socket->send({.remote = remote, .bytes = answer, .segment_size = answer.size()});
  }

  void append_record(Bytes& answer, bool is_a) const {
    const IpAddress& ip = is_a ? kV4 : kV6;
    const unsigned size = is_a ? 4 : 16;
    for (const unsigned value :
         std::array<unsigned, 12>{0xc0, 12, 0, is_a ? 1U : 28U, 0, 1, 0, 0, 0, ttl, 0, size}) {
      answer.push_back(static_cast<std::byte>(value));
    }
    for (std::size_t i = 0; i < size; ++i) {
      answer.push_back(static_cast<std::byte>(ip.octets()[i]));
    }
  }

  UdpBuffers buffers;
  std::unique_ptr<UdpSocket> socket;
  unsigned ttl = 30;
  int questions = 0;
};

struct World {
  Resolver::Options options() {
    Resolver::Options result;
    result.servers = {responder.socket->local()};
    result.resolv_conf_path = "/dev/null";
    result.hosts_path = (directory / "hosts").string();
    return result;
  }

  static DnsName name(std::string_view text) {
    const auto parsed = DnsName::parse(text);
    REQUIRE(parsed.has_value());
    return *parsed;
  }

  Result look_up(Resolver& resolver, std::string_view text) {
    std::optional<Result> result;
    const Lookup lookup(resolver, name(text), [&](Result end) { result = std::move(end); });
    REQUIRE_FALSE(result.has_value());
    REQUIRE(run_until(loop, [&] { return result.has_value(); }));
    return *result;
  }

  TemporaryDirectory directory;
  Loop loop;
  Responder responder{loop};
};

}  // namespace

TEST_CASE("a name is answered with the addresses of both families and the shortest life") {
  World world;
  Resolver resolver(world.loop, world.options());
  const Result both = world.look_up(resolver, "both.zt.test");
  REQUIRE(both.has_value());
  CHECK(both->addresses.size() == 2);
  CHECK(std::ranges::count(both->addresses, kV4) == 1);
  CHECK(std::ranges::count(both->addresses, kV6) == 1);
  CHECK(both->ttl == std::chrono::seconds(30));
}

TEST_CASE("one family is enough") {
  World world;
  Resolver resolver(world.loop, world.options());
  const Result four = world.look_up(resolver, "four.zt.test");
  REQUIRE(four.has_value());
  CHECK(four->addresses == std::vector{kV4});
  const Result six = world.look_up(resolver, "six.zt.test");
  REQUIRE(six.has_value());
  CHECK(six->addresses == std::vector{kV6});
}

TEST_CASE("no such name, no address, a failing server and silence are told apart") {
  World world;
  Resolver::Options options = world.options();
  options.attempt_timeout = std::chrono::milliseconds(20);
  options.tries_max = 1;
  Resolver resolver(world.loop, options);
  CHECK(world.look_up(resolver, "none.zt.test").error() == ResolveError::not_found);
  CHECK(world.look_up(resolver, "empty.zt.test").error() == ResolveError::not_found);
  CHECK(world.look_up(resolver, "silent.zt.test").error() == ResolveError::timed_out);
  CHECK(world.look_up(resolver, "fail.zt.test").error() == ResolveError::failed);
}

TEST_CASE("total_timeout ends a lookup whatever the servers do") {
  World world;
  Resolver::Options options = world.options();
  options.attempt_timeout = std::chrono::hours(1);
  options.total_timeout = std::chrono::milliseconds(20);
  Resolver resolver(world.loop, options);
  CHECK(world.look_up(resolver, "silent.zt.test").error() == ResolveError::timed_out);
}

TEST_CASE("the hosts file comes first, and asks nobody") {
  World world;
  REQUIRE(
      write_file(world.directory / "hosts", as_bytes("192.0.2.9 both.zt.test\n"), FileMode::secret)
          .has_value());
  Resolver resolver(world.loop, world.options());
  const Result result = world.look_up(resolver, "both.zt.test");
  REQUIRE(result.has_value());
  CHECK(result->addresses == std::vector{IpAddress::v4({192, 0, 2, 9})});
  CHECK(world.responder.questions == 0);
}

TEST_CASE("an answer is kept for its life") {
  World world;
  Resolver resolver(world.loop, world.options());
  REQUIRE(world.look_up(resolver, "both.zt.test").has_value());
  const int questions = world.responder.questions;
  REQUIRE(world.look_up(resolver, "both.zt.test").has_value());
  CHECK(world.responder.questions == questions);
}

TEST_CASE("lookups_max are under way; one more is refused") {
  World world;
  Resolver::Options options = world.options();
  options.lookups_max = 2;
  Resolver resolver(world.loop, options);
  const auto ignore = [](const Result&) {};
  const Lookup first(resolver, World::name("silent.a.test"), ignore);
  const Lookup second(resolver, World::name("silent.b.test"), ignore);
  CHECK(world.look_up(resolver, "both.zt.test").error() == ResolveError::limit);
}

TEST_CASE("a lookup that is withdrawn calls nobody, and the resolver may end while c-ares waits") {
  World world;
  bool has_ended = false;
  {
    Resolver resolver(world.loop, world.options());
    {
      const Lookup lookup(resolver, World::name("both.zt.test"),
                          [&](const Result&) { has_ended = true; });
    }
    REQUIRE(run_until(world.loop, [&] { return world.responder.questions > 0; }));
    const Lookup other(resolver, World::name("silent.zt.test"), [](const Result&) {});
  }
  for (int i = 0; i < 4; ++i) (void)world.loop.try_turn();
  CHECK_FALSE(has_ended);
}

TEST_CASE("a lookup may be destroyed by its own answer") {
  World world;
  Resolver resolver(world.loop, world.options());
  std::unique_ptr<Lookup> lookup;
  bool has_ended = false;
  lookup = std::make_unique<Lookup>(resolver, World::name("both.zt.test"), [&](const Result&) {
    lookup.reset();
    has_ended = true;
  });
  CHECK(run_until(world.loop, [&] { return has_ended; }));
}

TEST_CASE("the servers of resolv.conf are followed when the file changes") {
  World world;
  const auto write_conf = [&](const std::string& text) {
    REQUIRE(
        write_file(world.directory / "resolv.conf", as_bytes(text), FileMode::secret).has_value());
  };
  write_conf("nameserver 127.0.0.1:1\n");
  Resolver::Options options = world.options();
  options.servers.clear();
  options.resolv_conf_path = (world.directory / "resolv.conf").string();
  options.tries_max = 1;
  options.attempt_timeout = std::chrono::milliseconds(50);
  Resolver resolver(world.loop, options);
  CHECK_FALSE(world.look_up(resolver, "both.zt.test").has_value());
  write_conf("nameserver " + world.responder.socket->local().to_text() + "\n");
  CHECK(world.look_up(resolver, "both.zt.test").has_value());
}

TEST_CASE("the machine's own addresses include its loopback, once") {
  const auto addresses = own_addresses();
  REQUIRE(addresses.has_value());
  CHECK(std::ranges::count(*addresses, kLoopback) == 1);
  CHECK(std::ranges::is_sorted(*addresses));
}

}  // namespace zt::io

// SPDX-License-Identifier: Apache-2.0
// The watch is tested against the kernel, in a network namespace of its own, whose loopback
// interface is changed by ip(8). What a command has done is announced before it returns.
#include "io/network_watch.h"

#include <sys/resource.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "io/network_info.h"
#include "own_namespace.h"
#include "run_until.h"
#include "temporary_directory.h"

namespace zt::io {
namespace {

// A watch over a loopback interface that is up and has the address 10.0.0.1/24.
class Watched {
 public:
  Watched() {
    ip("link set lo up");
    ip("address add 10.0.0.1/24 dev lo");
  }

  void watch() {
    auto created = NetworkWatch::create(loop, [this] {
      ++told_count_;
      if (on_told) on_told();
    });
    REQUIRE(created);
    network_watch = *std::move(created);
  }

  // Turns the loop until all that has been announced is looked at and told, and returns how often
  // that was since the last call. When all is read the burst ends within kQuiet, and the loop fires
  // timers in the order of their deadlines: nothing here depends on how fast the machine is.
  int told() {
    read_all();
    bool is_over = false;
    Timer timer(loop, [&] { is_over = true; });
    timer.arm(loop.now().instant + NetworkWatch::kQuiet);
    REQUIRE(run_until(loop, [&] { return is_over; }));
    return std::exchange(told_count_, 0);
  }

  void read_all() {
    while (loop.try_turn()) continue;
  }

  [[nodiscard]] int told_count() const { return told_count_; }

  OwnNamespace network;
  Loop loop;
  Callback on_told;
  std::unique_ptr<NetworkWatch> network_watch;

 private:
  int told_count_ = 0;
};

// The number of messages that netlink sockets of this namespace have lost.
unsigned long lost_count() {
  std::ifstream file("/proc/thread-self/net/netlink");
  unsigned long sum = 0;
  std::string line;
  std::getline(file, line);  // sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string word;
    for (int i = 0; i < 9; ++i) words >> word;
    sum += std::stoul(word);
  }
  return sum;
}

#if defined(__has_feature)
#if __has_feature(undefined_behavior_sanitizer)
#define ZT_TEST_SANITIZER_OPENS_PIPES
#endif
#endif

// While it lives the process cannot open another descriptor.
class NoDescriptors {
 public:
  NoDescriptors() {
#ifdef ZT_TEST_SANITIZER_OPENS_PIPES
    SKIP("the sanitizer needs descriptors of its own, to see whether memory can be read");
#endif
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
    const rlimit none{.rlim_cur = 0, .rlim_max = before_.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  }
  NoDescriptors(const NoDescriptors&) = delete;
  NoDescriptors& operator=(const NoDescriptors&) = delete;
  ~NoDescriptors() { (void)::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST_CASE("packets to the internet leave from the address of the default route, or not at all") {
  const OwnNamespace network;
  CHECK(default_sources().empty());
  ip("link set lo up");
  ip("address add 10.0.0.1/24 dev lo");
  CHECK(default_sources().empty());
  ip("route add default dev lo src 10.0.0.1");
  CHECK(default_sources() == std::vector{IpAddress::v4({10, 0, 0, 1})});
  ip("address add 10.0.1.1/24 dev lo");
  CHECK(default_sources() == std::vector{IpAddress::v4({10, 0, 0, 1})});
  ip("route replace default dev lo src 10.0.1.1");
  CHECK(default_sources() == std::vector{IpAddress::v4({10, 0, 1, 1})});
}

}  // namespace

TEST_CASE("a network that does not change is not told about") {
  Watched watched;
  watched.watch();
  CHECK(watched.told() == 0);
}

TEST_CASE("an address that comes, and one that goes, are told once each") {
  Watched watched;
  watched.watch();
  ip("address add 10.0.1.1/24 dev lo");
  CHECK(watched.told() == 1);
  ip("address delete 10.0.1.1/24 dev lo");
  CHECK(watched.told() == 1);
}

TEST_CASE("a burst of changes is told once") {
  Watched watched;
  watched.watch();
  ip("address add 10.0.1.1/24 dev lo");
  ip("address add 10.0.2.1/24 dev lo");
  ip("route add 192.0.2.0/24 dev lo");
  ip("address delete 10.0.0.1/24 dev lo");
  CHECK(watched.told() == 1);
}

TEST_CASE("changes that never pause are told all the same") {
  Watched watched;
  watched.watch();
  for (int i = 0; watched.told_count() == 0; ++i) {
    REQUIRE(i < 10000);
    ip("address " + std::string(i % 2 == 0 ? "add" : "delete") + " 10.0.1.1/24 dev lo");
    ip("address add 10.1." + std::to_string(i / 250) + "." + std::to_string(i % 250) +
       "/32 dev lo");
    watched.read_all();
  }
  CHECK(watched.told_count() == 1);
}

TEST_CASE("a link that goes down, and one that comes up, are told once each") {
  Watched watched;
  watched.watch();
  ip("link set lo down");
  CHECK(watched.told() == 1);
  ip("link set lo up");
  CHECK(watched.told() == 1);
}

TEST_CASE("an interface that is made is told when it comes up, and when it vanishes") {
  Watched watched;
  watched.watch();
  if (run_ip("link add name one type veth peer name two") != 0) SKIP("the kernel has no veth");
  CHECK(watched.told() == 0);  // Both are down.
  ip("link set one up");
  CHECK(watched.told() >= 1);
  ip("link delete one");
  CHECK(watched.told() >= 1);
}

TEST_CASE("a default route that comes, changes and goes is told once each") {
  Watched watched;
  watched.watch();
  ip("route add default dev lo");
  CHECK(watched.told() == 1);
  ip("route replace default dev lo src 10.0.0.1");
  CHECK(watched.told() == 1);
  ip("route delete default");
  CHECK(watched.told() == 1);
}

TEST_CASE("a route that the kernel drops silently with its link is told when it is back") {
  Watched watched;
  ip("route add default dev lo");
  watched.watch();
  ip("link set lo down");
  CHECK(watched.told() == 1);
  ip("link set lo up");
  CHECK(watched.told() == 1);
  ip("route add default dev lo");
  CHECK(watched.told() == 1);
}

TEST_CASE("a route of another table is not told") {
  Watched watched;
  watched.watch();
  ip("route add default dev lo table 1000");
  CHECK(watched.told() == 0);
}

TEST_CASE("an address or a route whose lifetime is renewed is not told") {
  Watched watched;
  if (run_ip("-6 address add fd00::1/64 dev lo nodad valid_lft 600 preferred_lft 300") != 0) {
    SKIP("needs IPv6");
  }
  ip("-6 route add 2001:db8::/32 dev lo expires 600");
  watched.watch();
  ip("-6 address replace fd00::1/64 dev lo valid_lft 900 preferred_lft 600");
  ip("address replace 10.0.0.1/24 dev lo valid_lft 900 preferred_lft 600");
  ip("-6 route replace 2001:db8::/32 dev lo expires 900");
  CHECK(watched.told() == 0);
  ip("-6 address replace fd00::1/64 dev lo valid_lft 900 preferred_lft 0");  // Deprecated.
  CHECK(watched.told() == 1);
}

TEST_CASE("what changes back within a burst is not told") {
  Watched watched;
  watched.watch();
  ip("address add 10.0.1.1/24 dev lo");
  ip("address delete 10.0.1.1/24 dev lo");
  CHECK(watched.told() == 0);
}

TEST_CASE("lost messages are made up for by the picture") {
  Watched watched;
  watched.watch();
  const TemporaryDirectory directory;
  const auto flood = [&](int last) {
    std::ofstream file(directory / "batch");
    for (int i = 0; i < 2000; ++i) {
      file << "route " << (i % 2 == 0 ? "add" : "delete") << " 192.0.2.0/24 dev lo\n";
    }
    if (last != 0) file << "address add 10.0.1." << last << "/32 dev lo\n";
    file.close();
    ip("-batch " + (directory / "batch").string());
  };
  flood(1);
  REQUIRE(lost_count() > 0);
  CHECK(watched.told() == 1);
  const unsigned long lost_before = lost_count();
  flood(0);
  REQUIRE(lost_count() > lost_before);
  CHECK(watched.told() == 0);
  ip("address delete 10.0.1.1/32 dev lo");
  CHECK(watched.told() == 1);
}

TEST_CASE("more routes than an answer may hold are not compared; addresses and links are") {
  Watched watched;
  const TemporaryDirectory directory;
  const auto add_routes = [&](int first, int end) {
    std::ofstream file(directory / "batch");
    for (int i = first; i < end; ++i) {
      file << "route add 10." << i / 250 + 1 << '.' << i % 250 << ".0/24 dev lo\n";
    }
    file.close();
    ip("-batch " + (directory / "batch").string());
  };
  add_routes(0, 10000);  // Some 60 bytes each.
  watched.watch();
  ip("route add default dev lo");
  CHECK(watched.told() == 1);
  add_routes(10000, 30000);
  CHECK(watched.told() == 1);  // From many to "too many".
  ip("route delete default");
  CHECK(watched.told() == 0);
  ip("address add 192.0.2.1/32 dev lo");
  CHECK(watched.told() == 1);
}

TEST_CASE("where no picture can be taken a burst is told, and the next one too") {
  Watched watched;
  watched.watch();
  ip("link set lo mtu 1400");  // Announced, and no difference.
  {
    const NoDescriptors none;
    CHECK(watched.told() == 1);
  }
  ip("link set lo mtu 1500");
  CHECK(watched.told() == 1);
  ip("link set lo mtu 1400");
  CHECK(watched.told() == 0);
}

TEST_CASE("without a descriptor there is no watch, and the error says so") {
  Loop loop;
  const NoDescriptors none;
  const auto created = NetworkWatch::create(loop, [] {});
  REQUIRE_FALSE(created);
  CHECK(created.error() == SocketError::limit);
}

TEST_CASE("a watch that dies during a burst does not call") {
  Watched watched;
  watched.watch();
  ip("address add 10.0.1.1/24 dev lo");
  watched.read_all();  // It waits for quiet.
  watched.network_watch.reset();
  CHECK(watched.told() == 0);
}

TEST_CASE("a watch may be destroyed by its own call") {
  Watched watched;
  watched.watch();
  watched.on_told = [&] { watched.network_watch.reset(); };
  ip("address add 10.0.1.1/24 dev lo");
  CHECK(watched.told() == 1);
  ip("address delete 10.0.1.1/24 dev lo");
  CHECK(watched.told() == 0);
}

TEST_CASE("a namespace without routes, addresses and links that are up is watched as well") {
  const OwnNamespace network;
  Loop loop;
  int told = 0;
  const auto created = NetworkWatch::create(loop, [&] { ++told; });
  REQUIRE(created);
  ip("link set lo up");
  CHECK(run_until(loop, [&] { return told == 1; }));
}

}  // namespace zt::io

// SPDX-License-Identifier: Apache-2.0
#include "io/splice.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <memory>
#include <optional>
#include <thread>

#include "io/tcp.h"
#include "memory_port.h"
#include "run_until.h"
#include "zt/base/random.h"

namespace zt::io {
namespace {

const IpAddress kLoopback = IpAddress::v4({127, 0, 0, 1});

struct TcpPair {
  explicit TcpPair(Loop& loop) {
    auto listener = TcpListener::open(
        loop, {kLoopback, 0}, {},
        [this](Descriptor socket, const SocketAddress&) { accepted = std::move(socket); });
    REQUIRE(listener.has_value());
    const std::array addresses{(*listener)->local()};
    Dial dial(loop, addresses, {}, [this](std::expected<Dial::Connected, Dial::Failure> result) {
      REQUIRE(result.has_value());
      dialed = std::move(result->socket);
    });
    REQUIRE(run_until(loop, [this] { return accepted.is_open() && dialed.is_open(); }));
  }
  Descriptor dialed;
  Descriptor accepted;
};

// Chain is: left program - TCP - splice - wire - splice - TCP - right program.
struct Chain {
  explicit Chain(std::size_t wire_size = 256 << 10)
      : left(loop), right(loop), near_port(loop, wire_size), far_port(loop, wire_size) {
    near_port.connect(far_port);
    far_port.connect(near_port);
    near.emplace(loop, StreamEnds{.input = std::move(left.accepted)}, near_port, Splice::Options{},
                 [this](const Splice::Report& report) { near_report = report; });
    far.emplace(loop, StreamEnds{.input = std::move(right.dialed)}, far_port, Splice::Options{},
                [this](const Splice::Report& report) { far_report = report; });
    listen(near_port, near);
    listen(far_port, far);
  }

  static void listen(MemoryPort& port, std::optional<Splice>& splice) {
    port.listen({.readable =
                     [&] {
                       if (splice) splice->on_port_readable();
                     },
                 .writable =
                     [&] {
                       if (splice) splice->on_port_writable();
                     },
                 .reset =
                     [&] {
                       if (splice) splice->on_port_reset();
                     }});
  }

  // As src/app does: a splice that is over is destroyed, which closes its socket.
  void forget_ended() {
    if (near_report) near.reset();
    if (far_report) far.reset();
  }

  [[nodiscard]] bool is_over() const { return near_report && far_report; }

  Loop loop;
  TcpPair left;
  TcpPair right;
  MemoryPort near_port;
  MemoryPort far_port;
  std::optional<Splice::Report> near_report;
  std::optional<Splice::Report> far_report;
  std::optional<Splice> near;
  std::optional<Splice> far;
};

// Program is a stream's user that sends a seeded sequence and checks one.
class Program {
 public:
  Program(Loop& loop, Descriptor socket, std::uint64_t seed, std::uint64_t peer_seed,
          std::size_t size)
      : stream_(
            loop, StreamEnds{.input = std::move(socket)}, [this] { read(); }, [this] { write(); }),
        outgoing_(seed),
        incoming_(peer_seed),
        left_(size) {
    stream_.want_readable();
    stream_.want_writable();
  }

  std::size_t received_size = 0;
  bool is_intact = true;
  bool has_ended = false;
  std::optional<SocketError> error;

 private:
  static constexpr std::size_t kBlock = 64 << 10;

  void write() {
    for (int i = 0; i < 4; ++i) {
      if (block_.empty() && left_ > 0) {
        block_.resize(std::min(kBlock, left_));
        outgoing_.fill(block_);
        left_ -= block_.size();
        sent_ = 0;
      }
      if (block_.empty()) return stream_.shutdown_write();
      const auto size = stream_.try_write(std::span(block_).subspan(sent_));
      if (!size) break;
      sent_ += *size;
      if (sent_ == block_.size()) block_.clear();
    }
    stream_.want_writable();
  }

  void read() {
    Bytes space(kBlock);
    for (int i = 0; i < 4; ++i) {
      const auto size = stream_.try_read(space);
      if (!size && size.error() == SocketError::would_block) break;
      if (!size) {
        error = size.error();
        return;
      }
      if (*size == 0) {
        has_ended = true;
        return;
      }
      check(std::span(space).first(*size));
    }
    stream_.want_readable();
  }

  // SeededRandom gives the same bytes only for the same sizes of its fills: whole blocks.
  void check(BytesView bytes) {
    while (!bytes.empty()) {
      if (expected_at_ == expected_.size()) {
        expected_.resize(kBlock);
        incoming_.fill(expected_);
        expected_at_ = 0;
      }
      const std::size_t size = std::min(bytes.size(), expected_.size() - expected_at_);
      is_intact = is_intact && std::equal(bytes.begin(), bytes.begin() + static_cast<long>(size),
                                          expected_.begin() + static_cast<long>(expected_at_));
      expected_at_ += size;
      received_size += size;
      bytes = bytes.subspan(size);
    }
  }

  Stream stream_;
  SeededRandom outgoing_;
  SeededRandom incoming_;
  std::size_t left_;
  Bytes block_;
  std::size_t sent_ = 0;
  Bytes expected_;
  std::size_t expected_at_ = 0;
};

void write_all(const Descriptor& socket, std::string_view text) {
  REQUIRE(::send(socket.number(), text.data(), text.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(text.size()));
}

// Reads what is there: text, "" at the end, nothing if there is none yet, "RST" if it is broken.
std::optional<std::string> read_some(const Descriptor& socket) {
  std::string text(4096, '\0');
  const ssize_t size = ::recv(socket.number(), text.data(), text.size(), MSG_DONTWAIT);
  if (size < 0) return errno == EAGAIN ? std::nullopt : std::optional<std::string>("RST");
  text.resize(static_cast<std::size_t>(size));
  return text;
}

}  // namespace

TEST_CASE("256 MiB in each direction at once arrive intact and in order") {
  constexpr std::size_t kSize = 256 << 20;
  Chain chain;
  Program left(chain.loop, std::move(chain.left.dialed), 1, 2, kSize);
  Program right(chain.loop, std::move(chain.right.accepted), 2, 1, kSize);
  REQUIRE(
      run_until(chain.loop, [&] { return chain.is_over() && left.has_ended && right.has_ended; }));
  CHECK(left.is_intact);
  CHECK(right.is_intact);
  CHECK(left.received_size == kSize);
  CHECK(right.received_size == kSize);
  CHECK(chain.near_report->end == Splice::End::finished);
  CHECK(chain.near_report->sent_size == kSize);
  CHECK(chain.far_report->received_size == kSize);
  CHECK(chain.near_port.size_seen_max <= 256 << 10);
}

TEST_CASE("an end is passed on and the other direction goes on, whoever ends first") {
  Chain chain;
  const bool is_left_first = GENERATE(true, false);
  const Descriptor& first = is_left_first ? chain.left.dialed : chain.right.accepted;
  const Descriptor& second = is_left_first ? chain.right.accepted : chain.left.dialed;
  write_all(first, "question");
  REQUIRE(::shutdown(first.number(), SHUT_WR) == 0);
  std::optional<std::string> seen;
  REQUIRE(run_until(chain.loop, [&] { return (seen = read_some(second)).has_value(); }));
  CHECK(seen == "question");
  REQUIRE(run_until(chain.loop, [&] { return (seen = read_some(second)).has_value(); }));
  CHECK(seen == "");
  CHECK_FALSE(chain.is_over());
  write_all(second, "answer");
  REQUIRE(run_until(chain.loop, [&] { return (seen = read_some(first)).has_value(); }));
  CHECK(seen == "answer");
  REQUIRE(::shutdown(second.number(), SHUT_WR) == 0);
  REQUIRE(run_until(chain.loop, [&] { return (seen = read_some(first)).has_value(); }));
  CHECK(seen == "");
  REQUIRE(run_until(chain.loop, [&] { return chain.is_over(); }));
  CHECK(chain.near_report->end == Splice::End::finished);
  CHECK(chain.far_report->end == Splice::End::finished);
}

TEST_CASE("a reset goes through, in both directions of travel") {
  Chain chain;
  const bool is_left_resetting = GENERATE(true, false);
  Descriptor& resetting = is_left_resetting ? chain.left.dialed : chain.right.accepted;
  Descriptor& other = is_left_resetting ? chain.right.accepted : chain.left.dialed;
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  REQUIRE(::setsockopt(resetting.number(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
  resetting.close();
  std::optional<std::string> seen;
  REQUIRE(run_until(chain.loop, [&] {
    chain.forget_ended();
    return (seen = read_some(other)).has_value();
  }));
  CHECK(seen == "RST");
  const auto& near = is_left_resetting ? chain.near_report : chain.far_report;
  const auto& far = is_left_resetting ? chain.far_report : chain.near_report;
  REQUIRE(run_until(chain.loop, [&] { return chain.is_over(); }));
  CHECK(near->end == Splice::End::stream_broken);
  CHECK(near->error == SocketError::reset);
  CHECK(far->end == Splice::End::port_broken);
}

TEST_CASE("a reset goes through while the port is full and nobody reads") {
  Chain chain(64 << 10);
  const std::string block(64 << 10, 'x');
  int idle_turns = 0;
  while (idle_turns < 100) {
    const ssize_t size =
        ::send(chain.left.dialed.number(), block.data(), block.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    const bool has_run = chain.loop.try_turn();
    idle_turns = size > 0 || has_run ? 0 : idle_turns + 1;
  }
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  REQUIRE(::setsockopt(chain.left.dialed.number(), SOL_SOCKET, SO_LINGER, &at_once,
                       sizeof at_once) == 0);
  chain.left.dialed.close();
  REQUIRE(run_until(chain.loop, [&] { return chain.is_over(); }));
  CHECK(chain.near_report->end == Splice::End::stream_broken);
  CHECK(chain.far_report->end == Splice::End::port_broken);
}

TEST_CASE("a reader that does not read stops the sender; memory stays within the port") {
  constexpr std::size_t kWire = 64 << 10;
  Chain chain(kWire);
  // Nobody reads at the right. The left writes until nothing moves any more.
  const std::string block(64 << 10, 'x');
  std::size_t written = 0;
  int idle_turns = 0;
  while (idle_turns < 100) {
    const ssize_t size =
        ::send(chain.left.dialed.number(), block.data(), block.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (size > 0) written += static_cast<std::size_t>(size);
    const bool has_run = chain.loop.try_turn();
    idle_turns = size > 0 || has_run ? 0 : idle_turns + 1;
  }
  CHECK(chain.near_port.size_seen_max == kWire);
  CHECK(chain.near->sent_size() < written);
  // Then it reads, and all arrives.
  std::size_t read = 0;
  REQUIRE(run_until(chain.loop, [&] {
    while (const auto text = read_some(chain.right.accepted)) read += text->size();
    return read == written;
  }));
}

TEST_CASE("one turn moves at most turn_size_max bytes of a splice") {
  Loop loop;
  TcpPair pair(loop);
  MemoryPort near_port(loop, 1 << 20);
  MemoryPort far_port(loop, 1 << 20);
  near_port.connect(far_port);
  far_port.connect(near_port);
  write_all(pair.dialed, std::string(10'000, 'x'));
  Splice splice(loop, StreamEnds{.input = std::move(pair.accepted)}, near_port,
                {.turn_size_max = 1000}, [](const Splice::Report&) {});
  (void)loop.try_turn();
  CHECK(splice.sent_size() == 1000);
  REQUIRE(run_until(loop, [&] { return splice.sent_size() == 10'000; }));
}

// settle runs the loop until nothing moves any more.
void settle(Loop& loop) {
  for (int idle_turns = 0; idle_turns < 100; ++idle_turns) {
    if (loop.try_turn()) idle_turns = 0;
  }
}

TEST_CASE("while its port is held a splice moves nothing, then every byte and both ends") {
  const bool has_begun = GENERATE(false, true);
  CAPTURE(has_begun);
  Chain chain;
  if (has_begun) {
    write_all(chain.left.dialed, "left ");
    write_all(chain.right.accepted, "right ");
  }
  settle(chain.loop);
  chain.near_port.hold();
  const std::uint64_t sent_size = chain.near->sent_size();
  const std::uint64_t received_size = chain.near->received_size();
  write_all(chain.left.dialed, "question");
  REQUIRE(::shutdown(chain.left.dialed.number(), SHUT_WR) == 0);
  write_all(chain.right.accepted, "answer");
  REQUIRE(::shutdown(chain.right.accepted.number(), SHUT_WR) == 0);
  settle(chain.loop);
  CHECK(chain.near->sent_size() == sent_size);
  CHECK(chain.near->received_size() == received_size);
  CHECK_FALSE(chain.near_port.is_finished());
  CHECK_FALSE(chain.near->is_over());

  chain.near_port.release();
  REQUIRE(run_until(chain.loop, [&] { return chain.is_over(); }));
  CHECK(chain.near_report->end == Splice::End::finished);
  CHECK(chain.far_report->end == Splice::End::finished);
  CHECK(read_some(chain.right.accepted) == (has_begun ? "left question" : "question"));
  CHECK(read_some(chain.right.accepted) == "");
  CHECK(read_some(chain.left.dialed) == (has_begun ? "right answer" : "answer"));
  CHECK(read_some(chain.left.dialed) == "");
}

TEST_CASE("a socket that breaks while the port is held ends the splice, and what it gave is lost") {
  Chain chain;
  settle(chain.loop);
  chain.near_port.hold();
  write_all(chain.left.dialed, "question");
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  REQUIRE(::setsockopt(chain.left.dialed.number(), SOL_SOCKET, SO_LINGER, &at_once,
                       sizeof at_once) == 0);
  chain.left.dialed.close();
  REQUIRE(run_until(chain.loop, [&] { return chain.near_report.has_value(); }));
  CHECK(chain.near_report->end == Splice::End::stream_broken);
  CHECK(chain.near_report->sent_size == 0);
}

TEST_CASE("abort resets both sides and reports nothing") {
  Chain chain;
  chain.near->abort();
  CHECK(chain.near->is_over());
  CHECK(chain.near_port.is_reset());
  CHECK(chain.near_port.is_stopped);
  std::optional<std::string> seen;
  REQUIRE(run_until(chain.loop, [&] { return (seen = read_some(chain.left.dialed)).has_value(); }));
  CHECK(seen == "RST");
  CHECK_FALSE(chain.near_report.has_value());
  chain.near->on_port_readable();  // Late news do nothing.
  chain.near->on_port_writable();
  chain.near->on_port_reset();
}

TEST_CASE("a splice may be destroyed by its own report, and at any time") {
  Chain chain;
  chain.near.reset();  // The socket is reset; nothing is called any more.
  std::optional<std::string> seen;
  REQUIRE(run_until(chain.loop, [&] { return (seen = read_some(chain.left.dialed)).has_value(); }));
  CHECK(seen == "RST");
  CHECK_FALSE(chain.near_report.has_value());

  Loop loop;
  TcpPair pair(loop);
  MemoryPort near_port(loop, 1 << 10);
  MemoryPort far_port(loop, 1 << 10);
  near_port.connect(far_port);
  far_port.connect(near_port);
  auto splice = std::make_unique<std::optional<Splice>>();
  bool has_ended = false;
  splice->emplace(loop, StreamEnds{.input = std::move(pair.accepted)}, near_port, Splice::Options{},
                  [&](const Splice::Report& report) {
                    splice.reset();
                    has_ended = report.end == Splice::End::finished;
                  });
  far_port.finish();
  near_port.listen({.readable = [&] {
    if (splice) (*splice)->on_port_readable();
  }});
  pair.dialed.close();
  REQUIRE(run_until(loop, [&] { return has_ended; }));
}

TEST_CASE("a pair of pipes is spliced like a socket, and its end is closed") {
  Loop loop;
  std::array<int, 2> in{};
  std::array<int, 2> out{};
  REQUIRE(::pipe2(in.data(), O_CLOEXEC) == 0);
  REQUIRE(::pipe2(out.data(), O_CLOEXEC) == 0);
  Descriptor to_splice(in[1]);
  const Descriptor from_splice(out[0]);
  MemoryPort near_port(loop, 1 << 10);
  MemoryPort far_port(loop, 1 << 10);
  near_port.connect(far_port);
  far_port.connect(near_port);
  std::optional<Splice::Report> report;
  Splice splice(loop, {.input = Descriptor(in[0]), .output = Descriptor(out[1])}, near_port, {},
                [&](const Splice::Report& result) { report = result; });
  near_port.listen({.readable = [&] { splice.on_port_readable(); }});
  REQUIRE(::write(to_splice.number(), "ping", 4) == 4);
  REQUIRE(run_until(loop, [&] { return far_port.readable().bytes.size() == 4; }));
  far_port.consume(4);
  std::ranges::copy(as_bytes("pong"), far_port.writable().begin());
  far_port.commit(4);
  far_port.finish();
  to_splice.close();
  REQUIRE(run_until(loop, [&] { return report.has_value(); }));
  CHECK(report->end == Splice::End::finished);
  std::string text(10, '\0');
  CHECK(::read(from_splice.number(), text.data(), text.size()) == 4);
  CHECK(::read(from_splice.number(), text.data(), text.size()) == 0);
  CHECK(far_port.readable().is_end);
}

}  // namespace zt::io

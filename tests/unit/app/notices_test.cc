// SPDX-License-Identifier: Apache-2.0
#include "app/notices.h"

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <cstdio>
#include <memory>
#include <string>

namespace zt::app {
namespace {

constexpr std::size_t kEnough = 7 << 20;

// warning_about returns the log line, without its time, that buffers of these sizes cause.
std::string warning_about(const io::UdpBufferSizes& granted) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> sink(std::tmpfile(), &std::fclose);
  REQUIRE(sink);
  Log log(sink.get(), "relay", {});
  warn_about_buffers(log, granted, UnixTime{});
  std::rewind(sink.get());
  std::array<char, 512> buffer{};
  const std::string line(buffer.data(), std::fread(buffer.data(), 1, buffer.size(), sink.get()));
  const std::size_t level = line.find("warn");
  return level == std::string::npos ? line : line.substr(level);
}

TEST_CASE("buffers in which a window fits are not spoken of") {
  CHECK(warning_about({.receive = kEnough, .send = kEnough}).empty());
}

TEST_CASE("a small receive buffer is warned of, with the command that raises its limit") {
  CHECK(warning_about({.receive = kEnough - 1, .send = kEnough}) ==
        "warn  relay      small UDP buffers cost speed receive=7340031 send=7340032 "
        "remedy=\"sysctl -w net.core.rmem_max=16777216\"\n");
}

TEST_CASE("a small send buffer is warned of, with the command that raises its limit") {
  CHECK(warning_about({.receive = kEnough, .send = kEnough - 1}) ==
        "warn  relay      small UDP buffers cost speed receive=7340032 send=7340031 "
        "remedy=\"sysctl -w net.core.wmem_max=16777216\"\n");
}

TEST_CASE("two small buffers are one warning, and one command") {
  CHECK(warning_about({.receive = 212992, .send = 212992}) ==
        "warn  relay      small UDP buffers cost speed receive=212992 send=212992 "
        "remedy=\"sysctl -w net.core.rmem_max=16777216 net.core.wmem_max=16777216\"\n");
}

}  // namespace
}  // namespace zt::app

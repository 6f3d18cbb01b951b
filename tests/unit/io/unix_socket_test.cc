// SPDX-License-Identifier: Apache-2.0
#include "io/unix_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <optional>
#include <string>

#include "io/files.h"
#include "io/stream.h"
#include "run_until.h"
#include "temporary_directory.h"

namespace zt::io {
namespace {

namespace fs = std::filesystem;

struct Server {
  explicit Server(Loop& loop, const fs::path& path) {
    auto opened = UnixListener::open(loop, path, {}, [this](Descriptor socket, const Caller& who) {
      connection = std::move(socket);
      caller = who;
    });
    if (opened) listener = std::move(*opened);
    if (!opened) error = opened.error();
  }
  std::unique_ptr<UnixListener> listener;
  std::optional<SocketError> error;
  Descriptor connection;
  std::optional<Caller> caller;
};

constexpr uid_t kNobody = 65534;

}  // namespace

TEST_CASE("a caller of the same user is let in, and known") {
  Loop loop;
  const TemporaryDirectory directory;
  Server server(loop, directory / "control");
  REQUIRE(server.listener != nullptr);
  const auto client = connect_unix(directory / "control");
  REQUIRE(client.has_value());
  REQUIRE(run_until(loop, [&] { return server.caller.has_value(); }));
  CHECK(server.caller == Caller{::geteuid(), ::getegid(), ::getpid()});
  Stream stream(loop, {.input = std::move(server.connection)}, [] {}, [] {});
  REQUIRE(stream.try_write(as_bytes("hello")) == 5U);
  std::string text(10, '\0');
  CHECK(::recv(client->number(), text.data(), text.size(), 0) == 5);
}

TEST_CASE("the socket is of mode 0600 in a directory of mode 0700") {
  Loop loop;
  const TemporaryDirectory directory;
  const fs::path path = directory / "run";
  const Server server(loop, path / "control");
  REQUIRE(server.listener != nullptr);
  struct stat status{};
  REQUIRE(::lstat((path / "control").c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0600);
  REQUIRE(::lstat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0700);
}

TEST_CASE("a directory that others may enter is refused") {
  Loop loop;
  const TemporaryDirectory directory;
  const fs::path path = directory / "run";
  REQUIRE(::mkdir(path.c_str(), 0755) == 0);
  REQUIRE(::chmod(path.c_str(), 0755) == 0);
  const Server server(loop, path / "control");
  CHECK(server.error == SocketError::denied);
}

TEST_CASE("only the owner and root are allowed") {
  CHECK(is_allowed({.user = 1000}, 1000));
  CHECK(is_allowed({.user = 0}, 1000));
  CHECK_FALSE(is_allowed({.user = 1001}, 1000));
  CHECK_FALSE(is_allowed({.user = 1000}, 0));
}

TEST_CASE("another user is refused even where file modes let him in") {
  if (::geteuid() != 0) SKIP("needs root, to become another user");
  Loop loop;
  const TemporaryDirectory directory;
  const fs::path path = directory / "control";
  Server server(loop, path);
  REQUIRE(server.listener != nullptr);
  REQUIRE(::chmod(directory.path().c_str(), 0777) == 0);
  REQUIRE(::chmod(path.c_str(), 0666) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    if (::setuid(kNobody) != 0) ::_exit(1);
    const Descriptor socket(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{.sun_family = AF_UNIX};
    path.native().copy(address.sun_path, sizeof address.sun_path - 1);
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): the kernel's interface.
    if (::connect(socket.number(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      ::_exit(2);
    }
    char byte = 0;
    ::_exit(::recv(socket.number(), &byte, 1, 0) <= 0 ? 0 : 3);
  }
  CHECK(run_until(loop, [&] { return server.listener->refused_count() == 1; }));
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK_FALSE(server.caller.has_value());
}

TEST_CASE("a socket of a dead process is replaced; a live one is in use; a file is not touched") {
  Loop loop;
  const TemporaryDirectory directory;
  const fs::path path = directory / "control";
  {
    // A listener that died leaves its file behind.
    const Server server(loop, path);
    REQUIRE(server.listener != nullptr);
    fs::rename(path, directory / "left");
  }
  fs::rename(directory / "left", path);
  const Server server(loop, path);
  CHECK(server.listener != nullptr);
  const Server second(loop, path);
  CHECK(second.error == SocketError::in_use);
  REQUIRE(write_file(directory / "file", as_bytes("kept"), FileMode::secret).has_value());
  const Server third(loop, directory / "file");
  CHECK(third.error == SocketError::invalid);
  CHECK(read_file(directory / "file", 10) == "kept");
}

TEST_CASE("without a listener a connection is refused, and the file of a closed one is gone") {
  Loop loop;
  const TemporaryDirectory directory;
  CHECK(connect_unix(directory / "control").error() == SocketError::refused);
  {
    const Server server(loop, directory / "control");
  }
  CHECK_FALSE(fs::exists(directory / "control"));
}

TEST_CASE("a path of 107 bytes is taken, one of 108 is not") {
  Loop loop;
  const TemporaryDirectory directory;
  const std::size_t room = 107 - directory.path().native().size() - 1;
  const Server fits(loop, directory / std::string(room, 'x').c_str());
  CHECK(fits.listener != nullptr);
  const Server too_long(loop, directory / std::string(room + 1, 'x').c_str());
  CHECK(too_long.error == SocketError::invalid);
}

}  // namespace zt::io

// SPDX-License-Identifier: Apache-2.0
#include "io/files.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <csignal>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>

#include "temporary_directory.h"

namespace zt::io {
namespace {

namespace fs = std::filesystem;

mode_t mode_of(const fs::path& path) {
  struct stat status{};
  REQUIRE(::lstat(path.c_str(), &status) == 0);
  return status.st_mode & 07777;
}

std::size_t count_entries(const fs::path& directory) {
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator(directory), fs::directory_iterator()));
}

}  // namespace

TEST_CASE("what is written is read, with the mode that was asked for") {
  const TemporaryDirectory directory;
  const fs::path path = directory / "file";
  for (const std::string& text : {std::string(), std::string("a"), std::string(100'000, 'x')}) {
    REQUIRE(write_file(path, as_bytes(text), FileMode::secret).has_value());
    CHECK(read_file(path, text.size()) == text);
    CHECK(mode_of(path) == 0600);
  }
  REQUIRE(write_file(path, as_bytes("b"), FileMode::public_read).has_value());
  CHECK(mode_of(path) == 0644);
  CHECK(count_entries(directory.path()) == 1);
}

TEST_CASE("a file of size_max bytes is read; one more is too large") {
  const TemporaryDirectory directory;
  const fs::path path = directory / "file";
  REQUIRE(write_file(path, as_bytes("12345"), FileMode::secret).has_value());
  CHECK(read_file(path, 5) == "12345");
  CHECK(read_file(path, 4) == std::unexpected(FileError::too_large));
  CHECK(read_file("/dev/zero", 5) == std::unexpected(FileError::not_a_file));
}

TEST_CASE("each thing that is not a readable file has its own error") {
  const TemporaryDirectory directory;
  CHECK(read_file(directory / "none", 5) == std::unexpected(FileError::not_found));
  CHECK(read_file(directory.path(), 5) == std::unexpected(FileError::not_a_file));
  REQUIRE(write_file(directory / "file", as_bytes("x"), FileMode::secret).has_value());
  fs::create_symlink(directory / "file", directory / "link");
  CHECK(read_file(directory / "link", 5) == std::unexpected(FileError::not_a_file));
  REQUIRE(::mkfifo((directory / "fifo").c_str(), 0600) == 0);
  CHECK(read_file(directory / "fifo", 5) == std::unexpected(FileError::not_a_file));
  CHECK(write_file(directory / "none" / "file", as_bytes("x"), FileMode::secret) ==
        std::unexpected(FileError::not_found));
}

TEST_CASE("a file is replaced, not written through a symbolic link in its place") {
  const TemporaryDirectory directory;
  REQUIRE(write_file(directory / "victim", as_bytes("kept"), FileMode::secret).has_value());
  fs::create_symlink(directory / "victim", directory / "file");
  REQUIRE(write_file(directory / "file", as_bytes("new"), FileMode::secret).has_value());
  CHECK(read_file(directory / "victim", 10) == "kept");
  CHECK(read_file(directory / "file", 10) == "new");
}

TEST_CASE("create_file makes a file once") {
  const TemporaryDirectory directory;
  const fs::path path = directory / "file";
  REQUIRE(create_file(path, as_bytes("first"), FileMode::secret).has_value());
  CHECK(create_file(path, as_bytes("second"), FileMode::secret) ==
        std::unexpected(FileError::exists));
  CHECK(read_file(path, 10) == "first");
  CHECK(mode_of(path) == 0600);
  CHECK(count_entries(directory.path()) == 1);
}

TEST_CASE("a reader never sees a part of a file that is being replaced") {
  const TemporaryDirectory directory;
  const fs::path path = directory / "file";
  const std::string a(300'000, 'a');
  const std::string b(200'000, 'b');
  REQUIRE(write_file(path, as_bytes(a), FileMode::secret).has_value());
  std::atomic<bool> is_over = false;
  std::size_t torn = 0;
  std::size_t reads = 0;
  std::thread reader([&] {
    while (!is_over) {
      const auto text = read_file(path, 1 << 20);
      if (!text || (*text != a && *text != b)) ++torn;
      ++reads;
    }
  });
  for (int i = 0; i < 50; ++i) {
    const auto written = write_file(path, as_bytes(i % 2 == 0 ? b : a), FileMode::secret);
    if (!written) break;
  }
  is_over = true;
  reader.join();
  CHECK(torn == 0);
  CHECK(reads > 0);
}

TEST_CASE("a write that fails half way leaves the old file and nothing else") {
  const TemporaryDirectory directory;
  const fs::path path = directory / "file";
  REQUIRE(write_file(path, as_bytes("old"), FileMode::secret).has_value());
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    (void)std::signal(SIGXFSZ, SIG_IGN);
    const rlimit little{.rlim_cur = 1000, .rlim_max = 1000};
    const bool is_set = ::setrlimit(RLIMIT_FSIZE, &little) == 0;
    const std::string large(100'000, 'x');
    const auto written = write_file(path, as_bytes(large), FileMode::secret);
    ::_exit(is_set && !written && written.error() == FileError::too_large ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK(read_file(path, 10) == "old");
  CHECK(count_entries(directory.path()) == 1);
}

TEST_CASE("removing is done once and asked for at will") {
  const TemporaryDirectory directory;
  REQUIRE(write_file(directory / "file", as_bytes("x"), FileMode::secret).has_value());
  CHECK(remove_file(directory / "file").has_value());
  CHECK(remove_file(directory / "file").has_value());
  CHECK(count_entries(directory.path()) == 0);
}

TEST_CASE("a secret is read only from a file that is closed to others") {
  const TemporaryDirectory directory;
  const fs::path path = directory / "key";
  REQUIRE(write_file(path, as_bytes("s3cret"), FileMode::secret).has_value());
  const auto secret = read_secret_file(path, 10);
  REQUIRE(secret.has_value());
  CHECK(secret->matches("s3cret"));
  CHECK(read_secret_file(path, 5).error() == FileError::too_large);
  for (const mode_t mode : {0640U, 0620U, 0604U, 0602U}) {
    REQUIRE(::chmod(path.c_str(), mode) == 0);
    const auto open_secret = read_secret_file(path, 10);
    REQUIRE_FALSE(open_secret.has_value());
    CHECK(open_secret.error() == FileError::insecure);
  }
}

TEST_CASE("a private directory is made private, and accepted only if it is") {
  const TemporaryDirectory directory;
  const fs::path path = directory / "state";
  REQUIRE(make_private_directory(path).has_value());
  CHECK(mode_of(path) == 0700);
  CHECK(make_private_directory(path).has_value());
  REQUIRE(::chmod(path.c_str(), 0750) == 0);
  CHECK(make_private_directory(path) == std::unexpected(FileError::insecure));
  CHECK(make_private_directory(path / "a" / "b") == std::unexpected(FileError::not_found));
  REQUIRE(write_file(directory / "file", as_bytes("x"), FileMode::secret).has_value());
  CHECK(make_private_directory(directory / "file") == std::unexpected(FileError::not_a_file));
  REQUIRE(::chmod(path.c_str(), 0700) == 0);
  fs::create_symlink(path, directory / "link");
  CHECK(make_private_directory(directory / "link") == std::unexpected(FileError::not_a_file));
}

TEST_CASE("one holder at a time has a lock; it ends with its holder") {
  const TemporaryDirectory directory;
  const fs::path path = directory / "lock";
  std::optional<FileLock> lock;
  {
    auto acquired = FileLock::acquire(path);
    REQUIRE(acquired.has_value());
    lock.emplace(std::move(*acquired));
  }
  const auto second = FileLock::acquire(path);
  REQUIRE_FALSE(second.has_value());
  CHECK(second.error() == FileError::locked);
  lock.reset();
  CHECK(FileLock::acquire(path).has_value());
}

}  // namespace zt::io

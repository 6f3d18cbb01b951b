// SPDX-License-Identifier: Apache-2.0
#include "io/spool.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <csignal>
#include <string>
#include <vector>

#include "run_until.h"
#include "temporary_directory.h"

namespace zt::io {
namespace {

// Results remembers what a spool told.
struct Results {
  std::vector<std::expected<void, FileError>> all;
  Spool::OnResult listener() {
    return [this](std::expected<void, FileError> result) { all.push_back(result); };
  }
};

std::string content(const std::filesystem::path& path) {
  return read_file(path, 1 << 20).value_or("(none)");
}

TEST_CASE("what is appended is in the file at once, after the first replacement") {
  const TemporaryDirectory directory;
  Loop loop;
  Results results;
  Spool spool(loop, directory / "log", {}, results.listener());
  REQUIRE(spool.append("lost, for there is no file\n"));
  spool.replace("one\n");
  REQUIRE(spool.append("two\n"));
  REQUIRE(run_until(loop, [&] { return !results.all.empty(); }));
  CHECK(results.all.front());
  CHECK(content(directory / "log") == "one\ntwo\n");
  REQUIRE(spool.append("three\n"));
  CHECK(content(directory / "log") == "one\ntwo\nthree\n");
  struct stat status{};
  REQUIRE(::stat((directory / "log").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777U) == 0600);
}

TEST_CASE("a process that is killed leaves everything that it appended") {
  const TemporaryDirectory directory;
  const pid_t child = ::fork();
  if (child == 0) {
    Loop loop;
    Results results;
    Spool spool(loop, directory / "log", {}, results.listener());
    spool.replace("one\n");
    while (results.all.empty()) (void)loop.turn();
    const bool is_good = spool.append("two\n") && spool.append("three\n");
    ::kill(::getpid(), is_good ? SIGKILL : SIGABRT);
  }
  REQUIRE(child > 0);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  REQUIRE(WTERMSIG(status) == SIGKILL);
  CHECK(content(directory / "log") == "one\ntwo\nthree\n");
}

TEST_CASE("while a new file is made, the old one and the new one get what is appended") {
  const TemporaryDirectory directory;
  Loop loop;
  Results results;
  Spool spool(loop, directory / "log", {}, results.listener());
  spool.replace("old\n");
  REQUIRE(run_until(loop, [&] { return results.all.size() >= 2; }));  // Replaced and flushed.
  spool.replace("new\n");
  REQUIRE(spool.append("both\n"));
  CHECK(content(directory / "log") == "old\nboth\n");
  REQUIRE(run_until(loop, [&] { return content(directory / "log") == "new\nboth\n"; }));
  REQUIRE(spool.append("after\n"));
  CHECK(content(directory / "log") == "new\nboth\nafter\n");
}

TEST_CASE("of two replacements the later one holds, with what was appended after it") {
  const TemporaryDirectory directory;
  Loop loop;
  Results results;
  Spool spool(loop, directory / "log", {}, results.listener());
  spool.replace("first\n");
  REQUIRE(spool.append("between\n"));
  spool.replace("second\n");
  REQUIRE(spool.append("after\n"));
  REQUIRE(run_until(loop, [&] { return !results.all.empty(); }));
  CHECK(content(directory / "log") == "second\nafter\n");
}

TEST_CASE("flushes are bounded, whatever is appended") {
  const TemporaryDirectory directory;
  Loop loop;
  Results results;
  Spool spool(loop, directory / "log", {.flush_interval = std::chrono::hours(1)},
              results.listener());
  spool.replace("one\n");
  REQUIRE(run_until(loop, [&] { return results.all.size() == 2; }));  // Replaced and flushed.
  for (int i = 0; i < 100; ++i) {
    REQUIRE(spool.append("more\n"));
    (void)loop.try_turn();
  }
  CHECK(results.all.size() == 2);
  CHECK(content(directory / "log").size() == 4 + 100 * 5);
}

TEST_CASE("a file that cannot be made is told, and the next replacement is tried anew") {
  const TemporaryDirectory directory;
  Loop loop;
  Results results;
  const std::filesystem::path folder = directory / "absent";
  Spool spool(loop, folder / "log", {}, results.listener());
  spool.replace("one\n");
  REQUIRE(run_until(loop, [&] { return !results.all.empty(); }));
  CHECK(results.all.front().error() == FileError::not_found);
  CHECK(spool.append("the owner knows\n").has_value());
  std::filesystem::create_directory(folder);
  spool.replace("two\n");
  REQUIRE(run_until(loop, [&] { return results.all.size() >= 2; }));
  CHECK(results.all[1]);
  CHECK(content(folder / "log") == "two\n");
}

TEST_CASE("a full disk is named when the file is made and when it grows") {
  const TemporaryDirectory directory;
  Loop loop;
  Results results;
  Spool spool(loop, directory / "log", {}, results.listener());
  spool.replace("one\n");
  REQUIRE(run_until(loop, [&] { return results.all.size() >= 2; }));
  // A limit on the size of files is the full disk of a test.
  struct sigaction ignored{};
  ignored.sa_handler = SIG_IGN;
  struct sigaction former{};
  REQUIRE(::sigaction(SIGXFSZ, &ignored, &former) == 0);
  rlimit unlimited{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &unlimited) == 0);
  const rlimit limited{.rlim_cur = 8, .rlim_max = unlimited.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &limited) == 0);
  const auto appended = spool.append("too much for it\n");
  const std::size_t seen = results.all.size();
  spool.replace("also too much\n");
  const bool is_told = run_until(loop, [&] { return results.all.size() > seen; });
  const bool is_refused = is_told && !results.all.back();
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &unlimited) == 0);
  REQUIRE(::sigaction(SIGXFSZ, &former, nullptr) == 0);
  CHECK_FALSE(appended);
  CHECK(is_refused);
  CHECK_FALSE(std::filesystem::exists(directory / "log.new"));
  spool.replace("fits\n");
  REQUIRE(run_until(loop, [&] { return content(directory / "log") == "fits\n"; }));
}

}  // namespace
}  // namespace zt::io

// SPDX-License-Identifier: Apache-2.0
#include "app/flow_file.h"

#include <stdlib.h>

#include <catch2/catch_test_macros.hpp>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <string>

#include "io/files.h"

namespace zt::app {
namespace {

// Place is a directory of one test, with a log.
class Place {
 public:
  Place() {
    std::string pattern = (std::filesystem::temp_directory_path() / "zt-app-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
    sink_ = std::fopen((path_ / "text").c_str(), "w");
    REQUIRE(sink_ != nullptr);
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() {
    (void)std::fclose(sink_);
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  std::filesystem::path operator/(const char* name) const { return path_ / name; }
  std::FILE* sink() { return sink_; }
  // log_count counts the lines of the log that have `text`.
  int log_count(const std::string& text) {
    (void)std::fflush(sink_);
    const std::string all = io::read_file(path_ / "text", 1 << 20).value_or("");
    int count = 0;
    for (std::size_t at = all.find(text); at != std::string::npos; at = all.find(text, at + 1)) {
      ++count;
    }
    return count;
  }

 private:
  std::filesystem::path path_;
  std::FILE* sink_ = nullptr;
};

void turn_until(io::Loop& loop, const std::function<bool()>& is_done) {
  while (!is_done()) (void)loop.turn();
}

void keep(FlowFile& file, bool is_whole, const char* text) {
  node::KeepFlows keep{.is_whole = is_whole, .text = text};
  file.keep(keep);
}

TEST_CASE("what one run keeps the next one reads") {
  Place place;
  io::Loop loop;
  Log log(place.sink(), "test", {});
  {
    FlowFile file(loop, log, place / "flows.log", [] { FAIL("it was kept"); });
    CHECK(file.read().empty());
    keep(file, true, "one\n");
    keep(file, false, "two\n");
    turn_until(loop, [&] { return std::filesystem::exists(place / "flows.log"); });
    keep(file, false, "three\n");
  }
  FlowFile file(loop, log, place / "flows.log", [] {});
  CHECK(file.read() == "one\ntwo\nthree\n");
  CHECK(place.log_count("flow reports") == 0);
}

TEST_CASE("trouble with the disk is told once, and its end once") {
  Place place;
  io::Loop loop;
  Log log(place.sink(), "test", {});
  int failed_count = 0;
  FlowFile file(loop, log, place / "absent" / "flows.log", [&] { ++failed_count; });
  for (int i = 1; i <= 3; ++i) {
    keep(file, true, "one\n");
    turn_until(loop, [&] { return failed_count == i; });
  }
  CHECK(place.log_count("flow reports cannot be kept") == 1);
  CHECK(place.log_count("flow reports are kept again") == 0);
  std::filesystem::create_directory(place / "absent");
  keep(file, true, "one\n");
  turn_until(loop, [&] { return place.log_count("flow reports are kept again") == 1; });
  CHECK(failed_count == 3);
  CHECK(file.read() == "one\n");
}

TEST_CASE("what cannot be read is told, and the node starts without it") {
  Place place;
  io::Loop loop;
  Log log(place.sink(), "test", {});
  std::filesystem::create_symlink("elsewhere", place / "flows.log");
  FlowFile file(loop, log, place / "flows.log", [] {});
  CHECK(file.read().empty());
  CHECK(place.log_count("flow reports of the run before cannot be read") == 1);
}

}  // namespace
}  // namespace zt::app

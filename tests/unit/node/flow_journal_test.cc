// SPDX-License-Identifier: Apache-2.0
#include "node/flow_journal.h"

#include <algorithm>
#include <array>
#include <catch2/catch_test_macros.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "node/flow_spool.h"
#include "wire/json.h"

namespace zt::node {
namespace {

using namespace std::chrono_literals;

const FlowJournal::Self kGateHouse{.reporter = FlowReporter::connector, .connector = {"con_a"}};

// Machine is a journal with its disk and its controller, both made of memory.
struct Machine {
  explicit Machine(const FlowJournal::Limits& of_journal = {}) : limits(of_journal) { start(); }

  void start() {
    journal = std::make_unique<FlowJournal>(
        limits,
        [this](std::string body, const Now&) -> std::optional<http::CallKey> {
          posted.push_back(wire::parse_json_object(body)["events"]);
          return http::CallKey{++call_count};
        },
        random);
    journal->restore(disk, now);
    journal->enter(kGateHouse);
    settle();
  }

  // settle does what a shell does at the end of a turn.
  void settle() {
    while (const auto keep = journal->poll_keep(now)) {
      ++keep_count;
      if (is_disk_full) {
        journal->keep_failed(now);
      } else if (keep->is_whole) {
        disk = keep->text;
      } else {
        disk += keep->text;
      }
    }
    while (auto notice = journal->poll_notice()) notices.insert(std::string(notice->message));
  }

  // crash ends this run as kill -9 does, and begins the next.
  void crash() {
    journal.reset();
    now.instant += 1s;
    now.unix_time += 1s;
    start();
  }

  void report(const std::string& flow, FlowEvent event, const std::string& connector = "con_a") {
    journal->add({.flow = {flow},
                  .event = event,
                  .reporter = FlowReporter::connector,
                  .time = now.unix_time,
                  .connector = {connector},
                  .target = "db.internal:5432",
                  .bytes_up = event == FlowEvent::closed ? 7U : 0U,
                  .reason = "two\nlines"},
                 now);
    settle();
  }

  // wait lets the time pass in which a report waits for others.
  void wait() {
    now.instant += limits.gather_time;
    journal->handle_timeout(now);
    settle();
  }

  void answer(int status) {
    REQUIRE(journal->take_answer({.call = http::CallKey{call_count}, .status = status}, now));
    settle();
  }

  // deliver answers as long as something is posted, and stores each event once, as the controller
  // does. It returns the log in the order of arrival: "flow event".
  std::vector<std::string> deliver() {
    journal->session_up(now);
    std::size_t taken_count = 0;
    while (taken_count < posted.size()) {
      for (const wire::Json& event : posted[taken_count++]) take(event);
      answer(204);
      wait();
    }
    posted.clear();
    return log;
  }

  void take(const wire::Json& event) {
    const std::string entry =
        event.at("id").get<std::string>() + " " + event.at("event").get<std::string>();
    if (!seen.insert(entry).second) return;
    log.push_back(entry);
    last = event;
  }

  FlowJournal::Limits limits;
  SeededRandom random{1};
  Now now{.instant = Instant(1h), .unix_time = UnixTime(std::chrono::days(20000))};
  std::unique_ptr<FlowJournal> journal;
  std::string disk;
  bool is_disk_full = false;
  std::uint64_t call_count = 0;
  int keep_count = 0;
  std::vector<wire::Json> posted;  // Batches.
  std::vector<std::string> log;
  std::set<std::string> seen;
  wire::Json last;
  std::set<std::string> notices;
};

TEST_CASE("reports of a run that was killed are told by the next, in order") {
  Machine machine;
  machine.report("flo_a", FlowEvent::opened);
  machine.report("flo_b", FlowEvent::denied);
  machine.report("flo_a", FlowEvent::closed);
  machine.crash();
  machine.report("flo_c", FlowEvent::failed);
  machine.crash();
  CHECK(machine.deliver() ==
        std::vector<std::string>{"flo_a opened", "flo_b denied", "flo_a closed", "flo_c failed"});
  CHECK(machine.journal->waiting_count() == 0);
  machine.crash();
  CHECK(machine.journal->waiting_count() == 0);
}

TEST_CASE("a flow that was open at the crash is closed by the next run, without numbers") {
  Machine machine;
  machine.report("flo_a", FlowEvent::opened);
  SECTION("told as open before the crash") {
    CHECK(machine.deliver() == std::vector<std::string>{"flo_a opened"});
  }
  SECTION("not told yet") {}
  SECTION("kept anew meanwhile") {
    machine.journal->keep_failed(machine.now);
    machine.now.instant += 10s;
    machine.settle();
  }
  machine.crash();
  CHECK(machine.deliver() == std::vector<std::string>{"flo_a opened", "flo_a closed"});
  CHECK(machine.last.at("bytes_up") == 0);
  CHECK(machine.last.at("target") == "db.internal:5432");
  CHECK(machine.last.at("reason").get<std::string>().starts_with("the connector was restarted"));
  CHECK(machine.last.at("time") != "2024-10-04T00:00:00Z");
  machine.crash();
  CHECK(machine.journal->waiting_count() == 0);
}

TEST_CASE(
    "a report that was answered before the crash but not noted is told again, and kept once") {
  Machine machine;
  machine.report("flo_a", FlowEvent::denied);
  const std::string disk = machine.disk;
  CHECK(machine.deliver().size() == 1);
  machine.disk = disk;  // The crash came before the note.
  machine.crash();
  CHECK(machine.journal->waiting_count() == 1);
  CHECK(machine.deliver() == std::vector<std::string>{"flo_a denied"});
}

TEST_CASE("a report waits a moment for others, and a full batch for nobody") {
  Machine machine({.batch_max = 3, .gather_time = 200ms});
  machine.journal->session_up(machine.now);
  machine.report("flo_a", FlowEvent::opened);
  machine.report("flo_a", FlowEvent::closed);
  CHECK(machine.posted.empty());
  CHECK(machine.journal->next_deadline() == machine.now.instant + 200ms);
  machine.now.instant += 200ms - 1ns;
  machine.journal->handle_timeout(machine.now);
  CHECK(machine.posted.empty());
  machine.now.instant += 1ns;
  machine.journal->handle_timeout(machine.now);
  REQUIRE(machine.posted.size() == 1);
  CHECK(machine.posted.back().size() == 2);

  for (const char* flow : {"flo_b", "flo_c"}) machine.report(flow, FlowEvent::denied);
  machine.answer(204);
  CHECK(machine.posted.size() == 1);
  machine.report("flo_d", FlowEvent::denied);
  REQUIRE(machine.posted.size() == 2);
  CHECK(machine.posted.back().size() == 3);
  machine.answer(204);
  CHECK(machine.journal->next_deadline() == std::nullopt);
}

TEST_CASE("a full batch does not hurry a controller that has just failed") {
  Machine machine({.batch_max = 2, .retry = 2s});
  machine.journal->session_up(machine.now);
  for (const char* flow : {"flo_a", "flo_b"}) machine.report(flow, FlowEvent::denied);
  REQUIRE(machine.posted.size() == 1);
  machine.answer(503);
  for (const char* flow : {"flo_c", "flo_d"}) machine.report(flow, FlowEvent::denied);
  CHECK(machine.posted.size() == 1);
  CHECK(machine.journal->next_deadline() == machine.now.instant + 2s);
}

TEST_CASE("a node that is about to end reports at once") {
  Machine machine;
  machine.journal->session_up(machine.now);
  machine.report("flo_a", FlowEvent::opened);
  machine.journal->hurry(machine.now);
  REQUIRE(machine.posted.size() == 1);
  machine.answer(204);
  machine.report("flo_a", FlowEvent::closed);
  CHECK(machine.posted.size() == 2);
}

TEST_CASE("a batch that is not answered, or with a failure, stays") {
  Machine machine;
  machine.journal->session_up(machine.now);
  machine.report("flo_a", FlowEvent::denied);
  machine.wait();
  REQUIRE(machine.posted.size() == 1);
  machine.answer(503);
  CHECK(machine.journal->waiting_count() == 1);
  machine.report("flo_b", FlowEvent::denied);
  CHECK(machine.posted.size() == 1);  // Not before the time.
  machine.now.instant += 2s - 1ns;
  machine.journal->handle_timeout(machine.now);
  CHECK(machine.posted.size() == 1);
  machine.now.instant += 1ns;
  machine.journal->handle_timeout(machine.now);
  REQUIRE(machine.posted.size() == 2);
  CHECK(machine.posted.back().size() == 2);
  machine.crash();
  CHECK(machine.journal->waiting_count() == 2);
}

TEST_CASE("beyond the limit the oldest is given up, and the log shows the gap") {
  Machine machine({.reports_max = 3});
  for (const char* flow : {"flo_a", "flo_b", "flo_c"}) machine.report(flow, FlowEvent::denied);
  CHECK(machine.journal->lost_count() == 0);
  CHECK(machine.notices.empty());
  machine.report("flo_d", FlowEvent::denied);
  CHECK(machine.journal->lost_count() == 1);
  CHECK(machine.notices.contains("the oldest flow reports are given up: too many wait"));
  CHECK(recover_flows(machine.disk).waiting.size() == 3);
  const std::vector<std::string> log = machine.deliver();
  REQUIRE(log.size() == 4);
  CHECK(log.front() == "flo_b denied");
  CHECK(machine.last.at("event") == "failed");
  CHECK(machine.last.at("reason").get<std::string>().starts_with("1 flow reports of this node"));
}

TEST_CASE("the oldest is given up while it is on its way, and nothing else with it") {
  Machine machine({.reports_max = 2});
  machine.journal->session_up(machine.now);
  machine.report("flo_a", FlowEvent::denied);
  machine.wait();
  machine.report("flo_b", FlowEvent::denied);
  machine.report("flo_c", FlowEvent::denied);
  machine.answer(204);
  CHECK(machine.journal->waiting_count() == 2);
  machine.posted.erase(machine.posted.begin());
  const std::vector<std::string> log = machine.deliver();
  REQUIRE(log.size() == 3);
  CHECK(log[0] == "flo_b denied");
  CHECK(log[1] == "flo_c denied");
  CHECK(log[2].ends_with(" failed"));  // The mark; it may count what has arrived after all.
  CHECK(machine.journal->lost_count() == 1);
}

TEST_CASE("without a crash the place to keep does not grow") {
  Machine machine({.kept_size_min = 4096});
  machine.journal->session_up(machine.now);
  machine.report("flo_live", FlowEvent::opened);
  machine.wait();
  machine.answer(204);
  std::size_t size_max = 0;
  for (int i = 0; i < 500; ++i) {
    machine.report("flo_" + std::to_string(i), FlowEvent::denied);
    machine.wait();
    machine.answer(204);
    size_max = std::max(size_max, machine.disk.size());
  }
  CHECK(size_max < 6000);
  CHECK(recover_flows(machine.disk).open.contains("flo_live"));
}

TEST_CASE("a full disk costs nothing while the run lives, and heals") {
  Machine machine;
  machine.is_disk_full = true;
  machine.report("flo_a", FlowEvent::denied);
  const int keep_count = machine.keep_count;
  machine.report("flo_b", FlowEvent::denied);
  CHECK(machine.keep_count == keep_count);  // A disk that is full is not asked for each report.
  CHECK(machine.journal->next_deadline() == machine.now.instant + 10s);
  machine.is_disk_full = false;
  machine.now.instant += 10s;
  machine.journal->handle_timeout(machine.now);
  machine.settle();
  CHECK(recover_flows(machine.disk).waiting.size() == 2);
  machine.crash();
  CHECK(machine.deliver() == std::vector<std::string>{"flo_a denied", "flo_b denied"});
}

TEST_CASE("reports of another identity are not told in a wrong name") {
  Machine machine;
  machine.report("flo_a", FlowEvent::denied, "con_other");
  machine.report("flo_b", FlowEvent::denied);
  machine.report("flo_c", FlowEvent::opened, "con_other");
  machine.crash();
  CHECK(machine.notices.contains("flow reports of another identity are dropped"));
  CHECK(machine.deliver() == std::vector<std::string>{"flo_b denied"});
  machine.crash();
  CHECK(machine.deliver().size() == 1);
}

TEST_CASE("a torn end costs only itself") {
  Machine machine;
  machine.report("flo_a", FlowEvent::denied);
  machine.report("flo_b", FlowEvent::denied);
  machine.disk.resize(machine.disk.size() - 1);
  machine.crash();
  CHECK(machine.notices.contains("flow reports of the run before are kept"));
  CHECK(recover_flows(machine.disk).damaged_count == 0);  // Written anew.
  CHECK(machine.deliver() == std::vector<std::string>{"flo_a denied"});
}

// Draw gives numbers below a limit.
struct Draw {
  SeededRandom random;
  std::size_t operator()(std::size_t limit) {
    std::array<std::byte, 2> bytes{};
    random.fill(bytes);
    return (std::to_integer<std::size_t>(bytes[0]) * 256 + std::to_integer<std::size_t>(bytes[1])) %
           limit;
  }
};

TEST_CASE("whatever happens in whatever order, the log has each event once and each end",
          "[property]") {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    INFO("seed " << seed);
    Draw draw{SeededRandom(seed)};
    Machine machine({.batch_max = 3, .kept_size_min = 2048});
    std::set<std::string> reported;
    std::set<std::string> open;
    for (int step = 0; step < 120; ++step) {
      machine.now.instant += 3s;
      machine.journal->handle_timeout(machine.now);
      machine.settle();
      switch (draw(6)) {
        case 0:
        case 1: {
          const std::string flow = "flo_" + std::to_string(step);
          machine.report(flow, FlowEvent::opened);
          reported.insert(flow + " opened");
          open.insert(flow);
          break;
        }
        case 2:
          if (open.empty()) break;
          machine.report(*open.begin(), FlowEvent::closed);
          open.erase(open.begin());
          break;
        case 3:
          machine.journal->session_up(machine.now);
          break;
        case 4:  // What was posted arrives; the answer may not.
          if (machine.posted.empty()) break;
          for (const wire::Json& event : machine.posted.back()) machine.take(event);
          machine.posted.clear();
          if (draw(2) == 0) machine.answer(draw(3) == 0 ? 503 : 204);
          break;
        default:
          if (draw(3) > 0) break;
          machine.posted.clear();
          machine.crash();
          open.clear();
      }
    }
    machine.posted.clear();
    machine.crash();
    machine.deliver();
    for (const std::string& opened : reported) {
      INFO(opened);
      const auto start = std::ranges::find(machine.log, opened);
      const auto end =
          std::ranges::find(machine.log, opened.substr(0, opened.find(' ')) + " closed");
      REQUIRE(end != machine.log.end());
      REQUIRE(start < end);
    }
    REQUIRE(machine.log.size() == 2 * reported.size());
    REQUIRE(machine.journal->waiting_count() == 0);
    REQUIRE(machine.journal->lost_count() == 0);
  }
}

TEST_CASE("a node without a place to keep asks for nothing") {
  SeededRandom random(1);
  FlowJournal journal({}, [](std::string, const Now&) { return std::nullopt; }, random);
  journal.add({.flow = {"flo_a"}, .event = FlowEvent::opened}, {});
  CHECK_FALSE(journal.poll_keep({}));
  CHECK(journal.waiting_count() == 1);
}

}  // namespace
}  // namespace zt::node

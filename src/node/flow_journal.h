// SPDX-License-Identifier: Apache-2.0
#pragma once
// node/flow_journal.h: brings flow reports to the controller, in order, at least once.
//
// Theory of operation
//   Reports wait in a queue. While the controller is up, a batch from its front is posted; when the
//   controller has answered, the batch is dropped. A batch that fails is posted again. The
//   controller takes each event once, by its id and kind, so a repetition does no harm.
//
// Limits   `reports_max` wait; when the queue is full the oldest is given up and counted.

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "http/call.h"
#include "node/controller_session.h"
#include "zt/base/flow_report.h"
#include "zt/base/time.h"

namespace zt::node {

// to_json writes a report as the event object of the API.
[[nodiscard]] std::string to_json(const FlowReport& report);

class FlowJournal {
 public:
  struct Limits {
    std::size_t reports_max = 16384;
    std::size_t batch_max = 128;
    Duration retry = std::chrono::seconds(2);
  };

  // `controller` outlives the journal.
  FlowJournal(const Limits& limits, ControllerSession& controller)
      : limits_(limits), controller_(controller) {}
  FlowJournal(const FlowJournal&) = delete;
  FlowJournal& operator=(const FlowJournal&) = delete;

  void add(const FlowReport& report, const Now& now);
  // session_up posts what has waited.
  void session_up(const Now& now) { post(now); }
  // take_answer returns whether the answer was the journal's.
  bool take_answer(const CallAnswered& answered, const Now& now);
  bool take_failure(const CallFailed& failed, const Now& now);
  void handle_timeout(const Now& now);
  [[nodiscard]] std::optional<Instant> next_deadline() const { return retry_at_; }

  [[nodiscard]] std::size_t waiting_count() const { return reports_.size(); }
  [[nodiscard]] std::uint64_t lost_count() const { return lost_count_; }

 private:
  void post(const Now& now);

  Limits limits_;
  ControllerSession& controller_;
  std::deque<std::string> reports_;  // As JSON.
  std::optional<http::CallKey> call_;
  std::size_t posted_count_ = 0;  // Reports at the front that `call_` carries.
  std::optional<Instant> retry_at_;
  std::uint64_t lost_count_ = 0;
};

}  // namespace zt::node

// SPDX-License-Identifier: Apache-2.0
#pragma once
// node/flow_journal.h: brings flow reports to the controller, in order, at least once, over
// crashes.
//
// Theory of operation
//   Reports wait in a queue. While the controller is up, a batch from its front is posted; when the
//   controller has answered, the batch is dropped. A batch that fails is posted again. The
//   controller takes each event once, by its id and kind, so a repetition does no harm.
//
//   A report waits a moment for others (`gather_time`), because a batch costs the controller a
//   request and a commit whatever its size. A full batch does not wait, nor does a node that ends.
//
//   A node that has a place to keep things calls restore() once, with what an earlier run left
//   there (node/flow_spool.h). From then on the journal says through poll_keep() what to append, or
//   what to replace the whole by, and the owner does so before it carries out anything else of the
//   same turn: the report of a flow is kept before the flow moves a byte.
//
//   A flow that was open when the former run ended, in whatever way, is reported as closed when the
//   node starts again: with the time of the start, a reason that says so, and zero for the bytes
//   and the duration, which nobody knows any more. (The other end of the flow reports its own
//   counts.)
//
//   Reports are told under the identity of the connection, so the journal waits for enter() and
//   then drops kept reports of another identity: they would be told in a wrong name.
//
// Limits   `reports_max` wait (600 bytes each are usual); when the queue is full the oldest is
//          given up and counted. When the controller answers again, an event of its own ("failed",
//          with the count in its reason) marks the gap in the central log. Flows beyond `open_max`
//          at one time would not be closed by the next run; engines allow fewer.
//          Keeping that fails is tried again after `keep_retry`; meanwhile the queue goes on.

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "http/call.h"
#include "node/controller_session.h"
#include "node/notice.h"
#include "zt/base/flow_report.h"
#include "zt/base/random.h"
#include "zt/base/time.h"

namespace zt::node {

// to_json writes a report as the event object of the API.
[[nodiscard]] std::string to_json(const FlowReport& report);

// KeepFlows asks the owner to append `text` to what is kept, or to replace the whole by it.
struct KeepFlows {
  bool is_whole = false;
  std::string text;
};

class FlowJournal {
 public:
  struct Limits {
    std::size_t reports_max = 65536;
    std::size_t open_max = 32768;
    std::size_t batch_max = 512;
    Duration gather_time = std::chrono::milliseconds(200);
    Duration retry = std::chrono::seconds(2);
    Duration keep_retry = std::chrono::seconds(10);
    // What is kept is replaced when it is larger than this and twice what still matters.
    std::size_t kept_size_min = 1 << 20;
  };

  // Self is who reports.
  struct Self {
    FlowReporter reporter{};
    ConnectorId connector;  // Of a connector.
    SubjectId subject;      // Of a client.
    DeviceId device;        // Of a client.
  };

  // Post sends the body of a report to the controller; nothing if that is not possible now.
  using Post =
      std::move_only_function<std::optional<http::CallKey>(std::string body, const Now& now)>;

  // `random` outlives the journal.
  FlowJournal(const Limits& limits, Post post, Random& random)
      : limits_(limits), post_(std::move(post)), random_(random) {}
  FlowJournal(const FlowJournal&) = delete;
  FlowJournal& operator=(const FlowJournal&) = delete;

  // restore takes what an earlier run kept; empty if there was none. Call it first, or never.
  void restore(std::string_view kept, const Now& now);
  // enter says as whom the node was admitted.
  void enter(const Self& self);
  void add(const FlowReport& report, const Now& now);
  // session_up posts what has waited; from session_down on nothing is tried.
  void session_up(const Now& now);
  void session_down() { is_up_ = false; }
  // take_answer returns whether the answer was the journal's.
  bool take_answer(const CallAnswered& answered, const Now& now);
  bool take_failure(const CallFailed& failed, const Now& now);
  // hurry posts from now on without gathering: the node is about to end.
  void hurry(const Now& now);
  void handle_timeout(const Now& now);
  [[nodiscard]] std::optional<Instant> next_deadline() const {
    return earlier_of(post_at_, keep_at_);
  }

  [[nodiscard]] std::optional<KeepFlows> poll_keep(const Now& now);
  // keep_failed says that something from poll_keep was not kept, or may not have been.
  void keep_failed(const Now& now);
  [[nodiscard]] std::optional<Notice> poll_notice();

  [[nodiscard]] std::size_t waiting_count() const { return reports_.size(); }
  [[nodiscard]] std::uint64_t lost_count() const { return lost_count_; }

 private:
  struct Waiting {
    std::uint64_t number = 0;
    std::string event;  // As JSON.
  };

  void append(FlowEvent kind, const std::string& flow, std::string event);
  void drop_through(std::uint64_t number);
  void follow(FlowEvent kind, const std::string& flow, const std::string& event);
  void refuse_batch(int status);
  void mark_gap(const Now& now);
  void gather(const Now& now);
  void post(const Now& now);
  void retry(const Now& now);
  [[nodiscard]] std::string whole() const;
  [[nodiscard]] bool is_whole_better() const;

  Limits limits_;
  Post post_;
  Random& random_;
  std::optional<Self> self_;
  std::deque<Waiting> reports_;
  std::uint64_t number_last_ = 0;
  bool is_up_ = false;
  std::optional<http::CallKey> call_;
  std::uint64_t posted_through_ = 0;  // The number of the last report that `call_` carries.
  std::optional<Instant> post_at_;    // When the next batch is due, or may be tried again.
  bool is_failing_ = false;           // The last batch was not taken.
  bool is_hurried_ = false;
  std::uint64_t lost_count_ = 0;
  std::uint64_t gap_count_ = 0;  // Given up since the controller last answered.
  std::deque<Notice> notices_;   // At most one for each call.

  // What follows is for keeping.
  bool is_keeping_ = false;
  bool is_whole_due_ = false;
  std::optional<Instant> keep_at_;           // Not before, after a failure.
  std::string unkept_;                       // To append.
  std::map<std::string, std::string> open_;  // Flows that are open: by id, the opening event.
  std::size_t kept_size_ = 0;                // Of what the owner has.
  std::size_t live_size_ = 0;                // Of that, what still matters.
};

}  // namespace zt::node

// SPDX-License-Identifier: Apache-2.0
#include "node/flow_journal.h"

#include <algorithm>
#include <utility>

#include "node/flow_spool.h"
#include "wire/json.h"
#include "zt/base/assert.h"
#include "zt/base/rfc3339.h"

namespace zt::node {

namespace {

// closed_by_restart makes the end of a flow from the event that opened it.
std::string closed_by_restart(const std::string& opened, UnixTime now) {
  wire::Json event = wire::parse_json_object(opened);
  const std::string reporter(wire::text_member(event, "reporter").value_or("node"));
  event["event"] = to_text(FlowEvent::closed);
  event["time"] = to_rfc3339(now);
  event["reason"] =
      "the " + reporter + " was restarted: when the flow ended and what it carried is not known";
  return wire::json_text(event);
}

// is_told_by tells whether an event is about what `self` saw.
bool is_told_by(const std::string& text, const FlowJournal::Self& self) {
  const wire::Json event = wire::parse_json_object(text);
  const auto is = [&event](const char* name, const std::string& value) {
    return wire::text_member(event, name) == value;
  };
  if (self.reporter == FlowReporter::connector) return is("connector", self.connector.text);
  return is("device", self.device.text) && is("subject", self.subject.text);
}

}  // namespace

std::string to_json(const FlowReport& report) {
  // Text from a peer may not be UTF-8; it is shown with replacement characters.
  wire::ObjectText event;
  event.add("id", report.flow.text);
  event.add("event", to_text(report.event));
  event.add("reporter", to_text(report.reporter));
  event.add("time", to_rfc3339(report.time));
  event.add("target", report.target);
  event.add("protocol", to_text(report.protocol));
  event.add("bytes_up", report.bytes_up);
  event.add("bytes_down", report.bytes_down);
  const auto duration = std::chrono::duration_cast<std::chrono::milliseconds>(report.duration);
  event.add("duration_ms", static_cast<std::uint64_t>(std::max<std::int64_t>(duration.count(), 0)));
  const auto add = [&event](const char* name, const std::string& text) {
    if (!text.empty()) event.add(name, text);
  };
  add("decision", report.decision.text);
  add("grant", report.grant.text);
  add("subject", report.subject.text);
  add("device", report.device.text);
  add("resource", report.resource.text);
  add("network", report.network.text);
  add("connector", report.connector.text);
  add("reason", report.reason);
  add("path", report.path);
  if (report.client_address) add("client_address", report.client_address->to_text());
  if (report.target_address) add("target_address", report.target_address->to_text());
  return event.take();
}

void FlowJournal::restore(std::string_view kept, const Now& now) {
  ZT_ASSERT(reports_.empty() && !is_keeping_);
  KeptFlows flows = recover_flows(kept);
  is_keeping_ = true;
  is_whole_due_ = true;
  number_last_ = flows.number_last;
  const std::size_t waiting_count = flows.waiting.size();
  for (auto& [number, event] : flows.waiting) {
    live_size_ += event.size();
    reports_.push_back({.number = number, .event = std::move(event)});
  }
  for (const auto& [flow, event] : flows.open) {
    append(FlowEvent::closed, flow, closed_by_restart(event, now.unix_time));
  }
  if (waiting_count + flows.open.size() + flows.damaged_count > 0) {
    notices_.push_back({.level = flows.damaged_count > 0 ? NoticeLevel::warn : NoticeLevel::info,
                        .message = "flow reports of the run before are kept",
                        .fields = {{"waiting", std::to_string(waiting_count)},
                                   {"cut_short", std::to_string(flows.open.size())},
                                   {"damaged", std::to_string(flows.damaged_count)}}});
  }
}

void FlowJournal::enter(const Self& self) {
  self_ = self;
  const std::size_t removed_count = std::erase_if(
      reports_, [&](const Waiting& waiting) { return !is_told_by(waiting.event, self); });
  if (removed_count == 0) return;
  live_size_ = 0;
  for (const Waiting& waiting : reports_) live_size_ += waiting.event.size();
  for (const auto& [flow, event] : open_) live_size_ += event.size();
  is_whole_due_ = is_keeping_;
  lost_count_ += removed_count;
  notices_.push_back({.level = NoticeLevel::warn,
                      .message = "flow reports of another identity are dropped",
                      .fields = {{"count", std::to_string(removed_count)}}});
}

void FlowJournal::add(const FlowReport& report, const Now& now) {
  append(report.event, report.flow.text, to_json(report));
  gather(now);
}

void FlowJournal::append(FlowEvent kind, const std::string& flow, std::string event) {
  if (reports_.size() >= limits_.reports_max) {
    ++lost_count_;
    if (gap_count_++ == 0) {
      notices_.push_back({.level = NoticeLevel::warn,
                          .message = "the oldest flow reports are given up: too many wait",
                          .fields = {{"limit", std::to_string(limits_.reports_max)}}});
    }
    drop_through(reports_.front().number);
  }
  ++number_last_;
  if (is_keeping_) {
    follow(kind, flow, event);
    if (!is_whole_due_) {
      unkept_ += to_text(
          SpoolLine{.kind = SpoolLine::Kind::report, .number = number_last_, .event = event});
    }
  }
  live_size_ += event.size();
  reports_.push_back({.number = number_last_, .event = std::move(event)});
}

// drop_through lets the reports up to `number` go.
void FlowJournal::drop_through(std::uint64_t number) {
  bool is_changed = false;
  while (!reports_.empty() && reports_.front().number <= number) {
    live_size_ -= reports_.front().event.size();
    reports_.pop_front();
    is_changed = true;
  }
  if (is_changed && is_keeping_ && !is_whole_due_) {
    unkept_ += to_text(SpoolLine{.kind = SpoolLine::Kind::done, .number = number});
  }
}

// follow knows which flows are open.
void FlowJournal::follow(FlowEvent kind, const std::string& flow, const std::string& event) {
  if (kind == FlowEvent::opened && open_.size() < limits_.open_max) {
    if (open_.emplace(flow, event).second) live_size_ += event.size();
  } else if (kind == FlowEvent::closed) {
    const auto found = open_.find(flow);
    if (found == open_.end()) return;
    live_size_ -= found->second.size();
    open_.erase(found);
  }
}

void FlowJournal::session_up(const Now& now) {
  is_up_ = true;
  is_failing_ = false;
  post(now);
}

bool FlowJournal::take_answer(const CallAnswered& answered, const Now& now) {
  if (answered.call != call_) return false;
  call_.reset();
  const bool is_taken = answered.status >= 200 && answered.status < 300;
  const bool is_refused = answered.status == 400 || answered.status == 422;
  if (is_taken || is_refused) {
    is_failing_ = false;
    // What is malformed would be so for ever. The controller has kept what it could read.
    if (is_refused) refuse_batch(answered.status);
    drop_through(posted_through_);
    mark_gap(now);
    gather(now);
  } else {
    retry(now);
  }
  return true;
}

void FlowJournal::refuse_batch(int status) {
  const auto is_posted = [&](const Waiting& waiting) { return waiting.number <= posted_through_; };
  lost_count_ += static_cast<std::uint64_t>(std::ranges::count_if(reports_, is_posted));
  notices_.push_back({.level = NoticeLevel::warn,
                      .message = "the controller found flow reports malformed",
                      .fields = {{"status", std::to_string(status)}}});
}

// mark_gap tells the central log what it will never hear about.
void FlowJournal::mark_gap(const Now& now) {
  if (gap_count_ == 0 || !self_) return;
  if (reports_.size() >= limits_.reports_max) return;  // The mark would make a gap.
  const std::string count = std::to_string(std::exchange(gap_count_, 0));
  notices_.push_back({.level = NoticeLevel::warn,
                      .message = "flow reports were given up while the controller was away",
                      .fields = {{"count", count}}});
  const FlowReport mark{.flow = make_id<FlowIdTag>(random_),
                        .event = FlowEvent::failed,
                        .reporter = self_->reporter,
                        .time = now.unix_time,
                        .subject = self_->subject,
                        .device = self_->device,
                        .connector = self_->connector,
                        .reason = count +
                                  " flow reports of this node were given up: too many "
                                  "waited while the controller was away"};
  append(mark.event, mark.flow.text, to_json(mark));
}

bool FlowJournal::take_failure(const CallFailed& failed, const Now& now) {
  if (failed.call != call_) return false;
  call_.reset();
  retry(now);
  return true;
}

void FlowJournal::handle_timeout(const Now& now) {
  if (keep_at_ && now.instant >= *keep_at_) keep_at_.reset();
  if (post_at_ && now.instant >= *post_at_) post(now);
}

void FlowJournal::hurry(const Now& now) {
  is_hurried_ = true;
  if (!call_) post(now);
}

// gather posts what is worth a request, or sets the time for it.
void FlowJournal::gather(const Now& now) {
  if (call_ || reports_.empty() || !is_up_ || is_failing_) return;
  if (is_hurried_ || reports_.size() >= limits_.batch_max) return post(now);
  if (!post_at_) post_at_ = now.instant + limits_.gather_time;
}

void FlowJournal::post(const Now& now) {
  post_at_.reset();
  if (call_ || reports_.empty() || !self_ || !is_up_) return;
  std::string body = R"({"events":[)";
  std::size_t count = 0;
  for (const Waiting& waiting : reports_) {
    if (count == limits_.batch_max) break;
    if (count++ > 0) body += ',';
    body += waiting.event;
    posted_through_ = waiting.number;
  }
  body += "]}";
  call_ = post_(std::move(body), now);
  if (!call_) retry(now);
}

void FlowJournal::retry(const Now& now) {
  is_failing_ = true;
  post_at_ = now.instant + limits_.retry;
}

std::optional<KeepFlows> FlowJournal::poll_keep(const Now& now) {
  if (keep_at_ && now.instant < *keep_at_) return std::nullopt;
  keep_at_.reset();
  if (!is_whole_due_ && unkept_.empty()) return std::nullopt;
  kept_size_ += unkept_.size();
  if (!is_whole_due_ && !is_whole_better()) {
    return KeepFlows{.is_whole = false, .text = std::exchange(unkept_, {})};
  }
  is_whole_due_ = false;
  unkept_.clear();
  KeepFlows keep{.is_whole = true, .text = whole()};
  kept_size_ = keep.text.size();
  return keep;
}

bool FlowJournal::is_whole_better() const {
  return kept_size_ > limits_.kept_size_min && kept_size_ / 2 > live_size_;
}

std::string FlowJournal::whole() const {
  // The last number is told even if nothing waits, so that numbers go on rising.
  const std::uint64_t done = reports_.empty() ? number_last_ : reports_.front().number - 1;
  std::string text = to_text(SpoolLine{.kind = SpoolLine::Kind::done, .number = done});
  for (const auto& [flow, event] : open_) {
    text += to_text(SpoolLine{.kind = SpoolLine::Kind::open, .number = 0, .event = event});
  }
  for (const Waiting& waiting : reports_) {
    text += to_text(SpoolLine{
        .kind = SpoolLine::Kind::report, .number = waiting.number, .event = waiting.event});
  }
  return text;
}

void FlowJournal::keep_failed(const Now& now) {
  is_whole_due_ = true;
  unkept_.clear();
  keep_at_ = now.instant + limits_.keep_retry;
}

std::optional<Notice> FlowJournal::poll_notice() {
  if (notices_.empty()) return std::nullopt;
  Notice notice = std::move(notices_.front());
  notices_.pop_front();
  return notice;
}

}  // namespace zt::node

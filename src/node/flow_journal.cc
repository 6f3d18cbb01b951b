// SPDX-License-Identifier: Apache-2.0
#include "node/flow_journal.h"

#include <utility>

#include "wire/json.h"
#include "zt/base/rfc3339.h"

namespace zt::node {

std::string to_json(const FlowReport& report) {
  wire::Json event = {
      {"id", report.flow.text},
      {"event", to_text(report.event)},
      {"reporter", to_text(report.reporter)},
      {"time", to_rfc3339(report.time)},
      {"target", report.target},
      {"protocol", to_text(report.protocol)},
      {"bytes_up", report.bytes_up},
      {"bytes_down", report.bytes_down},
      {"duration_ms",
       std::chrono::duration_cast<std::chrono::milliseconds>(report.duration).count()},
  };
  const auto add = [&event](const char* name, const std::string& text) {
    if (!text.empty()) event[name] = text;
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
  if (report.client_address) event["client_address"] = report.client_address->to_text();
  if (report.target_address) event["target_address"] = report.target_address->to_text();
  // Text from a peer may not be UTF-8; it is shown with replacement characters.
  return wire::json_text(event);
}

void FlowJournal::add(const FlowReport& report, const Now& now) {
  if (reports_.size() >= limits_.reports_max) {
    ++lost_count_;
    if (posted_count_ > 0) --posted_count_;  // The oldest may be on its way already.
    reports_.pop_front();
  }
  reports_.push_back(to_json(report));
  post(now);
}

bool FlowJournal::take_answer(const CallAnswered& answered, const Now& now) {
  if (answered.call != call_) return false;
  call_.reset();
  const bool is_taken = answered.status >= 200 && answered.status < 300;
  const bool is_refused = answered.status == 400 || answered.status == 422;
  if (is_taken || is_refused) {
    // A batch that the controller calls malformed would be so for ever.
    if (is_refused) lost_count_ += posted_count_;
    reports_.erase(reports_.begin(), reports_.begin() + static_cast<std::ptrdiff_t>(posted_count_));
    posted_count_ = 0;
    post(now);
  } else {
    posted_count_ = 0;
    retry_at_ = now.instant + limits_.retry;
  }
  return true;
}

bool FlowJournal::take_failure(const CallFailed& failed, const Now& now) {
  if (failed.call != call_) return false;
  call_.reset();
  posted_count_ = 0;
  retry_at_ = now.instant + limits_.retry;
  return true;
}

void FlowJournal::handle_timeout(const Now& now) {
  if (!retry_at_ || now.instant < *retry_at_) return;
  retry_at_.reset();
  post(now);
}

void FlowJournal::post(const Now& now) {
  if (call_ || reports_.empty() || !controller_.is_up()) return;
  std::string body = R"({"events":[)";
  posted_count_ = 0;
  for (const std::string& report : reports_) {
    if (posted_count_ == limits_.batch_max) break;
    if (posted_count_ > 0) body += ',';
    body += report;
    ++posted_count_;
  }
  body += "]}";
  call_ = controller_.call("POST", "/api/v1/node/events", std::move(body), now);
  if (!call_) posted_count_ = 0;
}

}  // namespace zt::node

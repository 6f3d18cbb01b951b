// SPDX-License-Identifier: Apache-2.0
#include "node/controller_node.h"

#include <string>
#include <utility>
#include <variant>

#include "zt/base/assert.h"

namespace zt::node {

namespace {

template <class... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};

}  // namespace

ControllerNode::ControllerNode(const Config& config, controller::Store& store, Random& random)
    : endpoint_(config.endpoint, random),
      server_(config.server, &endpoint_),
      engine_(store, random, config.engine) {}

void ControllerNode::start(const Now& now) {
  engine_.handle_timeout(now);  // Reads the store and sets the first deadlines.
  take_events(now);
}

void ControllerNode::handle(const quic::ReceivedDatagrams& datagrams, const Now& now) {
  endpoint_.handle(datagrams, now.instant);
}

void ControllerNode::handle_timeout(const Now& now) {
  endpoint_.handle_timeout(now.instant);
  server_.handle_timeout(now.instant);
  engine_.handle_timeout(now);
}

std::optional<ControllerNode::Effect> ControllerNode::poll_effect(const Now& now) {
  if (effects_.empty()) take_events(now);
  if (effects_.empty()) return std::nullopt;
  Effect effect = std::move(effects_.front());
  effects_.pop_front();
  return effect;
}

std::optional<Instant> ControllerNode::next_deadline() const {
  return earlier_of(earlier_of(endpoint_.next_deadline(), server_.next_deadline()),
                    engine_.next_deadline());
}

// The core is drained after each request before it sees the next (base/engine.h).
void ControllerNode::take_events(const Now& now) {
  while (const auto event = endpoint_.poll_event()) {
    (void)server_.handle(*event, now.instant);  // What is not an exchange's is nobody's.
  }
  drain_engine(now);
  while (auto output = server_.poll_output()) {
    std::visit([&](auto& input) { engine_.handle(std::move(input), now); }, *output);
    drain_engine(now);
  }
}

void ControllerNode::drain_engine(const Now& now) {
  while (auto output = engine_.poll_output()) {
    auto* respond = std::get_if<http::Respond>(&*output);
    if (respond != nullptr && respond->exchange == kLocalExchange) {
      local_answer_ = Answer{.status = respond->response.status, .body = std::move(respond->body)};
      continue;
    }
    std::visit(Overloaded{
                   [&](controller::LogEvent& event) { note(event); },
                   [&](auto& command) { server_.carry_out(std::move(command), now.instant); },
               },
               *output);
  }
}

ControllerNode::Answer ControllerNode::ask(http::Request request, std::string body,
                                           const Now& now) {
  local_answer_.reset();
  engine_.handle(http::RequestArrived{.exchange = kLocalExchange,
                                      .request = std::move(request),
                                      .body = std::move(body),
                                      .peer = {}},
                 now);
  drain_engine(now);
  ZT_ASSERT(local_answer_.has_value());
  Answer answer = *std::move(local_answer_);
  local_answer_.reset();
  return answer;
}

void ControllerNode::note(const controller::LogEvent& event) {
  std::visit(
      Overloaded{
          [this](const controller::NodeEnrolled& enrolled) {
            effects_.emplace_back(Notice{.level = NoticeLevel::info,
                                         .message = "admitted a node",
                                         .fields = {{"node", enrolled.node}}});
          },
          [this](const controller::WatchStarted& started) {
            effects_.emplace_back(
                Notice{.level = NoticeLevel::info,
                       .message = "a node is watching",
                       .fields = {{"node", started.node},
                                  {"watchers", std::to_string(started.watcher_count)}}});
          },
          [this](const controller::WatchEnded& ended) {
            effects_.emplace_back(
                Notice{.level = NoticeLevel::info,
                       .message = "a node stopped watching",
                       .fields = {{"node", ended.node}, {"reason", ended.reason}}});
          },
          [this](const controller::AccessChanged& changed) {
            effects_.emplace_back(
                Notice{.level = NoticeLevel::info,
                       .message = "access changed",
                       .fields = {{"revision", std::to_string(changed.revision)},
                                  {"grants_revoked", std::to_string(changed.revoked_count)}}});
          },
          [this](const controller::GrantDecided& decided) {
            effects_.emplace_back(
                Notice{.level = NoticeLevel::debug,
                       .message = decided.is_allowed ? "allowed a grant" : "denied a grant",
                       .fields = {{"decision", decided.decision.text}}});
          },
          [this](const controller::RequestFailed& failed) {
            effects_.emplace_back(Notice{
                .level = NoticeLevel::warn,
                .message = "a request could not be served",
                .fields = {{"status", std::to_string(failed.status)}, {"reason", failed.detail}}});
          },
          [this](const controller::StoreFailed& failed) {
            effects_.emplace_back(
                Notice{.level = NoticeLevel::error,
                       .message = "the store failed",
                       .fields = {{"error", std::string(controller::to_text(failed.error))},
                                  {"action", failed.action}}});
          },
      },
      event);
}

}  // namespace zt::node

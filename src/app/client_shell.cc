// SPDX-License-Identifier: Apache-2.0
#include "app/client_shell.h"

#include <algorithm>
#include <utility>

#include "zt/base/bytes.h"

namespace zt::app {

struct ClientShell::Flow {
  OnAnswer on_answer;      // Until the answer.
  OnEnd on_end;            // From attach on.
  OnDatagram on_datagram;  // Of UDP.
  std::unique_ptr<FlowPort<FlowKey>> port;
  std::unique_ptr<io::Splice> splice;  // After `port`, which it borrows.
  std::uint64_t bytes_up = 0;          // Of UDP.
  std::uint64_t bytes_down = 0;
};

std::expected<std::unique_ptr<ClientShell>, io::SocketError> ClientShell::create(
    io::Loop& loop, io::Resolver& resolver, Random& random, Log& log,
    const node::ClientNode::Config& config, std::uint16_t udp_port, node::Credential credential,
    Handlers handlers) {
  // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): the constructor is private.
  std::unique_ptr<ClientShell> shell(new ClientShell(loop, resolver, random, log, config,
                                                     std::move(credential), std::move(handlers)));
  if (const auto opened = shell->host_.open(udp_port); !opened) {
    return std::unexpected(opened.error());
  }
  return shell;
}

ClientShell::ClientShell(io::Loop& loop, io::Resolver& resolver, Random& random, Log& log,
                         const Node::Config& config, node::Credential credential, Handlers handlers)
    : loop_(loop),
      log_(log),
      handlers_(std::move(handlers)),
      node_(config, std::move(credential), random),
      host_(
          loop, resolver, random, log, node_,
          [this](Node::Effect& effect, const Now& now) { carry_out(effect, now); },
          [this](const Now&) { move_datagrams(); }),
      icmp_(log, loop.now().instant) {}

ClientShell::~ClientShell() = default;

ClientShell::FlowKey ClientShell::open(const Authority& target, Protocol protocol,
                                       OnAnswer on_answer) {
  const FlowKey key = node_.open_flow(target, protocol, loop_.now());
  auto flow = std::make_unique<Flow>();
  flow->on_answer = std::move(on_answer);
  flows_[key] = std::move(flow);
  host_.settle();
  return key;
}

void ClientShell::close(FlowKey key) {
  const auto found = flows_.find(key);
  if (found == flows_.end()) return;
  found->second->on_answer = {};
  found->second->on_end = {};
  abandon(key, "given up by the application", loop_.now());
}

void ClientShell::attach(FlowKey key, io::StreamEnds ends, std::string_view early, OnEnd on_end) {
  Flow* flow = find(key);
  if (flow == nullptr) return on_end(false);  // It ended between the answer and now.
  flow->on_end = std::move(on_end);
  flow->port = std::make_unique<FlowPort<FlowKey>>(node_.flows(), key, [this] { host_.settle(); });
  while (!early.empty()) {
    const std::span<std::byte> space = flow->port->writable();
    // An ingress reads at most some KiB ahead, and the send buffer of a new flow holds more. It is
    // empty only if the flow is gone; the splice notices.
    if (space.empty()) break;
    const std::size_t size = std::min(space.size(), early.size());
    std::ranges::copy(as_bytes(early.substr(0, size)), space.begin());
    flow->port->commit(size);
    early.remove_prefix(size);
  }
  flow->splice = std::make_unique<io::Splice>(
      loop_, std::move(ends), *flow->port, io::Splice::Options{},
      [this, key](const io::Splice::Report& report) { end(key, report); });
}

void ClientShell::attach_datagrams(FlowKey key, OnDatagram on_datagram, OnEnd on_end) {
  Flow* flow = find(key);
  if (flow == nullptr) return on_end(false);
  flow->on_datagram = std::move(on_datagram);
  flow->on_end = std::move(on_end);
}

std::optional<std::size_t> ClientShell::send_datagram(FlowKey key,
                                                      std::span<const std::byte> payload,
                                                      const Now& now) {
  Flow* flow = find(key);
  if (flow == nullptr) return std::nullopt;
  flow->bytes_up += payload.size();
  const auto payload_size_max = node_.send_datagram(key, payload, now);
  host_.settle();
  return payload_size_max;
}

void ClientShell::carry_out(Node::Effect& effect, const Now& now) {
  if (const auto* readable = std::get_if<Node::FlowReadable>(&effect)) {
    Flow* flow = find(readable->flow);
    if (flow != nullptr && flow->splice) flow->splice->on_port_readable();
  } else if (const auto* writable = std::get_if<Node::FlowWritable>(&effect)) {
    Flow* flow = find(writable->flow);
    if (flow != nullptr && flow->splice) flow->splice->on_port_writable();
  } else if (const auto* ready = std::get_if<Node::FlowReady>(&effect)) {
    answer(ready->flow, std::nullopt);
  } else if (auto* refused = std::get_if<Node::FlowRefused>(&effect)) {
    answer(refused->flow, std::move(refused->outcome));
  } else if (const auto* aborted = std::get_if<Node::FlowAborted>(&effect)) {
    abandon(aborted->flow, "reset by the connector", now);
  } else if (const auto* cut = std::get_if<Node::FlowCut>(&effect)) {
    abandon(cut->flow, cut->reason, now);
  } else if (const auto* signed_in = std::get_if<Node::SignedIn>(&effect)) {
    handlers_.on_signed_in(*signed_in);
  } else if (std::holds_alternative<Node::ViewChanged>(effect)) {
    handlers_.on_view();
  } else if (const auto* denied = std::get_if<node::Refused>(&effect)) {
    handlers_.on_refused(*denied);
  }
}

void ClientShell::answer(FlowKey key, std::optional<client::Outcome> refusal) {
  const auto found = flows_.find(key);
  if (found == flows_.end()) return;
  OnAnswer on_answer = std::exchange(found->second->on_answer, {});
  if (refusal) flows_.erase(found);  // The node has forgotten it already.
  if (on_answer) on_answer(std::move(refusal));
}

void ClientShell::abandon(FlowKey key, const std::string& reason, const Now& now) {
  const auto found = flows_.find(key);
  if (found == flows_.end()) return;
  const std::unique_ptr<Flow> flow = std::move(found->second);
  flows_.erase(found);
  std::uint64_t bytes_up = flow->bytes_up;
  std::uint64_t bytes_down = flow->bytes_down;
  if (flow->splice) {
    bytes_up = flow->splice->sent_size();
    bytes_down = flow->splice->received_size();
    flow->splice->abort();
  }
  node_.flow_ended(key, bytes_up, bytes_down, reason, now);
  host_.settle();
  if (flow->on_end) flow->on_end(false);
}

void ClientShell::end(FlowKey key, const io::Splice::Report& report) {
  const auto found = flows_.find(key);
  if (found == flows_.end()) return;
  const std::unique_ptr<Flow> flow = std::move(found->second);
  flows_.erase(found);
  const bool is_orderly = report.end == io::Splice::End::finished;
  const char* reason = "finished";
  if (report.end == io::Splice::End::stream_broken) reason = "reset by the application";
  if (report.end == io::Splice::End::port_broken) reason = "reset by the connector";
  node_.flow_ended(key, report.sent_size, report.received_size, reason, loop_.now());
  host_.settle();
  if (flow->on_end) flow->on_end(is_orderly);
}

void ClientShell::move_datagrams() {
  while (const auto datagram = node_.poll_datagram()) {
    Flow* flow = find(datagram->flow);
    if (flow == nullptr || !flow->on_datagram) continue;
    flow->bytes_down += datagram->payload.size();
    flow->on_datagram(datagram->payload);
  }
}

ClientShell::Flow* ClientShell::find(FlowKey key) {
  const auto found = flows_.find(key);
  return found == flows_.end() ? nullptr : found->second.get();
}

}  // namespace zt::app

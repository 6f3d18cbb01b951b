// SPDX-License-Identifier: Apache-2.0
#include "app/connector_shell.h"

#include <utility>

namespace zt::app {

namespace {

connector::DialError to_dial_error(io::SocketError error) {
  switch (error) {
    case io::SocketError::refused:
      return connector::DialError::refused;
    case io::SocketError::unreachable:
    case io::SocketError::denied:
    case io::SocketError::invalid:
      return connector::DialError::unreachable;
    case io::SocketError::timed_out:
      return connector::DialError::timed_out;
    case io::SocketError::would_block:
    case io::SocketError::reset:
    case io::SocketError::in_use:
    case io::SocketError::limit:
    case io::SocketError::too_large:
    case io::SocketError::failed:
      return connector::DialError::failed;
  }
  return connector::DialError::failed;
}

}  // namespace

struct ConnectorShell::Flow {
  explicit Flow(Instant now) : icmp_allowance(IcmpAnswers::kSenderRate, now) {}

  std::unique_ptr<io::Dial> dial;
  io::Descriptor socket;  // Dialled, and not yet spliced.
  std::unique_ptr<FlowPort<Node::FlowKey>> port;
  std::unique_ptr<io::Splice> splice;  // After `port`, which it borrows.
  std::unique_ptr<io::UdpSocket> udp;
  SocketAddress remote;  // Of UDP.
  path::Allowance icmp_allowance;
  std::uint64_t bytes_up = 0;  // Of UDP.
  std::uint64_t bytes_down = 0;
};

std::expected<std::unique_ptr<ConnectorShell>, io::SocketError> ConnectorShell::create(
    io::Loop& loop, io::Resolver& resolver, Random& random, Log& log,
    const node::ConnectorNode::Config& config, std::uint16_t udp_port, node::Credential credential,
    Handlers handlers) {
  // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): the constructor is private.
  std::unique_ptr<ConnectorShell> shell(new ConnectorShell(
      loop, resolver, random, log, config, std::move(credential), std::move(handlers)));
  if (const auto opened = shell->host_.open(udp_port); !opened) {
    return std::unexpected(opened.error());
  }
  return shell;
}

ConnectorShell::ConnectorShell(io::Loop& loop, io::Resolver& resolver, Random& random, Log& log,
                               const Node::Config& config, node::Credential credential,
                               Handlers handlers)
    : loop_(loop),
      handlers_(std::move(handlers)),
      node_(config, std::move(credential), random),
      host_(
          loop, resolver, random, log, node_,
          [this](Node::Effect& effect, const Now& now) { carry_out(effect, now); },
          [this](const Now& now) { move_datagrams(now); }),
      icmp_(log, loop.now().instant) {}

ConnectorShell::~ConnectorShell() = default;

void ConnectorShell::drain() {
  node_.drain(loop_.now());
  host_.settle();
}

void ConnectorShell::end_flows() {
  while (!flows_.empty()) {
    abandon(flows_.begin()->first, connector::FlowEnd::connector_ended, loop_.now());
  }
}

void ConnectorShell::carry_out(Node::Effect& effect, const Now& now) {
  if (const auto* wanted = std::get_if<Node::DialWanted>(&effect)) {
    dial(*wanted, now);
  } else if (const auto* opened = std::get_if<Node::FlowOpened>(&effect)) {
    open(*opened);
  } else if (const auto* dropped = std::get_if<Node::FlowDropped>(&effect)) {
    flows_.erase(dropped->flow);
  } else if (const auto* readable = std::get_if<Node::FlowReadable>(&effect)) {
    Flow* flow = find(readable->flow);
    if (flow != nullptr && flow->splice) flow->splice->on_port_readable();
  } else if (const auto* writable = std::get_if<Node::FlowWritable>(&effect)) {
    Flow* flow = find(writable->flow);
    if (flow != nullptr && flow->splice) flow->splice->on_port_writable();
  } else if (const auto* aborted = std::get_if<Node::FlowAborted>(&effect)) {
    abandon(aborted->flow, connector::FlowEnd::client_reset, now);
  } else if (const auto* cut = std::get_if<Node::FlowCut>(&effect)) {
    abandon(cut->flow, connector::FlowEnd::cut, now);
  } else if (const auto* changed = std::get_if<Node::StandingChanged>(&effect)) {
    handlers_.on_standing(changed->standing);
  } else if (const auto* refused = std::get_if<node::Refused>(&effect)) {
    handlers_.on_refused(*refused);
  } else if (std::holds_alternative<Node::Drained>(effect)) {
    handlers_.on_drained();
  }
}

void ConnectorShell::dial(const Node::DialWanted& wanted, const Now& now) {
  if (wanted.protocol == Protocol::udp) {
    return dial_udp(wanted.flow, wanted.addresses.front(), now);
  }
  auto flow = std::make_unique<Flow>(now.instant);
  flow->dial = std::make_unique<io::Dial>(
      loop_, wanted.addresses, io::Dial::Options{},
      [this, key = wanted.flow](std::expected<io::Dial::Connected, io::Dial::Failure> result) {
        Flow* dialled = find(key);
        if (dialled == nullptr) return;
        dialled->dial.reset();
        if (result) {
          dialled->socket = std::move(result->socket);
          node_.dialed(key, result->remote, loop_.now());
        } else {
          node_.dialed(key, std::unexpected(to_dial_error(result.error().error)), loop_.now());
        }
        host_.settle();
      });
  flows_[wanted.flow] = std::move(flow);
}

// Nothing is sent by connecting a UDP socket: the resource is silent until it has something to say.
void ConnectorShell::dial_udp(Node::FlowKey key, const SocketAddress& remote, const Now& now) {
  auto flow = std::make_unique<Flow>(now.instant);
  Flow& target = *flow;
  target.remote = remote;
  auto socket = io::UdpSocket::connect(
      loop_, host_.buffers(), remote,
      {.receive_buffer_size = 1 << 20, .send_buffer_size = 1 << 20, .is_fragmented = true},
      {.on_datagrams =
           [this, key, &target](const io::Datagrams& datagrams) {
             const Now arrived = loop_.now();
             io::for_each_datagram(datagrams, [&](std::span<const std::byte> payload) {
               answer_datagram(key, target, payload, arrived);
             });
             host_.settle();
           },
       .on_writable = {},
       .on_error = {}});
  if (!socket) {
    node_.dialed(key, std::unexpected(to_dial_error(socket.error())), now);
    return;
  }
  flow->udp = std::move(*socket);
  flows_[key] = std::move(flow);
  node_.dialed(key, remote, now);
}

// The resource has sent `payload` to the socket of the flow.
void ConnectorShell::answer_datagram(Node::FlowKey key, Flow& flow,
                                     std::span<const std::byte> payload, const Now& now) {
  flow.bytes_down += payload.size();
  const auto payload_size_max = node_.send_datagram(key, payload, now);
  if (!payload_size_max) return;
  icmp_.too_large({.source = flow.remote, .destination = flow.udp->local(), .payload = payload},
                  *payload_size_max, flow.icmp_allowance, now);
}

void ConnectorShell::open(const Node::FlowOpened& opened) {
  Flow* flow = find(opened.flow);
  if (flow == nullptr || opened.protocol == Protocol::udp) return;
  flow->port = std::make_unique<FlowPort<Node::FlowKey>>(node_.flows(), opened.flow,
                                                         [this] { host_.settle(); });
  flow->splice = std::make_unique<io::Splice>(
      loop_, io::StreamEnds{.input = std::move(flow->socket), .output = {}}, *flow->port,
      io::Splice::Options{},
      [this, key = opened.flow](const io::Splice::Report& report) { end(key, report); });
}

void ConnectorShell::abandon(Node::FlowKey key, connector::FlowEnd cause, const Now& now) {
  Flow* flow = find(key);
  if (flow == nullptr) return;
  std::uint64_t bytes_up = flow->bytes_up;
  std::uint64_t bytes_down = flow->bytes_down;
  if (flow->splice) {
    bytes_up = flow->splice->received_size();
    bytes_down = flow->splice->sent_size();
    flow->splice->abort();
  }
  flows_.erase(key);
  node_.flow_ended(key, bytes_up, bytes_down, cause, now);
  host_.settle();
}

void ConnectorShell::end(Node::FlowKey key, const io::Splice::Report& report) {
  connector::FlowEnd cause = connector::FlowEnd::finished;
  if (report.end == io::Splice::End::stream_broken) cause = connector::FlowEnd::resource_reset;
  if (report.end == io::Splice::End::port_broken) cause = connector::FlowEnd::client_reset;
  flows_.erase(key);
  node_.flow_ended(key, report.received_size, report.sent_size, cause, loop_.now());
  host_.settle();
}

void ConnectorShell::move_datagrams(const Now& now) {
  while (const auto datagram = node_.poll_datagram(now)) {
    Flow* flow = find(datagram->flow);
    if (flow == nullptr || !flow->udp) continue;
    flow->bytes_up += datagram->payload.size();
    // A full socket drops, as a router would.
    (void)flow->udp->send({.bytes = datagram->payload, .segment_size = datagram->payload.size()});
  }
}

ConnectorShell::Flow* ConnectorShell::find(Node::FlowKey key) {
  const auto found = flows_.find(key);
  return found == flows_.end() ? nullptr : found->second.get();
}

}  // namespace zt::app

// SPDX-License-Identifier: Apache-2.0
#include "app/upnp_port.h"

#include <array>
#include <utility>
#include <variant>

#include "http/http1_client.h"
#include "io/stream.h"
#include "io/tcp.h"
#include "zt/base/bytes.h"

namespace zt::app {
namespace {

const SocketAddress kGroup{.ip = IpAddress::v4({239, 255, 255, 250}), .port = 1900};
constexpr std::size_t kReadSize = 16 << 10;
constexpr std::uint16_t kPortMin = 1024;

// UPnP errors of AddPortMapping (WANIPConnection:1 section 2.4.16).
constexpr unsigned kErrorNotAuthorized = 606;
constexpr unsigned kErrorConflict = 718;
constexpr unsigned kErrorOnlyPermanent = 725;
constexpr unsigned kErrorNoPorts = 728;
constexpr unsigned kErrorConflictWithOther = 729;

path::MappingFailure failure_of(unsigned error) {
  switch (error) {
    case kErrorNotAuthorized:
      return path::MappingFailure::refused;
    case kErrorConflict:
    case kErrorConflictWithOther:
    case kErrorNoPorts:
      return path::MappingFailure::exhausted;
    case kErrorOnlyPermanent:
      return path::MappingFailure::endless;
    default:
      return path::MappingFailure::unsupported;
  }
}

}  // namespace

// Exchange is one request to the gateway and its answer, on a connection of its own.
class UpnpPort::Exchange {
 public:
  Exchange(io::Loop& loop, const SocketAddress& remote, const http::Request& request,
           const std::string& body, OnReply on_reply)
      : loop_(loop), on_reply_(std::move(on_reply)), timer_(loop, [this] { end(std::nullopt); }) {
    const Instant now = loop_.now().instant;
    timer_.arm(now + kCallTime);
    if (!http_.start(request, body, now)) {
      timer_.arm(now);
      return;
    }
    dial_ = std::make_unique<io::Dial>(
        loop_, std::array{remote}, io::Dial::Options{},
        [this](std::expected<io::Dial::Connected, io::Dial::Failure> result) {
          if (!result) return end(std::nullopt);
          converse(std::move(result->socket));
        });
  }
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

 private:
  void converse(io::Descriptor socket) {
    stream_ = std::make_unique<io::Stream>(
        loop_, io::StreamEnds{.input = std::move(socket), .output = {}}, [this] { read(); },
        [this] { write(); });
    stream_->want_readable();
    write();
  }

  void write() {
    while (!http_.to_send().empty()) {
      const auto size = stream_->try_write(as_bytes(http_.to_send()));
      if (!size && size.error() == io::SocketError::would_block) return stream_->want_writable();
      if (!size) return end(std::nullopt);
      http_.sent(*size);
    }
  }

  void read() {
    std::array<std::byte, kReadSize> space{};
    const auto size = stream_->try_read(space);
    if (!size && size.error() == io::SocketError::would_block) return stream_->want_readable();
    if (!size) return end(std::nullopt);
    if (*size == 0) {
      http_.receive_end(true);  // Without TLS no end is more genuine than another.
    } else {
      http_.receive(as_text(BytesView(space).first(*size)), loop_.now().instant);
    }
    while (const auto event = http_.poll_event()) {
      if (const auto* response = std::get_if<http::Http1Response>(&*event)) {
        reply_.status = response->response.status;
      } else if (const auto* chunk = std::get_if<http::Http1Chunk>(&*event)) {
        reply_.body += chunk->bytes;
      } else if (std::holds_alternative<http::Http1Ended>(*event)) {
        return end(std::move(reply_));
      } else {
        return end(std::nullopt);
      }
    }
    if (*size == 0) return end(std::nullopt);
    stream_->want_readable();
  }

  // The callback destroys this object.
  void end(std::optional<Reply> reply) {
    OnReply on_reply = std::move(on_reply_);
    on_reply(std::move(reply));
  }

  io::Loop& loop_;
  OnReply on_reply_;
  Reply reply_;
  http::Http1Client http_{{.head = {.head_size_max = 8 << 10, .fields_max = 64},
                           .body_size_max = kBodySizeMax,
                           .response_timeout = kCallTime}};
  io::Timer timer_;
  std::unique_ptr<io::Dial> dial_;
  std::unique_ptr<io::Stream> stream_;
};

UpnpPort::UpnpPort(io::Loop& loop, io::UdpBuffers& buffers, Random& random, OnAnswer on_answer)
    : loop_(loop),
      buffers_(buffers),
      random_(random),
      on_answer_(std::move(on_answer)),
      timer_(loop, [this] { send_search(); }) {}

UpnpPort::~UpnpPort() = default;

void UpnpPort::map(const path::UpnpWanted& wanted) {
  if (is_finished_) return;
  const bool is_known = place_ == wanted.place && !services_.empty();
  give_up();
  wanted_ = wanted;
  ports_tried_ = 0;
  if (is_known) return ask_address();
  services_.clear();
  mapped_.reset();
  place_ = wanted.place;
  search();
}

// --- Search

void UpnpPort::search() {
  // From the address that faces the gateway, or the kernel might take another interface.
  auto socket = io::UdpSocket::bind(
      loop_, buffers_, {.ip = place_->internal.ip, .port = 0},
      {.receive_buffer_size = 1 << 16, .send_buffer_size = 1 << 16},
      {.on_datagrams = [this](const io::Datagrams& datagrams) { take_answer(datagrams); },
       .on_writable = {},
       .on_error = {}});
  search_end_ = loop_.now().instant + kSearchTime;
  if (!socket) {
    search_end_ = loop_.now().instant;  // Answered from the loop all the same.
  } else {
    socket_ = std::move(*socket);
  }
  timer_.arm(loop_.now().instant);
}

void UpnpPort::send_search() {
  const Instant now = loop_.now().instant;
  if (now >= search_end_ || !socket_) return fail(path::MappingFailure::no_answer);
  const std::string search = igd_search();
  for (const SocketAddress& target :
       {kGroup, SocketAddress{.ip = place_->gateway, .port = kGroup.port}}) {
    // What gets lost is sent again.
    (void)socket_->send(
        {.remote = target, .bytes = as_bytes(search), .segment_size = search.size()});
  }
  timer_.arm(now + kSearchInterval);
}

void UpnpPort::take_answer(const io::Datagrams& datagrams) {
  if (datagrams.remote.ip != place_->gateway) return;
  std::optional<IgdLocation> location;
  io::for_each_datagram(datagrams, [&](std::span<const std::byte> datagram) {
    if (!location) location = parse_igd_answer(as_text(datagram), place_->gateway);
  });
  if (!location) return;
  timer_.cancel();
  socket_.reset();
  describe(*location);
}

// --- The gateway's services

void UpnpPort::describe(const IgdLocation& location) {
  exchange(location, {}, {}, [this, location](const std::optional<Reply>& reply) {
    if (!reply) return fail(path::MappingFailure::no_answer);
    if (reply->status == 200) {
      services_ = parse_igd_description(reply->body, location, place_->gateway);
    }
    if (services_.empty()) return fail(path::MappingFailure::unsupported);
    ask_address();
  });
}

void UpnpPort::ask_address() {
  call("GetExternalIPAddress", {}, [this](const std::optional<Reply>& reply) {
    if (reply && reply->status == 200) external_ = parse_igd_reply(reply->body).external;
    if (!external_ || kind_of(*external_) == AddressKind::unspecified) return next_service();
    if (!path::is_public(*external_)) return fail(path::MappingFailure::not_public);
    add(mapped_.value_or(place_->internal.port));
  });
}

// A gateway may list connections that it does not have.
void UpnpPort::next_service() {
  external_.reset();
  services_.erase(services_.begin());
  if (services_.empty()) return fail(path::MappingFailure::no_uplink);
  ask_address();
}

void UpnpPort::add(std::uint16_t port) {
  const auto lifetime_s = std::chrono::duration_cast<std::chrono::seconds>(wanted_->lifetime);
  mapped_ = port;  // From here on there may be one.
  call("AddPortMapping",
       {{"NewRemoteHost", ""},
        {"NewExternalPort", std::to_string(port)},
        {"NewProtocol", "UDP"},
        {"NewInternalPort", std::to_string(place_->internal.port)},
        {"NewInternalClient", place_->internal.ip.to_text()},
        {"NewEnabled", "1"},
        {"NewPortMappingDescription", "zt"},
        {"NewLeaseDuration", std::to_string(lifetime_s.count())}},
       [this, port](const std::optional<Reply>& reply) { take_added(reply, port); });
}

void UpnpPort::take_added(const std::optional<Reply>& reply, std::uint16_t port) {
  if (reply && reply->status == 200) {
    return answer(path::UpnpMapped{.external = {.ip = *external_, .port = port},
                                   .lifetime = wanted_->lifetime});
  }
  if (!reply) return fail(path::MappingFailure::no_answer);
  const unsigned error = parse_igd_reply(reply->body).error;
  mapped_.reset();  // Whose it is, it is not ours to delete.
  const bool is_taken = error == kErrorConflict || error == kErrorConflictWithOther;
  if (is_taken && ++ports_tried_ < kPortsMax) {
    return add(static_cast<std::uint16_t>(kPortMin + random_.below(65536 - kPortMin)));
  }
  fail(failure_of(error));
}

// --- Calls

void UpnpPort::call(std::string_view action, const IgdArguments& arguments, OnReply on_reply) {
  const IgdService& service = services_.front();
  exchange(service.control, igd_action(service, action), igd_call(service, action, arguments),
           std::move(on_reply));
}

// exchange posts `body` for a SOAP action, or gets a description.
void UpnpPort::exchange(const IgdLocation& location, std::string_view action,
                        const std::string& body, OnReply on_reply) {
  const SocketAddress remote{.ip = place_->gateway, .port = location.port};
  http::Request request{.method = action.empty() ? "GET" : "POST",
                        .scheme = "http",
                        .authority = remote.to_text(),
                        .path = location.path};
  request.fields.add("connection", "close");
  if (!action.empty()) {
    request.fields.add("content-type", "text/xml; charset=\"utf-8\"");
    request.fields.add("soapaction", std::string(action));
  }
  exchange_ = std::make_unique<Exchange>(
      loop_, remote, request, body,
      [this, on_reply = std::move(on_reply)](std::optional<Reply> reply) mutable {
        const std::unique_ptr<Exchange> over = std::move(exchange_);
        on_reply(std::move(reply));
      });
}

void UpnpPort::fail(path::MappingFailure failure) {
  answer(path::UpnpFailed{failure});
}

void UpnpPort::answer(const path::UpnpAnswer& answer) {
  give_up();
  // Found anew if it is asked again: what was known has failed.
  if (std::holds_alternative<path::UpnpFailed>(answer)) services_.clear();
  on_answer_(answer);
}

void UpnpPort::give_up() {
  wanted_.reset();
  timer_.cancel();
  socket_.reset();
  exchange_.reset();
}

// --- The end

void UpnpPort::unmap() {
  give_up();
  if (const auto port = std::exchange(mapped_, std::nullopt); port && !services_.empty()) {
    call(
        "DeletePortMapping",
        {{"NewRemoteHost", ""}, {"NewExternalPort", std::to_string(*port)}, {"NewProtocol", "UDP"}},
        [](const std::optional<Reply>& /*reply*/) {});  // What stays ends by itself.
  }
}

void UpnpPort::finish(Duration timeout) {
  is_finished_ = true;
  unmap();
  bool is_late = false;
  io::Timer timer(loop_, [&is_late] { is_late = true; });
  timer.arm(loop_.now().instant + timeout);
  while (exchange_ && !is_late) (void)loop_.turn();
  give_up();
}

}  // namespace zt::app

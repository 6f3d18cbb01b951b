// SPDX-License-Identifier: Apache-2.0
#include "app/demo_page.h"

#include <array>
#include <string_view>
#include <utility>

#include "zt/base/bytes.h"

namespace zt::app {

namespace {

constexpr std::string_view kPage =
    "<!doctype html>\n<title>zt demo</title>\n"
    "<p>This page is private. You reached it through client, relay and connector,\n"
    "because a rule of the controller allows it.</p>\n";

std::string response() {
  return "HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\nconnection: close\r\n"
         "content-length: " +
         std::to_string(kPage.size()) + "\r\n\r\n" + std::string(kPage);
}

}  // namespace

struct DemoPage::Connection {
  Connection(io::Loop& loop, io::Descriptor socket, io::Callback readable, io::Callback late)
      : stream(loop, {.input = std::move(socket), .output = {}}, std::move(readable),
               io::Callback()),
        deadline(loop, std::move(late)) {}
  io::Stream stream;
  io::Timer deadline;
  std::string head;
  bool is_answered = false;
};

DemoPage::DemoPage(io::Loop& loop) : loop_(loop) {}
DemoPage::~DemoPage() = default;

std::unique_ptr<DemoPage> DemoPage::open(io::Loop& loop) {
  // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): the constructor is private.
  std::unique_ptr<DemoPage> page(new DemoPage(loop));
  DemoPage& self = *page;
  auto listener = io::TcpListener::open(
      loop, {.ip = IpAddress::v4({127, 0, 0, 1}), .port = 0}, {},
      [&self](io::Descriptor socket, const SocketAddress&) { self.accept(std::move(socket)); });
  if (!listener) return nullptr;
  page->listener_ = std::move(*listener);
  return page;
}

void DemoPage::accept(io::Descriptor socket) {
  if (connections_.size() >= kConnectionsMax) return;  // Closing it says so.
  const std::uint64_t number = next_number_++;
  auto connection = std::make_unique<Connection>(
      loop_, std::move(socket), [this, number] { receive(number); },
      [this, number] { connections_.erase(number); });
  connection->deadline.arm(loop_.now().instant + kTimeout);
  connection->stream.want_readable();
  connections_[number] = std::move(connection);
}

void DemoPage::receive(std::uint64_t number) {
  const auto found = connections_.find(number);
  if (found == connections_.end()) return;
  Connection& connection = *found->second;
  std::array<std::byte, 2048> buffer{};
  const auto size = connection.stream.try_read(buffer);
  if (!size && size.error() == io::SocketError::would_block) {
    return connection.stream.want_readable();
  }
  if (!size || *size == 0 || connection.head.size() > kHeadSizeMax) {
    connections_.erase(found);
    return;
  }
  connection.head.append(as_text(BytesView(buffer).first(*size)));
  if (!connection.is_answered && connection.head.find("\r\n\r\n") != std::string::npos) {
    connection.is_answered = true;
    // A fresh socket's buffer takes the page.
    (void)connection.stream.try_write(as_bytes(response()));
    connection.stream.shutdown_write();
  }
  connection.stream
      .want_readable();  // Until the visitor hangs up: closing first could cut the page.
}

}  // namespace zt::app

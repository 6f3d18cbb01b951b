// SPDX-License-Identifier: Apache-2.0
#include "http/http1_message.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "http/text.h"
#include "zt/base/assert.h"
#include "zt/http/http_status.h"
#include "zt/http/url.h"

namespace zt::http {

namespace {

constexpr std::uint16_t kHttpsPort = 443;

constexpr auto kConnectionFields = std::to_array<std::string_view>({
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
});

bool is_connection_field(std::string_view name) {
  return std::ranges::find(kConnectionFields, name) != kConnectionFields.end();
}

std::unexpected<Refusal> refuse(int status, std::string_view detail) {
  return std::unexpected(Refusal{.status = status, .detail = detail});
}

// Origin is a request target that was taken apart.
struct Origin {
  std::string_view authority;  // Empty in origin form.
  std::string_view path;
};

// read_target accepts origin form, asterisk form (of OPTIONS) and absolute form (RFC 9112
// section 3.2).
std::optional<Origin> read_target(std::string_view method, std::string_view target) {
  if (!is_target(target)) return std::nullopt;
  if (target.starts_with('/')) return Origin{.authority = {}, .path = target};
  if (target == "*") {
    return method == "OPTIONS" ? std::optional(Origin{.authority = {}, .path = target})
                               : std::nullopt;
  }
  constexpr std::string_view kScheme = "https://";
  if (!equals_ignoring_case(target.substr(0, kScheme.size()), kScheme)) return std::nullopt;
  target.remove_prefix(kScheme.size());
  const std::size_t size = target.find('/');
  if (size == std::string_view::npos || size == 0) return std::nullopt;
  return Origin{.authority = target.substr(0, size), .path = target.substr(size)};
}

// upgrade_of returns what the client offers to go on with (RFC 9110 section 7.8).
std::string upgrade_of(const Fields& fields) {
  const auto options = fields.find("connection");
  const auto protocols = fields.find("upgrade");
  if (!options || !protocols) return {};
  std::string_view rest = *options;
  while (!rest.empty()) {
    const std::size_t size = std::min(rest.find(','), rest.size());
    if (equals_ignoring_case(trim(rest.substr(0, size)), "upgrade")) return std::string(*protocols);
    rest.remove_prefix(std::min(size + 1, rest.size()));
  }
  return {};
}

bool are_fields_well_formed(const Fields& fields) {
  return std::ranges::all_of(fields, [](const Field& field) {
    return is_field_name(field.name) && is_field_value(field.value);
  });
}

void write_fields(std::string& text, const Fields& fields) {
  for (const Field& field : fields) {
    if (is_connection_field(field.name)) continue;
    text += field.name;
    text += ": ";
    text += field.value;
    text += "\r\n";
  }
}

void write_framing(std::string& text, const BodyFraming& body, bool is_last) {
  switch (body.kind) {
    case BodyFraming::Kind::none:
      break;
    case BodyFraming::Kind::length:
      text += fmt::format("content-length: {}\r\n", body.size);
      break;
    case BodyFraming::Kind::chunked:
      text += "transfer-encoding: chunked\r\n";
      break;
  }
  if (is_last) text += "connection: close\r\n";
  text += "\r\n";
}

}  // namespace

std::expected<RequestHead, Refusal> judge_request(const Http1Head& head) {
  if (head.minor_version != 1) {
    return refuse(505, "This server speaks HTTP/1.1 and HTTP/3.");
  }
  if (!are_fields_well_formed(head.fields)) return refuse(400, "A header field is malformed.");
  const auto framing = check_framing(head);
  if (!framing) return refuse(400, "The length of the request's content is ambiguous.");
  if (head.method == "CONNECT") return refuse(501, "This server is not a proxy.");

  // RFC 9112 section 3.2: exactly one Host, and it agrees with an absolute target.
  const auto host = head.fields.find("host");
  if (!host || count_of(head.fields, "host") > 1) {
    return refuse(400, "There is not exactly one Host field.");
  }
  const auto authority = parse_host_and_port(*host, kHttpsPort);
  if (!authority) return refuse(400, "The Host field is malformed.");
  const auto origin = read_target(head.method, head.target);
  if (!origin) return refuse(400, "The request target is malformed.");
  if (!origin->authority.empty() &&
      parse_host_and_port(origin->authority, kHttpsPort) != authority) {
    return refuse(400, "The request target and the Host field disagree.");
  }

  const auto expectation = head.fields.find("expect");
  if (expectation && !equals_ignoring_case(*expectation, "100-continue")) {
    return refuse(417, "The expectation is unknown.");
  }
  return RequestHead{.request = {.method = head.method,
                                 .scheme = "https",
                                 .authority = std::string(*host),
                                 .path = std::string(origin->path),
                                 .protocol = {},
                                 .fields = without_connection_fields(head.fields)},
                     .framing = *framing,
                     .expects_continue = expectation.has_value(),
                     .upgrade = upgrade_of(head.fields)};
}

std::optional<Response> judge_response(const Http1Head& head) {
  if (!are_fields_well_formed(head.fields) || !check_framing(head)) return std::nullopt;
  if (head.status < 100 || head.status > 599) return std::nullopt;
  return Response{.status = head.status, .fields = without_connection_fields(head.fields)};
}

bool is_consistent_request(const Request& request) {
  if (!is_token(request.method) || request.scheme != "https") return false;
  if (!are_fields_well_formed(request.fields)) return false;
  if (!is_target(request.path)) return false;
  const bool is_asterisk = request.path == "*" && request.method == "OPTIONS";
  if (!request.path.starts_with('/') && !is_asterisk) return false;
  const auto authority = parse_host_and_port(request.authority, kHttpsPort);
  if (!authority) return false;
  // RFC 9114 section 4.3.1: a Host field must hold the same value.
  if (count_of(request.fields, "host") > 1) return false;
  const auto host = request.fields.find("host");
  return !host || parse_host_and_port(*host, kHttpsPort) == authority;
}

Fields without_connection_fields(const Fields& fields) {
  Fields kept;
  for (const Field& field : fields) {
    if (is_connection_field(field.name)) continue;
    kept.add(field.name, field.value, field.is_sensitive || is_credential_name(field.name));
  }
  return kept;
}

bool is_sendable(const Request& request) {
  return is_token(request.method) && is_target(request.path) &&
         parse_host_and_port(request.authority, kHttpsPort).has_value() &&
         are_fields_well_formed(request.fields);
}

bool is_sendable(const Response& response) {
  return response.status >= 200 && response.status <= 599 &&
         are_fields_well_formed(response.fields);
}

std::string write_request_head(const Request& request, const BodyFraming& body, bool is_last) {
  ZT_ASSERT(is_sendable(request));
  std::string text = fmt::format("{} {} HTTP/1.1\r\nhost: {}\r\n", request.method, request.path,
                                 request.authority);
  write_fields(text, request.fields);
  write_framing(text, body, is_last);
  return text;
}

std::string write_response_head(const Response& response, const BodyFraming& body, bool is_last) {
  ZT_ASSERT(is_sendable(response));
  std::string text =
      fmt::format("HTTP/1.1 {} {}\r\n", response.status, reason_phrase(response.status));
  write_fields(text, response.fields);
  write_framing(text, body, is_last);
  return text;
}

std::string write_chunk(std::string_view bytes) {
  ZT_ASSERT(!bytes.empty());
  return fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes);
}

}  // namespace zt::http

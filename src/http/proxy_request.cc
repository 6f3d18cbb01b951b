// SPDX-License-Identifier: Apache-2.0
#include "http/proxy_request.h"

#include "http/http1_message.h"
#include "http/text.h"
#include "zt/http/url.h"

namespace zt::http {

namespace {

ProxyRefusal refuse(int status, std::string_view detail) {
  return {.status = status, .answer = proxy_failure(status, detail)};
}

ProxyRefusal refusal_of(Http1Error error) {
  switch (error) {
    case Http1Error::malformed:
      return refuse(400, "This is not a well-formed HTTP/1.1 request.");
    case Http1Error::head_too_large:
      return refuse(431, "The request's header fields are too large or too many.");
    case Http1Error::unsupported_version:
      return refuse(505, "This proxy speaks HTTP/1.1.");
  }
  return refuse(400, "");
}

ProxyOutcome judge(const Http1Head& head, std::string_view rest) {
  if (head.method != "CONNECT") {
    return refuse(405,
                  "This proxy of zt carries connections: it answers CONNECT only. Set it as the "
                  "proxy for https, or use SOCKS5 for everything (zt client up --socks).");
  }
  const auto framing = check_framing(head);
  if (!framing || framing->is_chunked || framing->content_length.value_or(0) > 0) {
    return refuse(400, "A CONNECT request has no content.");
  }
  // RFC 9112 section 3.2.3: the target is host and port, and the port is not optional.
  const auto target = parse_host_and_port(head.target, 0);
  if (!target || target->port == 0) {
    return refuse(400, "The target of CONNECT is a host and a port, such as db.internal:5432.");
  }
  return ProxyConnect{.target = *target, .early = std::string(rest)};
}

}  // namespace

ProxyRequestReader::ProxyRequestReader(std::size_t head_size_max)
    : parser_(Http1Parser::Kind::request,
              {.head_size_max = head_size_max, .fields_max = kProxyFieldsMax}) {}

std::optional<ProxyOutcome> ProxyRequestReader::receive(std::string_view bytes) {
  const Http1Parser::Step step = parser_.parse(bytes);
  switch (step.stop) {
    case Http1Parser::Stop::more:
      return std::nullopt;
    case Http1Parser::Stop::head:
    case Http1Parser::Stop::end:
      return judge(parser_.head(), bytes.substr(step.size));
    case Http1Parser::Stop::error:
      return refusal_of(parser_.error());
  }
  return std::nullopt;
}

std::string proxy_established() {
  return "HTTP/1.1 200 Connection established\r\n\r\n";
}

std::string proxy_failure(int status, std::string_view detail, std::string_view proxy_status) {
  Response response{.status = status, .fields = {{"content-type", "text/plain; charset=utf-8"}}};
  if (status == 405) response.fields.add("allow", "CONNECT");
  if (!proxy_status.empty() && is_field_value(proxy_status)) {
    response.fields.add("proxy-status", std::string(proxy_status));
  }
  const std::string text = std::string(detail) + "\n";
  return write_response_head(response, {.kind = BodyFraming::Kind::length, .size = text.size()},
                             true) +
         text;
}

}  // namespace zt::http

// SPDX-License-Identifier: Apache-2.0
#include "app/igd.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <span>

extern "C" {
#include <igd_desc_parse.h>
#include <minixml.h>
#include <upnpreplyparse.h>
}

#include "http/http1_parser.h"
#include "zt/http/url.h"

namespace zt::app {
namespace {

constexpr std::string_view kScheme = "http://";
constexpr std::uint16_t kPortDefault = 80;
constexpr std::size_t kAnswerSizeMax = 4096;
constexpr std::array<std::string_view, 2> kServiceTypes{
    "urn:schemas-upnp-org:service:WANIPConnection:",
    "urn:schemas-upnp-org:service:WANPPPConnection:"};

// A path as it may stand in a request line, without what would end it.
bool is_path(std::string_view text) {
  return !text.empty() && text.size() <= kIgdTextSizeMax && text.front() == '/' &&
         std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; });
}

// The name of a service ends with its version, one digit.
bool is_service_type(std::string_view text) {
  return std::ranges::any_of(kServiceTypes, [text](std::string_view type) {
    return text.size() == type.size() + 1 && text.starts_with(type) && text.back() >= '1' &&
           text.back() <= '9';
  });
}

// A field of miniupnpc's, which it ends with a zero.
std::string_view text_of(std::span<const char> field) {
  const auto end = std::ranges::find(field, '\0');
  return {field.data(), static_cast<std::size_t>(end - field.begin())};
}

// Control URLs are absolute, or relative to where the description says, or to where it came from.
std::optional<IgdLocation> resolve(std::string_view url, std::string_view base,
                                   const IgdLocation& location, const IpAddress& gateway) {
  if (url.starts_with(kScheme)) return parse_igd_location(url, gateway);
  std::uint16_t port = location.port;
  if (!base.empty()) {
    const auto named = parse_igd_location(base, gateway);
    if (!named) return std::nullopt;
    port = named->port;
  }
  std::string path(url);
  if (!path.starts_with('/')) path.insert(path.begin(), '/');
  if (!is_path(path)) return std::nullopt;
  return IgdLocation{.port = port, .path = std::move(path)};
}

}  // namespace

std::string igd_search() {
  return "M-SEARCH * HTTP/1.1\r\n"
         "HOST: 239.255.255.250:1900\r\n"
         "MAN: \"ssdp:discover\"\r\n"
         "MX: 1\r\n"
         "ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n"
         "\r\n";
}

std::optional<IgdLocation> parse_igd_location(std::string_view url, const IpAddress& gateway) {
  if (!url.starts_with(kScheme)) return std::nullopt;
  url.remove_prefix(kScheme.size());
  const std::size_t slash = std::min(url.find('/'), url.size());
  const auto authority = http::parse_host_and_port(url.substr(0, slash), kPortDefault);
  if (!authority || authority->host != Host(gateway)) return std::nullopt;
  const std::string_view path = slash == url.size() ? "/" : url.substr(slash);
  if (!is_path(path)) return std::nullopt;
  return IgdLocation{.port = authority->port, .path = std::string(path)};
}

std::optional<IgdLocation> parse_igd_answer(std::string_view datagram, const IpAddress& gateway) {
  http::Http1Parser parser(http::Http1Parser::Kind::response,
                           {.head_size_max = kAnswerSizeMax, .fields_max = 32});
  const auto step = parser.parse(datagram);
  const bool is_whole =
      step.stop == http::Http1Parser::Stop::head || step.stop == http::Http1Parser::Stop::end;
  if (!is_whole || parser.head().status != 200) return std::nullopt;
  const auto url = parser.head().fields.find("location");
  return url ? parse_igd_location(*url, gateway) : std::nullopt;
}

std::vector<IgdService> parse_igd_description(const std::string& body, const IgdLocation& location,
                                              const IpAddress& gateway) {
  IGDdatas description{};
  // The parser may look at one character behind the last: a string's zero is there.
  xmlparser parser{.xmlstart = body.c_str(),
                   .xmlend = nullptr,
                   .xml = nullptr,
                   .xmlsize = static_cast<int>(body.size()),
                   .data = &description,
                   .starteltfunc = IGDstartelt,
                   .endeltfunc = IGDendelt,
                   .datafunc = IGDdata,
                   .attfunc = nullptr};
  parsexml(&parser);
  std::vector<IgdService> services;
  for (const IGDdatas_service* found : {&description.first, &description.second}) {
    const std::string_view type = text_of(found->servicetype);
    if (!is_service_type(type)) continue;
    auto control =
        resolve(text_of(found->controlurl), text_of(description.urlbase), location, gateway);
    if (control) services.push_back({.type = std::string(type), .control = *std::move(control)});
  }
  return services;
}

std::string igd_action(const IgdService& service, std::string_view action) {
  return fmt::format("\"{}#{}\"", service.type, action);
}

std::string igd_call(const IgdService& service, std::string_view action,
                     const IgdArguments& arguments) {
  std::string inner;
  for (const auto& [name, value] : arguments) inner += fmt::format("<{0}>{1}</{0}>", name, value);
  return fmt::format(
      "<?xml version=\"1.0\"?>\r\n"
      "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\""
      " s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>"
      "<u:{0} xmlns:u=\"{1}\">{2}</u:{0}></s:Body></s:Envelope>\r\n",
      action, service.type, inner);
}

IgdReply parse_igd_reply(const std::string& body) {
  NameValueParserData values{};
  ParseNameValue(body.c_str(), static_cast<int>(body.size()), &values);
  IgdReply reply;
  if (const char* ip = GetValueFromNameValueList(&values, "NewExternalIPAddress")) {
    reply.external = IpAddress::parse(ip);
  }
  if (const char* code = GetValueFromNameValueList(&values, "errorCode")) {
    const std::string_view digits(code);
    std::from_chars(digits.data(), digits.data() + digits.size(), reply.error);
  }
  ClearNameValueList(&values);
  return reply;
}

}  // namespace zt::app

// SPDX-License-Identifier: Apache-2.0
#include "app/igd.h"

#include <catch2/catch_test_macros.hpp>
#include <string>

namespace zt::app {
namespace {

const IpAddress kGateway = IpAddress::v4({192, 168, 1, 1});
const IgdLocation kDescription{.port = 5000, .path = "/rootDesc.xml"};

std::string answer(const std::string& location) {
  return "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nLOCATION: " + location +
         "\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\nEXT:\r\n\r\n";
}

std::string service(const std::string& type, const std::string& control) {
  return "<service><serviceType>" + type + "</serviceType><serviceId>x</serviceId><controlURL>" +
         control + "</controlURL><eventSubURL>/e</eventSubURL></service>";
}

std::string description(const std::string& services, const std::string& base = "") {
  return "<?xml version=\"1.0\"?><root xmlns=\"urn:schemas-upnp-org:device-1-0\">" +
         (base.empty() ? "" : "<URLBase>" + base + "</URLBase>") + "<device><serviceList>" +
         services + "</serviceList></device></root>";
}

constexpr const char* kIp1 = "urn:schemas-upnp-org:service:WANIPConnection:1";
constexpr const char* kPpp1 = "urn:schemas-upnp-org:service:WANPPPConnection:1";

TEST_CASE("a location is an http URL at the gateway's own address, and nothing else") {
  CHECK(parse_igd_location("http://192.168.1.1:5000/rootDesc.xml", kGateway) == kDescription);
  CHECK(parse_igd_location("http://192.168.1.1", kGateway) == IgdLocation{});
  CHECK(parse_igd_location("http://192.168.1.1/a?b", kGateway) ==
        IgdLocation{.port = 80, .path = "/a?b"});
  const std::string longest(kIgdTextSizeMax - 1, 'a');
  CHECK(parse_igd_location("http://192.168.1.1/" + longest, kGateway));
  CHECK_FALSE(parse_igd_location("http://192.168.1.1/" + longest + "a", kGateway));
  for (const char* url :
       {"", "http://", "https://192.168.1.1/", "http://192.168.1.2/", "http://10.0.0.1:5000/x",
        "http://gateway.local/x", "http://192.168.1.1@10.0.0.1/", "http://192.168.1.1:0/",
        "http://192.168.1.1:65536/", "http://192.168.1.1.evil/", "http://192.168.1.1:80 /",
        "http://192.168.1.1/a b", "http://192.168.1.1/a\r\nX: y", "http://[::ffff:192.168.1.1]/",
        "http://0300.0250.1.1/", "http://192.168.1.1\\@10.0.0.1/", "//192.168.1.1/x"}) {
    CAPTURE(url);
    CHECK_FALSE(parse_igd_location(url, kGateway));
  }
}

TEST_CASE("an answer to a search says where the description is") {
  CHECK(parse_igd_answer(answer("http://192.168.1.1:5000/rootDesc.xml"), kGateway) == kDescription);
  CHECK_FALSE(parse_igd_answer(answer("http://192.168.1.9:5000/rootDesc.xml"), kGateway));
  std::string refused = answer("http://192.168.1.1:5000/rootDesc.xml");
  refused.replace(9, 3, "404");
  CHECK_FALSE(parse_igd_answer(refused, kGateway));
  const std::string whole = answer("http://192.168.1.1:5000/rootDesc.xml");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CHECK_FALSE(parse_igd_answer(whole.substr(0, size), kGateway));
  }
  CHECK_FALSE(parse_igd_answer(std::string("HTTP/1.1 200 OK\r\nX: ") + std::string(8000, 'x') +
                                   "\r\nLOCATION: http://192.168.1.1/\r\n\r\n",
                               kGateway));
  CHECK_FALSE(
      parse_igd_answer("NOTIFY * HTTP/1.1\r\nLOCATION: http://192.168.1.1/\r\n\r\n", kGateway));
}

TEST_CASE("a description lists the services that map ports, in its order") {
  const std::string body =
      description(service("urn:schemas-upnp-org:service:Layer3Forwarding:1", "/l3f") +
                  service(kPpp1, "/ctl/ppp") + service(kIp1, "ctl/ip"));
  CHECK(parse_igd_description(body, kDescription, kGateway) ==
        std::vector<IgdService>{{.type = kPpp1, .control = {.port = 5000, .path = "/ctl/ppp"}},
                                {.type = kIp1, .control = {.port = 5000, .path = "/ctl/ip"}}});
}

TEST_CASE("a control URL may be absolute, or relative to a base, and is always at the gateway") {
  const auto control_of = [](const std::string& control, const std::string& base) {
    const auto services =
        parse_igd_description(description(service(kIp1, control), base), kDescription, kGateway);
    return services.empty() ? std::nullopt : std::optional(services.front().control);
  };
  CHECK(control_of("http://192.168.1.1:7/c", "") == IgdLocation{.port = 7, .path = "/c"});
  CHECK(control_of("/c", "http://192.168.1.1:8/") == IgdLocation{.port = 8, .path = "/c"});
  CHECK_FALSE(control_of("http://192.168.1.7:7/c", ""));
  CHECK_FALSE(control_of("http://169.254.169.254/latest", ""));
  CHECK_FALSE(control_of("/c", "http://10.0.0.1/"));
  CHECK_FALSE(control_of("/c d", ""));
  CHECK_FALSE(control_of("/" + std::string(200, 'c'), ""));
}

TEST_CASE("a service's name is repeated to the device only if it is one") {
  for (const char* type :
       {"urn:schemas-upnp-org:service:WANIPConnection:", "urn:schemas-upnp-org:service:WANIPConnec",
        "urn:schemas-upnp-org:service:WANIPConnection:1\"&gt;",
        "urn:schemas-upnp-org:service:WANIPConnection:12",
        "urn:schemas-upnp-org:service:WANIPConnection:x",
        "urn:schemas-upnp-org:service:WANCommonInterfaceConfig:1"}) {
    CAPTURE(type);
    CHECK(parse_igd_description(description(service(type, "/c")), kDescription, kGateway).empty());
  }
}

TEST_CASE("a description that is cut or is none has services or has none, and is not read beyond") {
  const std::string whole = description(service(kIp1, "/c") + service(kPpp1, "/p"));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CHECK(parse_igd_description(whole.substr(0, size), kDescription, kGateway).size() <= 2);
  }
  for (const char* text : {"", "<", "<a", "<a b", "<a b=", "<a b='", "<a:", "<a>", "</", "</a",
                           "<![CDATA[", "<a><![CDATA[x", "<!--", "<!-- -", "{}"}) {
    CHECK(parse_igd_description(text, kDescription, kGateway).empty());
    CHECK(parse_igd_reply(text) == IgdReply{});
  }
}

TEST_CASE("a call names its service twice and its arguments in order") {
  const IgdService ip{.type = kIp1, .control = {}};
  CHECK(igd_action(ip, "AddPortMapping") == std::string("\"") + kIp1 + "#AddPortMapping\"");
  const std::string call = igd_call(ip, "AddPortMapping", {{"A", "1"}, {"B", ""}});
  CHECK(call.contains(std::string("<u:AddPortMapping xmlns:u=\"") + kIp1 +
                      "\"><A>1</A><B></B></u:AddPortMapping></s:Body>"));
}

TEST_CASE("a reply has an address or an error") {
  CHECK(parse_igd_reply("<s:Envelope><s:Body><u:R><NewExternalIPAddress>11.1.2.3"
                        "</NewExternalIPAddress></u:R></s:Body></s:Envelope>")
            .external == IpAddress::v4({11, 1, 2, 3}));
  CHECK(parse_igd_reply("<s:Fault><detail><UPnPError><errorCode>725</errorCode>"
                        "<errorDescription>x</errorDescription></UPnPError></detail></s:Fault>")
            .error == 725);
  for (const char* text : {"", "localhost", "11.1.2", "11.1.2.3.4", "011.1.2.3", " 11.1.2.3"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_igd_reply("<a><NewExternalIPAddress>" + std::string(text) +
                                "</NewExternalIPAddress></a>")
                    .external);
  }
  for (const char* text : {"", "x", "-1", "99999999999999999999"}) {
    CAPTURE(text);
    CHECK(parse_igd_reply("<a><errorCode>" + std::string(text) + "</errorCode></a>").error == 0);
  }
}

}  // namespace
}  // namespace zt::app

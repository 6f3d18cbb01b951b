// SPDX-License-Identifier: Apache-2.0
#include "zt/wire/proxy_status.h"

#include <algorithm>
#include <array>
#include <utility>

namespace zt::wire {
namespace {

constexpr std::array<std::string_view, 32> kErrorTexts = {
    "dns_timeout",
    "dns_error",
    "destination_not_found",
    "destination_unavailable",
    "destination_ip_prohibited",
    "destination_ip_unroutable",
    "connection_refused",
    "connection_terminated",
    "connection_timeout",
    "connection_read_timeout",
    "connection_write_timeout",
    "connection_limit_reached",
    "tls_protocol_error",
    "tls_certificate_error",
    "tls_alert_received",
    "http_request_error",
    "http_request_denied",
    "http_response_incomplete",
    "http_response_header_section_size",
    "http_response_header_size",
    "http_response_body_size",
    "http_response_trailer_section_size",
    "http_response_trailer_size",
    "http_response_transfer_coding",
    "http_response_content_coding",
    "http_response_timeout",
    "http_upgrade_failed",
    "http_protocol_error",
    "proxy_internal_response",
    "proxy_internal_error",
    "proxy_configuration_error",
    "proxy_loop_detected",
};
static_assert(kErrorTexts.size() == static_cast<std::size_t>(ProxyError::proxy_loop_detected) + 1);

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_lower(char c) {
  return c >= 'a' && c <= 'z';
}
bool is_alpha(char c) {
  return is_lower(c) || (c >= 'A' && c <= 'Z');
}
bool is_printable(char c) {
  return c >= ' ' && c <= '~';
}
bool is_key_first(char c) {
  return is_lower(c) || c == '*';
}
bool is_token_first(char c) {
  return is_alpha(c) || c == '*';
}

bool is_key_character(char c) {
  return is_lower(c) || is_digit(c) || std::string_view("_-.*").find(c) != std::string_view::npos;
}

// is_token_character is tchar of RFC 9110, a colon or a slash (RFC 8941 section 3.3.4).
bool is_token_character(char c) {
  constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~:/";
  return is_alpha(c) || is_digit(c) || kOthers.find(c) != std::string_view::npos;
}

bool is_base64_character(char c) {
  return is_alpha(c) || is_digit(c) || c == '+' || c == '/' || c == '=';
}

bool is_token(std::string_view text) {
  return !text.empty() && is_token_first(text.front()) &&
         std::ranges::all_of(text, is_token_character);
}

// Scanner walks over the text of a structured field (RFC 8941 section 4.2).
class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  [[nodiscard]] bool is_at_end() const { return rest_.empty(); }

  [[nodiscard]] bool is_at(bool (*is_wanted)(char)) const {
    return !rest_.empty() && is_wanted(rest_.front());
  }

  bool take(char wanted) {
    if (!rest_.starts_with(wanted)) return false;
    rest_.remove_prefix(1);
    return true;
  }

  // take_while removes the longest run of wanted characters.
  std::string_view take_while(bool (*is_wanted)(char)) {
    const auto* const end = std::ranges::find_if_not(rest_, is_wanted);
    const auto size = static_cast<std::size_t>(end - rest_.begin());
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }

  void skip_spaces() {
    (void)take_while([](char c) { return c == ' '; });  // Spaces mean nothing here.
  }

  void skip_optional_whitespace() {
    (void)take_while([](char c) { return c == ' ' || c == '\t'; });  // Nor here.
  }

 private:
  std::string_view rest_;
};

// Item is a bare item: its text is kept for tokens and strings, the types that we use.
struct Item {
  bool is_text = false;
  std::string text;
};

std::optional<Item> take_string(Scanner& scanner) {
  if (!scanner.take('"')) return std::nullopt;
  Item item{.is_text = true};
  while (true) {
    item.text +=
        scanner.take_while([](char c) { return is_printable(c) && c != '"' && c != '\\'; });
    if (scanner.take('"')) return item;
    if (!scanner.take('\\')) return std::nullopt;
    if (scanner.take('"')) {
      item.text.push_back('"');
    } else if (scanner.take('\\')) {
      item.text.push_back('\\');
    } else {
      return std::nullopt;
    }
  }
}

// take_number checks an integer of up to 15 digits, or a decimal of up to 12 and 3 of them.
std::optional<Item> take_number(Scanner& scanner) {
  (void)scanner.take('-');  // The value is of no interest.
  const std::size_t digits = scanner.take_while(is_digit).size();
  if (digits == 0 || digits > 15) return std::nullopt;
  if (!scanner.take('.')) return Item{};
  const std::size_t decimals = scanner.take_while(is_digit).size();
  if (digits > 12 || decimals == 0 || decimals > 3) return std::nullopt;
  return Item{};
}

std::optional<Item> take_item(Scanner& scanner) {
  if (scanner.is_at([](char c) { return c == '"'; })) return take_string(scanner);
  if (scanner.is_at(is_token_first)) {
    return Item{.is_text = true, .text = std::string(scanner.take_while(is_token_character))};
  }
  if (scanner.take(':')) {
    (void)scanner.take_while(is_base64_character);  // Not decoded: the value is of no interest.
    if (!scanner.take(':')) return std::nullopt;
    return Item{};
  }
  if (scanner.take('?')) {
    if (!scanner.take('0') && !scanner.take('1')) return std::nullopt;
    return Item{};
  }
  return take_number(scanner);
}

// apply sets what the parameter `key` says. Of repeated parameters the last counts (RFC 8941
// section 4.2.3.2), also where its value cannot be used.
void apply(ProxyStatus& status, std::string_view key, const Item& item) {
  if (key == "error") status.error = item.is_text ? parse_proxy_error(item.text) : std::nullopt;
  if (key == "details") status.details = item.is_text ? item.text : std::string();
}

bool take_parameters(Scanner& scanner, ProxyStatus& status) {
  for (std::size_t count = 0; scanner.take(';'); ++count) {
    if (count == kProxyStatusParametersMax) return false;
    scanner.skip_spaces();
    if (!scanner.is_at(is_key_first)) return false;
    const std::string_view key = scanner.take_while(is_key_character);
    if (!scanner.take('=')) {
      apply(status, key, Item{});  // A key alone is the Boolean "true".
      continue;
    }
    const auto item = take_item(scanner);
    if (!item) return false;
    apply(status, key, *item);
  }
  return true;
}

void append_string(std::string& text, std::string_view value) {
  text.push_back('"');
  for (const char c : value) {
    if (c == '"' || c == '\\') text.push_back('\\');
    text.push_back(is_printable(c) ? c : '?');
  }
  text.push_back('"');
}

}  // namespace

std::string_view to_text(ProxyError error) {
  const auto index = static_cast<std::size_t>(error);
  return index < kErrorTexts.size() ? kErrorTexts[index] : "proxy_internal_error";
}

std::optional<ProxyError> parse_proxy_error(std::string_view text) {
  const auto* const found = std::ranges::find(kErrorTexts, text);
  if (found == kErrorTexts.end()) return std::nullopt;
  return static_cast<ProxyError>(found - kErrorTexts.begin());
}

std::string to_text(const ProxyStatus& status) {
  std::string text;
  if (is_token(status.proxy)) {
    text = status.proxy;
  } else {
    append_string(text, status.proxy);
  }
  if (status.error) text.append("; error=").append(to_text(*status.error));
  if (!status.details.empty()) append_string(text.append("; details="), status.details);
  return text;
}

std::optional<std::vector<ProxyStatus>> parse_proxy_status(std::string_view field) {
  if (field.size() > kProxyStatusSizeMax) return std::nullopt;
  std::vector<ProxyStatus> members;
  Scanner scanner(field);
  scanner.skip_spaces();
  while (!scanner.is_at_end()) {
    if (members.size() == kProxyStatusMembersMax) return std::nullopt;
    const auto name = take_item(scanner);
    if (!name || !name->is_text) return std::nullopt;
    ProxyStatus status{.proxy = name->text};
    if (!take_parameters(scanner, status)) return std::nullopt;
    members.push_back(std::move(status));
    scanner.skip_optional_whitespace();
    if (scanner.is_at_end()) break;
    if (!scanner.take(',')) return std::nullopt;
    scanner.skip_optional_whitespace();
    if (scanner.is_at_end()) return std::nullopt;
  }
  return members;
}

}  // namespace zt::wire

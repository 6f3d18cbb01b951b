// SPDX-License-Identifier: Apache-2.0
#include "zt/http/query.h"

#include <utility>

#include "http/text.h"

namespace zt::http {

std::string_view to_text(QueryError error) {
  switch (error) {
    case QueryError::malformed:
      return "the query is not percent-encoded as it should be";
    case QueryError::repeated:
      return "a query parameter is repeated";
    case QueryError::too_many:
      return "the query has too many parameters";
  }
  return "unknown";
}

std::expected<Query, QueryError> Query::parse(std::string_view text) {
  Query query;
  while (!text.empty()) {
    const std::size_t size = std::min(text.find('&'), text.size());
    const std::string_view pair = text.substr(0, size);
    text.remove_prefix(std::min(size + 1, text.size()));
    if (pair.empty()) continue;
    const std::size_t name_size = std::min(pair.find('='), pair.size());
    auto name = percent_decode(pair.substr(0, name_size), true);
    auto value = percent_decode(pair.substr(std::min(name_size + 1, pair.size())), true);
    if (!name || !value) return std::unexpected(QueryError::malformed);
    if (query.parameters_.size() == kParametersMax) return std::unexpected(QueryError::too_many);
    if (!query.parameters_.emplace(std::move(*name), std::move(*value)).second) {
      return std::unexpected(QueryError::repeated);
    }
  }
  return query;
}

std::optional<std::string_view> Query::find(std::string_view name) const {
  const auto found = parameters_.find(name);
  if (found == parameters_.end()) return std::nullopt;
  return found->second;
}

Target split_target(std::string_view path_and_query) {
  const std::size_t mark = path_and_query.find('?');
  if (mark == std::string_view::npos) return {.path = path_and_query, .query = {}};
  return {.path = path_and_query.substr(0, mark), .query = path_and_query.substr(mark + 1)};
}

std::optional<std::vector<std::string>> split_path(std::string_view path) {
  if (!path.starts_with('/')) return std::nullopt;
  path.remove_prefix(1);
  std::vector<std::string> segments;
  while (!path.empty()) {
    const std::size_t size = std::min(path.find('/'), path.size());
    auto segment = percent_decode(path.substr(0, size));
    if (!segment || segment->empty() || *segment == "." || *segment == "..") return std::nullopt;
    segments.push_back(std::move(*segment));
    path.remove_prefix(std::min(size + 1, path.size()));
  }
  return segments;
}

std::optional<std::string> percent_decode(std::string_view text, bool is_form) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '+' && is_form) {
      c = ' ';
    } else if (c == '%') {
      if (text.size() - i < 3) return std::nullopt;
      const auto high = hex_value(text[i + 1]);
      const auto low = hex_value(text[i + 2]);
      if (!high || !low) return std::nullopt;
      c = static_cast<char>(*high * 16U + *low);
      i += 2;
    }
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return std::nullopt;
    decoded += c;
  }
  return decoded;
}

std::string percent_encode(std::string_view text) {
  constexpr std::string_view kUnreserved = "-._~";
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    if (is_alpha(c) || is_digit(c) || kUnreserved.find(c) != std::string_view::npos) {
      encoded += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    encoded += '%';
    encoded += kDigits[byte >> 4U];
    encoded += kDigits[byte & 0xfU];
  }
  return encoded;
}

}  // namespace zt::http

// SPDX-License-Identifier: Apache-2.0
#pragma once
// store/text_column.h: how enumerators and lists are written in a column of text.
//
// Theory of operation
//   An enumerator is its own name. A list is its items, a line feed after each: an empty list is
//   the empty text. Items hold no line feed; the controller's checks of names see to that.

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "zt/base/assert.h"
#include "zt/controller/model.h"

namespace zt::store {

template <class Enum, std::size_t Count>
struct EnumNames {
  std::array<std::pair<Enum, std::string_view>, Count> names;
};

inline constexpr EnumNames<controller::Effect, 2> kEffectNames{
    {{{controller::Effect::allow, "allow"}, {controller::Effect::deny, "deny"}}}};
inline constexpr EnumNames<controller::NodeKind, 2> kNodeKindNames{
    {{{controller::NodeKind::connector, "connector"}, {controller::NodeKind::relay, "relay"}}}};
inline constexpr EnumNames<controller::FlowEventKind, 4> kFlowEventKindNames{
    {{{controller::FlowEventKind::opened, "opened"},
      {controller::FlowEventKind::closed, "closed"},
      {controller::FlowEventKind::denied, "denied"},
      {controller::FlowEventKind::failed, "failed"}}}};
inline constexpr EnumNames<Protocol, 2> kProtocolNames{
    {{{Protocol::tcp, "tcp"}, {Protocol::udp, "udp"}}}};

inline constexpr EnumNames<Paths, 3> kPathsNames{{{{Paths::any, "any"},
                                                   {Paths::never_relay, "never-relay"},
                                                   {Paths::always_relay, "always-relay"}}}};

constexpr const auto& names_of(controller::Effect) {
  return kEffectNames;
}
constexpr const auto& names_of(controller::NodeKind) {
  return kNodeKindNames;
}
constexpr const auto& names_of(controller::FlowEventKind) {
  return kFlowEventKindNames;
}
constexpr const auto& names_of(Paths) {
  return kPathsNames;
}
constexpr const auto& names_of(Protocol) {
  return kProtocolNames;
}

// text_of returns an enumerator's name.
template <class Enum>
[[nodiscard]] std::string_view text_of(Enum value) {
  for (const auto& [enumerator, name] : names_of(value).names) {
    if (enumerator == value) return name;
  }
  fail_assert("every enumerator has a name", __FILE__, __LINE__);
}

// parse_text sets `value` to the enumerator of that name, and tells whether there is one.
template <class Enum>
[[nodiscard]] bool parse_text(std::string_view text, Enum& value) {
  for (const auto& [enumerator, name] : names_of(value).names) {
    if (name != text) continue;
    value = enumerator;
    return true;
  }
  return false;
}

inline std::string item_text(const std::string& item) {
  return item;
}
inline std::string item_text(Protocol item) {
  return std::string(text_of(item));
}
inline std::string item_text(const PortRange& item) {
  return item.to_text();
}

[[nodiscard]] inline bool parse_item(std::string_view text, std::string& item) {
  item = text;
  return true;
}
[[nodiscard]] inline bool parse_item(std::string_view text, Protocol& item) {
  return parse_text(text, item);
}
[[nodiscard]] inline bool parse_item(std::string_view text, PortRange& item) {
  const auto range = PortRange::parse(text);
  if (range) item = *range;
  return range.has_value();
}

// join_column writes a list.
template <class Value>
[[nodiscard]] std::string join_column(const std::vector<Value>& values) {
  std::string text;
  for (const Value& value : values) {
    const std::string item = item_text(value);
    ZT_ASSERT(item.find('\n') == std::string::npos);
    text += item;
    text += '\n';
  }
  return text;
}

// split_column reads what join_column wrote, and tells whether it could.
template <class Value>
[[nodiscard]] bool split_column(std::string_view text, std::vector<Value>& values) {
  values.clear();
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return false;
    Value value{};
    if (!parse_item(text.substr(0, end), value)) return false;
    values.push_back(std::move(value));
    text.remove_prefix(end + 1);
  }
  return true;
}

}  // namespace zt::store

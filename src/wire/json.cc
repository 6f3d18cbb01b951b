// SPDX-License-Identifier: Apache-2.0
#include "wire/json.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

template class nlohmann::basic_json<>;

namespace zt::wire {
namespace {

// FormChecker listens to the parser and notes what JSON allows and we do not.
class FormChecker {
 public:
  explicit FormChecker(std::size_t depth_max) : depth_max_(depth_max) {}

  void on_event(Json::parse_event_t event, const Json& value) {
    switch (event) {
      case Json::parse_event_t::object_start:
        members_.emplace_back();
        enter();
        break;
      case Json::parse_event_t::object_end:
        members_.pop_back();
        --depth_;
        break;
      case Json::parse_event_t::array_start:
        enter();
        break;
      case Json::parse_event_t::array_end:
        --depth_;
        break;
      case Json::parse_event_t::key:
        note_member(value.get_ref<const std::string&>());
        break;
      case Json::parse_event_t::value:
        break;
    }
  }

  [[nodiscard]] const std::optional<JsonError>& error() const { return error_; }

 private:
  void enter() {
    if (++depth_ > depth_max_ && !error_) error_ = JsonError{JsonError::Kind::too_deep, {}};
  }
  void note_member(const std::string& name) {
    if (members_.back().insert(name).second || error_) return;
    error_ = JsonError{JsonError::Kind::repeated_member, name};
  }

  std::size_t depth_max_;
  std::vector<std::set<std::string>> members_;  // Of each object that is open.
  std::size_t depth_ = 0;
  std::optional<JsonError> error_;  // The first one.
};

const Json* member(const Json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(name);
  return found == object.end() ? nullptr : &*found;
}

}  // namespace

std::expected<Json, JsonError> parse_json(std::string_view text, std::size_t depth_max) {
  // The library takes a NUL for the end and skips a byte order mark; neither is JSON.
  if (text.contains('\0') || text.starts_with("\xEF\xBB\xBF")) return std::unexpected(JsonError{});
  FormChecker checker(depth_max);
  const auto listen = [&checker](int /*depth*/, Json::parse_event_t event, const Json& value) {
    checker.on_event(event, value);
    return true;  // Keep the value.
  };
  Json value = Json::parse(text.begin(), text.end(), listen, false);
  if (const std::optional<JsonError>& error = checker.error()) return std::unexpected(*error);
  if (value.is_discarded()) return std::unexpected(JsonError{});
  return value;
}

Json parse_json_object(std::string_view text) {
  auto value = parse_json(text);
  return value && value->is_object() ? std::move(*value) : Json();
}

std::string json_text(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string pretty_json_text(const Json& value) {
  return value.dump(2, ' ', false, Json::error_handler_t::replace);
}

bool has_exactly(const Json& value, std::initializer_list<std::string_view> names) {
  return value.is_object() && value.size() == names.size() &&
         std::ranges::all_of(
             names, [&](std::string_view name) { return value.contains(std::string(name)); });
}

std::optional<std::string_view> text_member(const Json& object, const char* name) {
  const Json* value = member(object, name);
  if (value == nullptr || !value->is_string()) return std::nullopt;
  return value->get_ref<const std::string&>();
}

std::string text_or_empty(const Json& object, const char* name) {
  return std::string(text_member(object, name).value_or(std::string_view()));
}

std::optional<std::uint64_t> integer_member(const Json& object, const char* name) {
  const Json* value = member(object, name);
  if (value == nullptr || !value->is_number_unsigned()) return std::nullopt;
  const auto number = value->get<std::uint64_t>();
  if (number > kJsonIntegerMax) return std::nullopt;
  return number;
}

std::optional<bool> boolean_member(const Json& object, const char* name) {
  const Json* value = member(object, name);
  if (value == nullptr || !value->is_boolean()) return std::nullopt;
  return value->get<bool>();
}

const Json* array_member(const Json& object, const char* name, std::size_t size_max) {
  const Json* value = member(object, name);
  const bool is_good = value != nullptr && value->is_array() && value->size() <= size_max;
  return is_good ? value : nullptr;
}

std::optional<UnixTime> time_member(const Json& object, const char* name) {
  constexpr std::uint64_t kSecondsMax = 253'402'300'799;  // 9999-12-31T23:59:59Z.
  const auto seconds = integer_member(object, name);
  if (!seconds || *seconds > kSecondsMax) return std::nullopt;
  return from_unix_seconds(static_cast<std::int64_t>(*seconds));
}

}  // namespace zt::wire

// SPDX-License-Identifier: Apache-2.0
#include "wire/json.h"

#include <algorithm>
#include <utility>
#include <vector>

template class nlohmann::basic_json<>;

namespace zt::wire {
namespace {

// Builder makes a value of what the library's parser finds, and stops it (false) at what JSON
// allows and we do not.
class Builder : public nlohmann::json_sax<Json> {
 public:
  explicit Builder(std::size_t depth_max) : depth_max_(depth_max) {}

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t& /*text*/) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t& /*value*/) override { return false; }  // Not in JSON text.
  bool start_object(std::size_t /*count*/) override { return enter(Json::object()); }
  bool end_object() override { return leave(); }
  bool start_array(std::size_t /*count*/) override { return enter(Json::array()); }
  bool end_array() override { return leave(); }

  bool key(string_t& name) override {
    const auto [place, is_new] = open_.back()->get_ref<Json::object_t&>().emplace(name, nullptr);
    member_ = &place->second;
    if (!is_new) error_ = {JsonError::Kind::repeated_member, name};
    return is_new;
  }

  bool parse_error(std::size_t /*position*/, const std::string& /*token*/,
                   const Json::exception& /*error*/) override {
    return false;
  }

  Json take_value() { return std::move(value_); }
  [[nodiscard]] const JsonError& error() const { return error_; }

 private:
  // add puts a value where it belongs and returns true.
  template <class Value>
  bool add(Value&& value) {
    (void)place(std::forward<Value>(value));
    return true;
  }

  template <class Value>
  Json& place(Value&& value) {
    if (open_.empty()) return value_ = std::forward<Value>(value);
    if (open_.back()->is_array()) {
      auto& items = open_.back()->get_ref<Json::array_t&>();
      return items.emplace_back(std::forward<Value>(value));
    }
    return *member_ = std::forward<Value>(value);
  }

  bool enter(Json container) {
    if (open_.size() >= depth_max_) {
      error_ = {JsonError::Kind::too_deep, {}};
      return false;
    }
    // An array grows only while its last item is not open, so the pointers hold.
    open_.push_back(&place(std::move(container)));
    return true;
  }

  bool leave() {
    open_.pop_back();
    return true;
  }

  std::size_t depth_max_;
  Json value_;
  std::vector<Json*> open_;  // The outermost first.
  Json* member_ = nullptr;   // Of the innermost object: what was named last.
  JsonError error_;
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
  Builder builder(depth_max);
  if (!Json::sax_parse(text.begin(), text.end(), &builder)) return std::unexpected(builder.error());
  return builder.take_value();
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

// --- ObjectText

void ObjectText::add(std::string_view name, std::string_view value) {
  begin(name);
  const auto is_plain = [](char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; };
  if (std::ranges::all_of(value, is_plain)) {
    text_ += '"';
    text_ += value;
    text_ += '"';
  } else {
    text_ += json_text(Json(value));
  }
}

void ObjectText::add(std::string_view name, std::uint64_t value) {
  begin(name);
  text_ += std::to_string(value);
}

std::string ObjectText::take() {
  text_ += text_.empty() ? "{}" : "}";
  return std::exchange(text_, {});
}

void ObjectText::begin(std::string_view name) {
  text_ += text_.empty() ? "{\"" : ",\"";
  text_ += name;
  text_ += "\":";
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

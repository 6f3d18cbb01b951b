// SPDX-License-Identifier: Apache-2.0
#include "controller/body_reader.h"

#include <fmt/format.h>

#include <utility>

#include "zt/base/ascii.h"
#include "zt/base/rfc3339.h"

namespace zt::controller {

namespace {

using wire::Json;

// is_json_type tells whether a content-type names JSON: "application/json", "…+json", parameters or
// not.
bool is_json_type(std::string_view value) {
  std::string type = to_lower(value.substr(0, value.find(';')));
  while (!type.empty() && type.back() == ' ') type.pop_back();
  return type == "application/json" ||
         (type.starts_with("application/") && type.ends_with("+json"));
}

// decode_utf8 takes the first code point off `text`, which is valid UTF-8 (JSON's parser saw to
// that); for anything else it returns U+FFFD.
char32_t decode_utf8(std::string_view& text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const std::size_t size = byte(0) < 0x80 ? 1 : byte(0) < 0xe0 ? 2 : byte(0) < 0xf0 ? 3 : 4;
  if (text.size() < size) {
    text = {};
    return 0xfffd;
  }
  auto point = static_cast<char32_t>(size == 1 ? byte(0) : byte(0) & (0x7fU >> size));
  for (std::size_t i = 1; i < size; ++i) point = (point << 6U) | (byte(i) & 0x3fU);
  text.remove_prefix(size);
  return point;
}

// is_deceptive tells whether a code point is invisible, or turns the order of what people read.
bool is_deceptive(char32_t point) {
  return point < 0x20 || (point >= 0x7f && point < 0xa0) || point == 0xad || point == 0x61c ||
         point == 0x115f || point == 0x1160 || point == 0x180e ||
         (point >= 0x200b && point <= 0x200f) || (point >= 0x2028 && point <= 0x202e) ||
         (point >= 0x2060 && point <= 0x206f) || point == 0x3164 ||
         (point >= 0xd800 && point <= 0xf8ff) || (point >= 0xfe00 && point <= 0xfe0f) ||
         point == 0xfeff || point == 0xffa0 || (point >= 0xfff0 && point <= 0xffff) ||
         point >= 0xe0000;
}

}  // namespace

std::optional<std::string> complaint_about_text(std::string_view text, const TextRule& rule) {
  if (text.size() < rule.size_min) return "must not be empty";
  if (text.size() > rule.size_max) {
    return fmt::format("must be at most {} bytes long", rule.size_max);
  }
  while (!text.empty()) {
    const char32_t point = decode_utf8(text);
    if (is_deceptive(point)) {
      return fmt::format("must not hold the character U+{:04X}", static_cast<std::uint32_t>(point));
    }
  }
  return std::nullopt;
}

BodyReader::BodyReader(Json object, bool is_patch, std::string prefix, UnixTime now)
    : object_(std::move(object)), is_patch_(is_patch), prefix_(std::move(prefix)), now_(now) {}

Attempt<BodyReader> BodyReader::parse(const Call& call, bool is_patch) {
  const auto type = call.request.fields.find("content-type");
  if (!type || !is_json_type(*type)) {
    return fail(problem(415, "the body must be of content-type application/json"));
  }
  auto value = wire::parse_json(call.body, kDepthMax);
  if (!value && value.error().kind == wire::JsonError::Kind::too_deep) {
    return fail(problem(400, "the body's JSON is nested too deeply"));
  }
  if (!value && value.error().kind == wire::JsonError::Kind::repeated_member) {
    return fail(
        problem(400, fmt::format("the member \"{}\" is there twice", value.error().member)));
  }
  if (!value || !value->is_object()) return fail(problem(400, "the body must be a JSON object"));
  return BodyReader(std::move(*value), is_patch, {}, call.now.unix_time);
}

BodyReader BodyReader::nested(Json object, std::string prefix) const {
  return {std::move(object), false, std::move(prefix), now_};
}

void BodyReader::name(const char* member, std::string& target, Presence presence) {
  checked_text(
      member, target,
      [](std::string& text) -> std::optional<std::string> {
        auto complaint = complaint_about_text(text, {});
        if (!complaint && (text.front() == ' ' || text.back() == ' ')) {
          complaint = "must not begin or end with a space";
        }
        return complaint;
      },
      presence);
}

void BodyReader::text(const char* member, std::string& target, const TextRule& rule,
                      Presence presence) {
  checked_text(
      member, target, [&](std::string& text) { return complaint_about_text(text, rule); },
      presence);
}

void BodyReader::secret(const char* member, Secret& target, Presence presence) {
  const Json* const value = find(member, presence);
  if (value == nullptr) return;
  if (!value->is_string()) return complain(member, "must be a string");
  target = Secret(value->get_ref<const std::string&>());
}

void BodyReader::flag(const char* member, bool& target, Presence presence) {
  const Json* const value = find(member, presence);
  if (value == nullptr) return;
  if (!value->is_boolean()) return complain(member, "must be true or false");
  target = value->get<bool>();
}

void BodyReader::count(const char* member, std::int64_t& target, std::int64_t min, std::int64_t max,
                       Presence presence) {
  const Json* const value = find(member, presence);
  if (value == nullptr) return;
  const bool is_fit = value->is_number_integer() &&
                      (!value->is_number_unsigned() ||
                       value->get<std::uint64_t>() <= static_cast<std::uint64_t>(INT64_MAX)) &&
                      value->get<std::int64_t>() >= min && value->get<std::int64_t>() <= max;
  if (!is_fit) {
    return complain(member, fmt::format("must be a whole number from {} to {}", min, max));
  }
  target = value->get<std::int64_t>();
}

void BodyReader::time(const char* member, std::optional<UnixTime>& target, Presence presence) {
  const Json* const value = find(member, presence);
  if (value == nullptr) return;
  if (value->is_null()) return target.reset();
  std::optional<UnixTime> parsed;
  if (value->is_string()) parsed = parse_rfc3339(value->get_ref<const std::string&>());
  if (!parsed) return complain(member, "must be a time such as \"2030-12-31T23:59:59Z\", or null");
  target = parsed;
}

void BodyReader::expiry(const char* member, std::optional<UnixTime>& target) {
  if (find(member, Presence::optional) == nullptr) return;
  std::optional<UnixTime> end;
  time(member, end, Presence::optional);
  if (end && *end <= now_) return complain(member, "must be in the future");
  target = end;
}

void BodyReader::ports(const char* member, std::vector<PortRange>& target, Presence presence) {
  const Json* const value = find(member, presence);
  if (value == nullptr) return;
  if (*value == "all") return target.assign(1, PortRange{});
  if (*value == "none") return target.clear();
  const std::string complaint =
      "must be \"all\", \"none\", or a list of up to 64 ports and ranges such as \"443\" and "
      "\"8000-8100\"";
  if (!value->is_array() || value->empty() || value->size() > 64) {
    return complain(member, complaint);
  }
  std::vector<PortRange> ranges;
  for (const Json& item : *value) {
    std::optional<PortRange> range;
    if (item.is_string()) range = PortRange::parse(item.get_ref<const std::string&>());
    if (!range) return complain(member, complaint);
    ranges.push_back(*range);
  }
  target = std::move(ranges);
}

std::optional<std::size_t> BodyReader::choice(const char* member,
                                              const std::vector<std::string_view>& names,
                                              Presence presence) {
  const Json* const value = find(member, presence);
  if (value == nullptr) return std::nullopt;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (value->is_string() && value->get_ref<const std::string&>() == names[i]) return i;
  }
  complain(member, fmt::format("must be one of \"{}\"", fmt::join(names, "\", \"")));
  return std::nullopt;
}

void BodyReader::texts(const char* member, std::vector<std::string>& target, std::size_t count_max,
                       const TextCheck& check, Presence presence) {
  const Json* const value = find(member, presence);
  if (value == nullptr) return;
  if (!value->is_array() || value->size() > count_max) {
    return complain(member, fmt::format("must be a list of at most {} strings", count_max));
  }
  std::vector<std::string> items;
  std::set<std::string> seen;
  for (std::size_t i = 0; i < value->size(); ++i) {
    const std::string place = fmt::format("{}[{}]", member, i);
    if (!(*value)[i].is_string()) return complain(place, "must be a string");
    auto item = (*value)[i].get<std::string>();
    if (const auto complaint = check(item)) return complain(place, *complaint);
    if (!seen.insert(item).second) return complain(place, "is in the list already");
    items.push_back(std::move(item));
  }
  target = std::move(items);
}

void BodyReader::checked_text(const char* member, std::string& target, const TextCheck& check,
                              Presence presence) {
  const Json* const value = find(member, presence);
  if (value == nullptr) return;
  if (!value->is_string()) return complain(member, "must be a string");
  auto text = value->get<std::string>();
  if (const auto complaint = check(text)) return complain(member, *complaint);
  target = std::move(text);
}

std::optional<Json> BodyReader::object(const char* member, Presence presence) {
  Json* const value = find(member, presence);
  if (value == nullptr) return std::nullopt;
  if (value->is_object()) return std::move(*value);
  complain(member, "must be an object");
  return std::nullopt;
}

std::vector<Json> BodyReader::objects(const char* member, std::size_t count_max,
                                      Presence presence) {
  Json* const value = find(member, presence);
  if (value == nullptr) return {};
  if (!value->is_array() || value->size() > count_max) {
    complain(member, fmt::format("must be a list of at most {} objects", count_max));
    return {};
  }
  for (const Json& item : *value) {
    if (item.is_object()) continue;
    complain(member, "must hold objects only");
    return {};
  }
  return std::move(value->get_ref<Json::array_t&>());
}

void BodyReader::complain(std::string_view member, std::string_view complaint) {
  if (!problem_) problem_ = invalid_field(full_name(member), complaint);
}

void BodyReader::adopt(const Attempt<void>& nested) {
  if (!nested && !problem_) problem_ = nested.error();
}

Attempt<void> BodyReader::done_with_extras() const {
  if (problem_) return fail(*problem_);
  return {};
}

Attempt<void> BodyReader::done() const {
  if (problem_) return fail(*problem_);
  for (const auto& [name, value] : object_.items()) {
    if (!known_.contains(name)) {
      return fail(invalid_field(full_name(name), "there is no such member here"));
    }
  }
  return {};
}

Json* BodyReader::find(const char* member, Presence presence) {
  known_.insert(member);
  const auto found = object_.find(member);
  if (found != object_.end()) return &*found;
  if (presence == Presence::required && !is_patch_) complain(member, "is missing");
  return nullptr;
}

std::string BodyReader::full_name(std::string_view member) const {
  return prefix_.empty() ? std::string(member) : fmt::format("{}.{}", prefix_, member);
}

}  // namespace zt::controller

// SPDX-License-Identifier: Apache-2.0
#pragma once
// controller/body_reader.h: a request's JSON body, read strictly, with exact complaints.
//
// Theory of operation
//   The reader is asked for each member by name; it checks and stores the value into a target, or
//   remembers the first complaint. done() returns that complaint, or one about a member that nobody
//   asked for: what we do not understand may have been meant as a restriction. With `is_patch`
//   (RFC 7396, objects of one level) absent members leave their targets alone; without, an absent
//   member is a complaint if it is `required`. Null removes an optional value.
//
// Time     The call's, which expiry() compares with.
//
// Limits   A depth of kDepthMax; sizes as each rule says. The whole body is limited by the engine.
// Threats  Two readers see different values: a repeated member is refused. Names that deceive
//          people or terminals: text() refuses control characters, invisible and right-to-left
//          marks.

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "controller/answer.h"
#include "wire/json.h"
#include "zt/base/protocol.h"

namespace zt::controller {

enum class Presence : std::uint8_t { required, optional };

// TextRule limits a text by its size in bytes.
struct TextRule {
  std::size_t size_min = 1;
  std::size_t size_max = 100;
};

class BodyReader {
 public:
  static constexpr std::size_t kDepthMax = 8;

  // parse fails with 415 for another media type and with 400 for what is no JSON object.
  [[nodiscard]] static Attempt<BodyReader> parse(const Call& call, bool is_patch = false);

  // nested reads an object inside of this one; in complaints its members are `prefix`.member.
  [[nodiscard]] BodyReader nested(wire::Json object, std::string prefix) const;

  // name reads a name that people give to things: no white space at its ends.
  void name(const char* member, std::string& target, Presence presence);
  // text reads printable text that may hold white space and may be empty if the rule allows it.
  void text(const char* member, std::string& target, const TextRule& rule, Presence presence);
  // secret reads text that is never repeated in a complaint.
  void secret(const char* member, Secret& target, Presence presence);
  void flag(const char* member, bool& target, Presence presence);
  void count(const char* member, std::int64_t& target, std::int64_t min, std::int64_t max,
             Presence presence);
  void time(const char* member, std::optional<UnixTime>& target, Presence presence);
  // expiry reads the optional end of a key. It is in the future: who wants to end a key at once
  // deletes it, and is asked whether he can do without.
  void expiry(const char* member, std::optional<UnixTime>& target);
  // ports reads a list of "5432" and "8000-8100", or "all", or "none".
  void ports(const char* member, std::vector<PortRange>& target, Presence presence);

  // choice reads one of `names` and returns its place in the list, if the member is there.
  [[nodiscard]] std::optional<std::size_t> choice(const char* member,
                                                  const std::vector<std::string_view>& names,
                                                  Presence presence);

  // texts reads a list of different texts, each of which `check` finds good (it returns the
  // complaint, or nothing). `check` may rewrite the text into its canonical spelling.
  using TextCheck = std::function<std::optional<std::string>(std::string&)>;
  void texts(const char* member, std::vector<std::string>& target, std::size_t count_max,
             const TextCheck& check, Presence presence);
  void checked_text(const char* member, std::string& target, const TextCheck& check,
                    Presence presence);

  // id reads an object's id. A malformed one is a complaint; whether it exists is for the caller.
  template <class Tag>
  void id(const char* member, Id<Tag>& target, Presence presence) {
    checked_text(
        member, target.text,
        [](std::string& text) -> std::optional<std::string> {
          if (parse_id_as<Tag>(text)) return std::nullopt;
          return "must be an id that begins with \"" + std::string(Tag::kPrefix) + "_\"";
        },
        presence);
  }

  // object and objects take nested objects out, for nested(): each is there once.
  [[nodiscard]] std::optional<wire::Json> object(const char* member, Presence presence);
  [[nodiscard]] std::vector<wire::Json> objects(const char* member, std::size_t count_max,
                                                Presence presence);

  // complain remembers a complaint of the caller's, if it is the first.
  void complain(std::string_view member, std::string_view complaint);
  void adopt(const Attempt<void>& nested);

  [[nodiscard]] Attempt<void> done() const;

  // done_with_extras is done() for reports of nodes: a later version may know more than we do.
  [[nodiscard]] Attempt<void> done_with_extras() const;

 private:
  BodyReader(wire::Json object, bool is_patch, std::string prefix, UnixTime now);

  // member returns the value to read, or null if there is nothing to do.
  [[nodiscard]] wire::Json* find(const char* member, Presence presence);
  [[nodiscard]] std::string full_name(std::string_view member) const;

  wire::Json object_;
  bool is_patch_;
  std::string prefix_;
  UnixTime now_;
  std::set<std::string, std::less<>> known_;
  std::optional<http::Problem> problem_;
};

// complaint_about_text returns what is wrong with text that people read, or nothing.
[[nodiscard]] std::optional<std::string> complaint_about_text(std::string_view text,
                                                              const TextRule& rule);

}  // namespace zt::controller

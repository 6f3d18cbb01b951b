// SPDX-License-Identifier: Apache-2.0
// app/admin_subject_commands.cc: who asks: users, service accounts and their keys, groups, devices,
// and the API keys of administrators.
#include <fmt/format.h>

#include <array>

#include "app/admin_leaf.h"
#include "app/admin_list.h"
#include "io/clock.h"
#include "zt/base/rfc3339.h"
#include "zt/http/query.h"

namespace zt::app {

namespace {

using wire::Json;

// --- Groups.

struct MemberArguments {
  CommonArguments common;
  std::string group;
  std::string subject;
};

// Member is who is, or shall be, in which group.
struct Member {
  std::string group;  // Ids.
  std::string subject;
};

Attempt<Member> find_member(const AdminSession& session, const MemberArguments& arguments) {
  const auto reference = parse_subject(arguments.subject);
  if (!reference) return usage(reference.error());
  if (reference->by == Reference::By::word || reference->kind == kGroups.path) {
    return usage(fmt::format("\"{}\": only users and service accounts are members of groups",
                             arguments.subject));
  }
  const auto group = session.find_id(kGroups, arguments.group);
  if (!group) return std::unexpected(group.error());
  const auto subject = session.find_id(*reference);
  if (!subject) return std::unexpected(subject.error());
  return Member{.group = *group, .subject = *subject};
}

Done change_member(const AdminSession& session, const MemberArguments& arguments,
                   bool is_addition) {
  const auto member = find_member(session, arguments);
  if (!member) return std::unexpected(member.error());
  const std::string path = fmt::format("groups/{}/members/{}", http::percent_encode(member->group),
                                       http::percent_encode(member->subject));
  const Done done = is_addition ? session.put(path) : session.remove(path);
  if (!done) return done;
  if (arguments.common.is_json) {
    fmt::print("{}\n", wire::pretty_json_text({{"group", member->group},
                                               {"subject", member->subject},
                                               {"member", is_addition}}));
  } else {
    fmt::print("{} \"{}\" {} group \"{}\"\n", is_addition ? "added" : "removed", arguments.subject,
               is_addition ? "to" : "from", arguments.group);
  }
  return {};
}

Done add_member(const AdminSession& session, const MemberArguments& arguments) {
  return change_member(session, arguments, true);
}

Done remove_member(const AdminSession& session, const MemberArguments& arguments) {
  return change_member(session, arguments, false);
}

Done list_members(const AdminSession& session, const MemberArguments& arguments) {
  const auto group = session.find_id(kGroups, arguments.group);
  if (!group) return std::unexpected(group.error());
  const auto items =
      session.list_whole(fmt::format("groups/{}/members", http::percent_encode(*group)));
  if (!items) return std::unexpected(items.error());
  return print_list(session, *items, members_view(), arguments.common.is_json);
}

void add_group_commands(CLI::App& admin, Chosen& chosen) {
  CLI::App& group = add_kind_group(admin, kGroups, "Groups of users and service accounts");
  add_create_plain(group, chosen, kGroups);
  add_list(group, chosen, kGroups);
  add_show(group, chosen, kGroups);
  add_update(group, chosen, kGroups);
  add_delete(group, chosen, kGroups);
  auto members = std::make_shared<MemberArguments>();
  CLI::App& listing =
      add_leaf(group, chosen, "members", "List who is in a group", members, list_members);
  listing.add_option("GROUP", members->group, "Name or id of the group")->required();
  add_json_flag(listing, members);
  for (const bool is_addition : {true, false}) {
    auto arguments = std::make_shared<MemberArguments>();
    CLI::App& leaf =
        add_leaf(group, chosen, is_addition ? "add" : "remove",
                 is_addition ? "Put a subject into a group" : "Take a subject out of a group",
                 arguments, is_addition ? add_member : remove_member);
    leaf.add_option("GROUP", arguments->group, "Name or id of the group")->required();
    leaf.add_option("SUBJECT", arguments->subject, "user:NAME, svc:NAME, or an id")->required();
    add_json_flag(leaf, arguments);
  }
  group.footer(
      "Example:\n"
      "  zt admin group create oncall\n"
      "  zt admin group add oncall svc:pager");
}

// --- Users and service accounts.

struct UserArguments {
  CommonArguments common;
  std::string name;
  std::string email;
};

Done create_user(const AdminSession& session, const UserArguments& arguments) {
  Json body = {{"name", arguments.name}};
  if (!arguments.email.empty()) body["email"] = arguments.email;
  const auto object = session.post("users", std::move(body));
  if (!object) return std::unexpected(object.error());
  print_made(arguments.common, "created", kUsers, *object);
  return {};
}

void add_user_commands(CLI::App& admin, Chosen& chosen) {
  CLI::App& user = add_kind_group(admin, kUsers, "Users: people");
  auto arguments = std::make_shared<UserArguments>();
  CLI::App& create = add_leaf(user, chosen, "create", "Create a user", arguments, create_user);
  create.add_option("NAME", arguments->name, "A name that no other has")->required();
  create.add_option("--email", arguments->email, "Electronic mail address");
  add_json_flag(create, arguments);
  add_list(user, chosen, kUsers);
  add_show(user, chosen, kUsers);
  constexpr std::array<TextChange, 1> kUserChanges{
      {{.option = "--email", .member = "email", .help = "Electronic mail address"}}};
  add_update(user, chosen, kUsers, kUserChanges);
  add_switches(user, chosen, kUsers);
  add_delete(user, chosen, kUsers);
}

struct KeyArguments {
  CommonArguments common;
  std::string account;
  std::string key;
  std::string name;
  std::string expires;
  std::string overlap = "1h";
  bool is_bare = false;
  SecretOutput output;
};

Attempt<std::string> keys_path(const AdminSession& session, const KeyArguments& arguments) {
  const auto account = session.find_id(kServiceAccounts, arguments.account);
  if (!account) return account;
  return fmt::format("service-accounts/{}/keys", http::percent_encode(*account));
}

// key_body has the members of what expires: a service account's key, or an API key.
Attempt<Json> key_body(const KeyArguments& arguments) {
  Json body = Json::object();
  if (!arguments.name.empty()) body["name"] = arguments.name;
  if (arguments.expires.empty()) return body;
  auto time = time_body("--expires", arguments.expires, io::read_clocks().unix_time);
  if (!time) return usage(time.error());
  body["expires"] = std::move(*time);
  return body;
}

// new_key makes a key and writes it out; it returns the rest.
Attempt<Json> new_key(const AdminSession& session, const KeyArguments& arguments,
                      const std::string& path, Json body) {
  return session.make_secret({.path = path, .member = "file", .undo = path}, std::move(body),
                             arguments.output);
}

Done make_key(const AdminSession& session, const KeyArguments& arguments) {
  if (Done checked = check_secret_output(arguments.common, arguments.output); !checked) {
    return checked;
  }
  auto body = key_body(arguments);
  if (!body) return std::unexpected(body.error());
  const auto path = keys_path(session, arguments);
  if (!path) return std::unexpected(path.error());
  const auto made = new_key(session, arguments, *path, std::move(*body));
  if (!made) return std::unexpected(made.error());
  print_secret_made(arguments.common, *made);
  return {};
}

// retire ends a key after the overlap, or at once; never later than it would end by itself.
Done retire(const AdminSession& session, const KeyArguments& arguments, const std::string& path,
            const Json& old) {
  if (arguments.overlap == "none") return session.remove(path);
  auto end = time_body("--overlap", arguments.overlap, io::read_clocks().unix_time);
  if (!end) return usage(end.error());
  const auto own_end = parse_rfc3339(wire::text_or_empty(old, "expires"));
  const auto new_end = parse_rfc3339(end->is_string() ? end->get<std::string>() : std::string());
  if (own_end && new_end && *own_end <= *new_end) return {};
  const auto changed = session.patch(path, {{"expires", std::move(*end)}}, version_in(old));
  if (!changed) return std::unexpected(changed.error());
  return {};
}

Done rotate_key(const AdminSession& session, const KeyArguments& arguments) {
  if (Done checked = check_secret_output(arguments.common, arguments.output); !checked) {
    return checked;
  }
  if (arguments.overlap != "none" && !parse_duration(arguments.overlap)) {
    return usage(fmt::format("--overlap: \"{}\" is no duration such as 30m or 1d, and not \"none\"",
                             arguments.overlap));
  }
  auto body = key_body(arguments);
  if (!body) return std::unexpected(body.error());
  const auto path = keys_path(session, arguments);
  if (!path) return std::unexpected(path.error());
  const std::string old_path = fmt::format("{}/{}", *path, http::percent_encode(arguments.key));
  const auto old = session.call({.path = old_path, .body = {}, .version = {}});
  if (!old) return std::unexpected(old.error());
  if (wire::boolean_member(old->body, "revoked").value_or(false)) {
    return failure(ExitCode::failed,
                   fmt::format("{} is revoked already: make a new key", arguments.key));
  }
  if (arguments.name.empty()) (*body)["name"] = wire::text_or_empty(old->body, "name");
  const auto made = new_key(session, arguments, *path, std::move(*body));
  if (!made) return std::unexpected(made.error());
  print_secret_made(arguments.common, *made);
  const Done done = retire(session, arguments, old_path, old->body);
  if (done) return done;
  return failure(done.error().code,
                 fmt::format("the new key {} is made, but the old one lives on: {}",
                             wire::text_or_empty(*made, "id"), done.error().sentence));
}

Done list_keys(const AdminSession& session, const KeyArguments& arguments) {
  const auto path = keys_path(session, arguments);
  if (!path) return std::unexpected(path.error());
  const auto items = session.list_whole(*path);
  if (!items) return std::unexpected(items.error());
  return print_list(session, *items, keys_view(), arguments.common.is_json);
}

Done revoke_key(const AdminSession& session, const KeyArguments& arguments) {
  const auto path = keys_path(session, arguments);
  if (!path) return std::unexpected(path.error());
  const Done done =
      session.remove(fmt::format("{}/{}", *path, http::percent_encode(arguments.key)));
  if (!done) return done;
  if (arguments.common.is_json) {
    fmt::print("{}\n", wire::pretty_json_text({{"id", arguments.key}, {"revoked", true}}));
  } else {
    fmt::print("revoked key {}\n", arguments.key);
  }
  return {};
}

void add_account_option(CLI::App& leaf, KeyArguments& arguments) {
  leaf.add_option("NAME", arguments.account, "Name or id of the service account")->required();
}

void add_key_commands(CLI::App& account, Chosen& chosen) {
  auto made = std::make_shared<KeyArguments>();
  CLI::App& make = add_leaf(account, chosen, "key", "Make a key, with which zt client up signs in",
                            made, make_key);
  add_account_option(make, *made);
  make.add_option("--name", made->name, "What the key is called; default: as the account");
  make.add_option("--expires", made->expires, "365d, or 2030-12-31T23:59:59Z; default: never");
  add_secret_options(make, made->output, true);
  add_json_flag(make, made);
  make.footer(
      "Example:\n"
      "  zt admin service-account key ci --expires 90d --out ci.json\n"
      "  zt client up --key-file ci.json --forward 5432=db.internal:5432");

  auto listed = std::make_shared<KeyArguments>();
  CLI::App& list =
      add_leaf(account, chosen, "keys", "List the keys of a service account", listed, list_keys);
  add_account_option(list, *listed);
  add_json_flag(list, listed);

  auto revoked = std::make_shared<KeyArguments>();
  CLI::App& revoke =
      add_leaf(account, chosen, "revoke-key",
               "Revoke a key: what was signed in with it ends at once", revoked, revoke_key);
  add_account_option(revoke, *revoked);
  revoke.add_option("KEY", revoked->key, "Id of the key, see keys")->required();
  add_json_flag(revoke, revoked);
}

void add_rotate_key(CLI::App& account, Chosen& chosen) {
  auto rotated = std::make_shared<KeyArguments>();
  CLI::App& rotate = add_leaf(account, chosen, "rotate-key",
                              "Make a key in the place of another, which ends after an overlap",
                              rotated, rotate_key);
  add_account_option(rotate, *rotated);
  rotate.add_option("KEY", rotated->key, "Id of the key that ends, see keys")->required();
  rotate
      .add_option("--overlap", rotated->overlap,
                  "For how long the old key is good: 1h, 7d, or none to revoke it at once")
      ->capture_default_str();
  rotate.add_option("--name", rotated->name, "What the new key is called; default: as the old one");
  rotate.add_option("--expires", rotated->expires,
                    "Of the new key: 365d, or a time; default: never");
  add_secret_options(rotate, rotated->output, true);
  add_json_flag(rotate, rotated);
  rotate.footer(
      "Example:\n"
      "  zt admin service-account rotate-key ci key_01… --overlap 1d --expires 90d --out ci.json");
}

void add_service_account_commands(CLI::App& admin, Chosen& chosen) {
  CLI::App& account = add_kind_group(admin, kServiceAccounts, "Service accounts: programs");
  add_create_plain(account, chosen, kServiceAccounts);
  add_list(account, chosen, kServiceAccounts);
  add_show(account, chosen, kServiceAccounts);
  add_update(account, chosen, kServiceAccounts);
  add_switches(account, chosen, kServiceAccounts);
  add_delete(account, chosen, kServiceAccounts);
  add_key_commands(account, chosen);
  add_rotate_key(account, chosen);
}

// --- API keys.

Done make_api_key(const AdminSession& session, const KeyArguments& arguments) {
  if (Done checked = check_secret_output(arguments.common, arguments.output); !checked) {
    return checked;
  }
  auto body = key_body(arguments);
  if (!body) return std::unexpected(body.error());
  const auto made = session.make_secret({.path = "api-keys",
                                         .member = "token",
                                         .undo = "api-keys",
                                         .is_access_file = !arguments.is_bare},
                                        std::move(*body), arguments.output);
  if (!made) return std::unexpected(made.error());
  print_secret_made(arguments.common, *made);
  return {};
}

void add_api_key_commands(CLI::App& admin, Chosen& chosen) {
  CLI::App& key = add_kind_group(admin, kApiKeys, "API keys: what administrators sign in with");
  auto arguments = std::make_shared<KeyArguments>();
  CLI::App& create = add_leaf(key, chosen, "create", "Make an API key", arguments, make_api_key);
  create.add_option("NAME", arguments->name, "A name that no other has; the audit shows it")
      ->required();
  create.add_option("--expires", arguments->expires,
                    "30d, or 2030-12-31T23:59:59Z; default: never");
  create.add_flag("--bare", arguments->is_bare,
                  "Write the key alone; without: an access file, as --access takes it");
  add_secret_options(create, arguments->output, true);
  add_json_flag(create, arguments);
  create.footer(
      "Examples:\n"
      "  zt admin api-key create ada --out ada.json    # Ada uses it with --access or ZT_ADMIN\n"
      "  zt admin api-key create terraform --expires 90d --bare --out terraform.key");
  add_list(key, chosen, kApiKeys);
  add_show(key, chosen, kApiKeys);
  constexpr std::array<TextChange, 1> kKeyChanges{
      {{.option = "--expires",
        .member = "expires",
        .help = "When it ends: 30d, 2030-12-31T23:59:59Z, or never",
        .is_time = true}}};
  add_update(key, chosen, kApiKeys, kKeyChanges);
  add_delete(key, chosen, kApiKeys);
}

}  // namespace

void add_subject_commands(CLI::App& admin, Chosen& chosen) {
  add_group_commands(admin, chosen);
  add_user_commands(admin, chosen);
  add_service_account_commands(admin, chosen);
  CLI::App& device = add_kind_group(admin, kDevices, "Devices: where subjects have signed in");
  add_list(device, chosen, kDevices);
  add_show(device, chosen, kDevices);
  add_update(device, chosen, kDevices);
  add_switches(device, chosen, kDevices);
  add_delete(device, chosen, kDevices);
  add_api_key_commands(admin, chosen);
}

}  // namespace zt::app

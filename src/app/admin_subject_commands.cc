// SPDX-License-Identifier: Apache-2.0
// app/admin_subject_commands.cc: who asks: users, service accounts and their keys, groups, devices,
// and the API keys of administrators.
#include <fmt/format.h>

#include "app/admin_leaf.h"
#include "app/admin_list.h"
#include "io/clock.h"
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

// member_path finds groups/ID/members/SUBJECT.
Attempt<std::string> member_path(const AdminSession& session, const MemberArguments& arguments) {
  const auto reference = parse_subject(arguments.subject);
  if (!reference) return usage(reference.error());
  if (reference->by == Reference::By::word || reference->kind == kGroups.path) {
    return usage(fmt::format("\"{}\": only users and service accounts are members of groups",
                             arguments.subject));
  }
  const auto group = session.find_id(kGroups, arguments.group);
  if (!group) return group;
  const auto subject = session.find_id(*reference);
  if (!subject) return subject;
  return fmt::format("groups/{}/members/{}", http::percent_encode(*group),
                     http::percent_encode(*subject));
}

Done add_member(const AdminSession& session, const MemberArguments& arguments) {
  const auto path = member_path(session, arguments);
  if (!path) return std::unexpected(path.error());
  return session.put(*path);
}

Done remove_member(const AdminSession& session, const MemberArguments& arguments) {
  const auto path = member_path(session, arguments);
  if (!path) return std::unexpected(path.error());
  return session.remove(*path);
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
  add_switches(user, chosen, kUsers);
  add_delete(user, chosen, kUsers);
}

struct KeyArguments {
  CommonArguments common;
  std::string account;
  std::string key;
  std::string name;
  std::string expires;
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

// tell says on standard error which key was made: standard output may hold the secret.
void tell(const Json& made) {
  const std::string expires = text_in(made, "expires");
  fmt::print(stderr, "{} expires {}\n", text_in(made, "id"), expires.empty() ? "never" : expires);
}

Done make_key(const AdminSession& session, const KeyArguments& arguments) {
  auto body = key_body(arguments);
  if (!body) return std::unexpected(body.error());
  const auto path = keys_path(session, arguments);
  if (!path) return std::unexpected(path.error());
  const auto made = session.make_secret(*path, std::move(*body), "file", *path, arguments.output);
  if (!made) return std::unexpected(made.error());
  tell(*made);
  return {};
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
  return session.remove(fmt::format("{}/{}", *path, http::percent_encode(arguments.key)));
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
}

void add_service_account_commands(CLI::App& admin, Chosen& chosen) {
  CLI::App& account = add_kind_group(admin, kServiceAccounts, "Service accounts: programs");
  add_create_plain(account, chosen, kServiceAccounts);
  add_list(account, chosen, kServiceAccounts);
  add_show(account, chosen, kServiceAccounts);
  add_switches(account, chosen, kServiceAccounts);
  add_delete(account, chosen, kServiceAccounts);
  add_key_commands(account, chosen);
}

// --- API keys.

Done make_api_key(const AdminSession& session, const KeyArguments& arguments) {
  auto body = key_body(arguments);
  if (!body) return std::unexpected(body.error());
  const auto made =
      session.make_secret("api-keys", std::move(*body), "token", "api-keys", arguments.output);
  if (!made) return std::unexpected(made.error());
  tell(*made);
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
  add_secret_options(create, arguments->output, true);
  create.footer("Example:\n  zt admin api-key create terraform --expires 90d --out terraform.key");
  add_list(key, chosen, kApiKeys);
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
  add_switches(device, chosen, kDevices);
  add_delete(device, chosen, kDevices);
  add_api_key_commands(admin, chosen);
}

}  // namespace zt::app

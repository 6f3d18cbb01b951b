// SPDX-License-Identifier: Apache-2.0
// app/admin_log_commands.cc: what happened: flow events, the audit; and the tenant's signing keys.
#include <fmt/format.h>

#include "app/admin_follow.h"
#include "app/admin_leaf.h"
#include "app/admin_list.h"
#include "io/clock.h"
#include "zt/base/rfc3339.h"
#include "zt/http/query.h"

namespace zt::app {

namespace {

struct LogArguments {
  CommonArguments common;
  std::size_t limit = 100;
  bool is_followed = false;
  std::string since;
  std::string subject;
  std::string resource;
  std::string network;
  std::string connector;
  std::string flow;
  std::string event;
  std::string action;
  std::string target;
};

void add_parameter(std::string& query, const char* name, const std::string& value) {
  if (value.empty()) return;
  query += fmt::format("{}{}={}", query.empty() ? "" : "&", name, http::percent_encode(value));
}

// add_since adds a time, given as one or as a duration before now.
Done add_since(std::string& query, const std::string& text) {
  if (text.empty()) return {};
  const UnixTime now = io::read_clocks().unix_time;
  auto time = parse_rfc3339(text);
  if (const auto ago = parse_duration(text)) {
    time = now - std::chrono::duration_cast<std::chrono::milliseconds>(*ago);
  }
  if (!time) {
    return usage(
        fmt::format("--since: \"{}\" is no duration such as 15m or 2d and no time such as "
                    "2030-12-31T23:59:59Z",
                    text));
  }
  add_parameter(query, "since", to_rfc3339(*time));
  return {};
}

// add_object adds the id of an object that the user named.
Done add_object(const AdminSession& session, std::string& query, const char* name, const Kind& kind,
                const std::string& text) {
  if (text.empty()) return {};
  const auto id = session.find_id(kind, text);
  if (!id) return std::unexpected(id.error());
  add_parameter(query, name, *id);
  return {};
}

Done add_subject(const AdminSession& session, std::string& query, const std::string& text) {
  if (text.empty()) return {};
  const auto reference = parse_subject(text);
  if (!reference) return usage(reference.error());
  const auto id = session.find_id(*reference);
  if (!id) return std::unexpected(id.error());
  add_parameter(query, "subject", *id);
  return {};
}

Done show_log(const AdminSession& session, const FollowedLog& log, const LogArguments& arguments) {
  if (arguments.is_followed) return follow(session, log, arguments.common.is_json);
  const auto items = session.list(log.path, log.query, log.limit);
  if (!items) return std::unexpected(items.error());
  return print_list(session, *items, log.view, arguments.common.is_json);
}

Done list_events(const AdminSession& session, const LogArguments& arguments) {
  std::string query;
  Done done = add_since(query, arguments.since);
  if (done) done = add_subject(session, query, arguments.subject);
  if (done) done = add_object(session, query, "resource", kResources, arguments.resource);
  if (done) done = add_object(session, query, "network", kNetworks, arguments.network);
  if (done) done = add_object(session, query, "connector", kConnectors, arguments.connector);
  if (!done) return done;
  add_parameter(query, "flow", arguments.flow);
  add_parameter(query, "event", arguments.event);
  return show_log(session, {"events", query, arguments.limit, events_view()}, arguments);
}

Done list_audit(const AdminSession& session, const LogArguments& arguments) {
  std::string query;
  if (const Done done = add_since(query, arguments.since); !done) return done;
  add_parameter(query, "action", arguments.action);
  add_parameter(query, "target", arguments.target);
  return show_log(session, {"audit", query, arguments.limit, audit_view()}, arguments);
}

Done list_signing_keys(const AdminSession& session, const LogArguments& arguments) {
  const auto items = session.list_whole("signing-keys");
  if (!items) return std::unexpected(items.error());
  return print_list(session, *items, signing_keys_view(), arguments.common.is_json);
}

Done rotate_signing_key(const AdminSession& session, const LogArguments& arguments) {
  const auto made = session.post("signing-keys/rotate", wire::Json::object());
  if (!made) return std::unexpected(made.error());
  if (arguments.common.is_json) {
    fmt::print("{}\n", wire::pretty_json_text(*made));
    return {};
  }
  fmt::print("created signing key {}, which signs from {} on\n", wire::text_or_empty(*made, "kid"),
             wire::text_or_empty(*made, "active_from"));
  return {};
}

void add_period(CLI::App& leaf, LogArguments& arguments) {
  leaf.add_option("--limit", arguments.limit, "At most so many, the newest first")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  leaf.add_flag("--follow", arguments.is_followed,
                "Go on with what comes, oldest first, until Ctrl-C; with --json an object a line");
  leaf.add_option("--since", arguments.since, "Not older: 15m, 2d, or 2030-12-31T23:59:59Z");
}

void add_events(CLI::App& admin, Chosen& chosen) {
  auto arguments = std::make_shared<LogArguments>();
  CLI::App& leaf = add_leaf(admin, chosen, "events", "Show flows: who reached what, when and how",
                            arguments, list_events);
  add_period(leaf, *arguments);
  leaf.add_option("--subject", arguments->subject, "Only of svc:NAME, user:NAME, or an id");
  leaf.add_option("--resource", arguments->resource, "Only to this resource, by name or id");
  leaf.add_option("--network", arguments->network, "Only in this network, by name or id");
  leaf.add_option("--connector", arguments->connector, "Only by this connector, by name or id");
  leaf.add_option("--flow", arguments->flow, "Only of this flow, by id (flo_…)");
  leaf.add_option("--event", arguments->event, "Only of this kind")
      ->check(CLI::IsMember({"opened", "closed", "denied", "failed"}));
  add_json_flag(leaf, arguments);
  leaf.footer(
      "An id finds what objects did that are deleted by now.\n\n"
      "Examples:\n"
      "  zt admin events --since 1h --event denied\n"
      "  zt admin events --follow --limit 10\n"
      "  zt admin events --resource db --limit 1000 --json");
}

void add_audit(CLI::App& admin, Chosen& chosen) {
  auto arguments = std::make_shared<LogArguments>();
  CLI::App& leaf = add_leaf(admin, chosen, "audit", "Show changes: which administrator did what",
                            arguments, list_audit);
  add_period(leaf, *arguments);
  leaf.add_option("--action", arguments->action, "Only this action: access_rule.create");
  leaf.add_option("--target", arguments->target, "Only changes of this object, by id");
  add_json_flag(leaf, arguments);
  leaf.footer(
      "With --json each entry has the details of the change.\n\n"
      "Example:\n  zt admin audit --since 1d --action grant.deny --json");
}

void add_signing_keys(CLI::App& admin, Chosen& chosen) {
  CLI::App* const key =
      admin.add_subcommand("signing-key", "Signing keys: what grants are signed with");
  key->require_subcommand(1);
  auto listed = std::make_shared<LogArguments>();
  add_json_flag(add_leaf(*key, chosen, "list", "List the signing keys", listed, list_signing_keys),
                listed);
  auto rotated = std::make_shared<LogArguments>();
  add_json_flag(add_leaf(*key, chosen, "rotate",
                         "Make a new signing key; the old ones overlap with it and retire", rotated,
                         rotate_signing_key),
                rotated);
}

}  // namespace

void add_log_commands(CLI::App& admin, Chosen& chosen) {
  add_events(admin, chosen);
  add_audit(admin, chosen);
  add_signing_keys(admin, chosen);
}

}  // namespace zt::app

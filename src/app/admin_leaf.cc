// SPDX-License-Identifier: Apache-2.0
#include "app/admin_leaf.h"

#include <fmt/format.h>

#include "app/admin_list.h"
#include "app/table.h"
#include "zt/http/query.h"

namespace zt::app {

namespace {

using wire::Json;

// ObjectArguments are those of the commands about one object, or none, of any kind.
struct ObjectArguments {
  CommonArguments common;
  Kind kind;
  std::string object;
};

std::shared_ptr<ObjectArguments> arguments_for(const Kind& kind) {
  return std::make_shared<ObjectArguments>(
      ObjectArguments{.common = {}, .kind = kind, .object = {}});
}

// singular writes "a network", "an API key". "user" begins with a consonant, as it is spoken.
std::string singular(const Kind& kind) {
  const bool is_vowel = std::string_view("aeioAEIO").contains(kind.noun.front());
  return fmt::format("{} {}", is_vowel ? "an" : "a", kind.noun);
}

void add_object(CLI::App& leaf, const std::shared_ptr<ObjectArguments>& arguments) {
  leaf.add_option("NAME", arguments->object,
                  fmt::format("Name or id of the {}", arguments->kind.noun))
      ->required();
}

std::string path_of(const Kind& kind, const std::string& id) {
  return fmt::format("{}/{}", kind.path, http::percent_encode(id));
}

Done list_objects(const AdminSession& session, const ObjectArguments& arguments) {
  const auto items = session.list(std::string(arguments.kind.path));
  if (!items) return std::unexpected(items.error());
  return print_list(session, *items, view_of(arguments.kind), arguments.common.is_json);
}

Done show_object(const AdminSession& session, const ObjectArguments& arguments) {
  const auto object = session.find(arguments.kind, arguments.object);
  if (!object) return std::unexpected(object.error());
  fmt::print("{}\n", wire::pretty_json_text(*object));
  return {};
}

Done set_enabled(const AdminSession& session, const ObjectArguments& arguments, bool is_enabled) {
  const auto id = session.find_id(arguments.kind, arguments.object);
  if (!id) return std::unexpected(id.error());
  const auto object = session.patch(path_of(arguments.kind, *id), {{"enabled", is_enabled}});
  if (!object) return std::unexpected(object.error());
  print_made(arguments.common, is_enabled ? "enabled" : "disabled", arguments.kind, *object);
  return {};
}

Done delete_object(const AdminSession& session, const ObjectArguments& arguments) {
  const auto object = session.find(arguments.kind, arguments.object);
  if (!object) return std::unexpected(object.error());
  const auto removed = session.remove(path_of(arguments.kind, wire::text_or_empty(*object, "id")),
                                      version_in(*object));
  if (!removed) return removed;
  print_made(arguments.common, "deleted", arguments.kind, *object);
  return {};
}

Done create_plain(const AdminSession& session, const ObjectArguments& arguments) {
  const auto object = session.post(std::string(arguments.kind.path), {{"name", arguments.object}});
  if (!object) return std::unexpected(object.error());
  print_made(arguments.common, "created", arguments.kind, *object);
  return {};
}

}  // namespace

ExitCode finish(const Done& done) {
  return done ? ExitCode::ok : fail(done.error().code, done.error().sentence);
}

void add_secret_options(CLI::App& leaf, SecretOutput& output, bool is_required) {
  CLI::Option* const out = leaf.add_option(
      "--out", output.file, "New file for the secret, mode 0600; - is standard output");
  if (is_required) {
    out->required();
  } else {
    out->capture_default_str();
  }
  leaf.add_flag("--force", output.is_forced, "Replace the file if it is there");
}

Done check_secret_output(const CommonArguments& common, const SecretOutput& output) {
  if (!common.is_json || output.file != "-") return {};
  return usage("--json needs --out FILE: standard output would hold the secret");
}

void print_secret_made(const CommonArguments& common, const Json& made) {
  if (common.is_json) {
    fmt::print("{}\n", wire::pretty_json_text(made));
    return;
  }
  const std::string expires = wire::text_or_empty(made, "expires");
  fmt::print(stderr, "{} expires {}\n", wire::text_or_empty(made, "id"),
             expires.empty() ? "never" : expires);
}

void print_made(const CommonArguments& common, const char* verb, const Kind& kind,
                const Json& object) {
  if (common.is_json) {
    fmt::print("{}\n", wire::pretty_json_text(object));
    return;
  }
  fmt::print("{} {} \"{}\" ({})\n", verb, kind.noun, printable(wire::text_or_empty(object, "name")),
             printable(wire::text_or_empty(object, "id")));
}

void add_list(CLI::App& parent, Chosen& chosen, const Kind& kind) {
  auto arguments = arguments_for(kind);
  add_json_flag(add_leaf(parent, chosen, "list", fmt::format("List all {}s", kind.noun), arguments,
                         list_objects),
                arguments);
}

void add_show(CLI::App& parent, Chosen& chosen, const Kind& kind) {
  auto arguments = arguments_for(kind);
  CLI::App& leaf = add_leaf(parent, chosen, "show", fmt::format("Print {} as JSON", singular(kind)),
                            arguments, show_object);
  add_object(leaf, arguments);
  leaf.add_flag("--json", arguments->common.is_json, "As without: an object is shown as JSON");
}

void add_switches(CLI::App& parent, Chosen& chosen, const Kind& kind) {
  auto on = arguments_for(kind);
  CLI::App& enable = add_leaf<ObjectArguments>(
      parent, chosen, "enable", fmt::format("Enable {}", singular(kind)), on,
      [](const AdminSession& session, const ObjectArguments& arguments) {
        return set_enabled(session, arguments, true);
      });
  add_object(enable, on);
  add_json_flag(enable, on);
  auto off = arguments_for(kind);
  CLI::App& disable = add_leaf<ObjectArguments>(
      parent, chosen, "disable",
      fmt::format("Disable {}: what it allows ends at once, and it can be enabled again",
                  singular(kind)),
      off, [](const AdminSession& session, const ObjectArguments& arguments) {
        return set_enabled(session, arguments, false);
      });
  add_object(disable, off);
  add_json_flag(disable, off);
}

void add_delete(CLI::App& parent, Chosen& chosen, const Kind& kind) {
  auto arguments = arguments_for(kind);
  CLI::App& leaf = add_leaf(parent, chosen, "delete", fmt::format("Delete {}", singular(kind)),
                            arguments, delete_object);
  add_object(leaf, arguments);
  add_json_flag(leaf, arguments);
  leaf.alias("revoke");
  leaf.footer("Nothing that other objects refer to can be deleted: delete those first.");
}

void add_create_plain(CLI::App& parent, Chosen& chosen, const Kind& kind) {
  auto arguments = arguments_for(kind);
  CLI::App& leaf = add_leaf(parent, chosen, "create", fmt::format("Create {}", singular(kind)),
                            arguments, create_plain);
  leaf.add_option("NAME", arguments->object, "A name that no other has")->required();
  add_json_flag(leaf, arguments);
}

CLI::App& add_kind_group(CLI::App& admin, const Kind& kind, const std::string& summary) {
  CLI::App* const group = admin.add_subcommand(std::string(kind.command), summary);
  group->require_subcommand(1);
  return *group;
}

}  // namespace zt::app

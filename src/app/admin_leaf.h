// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/admin_leaf.h: how one command of `zt admin` is made; for the admin_…_commands.cc only.
//
// Theory of operation
//   A leaf is a command with arguments of its own and an action. Common flags are added to each
//   leaf; the action gets a session that knows where the controller is.

#include <CLI/CLI.hpp>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "app/admin_session.h"
#include "app/command.h"

namespace zt::app {

struct CommonArguments {
  std::string access;
  bool is_json = false;
};

// finish prints a failure and returns the exit code.
[[nodiscard]] ExitCode finish(const Done& done);

// add_leaf adds a command. `Arguments` has a member `common`; it lives as long as the action.
template <class Arguments>
CLI::App& add_leaf(CLI::App& parent, Chosen& chosen, const char* name, const std::string& summary,
                   const std::shared_ptr<Arguments>& arguments,
                   Done (*action)(const AdminSession&, const Arguments&)) {
  CLI::App* const leaf = parent.add_subcommand(name, summary);
  leaf->add_option("--access", arguments->common.access,
                   "Access file; default: ZT_ADMIN, ~/.config/zt/admin.json, "
                   "/var/lib/zt/controller/admin.json");
  leaf->callback([arguments, action, &chosen] {
    chosen.action = [arguments, action] {
      const auto session = AdminSession::open(arguments->common.access);
      if (!session) return finish(std::unexpected(session.error()));
      return finish(action(*session, *arguments));
    };
  });
  return *leaf;
}

// add_json_flag adds --json, for commands that print an object or a list.
template <class Arguments>
void add_json_flag(CLI::App& leaf, const std::shared_ptr<Arguments>& arguments) {
  leaf.add_flag("--json", arguments->common.is_json, "Print JSON, as the API says it");
}

// add_secret_options adds --out and --force.
void add_secret_options(CLI::App& leaf, SecretOutput& output, bool is_required);

// check_secret_output refuses --json where standard output holds the secret.
[[nodiscard]] Done check_secret_output(const CommonArguments& common, const SecretOutput& output);

// print_secret_made tells about what has a secret, which went elsewhere: on standard error, for
// standard output may hold the secret; or as JSON.
void print_secret_made(const CommonArguments& common, const wire::Json& made);

// print_made tells about an object that was made or changed: `verb` "created".
void print_made(const CommonArguments& common, const char* verb, const Kind& kind,
                const wire::Json& object);

// The verbs that all kinds share. enable and disable come together.
void add_list(CLI::App& parent, Chosen& chosen, const Kind& kind);
void add_show(CLI::App& parent, Chosen& chosen, const Kind& kind);
void add_switches(CLI::App& parent, Chosen& chosen, const Kind& kind);
void add_delete(CLI::App& parent, Chosen& chosen, const Kind& kind);

// TextChange is an option of an update, for a member that is text or a time.
struct TextChange {
  const char* option = "";  // "--email".
  const char* member = "";
  const char* help = "";
  bool is_time = false;
};

// add_update adds the update of --name and `changes`; in admin_update.cc.
void add_update(CLI::App& parent, Chosen& chosen, const Kind& kind,
                std::span<const TextChange> changes = {});

// add_create_plain adds the creation of objects that have nothing but a name.
void add_create_plain(CLI::App& parent, Chosen& chosen, const Kind& kind);

// add_path_options adds the flags of a path rule; that of a resource may be its network's.
// find_relays replaces the names of relays by ids.
void add_path_options(CLI::App& leaf, PathArguments& path, bool has_network);
[[nodiscard]] Done find_relays(const AdminSession& session, PathArguments& path);

// add_network_changes adds the creation and the update of networks.
void add_network_changes(CLI::App& parent, Chosen& chosen);

// add_kind_group adds the command under which those of one kind stand.
CLI::App& add_kind_group(CLI::App& admin, const Kind& kind, const std::string& summary);

// Parts of `zt admin`.
void add_node_commands(CLI::App& admin, Chosen& chosen);
void add_subject_commands(CLI::App& admin, Chosen& chosen);
void add_policy_commands(CLI::App& admin, Chosen& chosen);
void add_log_commands(CLI::App& admin, Chosen& chosen);
void add_explain_command(CLI::App& admin, Chosen& chosen);

}  // namespace zt::app

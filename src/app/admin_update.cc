// SPDX-License-Identifier: Apache-2.0
// app/admin_update.cc: `zt admin KIND update`, for kinds that have nothing but texts to change.
#include <fmt/format.h>

#include <optional>
#include <vector>

#include "app/admin_leaf.h"
#include "io/clock.h"

namespace zt::app {

namespace {

using wire::Json;

struct Change {
  TextChange what;
  std::optional<std::string> value;  // As given; may be empty.
};

struct UpdateArguments {
  CommonArguments common;
  Kind kind;
  std::string object;
  std::vector<Change> changes;
};

Done update(const AdminSession& session, const UpdateArguments& arguments) {
  Json body = Json::object();
  for (const auto& [what, value] : arguments.changes) {
    if (!value) continue;
    if (!what.is_time) {
      body[what.member] = *value;
      continue;
    }
    auto time = time_body(what.option, *value, io::read_clocks().unix_time);
    if (!time) return usage(time.error());
    body[what.member] = std::move(*time);
  }
  if (body.empty()) return usage("nothing to change was given: see --help");
  const auto object = session.change(arguments.kind, arguments.object,
                                     [&](const Json&) -> Attempt<Json> { return body; });
  if (!object) return std::unexpected(object.error());
  print_made(arguments.common, "updated", arguments.kind, *object);
  return {};
}

}  // namespace

void add_update(CLI::App& parent, Chosen& chosen, const Kind& kind,
                std::span<const TextChange> changes) {
  auto arguments = std::make_shared<UpdateArguments>(
      UpdateArguments{.common = {}, .kind = kind, .object = {}, .changes = {}});
  arguments->changes.push_back(
      {{.option = "--name", .member = "name", .help = "New name"}, std::nullopt});
  for (const TextChange& change : changes) arguments->changes.push_back({change, std::nullopt});
  CLI::App& leaf =
      add_leaf(parent, chosen, "update", "Change what is given, leave the rest", arguments, update);
  leaf.add_option("NAME", arguments->object, fmt::format("Name or id of the {}", kind.noun))
      ->required();
  for (Change& change : arguments->changes) {  // They stay where they are from here on.
    leaf.add_option(change.what.option, change.value, change.what.help);
  }
  add_json_flag(leaf, arguments);
  leaf.footer(fmt::format("Example:\n  zt admin {} update old-name --name new-name", kind.command));
}

}  // namespace zt::app

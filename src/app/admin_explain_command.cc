// SPDX-License-Identifier: Apache-2.0
// app/admin_explain_command.cc: `zt admin explain`: may somebody reach something, and why (not).
#include <fmt/format.h>

#include "app/admin_explanation.h"
#include "app/admin_leaf.h"
#include "zt/base/host.h"
#include "zt/http/query.h"

namespace zt::app {

namespace {

struct ExplainArguments {
  CommonArguments common;
  std::string subject;
  std::string target;
  bool is_udp = false;
};

Done explain(const AdminSession& session, const ExplainArguments& arguments) {
  const auto reference = parse_subject(arguments.subject);
  if (!reference) return usage(reference.error());
  if (reference->by == Reference::By::word || reference->kind == kGroups.path) {
    return usage(
        fmt::format("\"{}\": a decision is about one user or service account", arguments.subject));
  }
  const auto target = Authority::parse(arguments.target);
  if (!target) {
    return usage(fmt::format("\"{}\" is no HOST:PORT, such as db.internal:5432", arguments.target));
  }
  const auto subject = session.find_id(*reference);
  if (!subject) return std::unexpected(subject.error());
  const auto answer =
      session.call({.path = fmt::format("explain?subject={}&host={}&port={}&protocol={}",
                                        http::percent_encode(*subject),
                                        http::percent_encode(to_text(target->host)), target->port,
                                        arguments.is_udp ? "udp" : "tcp"),
                    .body = {},
                    .version = {}});
  if (!answer) return std::unexpected(answer.error());
  if (arguments.common.is_json) {
    fmt::print("{}\n", wire::pretty_json_text(answer->body));
  } else {
    fmt::print("{}", explanation_text(answer->body));
  }
  return {};
}

}  // namespace

void add_explain_command(CLI::App& admin, Chosen& chosen) {
  auto arguments = std::make_shared<ExplainArguments>();
  CLI::App& leaf = add_leaf(admin, chosen, "explain",
                            "Say whether a subject may reach a target, and which rules decide",
                            arguments, explain);
  leaf.add_option("SUBJECT", arguments->subject, "user:NAME, svc:NAME, or an id")->required();
  leaf.add_option("TARGET", arguments->target, "HOST:PORT, as the subject would ask for it")
      ->required();
  leaf.add_flag("--udp", arguments->is_udp, "Over UDP; without: over TCP");
  add_json_flag(leaf, arguments);
  leaf.footer(
      "Nothing is opened and nothing is logged. The exit code is 0 for yes and for no.\n\n"
      "Example:\n"
      "  zt admin explain svc:ci db.internal:5432");
}

}  // namespace zt::app

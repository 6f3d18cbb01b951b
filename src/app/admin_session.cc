// SPDX-License-Identifier: Apache-2.0
#include "app/admin_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include "app/command.h"
#include "io/files.h"
#include "zt/base/ids.h"
#include "zt/http/query.h"

namespace zt::app {

namespace {

using wire::Json;

constexpr std::size_t kPageMax = 500;
constexpr const char* kSystemAccess = "/var/lib/zt/controller/admin.json";

constexpr std::array<Kind, 4> kReferable{kUsers, kServiceAccounts, kGroups, kResources};

// find_access_file returns where the access file is, or a sentence about where it is not.
std::expected<std::string, std::string> find_access_file(const std::string& given) {
  if (!given.empty()) return given;
  const char* const named = std::getenv("ZT_ADMIN");  // NOLINT(concurrency-mt-unsafe): one thread.
  if (named != nullptr && *named != '\0') return std::string(named);
  const char* const home = std::getenv("HOME");  // NOLINT(concurrency-mt-unsafe)
  std::string own;
  if (home != nullptr && *home != '\0') own = std::string(home) + "/.config/zt/admin.json";
  std::error_code ignored;  // What cannot be looked at is not there for us.
  if (!own.empty() && std::filesystem::exists(own, ignored)) return own;
  // A directory that we may not enter hides the file: reading it says so.
  const bool is_absent = !std::filesystem::exists(kSystemAccess, ignored) && !ignored;
  if (!is_absent) return kSystemAccess;
  return std::unexpected(fmt::format(
      "no access file: there is no {} and no {}. Name it with --access FILE or ZT_ADMIN; "
      "the controller writes one at its first start",
      own.empty() ? "~/.config/zt/admin.json" : own, kSystemAccess));
}

std::string object_path(const Kind& kind, std::string_view id) {
  return fmt::format("{}/{}", kind.path, http::percent_encode(id));
}

// only returns the one object among `items`, or a failure.
Attempt<Json> only(const Kind& kind, const std::string& name, const Json& items) {
  if (items.empty()) {
    return failure(ExitCode::failed,
                   fmt::format("there is no {} named \"{}\": see zt admin {} list", kind.noun, name,
                               kind.command));
  }
  if (items.size() == 1) return items.front();
  std::string ids;
  for (const Json& item : items) ids += (ids.empty() ? "" : ", ") + wire::text_or_empty(item, "id");
  return failure(ExitCode::usage,
                 fmt::format("there are {} objects of kind {} named \"{}\": give the id ({})",
                             items.size(), kind.noun, name, ids));
}

}  // namespace

std::unexpected<AdminFailure> failure(ExitCode code, std::string sentence) {
  return std::unexpected(AdminFailure{code, std::move(sentence)});
}

std::unexpected<AdminFailure> usage(std::string sentence) {
  return failure(ExitCode::usage, std::move(sentence));
}

std::optional<std::int64_t> version_in(const Json& object) {
  const auto version = wire::integer_member(object, "version");
  if (!version) return std::nullopt;
  return static_cast<std::int64_t>(*version);
}

// --- Secrets on their way out.

Done SecretOutput::check() const {
  if (file == "-") return {};
  std::error_code error;
  const std::filesystem::path path(file);
  if (!is_forced && std::filesystem::symlink_status(path, error).type() !=
                        std::filesystem::file_type::not_found) {
    return usage(
        fmt::format("{}: is there already; remove it, name another file, or give --force", file));
  }
  const auto directory = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  if (std::filesystem::is_directory(directory, error)) return {};
  return usage(fmt::format("{}: {} is no directory", file, directory.string()));
}

Done SecretOutput::write(const std::string& secret) const {
  if (file == "-") {
    (void)std::fwrite(secret.data(), 1, secret.size(), stdout);  // flush_output knows of a failure.
    const auto flushed = flush_output();
    if (flushed) return {};
    return failure(ExitCode::failed, flushed.error());
  }
  const auto written = is_forced ? io::write_file(file, as_bytes(secret), io::FileMode::secret)
                                 : io::create_file(file, as_bytes(secret), io::FileMode::secret);
  if (written) return {};
  return failure(ExitCode::failed, fmt::format("{}: {}", file, io::to_text(written.error())));
}

// --- Questions.

Attempt<AdminSession> AdminSession::open(const std::string& access) {
  const auto file = find_access_file(access);
  if (!file) return usage(file.error());
  auto read = AdminAccess::read(*file);
  if (!read) return usage(read.error());
  return AdminSession(std::move(*read), *file);
}

Attempt<AdminAnswer> AdminSession::call(const AdminRequest& request) const {
  auto answer = client_.call(request);
  if (!answer && answer.error().code == ExitCode::denied) {
    answer.error().sentence += fmt::format(" (access file {})", file_);
  }
  return answer;
}

Attempt<Json> AdminSession::find(const Kind& kind, const std::string& text) const {
  if (parse_reference(kind.path, kind.prefix, text).by == Reference::By::id) {
    auto answer = call({.path = object_path(kind, text), .body = {}, .version = {}});
    if (!answer) return std::unexpected(answer.error());
    return std::move(answer->body);
  }
  if (kind.is_name_unique) {
    const auto items = list(std::string(kind.path), "name=" + http::percent_encode(text));
    if (!items) return items;
    return only(kind, text, *items);
  }
  const auto items = list(std::string(kind.path));
  if (!items) return items;
  Json named = Json::array();
  for (const Json& item : *items) {
    if (wire::text_or_empty(item, "name") == text) named.push_back(item);
  }
  return only(kind, text, named);
}

Attempt<std::string> AdminSession::find_id(const Kind& kind, const std::string& text) const {
  if (parse_reference(kind.path, kind.prefix, text).by == Reference::By::id) return text;
  const auto object = find(kind, text);
  if (!object) return std::unexpected(object.error());
  return wire::text_or_empty(*object, "id");
}

Attempt<std::string> AdminSession::find_id(const Reference& reference) const {
  if (reference.by != Reference::By::name) return reference.text;
  const auto* const kind = std::ranges::find(kReferable, reference.kind, &Kind::path);
  if (kind == kReferable.end()) return usage("\"" + reference.text + "\" names nothing");
  return find_id(*kind, reference.text);
}

namespace {

// get_page returns an object whose "items" is an array.
Attempt<Json> get_page(const AdminSession& session, const std::string& target) {
  auto answer = session.call({.path = target, .body = {}, .version = {}});
  if (!answer) return std::unexpected(answer.error());
  const bool is_page = answer->body.is_object() && answer->body.contains("items") &&
                       answer->body["items"].is_array();
  if (is_page) return std::move(answer->body);
  return failure(ExitCode::failed, "the controller's answer is no list: is it a controller?");
}

}  // namespace

Attempt<Json> AdminSession::list(const std::string& path, const std::string& query,
                                 std::size_t count_max) const {
  Json all = Json::array();
  std::string cursor;
  do {
    std::string target =
        fmt::format("{}?limit={}", path, std::min(kPageMax, count_max - all.size()));
    if (!query.empty()) target += "&" + query;
    if (!cursor.empty()) target += "&cursor=" + http::percent_encode(cursor);
    const auto page = get_page(*this, target);
    if (!page) return page;
    const Json& items = page->at("items");
    for (const Json& item : items) {
      if (all.size() < count_max) all.push_back(item);
    }
    cursor = items.empty() ? std::string() : wire::text_or_empty(*page, "next_cursor");
  } while (!cursor.empty() && all.size() < count_max);
  return all;
}

Attempt<Json> AdminSession::list_whole(const std::string& path) const {
  const auto page = get_page(*this, path);
  if (!page) return page;
  return page->at("items");
}

Attempt<Names> AdminSession::names(std::span<const Kind> kinds) const {
  Names names;
  for (const Kind& kind : kinds) {
    const auto items = list(std::string(kind.path));
    if (!items) return std::unexpected(items.error());
    for (const Json& item : *items) {
      names[wire::text_or_empty(item, "id")] = wire::text_or_empty(item, "name");
    }
  }
  return names;
}

Attempt<Json> AdminSession::post(const std::string& path, Json body) const {
  auto answer =
      call({.method = "POST", .path = path, .body = std::move(body), .version = std::nullopt});
  if (!answer) return std::unexpected(answer.error());
  return std::move(answer->body);
}

Attempt<Json> AdminSession::patch(const std::string& path, Json body,
                                  std::optional<std::int64_t> version) const {
  auto answer =
      call({.method = "PATCH", .path = path, .body = std::move(body), .version = version});
  if (!answer) return std::unexpected(answer.error());
  return std::move(answer->body);
}

Attempt<Json> AdminSession::change(const Kind& kind, const std::string& text,
                                   const std::function<Attempt<Json>(const Json&)>& body) const {
  const auto object = find(kind, text);
  if (!object) return object;
  auto changes = body(*object);
  if (!changes) return changes;
  return patch(object_path(kind, wire::text_or_empty(*object, "id")), std::move(*changes),
               version_in(*object));
}

Done AdminSession::put(const std::string& path) const {
  const auto answer = call({.method = "PUT", .path = path, .body = {}, .version = {}});
  if (!answer) return std::unexpected(answer.error());
  return {};
}

Done AdminSession::remove(const std::string& path, std::optional<std::int64_t> version) const {
  const auto answer = call({.method = "DELETE", .path = path, .body = {}, .version = version});
  if (!answer) return std::unexpected(answer.error());
  return {};
}

Attempt<Json> AdminSession::make_secret(const NewSecret& wanted, Json body,
                                        const SecretOutput& output) const {
  if (auto checked = output.check(); !checked) return std::unexpected(checked.error());
  auto made = post(wanted.path, std::move(body));
  if (!made) return made;
  std::string secret = wire::text_or_empty(*made, wanted.member);
  if (secret.empty()) {
    return failure(
        ExitCode::failed,
        fmt::format("the controller's answer has no \"{}\": is it a controller?", wanted.member));
  }
  made->erase(wanted.member);
  if (wanted.is_access_file) {
    const AdminAccess& own = client_.access();
    const AdminAccess access{.controller = own.controller,
                             .controller_key = own.controller_key,
                             .api_key = Secret(std::move(secret))};
    secret = access.format().reveal();
  }
  const auto written = output.write(secret.ends_with('\n') ? secret : secret + "\n");
  if (written) return made;
  const std::string id = wire::text_or_empty(*made, "id");
  const auto undone = remove(wanted.undo + "/" + http::percent_encode(id));
  return failure(ExitCode::failed, fmt::format("{}; {} {}", written.error().sentence, id,
                                               undone ? "was deleted again"
                                                      : "exists: delete it, its secret is lost"));
}

}  // namespace zt::app

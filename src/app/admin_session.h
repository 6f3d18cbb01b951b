// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/admin_session.h: what the commands of `zt admin` ask of the API: objects by name, lists,
// changes, and secrets that are shown once.
//
// Theory of operation
//   A Kind says what one kind of object is called, in the API and on the command line. Whatever a
//   user types for an object is its id, which is taken as it is, or its name, which is looked up.
//   Names of devices and tokens need not be unique: two objects of one name are a failure that
//   lists their ids.
//
//   A new secret goes to standard output or into a new file of mode 0600. If the file cannot be
//   written the secret would be lost but valid: what it belongs to is deleted again.
//
//   Whoever changes what an object is, reads it first and says so (If-Match): two administrators
//   cannot undo each other's work unseen. Switches and revocations must win, and do not ask.
//
// Limits   kItemsMax objects of a list.

#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "app/admin_body.h"
#include "app/admin_client.h"
#include "wire/json.h"

namespace zt::app {

struct Kind {
  std::string_view path;     // In the API: "service-accounts".
  std::string_view noun;     // In sentences: "service account".
  std::string_view command;  // On the command line: "service-account".
  std::string_view prefix;   // Of ids: "svc".
  bool is_name_unique = true;

  friend bool operator==(const Kind&, const Kind&) = default;
};

inline constexpr Kind kNetworks{"networks", "network", "network", "net"};
inline constexpr Kind kConnectors{"connectors", "connector", "connector", "con"};
inline constexpr Kind kRelays{"relays", "relay", "relay", "rly"};
inline constexpr Kind kResources{"resources", "resource", "resource", "res"};
inline constexpr Kind kGroups{"groups", "group", "group", "grp"};
inline constexpr Kind kUsers{"users", "user", "user", "usr"};
inline constexpr Kind kServiceAccounts{"service-accounts", "service account", "service-account",
                                       "svc"};
inline constexpr Kind kDevices{"devices", "device", "device", "dev", false};
inline constexpr Kind kRules{"access-rules", "rule", "rule", "rul"};
inline constexpr Kind kApiKeys{"api-keys", "API key", "api-key", "key"};
inline constexpr Kind kEnrolmentTokens{"enrolment-tokens", "enrolment token", "enrolment-token",
                                       "tok", false};

template <class T>
using Attempt = std::expected<T, AdminFailure>;
using Done = Attempt<void>;
using Names = std::map<std::string, std::string>;  // Of objects, by id.

[[nodiscard]] std::unexpected<AdminFailure> failure(ExitCode code, std::string sentence);
[[nodiscard]] std::unexpected<AdminFailure> usage(std::string sentence);

// SecretOutput is --out and --force.
struct SecretOutput {
  std::string file = "-";  // "-" is standard output.
  bool is_forced = false;  // Replaces a file that is there.

  // check fails if the file could not be written, before a secret is made for it.
  [[nodiscard]] Done check() const;
  // write writes `secret`, which ends with a newline.
  [[nodiscard]] Done write(const std::string& secret) const;
};

class AdminSession {
 public:
  // open reads the access file: `access` if it is not empty, else ZT_ADMIN, else the first of the
  // usual places that exists.
  [[nodiscard]] static Attempt<AdminSession> open(const std::string& access);

  // find returns the object that `text` names.
  [[nodiscard]] Attempt<wire::Json> find(const Kind& kind, const std::string& text) const;
  // find_id is find for callers who need the id only: an id costs no question.
  [[nodiscard]] Attempt<std::string> find_id(const Kind& kind, const std::string& text) const;
  [[nodiscard]] Attempt<std::string> find_id(const Reference& reference) const;

  // list returns up to `count_max` items, page by page. `query` is encoded, without question mark.
  [[nodiscard]] Attempt<wire::Json> list(const std::string& path, const std::string& query = {},
                                         std::size_t count_max = kItemsMax) const;
  // list_whole is list for paths that have one page and take no query.
  [[nodiscard]] Attempt<wire::Json> list_whole(const std::string& path) const;
  // names returns the names of all objects of `kinds`.
  [[nodiscard]] Attempt<Names> names(std::span<const Kind> kinds) const;

  [[nodiscard]] Attempt<wire::Json> post(const std::string& path, wire::Json body) const;
  [[nodiscard]] Attempt<wire::Json> patch(const std::string& path, wire::Json body,
                                          std::optional<std::int64_t> version = std::nullopt) const;
  [[nodiscard]] Done put(const std::string& path) const;
  [[nodiscard]] Done remove(const std::string& path,
                            std::optional<std::int64_t> version = std::nullopt) const;

  // change finds the object that `text` names, and changes it by what `body` makes of it, unless
  // somebody else has changed it since it was read.
  [[nodiscard]] Attempt<wire::Json> change(
      const Kind& kind, const std::string& text,
      const std::function<Attempt<wire::Json>(const wire::Json&)>& body) const;
  [[nodiscard]] Attempt<AdminAnswer> call(const AdminRequest& request) const;

  // NewSecret says how a secret is made and where it goes.
  struct NewSecret {
    std::string path;             // To post to.
    const char* member;           // Of the answer, which holds the secret.
    std::string undo;             // The path below which the answer's id can be deleted.
    bool is_access_file = false;  // The secret is an API key: write a whole access file with it.
  };
  // make_secret posts `body`, writes the secret to `output`, and returns the rest of the answer.
  [[nodiscard]] Attempt<wire::Json> make_secret(const NewSecret& wanted, wire::Json body,
                                                const SecretOutput& output) const;

 private:
  static constexpr std::size_t kItemsMax = 100'000;

  AdminSession(AdminAccess access, std::string file)
      : client_(std::move(access)), file_(std::move(file)) {}

  AdminClient client_;
  std::string file_;  // For people.
};

// version_in returns the version of an object, for If-Match.
[[nodiscard]] std::optional<std::int64_t> version_in(const wire::Json& object);

}  // namespace zt::app

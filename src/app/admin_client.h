// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/admin_client.h: asks a controller's administrators' API one question and waits for the
// answer.
//
// Theory of operation
//   call() makes one connection of its own, on a loop of its own: name, TCP, TLS with the
//   controller's pinned key, one HTTP/1.1 exchange. It returns when the answer is whole, or when
//   kCallTimeout is over. A command asks a handful of questions, so connections are not kept.
//
// Limits   kBodySizeMax bytes of an answer.
// Time     kCallTimeout for the whole of a call.
// Threats  The API key is sent only after the controller has proven the pinned key. What it answers
//          may repeat what strangers wrote (names of machines): failures hold printable text only.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "app/admin_access.h"
#include "app/exit_code.h"
#include "wire/json.h"
#include "zt/base/time.h"

namespace zt::app {

// AdminFailure is why a command ends, for fail().
struct AdminFailure {
  ExitCode code = ExitCode::failed;
  std::string sentence;

  friend bool operator==(const AdminFailure&, const AdminFailure&) = default;
};

struct AdminRequest {
  std::string method = "GET";
  std::string path;                     // Below /api/v1/admin/, with the query, encoded.
  std::optional<wire::Json> body;       // An object.
  std::optional<std::int64_t> version;  // If-Match: fail if the object has another version.
};

struct AdminAnswer {
  int status = 200;
  wire::Json body;  // Null if there is none.
};

// judge_answer turns a response into what a command goes on with: the JSON of a success, or a
// failure. 401 and 403 are `denied`, 400 and 422 are `usage`, everything else is `failed`. The
// sentence of 412, somebody else's change in between, says what to do.
[[nodiscard]] std::expected<AdminAnswer, AdminFailure> judge_answer(int status,
                                                                    std::string_view body);

class AdminClient {
 public:
  static constexpr Duration kCallTimeout = std::chrono::seconds(10);
  static constexpr std::size_t kBodySizeMax = 16 << 20;

  explicit AdminClient(AdminAccess access) : access_(std::move(access)) {}

  // call fails with `unreachable` if there was no answer at all, else as judge_answer does.
  [[nodiscard]] std::expected<AdminAnswer, AdminFailure> call(const AdminRequest& request) const;

  [[nodiscard]] const AdminAccess& access() const { return access_; }

 private:
  AdminAccess access_;
};

}  // namespace zt::app

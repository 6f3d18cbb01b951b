// SPDX-License-Identifier: Apache-2.0
#include "zt/http/problem.h"

#include "wire/json.h"
#include "zt/http/http_status.h"

namespace zt::http {

namespace {

using wire::Json;

void put(Json& object, const char* name, std::string_view text) {
  if (!text.empty()) object[name] = text.substr(0, kProblemTextMax);
}

void take(const Json& object, const char* name, std::string& text) {
  const auto found = object.find(name);
  if (found != object.end() && found->is_string()) text = found->get<std::string>();
}

bool is_error(int status) {
  return status >= 400 && status <= 599;
}

}  // namespace

std::string to_json(const Problem& problem) {
  Json object = Json::object();
  put(object, "type", problem.type);
  put(object, "title", problem.title.empty() ? reason_phrase(problem.status) : problem.title);
  object["status"] = problem.status;
  put(object, "detail", problem.detail);
  put(object, "instance", problem.instance);
  put(object, "rule", problem.rule);
  put(object, "decision", problem.decision);
  return wire::json_text(object);
}

std::optional<Problem> parse_problem(std::string_view body, int status) {
  if (body.size() > kProblemSizeMax) return std::nullopt;
  const Json object = wire::parse_json_object(body);
  if (!object.is_object()) return std::nullopt;
  Problem problem;
  take(object, "type", problem.type);
  take(object, "title", problem.title);
  take(object, "detail", problem.detail);
  take(object, "instance", problem.instance);
  take(object, "rule", problem.rule);
  take(object, "decision", problem.decision);
  problem.status = status;
  const auto found = object.find("status");
  if (found != object.end() && found->is_number_integer()) {
    const auto claimed = found->get<std::int64_t>();
    if (claimed >= 400 && claimed <= 599) problem.status = static_cast<int>(claimed);
  }
  if (!is_error(problem.status)) problem.status = 500;
  return problem;
}

Response response_of(const Problem& problem) {
  return {.status = problem.status,
          .fields = {{"content-type", std::string(kProblemContentType)},
                     {"cache-control", "no-store"}}};
}

}  // namespace zt::http

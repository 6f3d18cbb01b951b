// SPDX-License-Identifier: Apache-2.0
#include "app/admin_client.h"

#include <catch2/catch_test_macros.hpp>

namespace zt::app {

TEST_CASE("an answer of success is its JSON, or nothing") {
  const auto made = judge_answer(201, R"({"id":"net_1"})");
  REQUIRE(made);
  CHECK(made->status == 201);
  CHECK(made->body["id"] == "net_1");
  const auto removed = judge_answer(204, "");
  REQUIRE(removed);
  CHECK(removed->body.is_null());
}

TEST_CASE("a success that is no JSON comes from something else than a controller") {
  const auto answer = judge_answer(200, "<html>");
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == ExitCode::failed);
}

TEST_CASE("a refusal's status decides the exit code, and its detail is told") {
  struct Row {
    int status;
    ExitCode code;
  };
  for (const Row& row :
       {Row{400, ExitCode::usage}, Row{401, ExitCode::denied}, Row{403, ExitCode::denied},
        Row{404, ExitCode::failed}, Row{409, ExitCode::failed}, Row{412, ExitCode::failed},
        Row{422, ExitCode::usage}, Row{429, ExitCode::failed}, Row{500, ExitCode::failed},
        Row{503, ExitCode::failed}}) {
    INFO(row.status);
    const auto answer = judge_answer(row.status, R"({"detail":"the very reason"})");
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == row.code);
    CHECK(answer.error().sentence.find("the very reason") != std::string::npos);
  }
}

TEST_CASE("a change that came too late says what to do") {
  const auto answer = judge_answer(412, R"({"detail":"the rule has changed in the meantime"})");
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == ExitCode::failed);
  CHECK(
      answer.error().sentence ==
      "the rule has changed in the meantime. Somebody else was faster, and nothing was done: look "
      "at it (show), then give the command again");
}

TEST_CASE("a refusal without a problem says its status") {
  const auto answer = judge_answer(502, "bad gateway");
  REQUIRE_FALSE(answer);
  CHECK(answer.error().sentence == "the controller answered with status 502");
}

TEST_CASE("a refusal cannot command the terminal") {
  const auto answer = judge_answer(409, R"({"detail":"a\u001b[2Jb\nc"})");
  REQUIRE_FALSE(answer);
  CHECK(answer.error().sentence == "a?[2Jb?c");
}

}  // namespace zt::app

// SPDX-License-Identifier: Apache-2.0
#include "http/http1_parser.h"

#include <llhttp.h>

#include <algorithm>
#include <utility>

#include "http/text.h"
#include "zt/base/assert.h"

namespace zt::http {

// Http1ParserState is what llhttp's callbacks see. It never moves: llhttp keeps its address.
struct Http1ParserState {
  Http1ParserState(Http1Parser::Kind kind_given, const Http1Parser::Limits& limits_given);

  void restart(bool body_is_absent);
  [[nodiscard]] bool is_trailer() const { return (native.flags & F_TRAILING) != 0; }
  void scan_start_line(std::string_view bytes);
  [[nodiscard]] Http1Parser::Step fail(std::size_t size, Http1Error why);

  // The callbacks' members: 0 to go on, -1 to stop with `error`, HPE_PAUSED to stop in order.
  int on_field_end();
  int on_head_end();

  llhttp_t native{};
  Http1Parser::Kind kind;
  Http1Parser::Limits limits;

  Http1Head head;
  std::string name;  // Of the field that is being read.
  std::string value;
  std::string body;
  Http1Error error = Http1Error::malformed;
  std::size_t head_size = 0;
  std::size_t start_line_spaces = 0;
  bool is_start_line_begun = false;
  bool is_start_line_over = false;
  std::uint64_t body_size = 0;     // Of this message, so far.
  std::uint64_t framing_size = 0;  // Everything behind the head that is not body.
  bool is_head_complete = false;
  bool is_paused = false;
  bool is_complete = false;
  bool is_failed = false;
  bool is_body_absent = false;
  bool is_persistent = false;
};

namespace {

Http1ParserState& state_of(llhttp_t* parser) {
  return *static_cast<Http1ParserState*>(parser->data);
}

int on_method(llhttp_t* parser, const char* at, std::size_t size) noexcept {
  state_of(parser).head.method.append(at, size);
  return 0;
}

int on_url(llhttp_t* parser, const char* at, std::size_t size) noexcept {
  state_of(parser).head.target.append(at, size);
  return 0;
}

int on_header_field(llhttp_t* parser, const char* at, std::size_t size) noexcept {
  if (!state_of(parser).is_trailer()) state_of(parser).name.append(at, size);
  return 0;
}

int on_header_value(llhttp_t* parser, const char* at, std::size_t size) noexcept {
  if (!state_of(parser).is_trailer()) state_of(parser).value.append(at, size);
  return 0;
}

int on_header_value_complete(llhttp_t* parser) noexcept {
  return state_of(parser).on_field_end();
}

int on_headers_complete(llhttp_t* parser) noexcept {
  return state_of(parser).on_head_end();
}

int on_body(llhttp_t* parser, const char* at, std::size_t size) noexcept {
  state_of(parser).body.append(at, size);
  state_of(parser).body_size += size;
  return 0;
}

int on_message_complete(llhttp_t* parser) noexcept {
  state_of(parser).is_complete = true;
  return HPE_PAUSED;
}

const llhttp_settings_t& settings() {
  static const llhttp_settings_t callbacks = [] {
    llhttp_settings_t settings;
    llhttp_settings_init(&settings);
    settings.on_method = on_method;
    settings.on_url = on_url;
    settings.on_header_field = on_header_field;
    settings.on_header_value = on_header_value;
    settings.on_header_value_complete = on_header_value_complete;
    settings.on_headers_complete = on_headers_complete;
    settings.on_body = on_body;
    settings.on_message_complete = on_message_complete;
    return settings;
  }();
  return callbacks;
}

}  // namespace

std::optional<Framing> check_framing(const Http1Head& head) {
  const std::size_t length_count = count_of(head.fields, "content-length");
  const std::size_t coding_count = count_of(head.fields, "transfer-encoding");
  if (length_count + coding_count > 1) return std::nullopt;  // RFC 9112 section 6.3 rules 3 and 5.
  Framing framing;
  if (const auto length = head.fields.find("content-length")) {
    framing.content_length = parse_content_length(*length);
    if (!framing.content_length) return std::nullopt;
  }
  if (const auto coding = head.fields.find("transfer-encoding")) {
    // HTTP/1.0 has no codings: who sends one there has passed a broken intermediary (section 6.1).
    if (head.minor_version == 0) return std::nullopt;
    if (!equals_ignoring_case(*coding, "chunked")) return std::nullopt;
    framing.is_chunked = true;
  }
  return framing;
}

Http1ParserState::Http1ParserState(Http1Parser::Kind kind_given,
                                   const Http1Parser::Limits& limits_given)
    : kind(kind_given), limits(limits_given) {
  restart(false);
}

void Http1ParserState::restart(bool body_is_absent) {
  llhttp_init(&native, kind == Http1Parser::Kind::request ? HTTP_REQUEST : HTTP_RESPONSE,
              &settings());
  native.data = this;
  head = {};
  name.clear();
  value.clear();
  body.clear();
  head_size = 0;
  start_line_spaces = 0;
  is_start_line_begun = false;
  is_start_line_over = false;
  body_size = 0;
  framing_size = 0;
  is_head_complete = false;
  is_paused = false;
  is_complete = false;
  is_failed = false;
  is_body_absent = body_is_absent;
  is_persistent = false;
}

Http1Parser::Step Http1ParserState::fail(std::size_t size, Http1Error why) {
  is_failed = true;
  error = why;
  return {.size = size, .stop = Http1Parser::Stop::error};
}

// scan_start_line counts the spaces of the start line. llhttp lets several stand where the grammar
// of RFC 9112 section 3 has one.
void Http1ParserState::scan_start_line(std::string_view bytes) {
  for (const char c : bytes) {
    if (is_start_line_over) return;
    is_start_line_begun = is_start_line_begun || (c != '\r' && c != '\n');
    is_start_line_over = is_start_line_begun && c == '\n';
    if (c == ' ') ++start_line_spaces;
  }
}

int Http1ParserState::on_field_end() {
  if (is_trailer()) return 0;
  if (head.fields.count() >= limits.fields_max) {
    error = Http1Error::head_too_large;
    return -1;
  }
  std::string lower = to_lower(name);
  const bool is_sensitive = is_credential_name(lower);
  head.fields.add(std::move(lower), std::string(trim(value)), is_sensitive);
  name.clear();
  value.clear();
  return 0;
}

int Http1ParserState::on_head_end() {
  is_head_complete = true;
  if (native.http_major != 1 || native.http_minor > 1) {
    error = Http1Error::unsupported_version;
    return -1;
  }
  if (kind == Http1Parser::Kind::request && start_line_spaces != 2) return -1;
  head.minor_version = native.http_minor;
  head.status = native.status_code;
  is_persistent = llhttp_should_keep_alive(&native) != 0;
  if (kind == Http1Parser::Kind::request && native.method != HTTP_CONNECT) {
    // An offer to upgrade may be ignored (RFC 9110 section 7.8), and is: otherwise llhttp would
    // take the request's body for the other protocol.
    native.upgrade = 0;
  }
  return is_body_absent ? 1 : HPE_PAUSED;
}

Http1Parser::Http1Parser(Kind kind, const Limits& limits)
    : state_(std::make_unique<Http1ParserState>(kind, limits)) {}

Http1Parser::~Http1Parser() = default;

void Http1Parser::restart(bool is_body_absent) {
  state_->restart(is_body_absent);
}
const Http1Head& Http1Parser::head() const {
  return state_->head;
}
std::string Http1Parser::take_body() {
  return std::exchange(state_->body, {});
}
Http1Error Http1Parser::error() const {
  return state_->error;
}
bool Http1Parser::is_started() const {
  return state_->head_size > 0;
}
bool Http1Parser::is_persistent() const {
  return state_->is_persistent;
}

Http1Parser::Step Http1Parser::parse(std::string_view bytes) {
  Http1ParserState& state = *state_;
  ZT_ASSERT(!state.is_complete);
  if (state.is_failed) return {.size = 0, .stop = Stop::error};

  const bool is_in_head = !state.is_head_complete;
  if (is_in_head) {
    bytes = bytes.substr(0, state.limits.head_size_max - state.head_size);
    state.scan_start_line(bytes);
  }
  if (std::exchange(state.is_paused, false)) llhttp_resume(&state.native);

  const std::uint64_t body_size_before = state.body_size;
  state.error = Http1Error::malformed;
  const llhttp_errno_t result = llhttp_execute(&state.native, bytes.data(), bytes.size());
  std::size_t size = bytes.size();
  if (result != HPE_OK) {
    const char* stopped_at = llhttp_get_error_pos(&state.native);
    size = stopped_at == nullptr ? 0 : static_cast<std::size_t>(stopped_at - bytes.data());
    ZT_ASSERT(size <= bytes.size());
    if (result == HPE_INVALID_VERSION) return state.fail(size, Http1Error::unsupported_version);
    if (result != HPE_PAUSED) return state.fail(size, state.error);
    state.is_paused = true;
  }

  if (is_in_head) {
    state.head_size += size;
    if (state.is_complete) return {.size = size, .stop = Stop::end};  // is_body_absent.
    if (state.is_head_complete) return {.size = size, .stop = Stop::head};
    if (state.head_size >= state.limits.head_size_max) {
      return state.fail(size, Http1Error::head_too_large);
    }
    return {.size = size, .stop = Stop::more};
  }
  state.framing_size += size - (state.body_size - body_size_before);
  if (state.framing_size > state.limits.head_size_max + 8 * state.body_size) {
    return state.fail(size, Http1Error::malformed);
  }
  return {.size = size, .stop = state.is_complete ? Stop::end : Stop::more};
}

bool Http1Parser::finish() {
  Http1ParserState& state = *state_;
  if (state.is_failed || !state.is_head_complete) return false;
  if (state.is_complete) return true;
  if (std::exchange(state.is_paused, false)) llhttp_resume(&state.native);
  const llhttp_errno_t result = llhttp_finish(&state.native);
  return state.is_complete && (result == HPE_OK || result == HPE_PAUSED);
}

}  // namespace zt::http

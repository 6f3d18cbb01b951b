// SPDX-License-Identifier: Apache-2.0
#pragma once
// http/message.h: one model of requests and responses, whichever HTTP version carries them.
//
// Theory of operation
//   Method, scheme, authority, path and :protocol are members; everything else is a Field. Field
//   names are lower case (RFC 9114 section 4.2). A sensitive field (a credential) is sent
//   never-indexed (RFC 9204 section 7.1) and prints as "[redacted]".

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace zt::http {

struct Field {
  std::string name;   // Lower case.
  std::string value;  // Without leading and trailing white space, CR, LF and NUL.
  bool is_sensitive = false;

  friend bool operator==(const Field&, const Field&) = default;
};

class Fields {
 public:
  Fields() = default;
  Fields(std::initializer_list<Field> fields) : fields_(fields) {}

  void add(std::string name, std::string value, bool is_sensitive = false) {
    fields_.push_back({std::move(name), std::move(value), is_sensitive});
  }

  // find returns the value of the first field of that lower-case name.
  [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const {
    for (const Field& field : fields_) {
      if (field.name == name) return field.value;
    }
    return std::nullopt;
  }

  [[nodiscard]] auto begin() const { return fields_.begin(); }
  [[nodiscard]] auto end() const { return fields_.end(); }
  [[nodiscard]] std::size_t count() const { return fields_.size(); }

  friend bool operator==(const Fields&, const Fields&) = default;

 private:
  std::vector<Field> fields_;
};

struct Request {
  std::string method;
  std::string scheme;     // "https"; empty for a plain CONNECT (RFC 9114 section 4.4).
  std::string authority;  // "host:port" for a plain CONNECT.
  std::string path;       // With the query; empty for a plain CONNECT.
  std::string protocol;   // :protocol of an extended CONNECT (RFC 9220), else empty.
  Fields fields;

  friend bool operator==(const Request&, const Request&) = default;
};

struct Response {
  int status = 0;  // 100 to 599.
  Fields fields;

  friend bool operator==(const Response&, const Response&) = default;
};

}  // namespace zt::http

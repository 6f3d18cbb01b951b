// SPDX-License-Identifier: Apache-2.0
#include "io/socket_error.h"

#include <cerrno>

namespace zt::io {

std::string_view to_text(SocketError error) {
  switch (error) {
    case SocketError::would_block:
      return "would block";
    case SocketError::refused:
      return "connection refused";
    case SocketError::unreachable:
      return "unreachable";
    case SocketError::timed_out:
      return "timed out";
    case SocketError::reset:
      return "connection reset";
    case SocketError::in_use:
      return "address in use";
    case SocketError::denied:
      return "permission denied";
    case SocketError::limit:
      return "out of descriptors or memory";
    case SocketError::too_large:
      return "datagram too large";
    case SocketError::invalid:
      return "not an address of this machine";
    case SocketError::failed:
      return "failed";
  }
  return "failed";
}

SocketError to_socket_error(int error_number) {
  switch (error_number) {
    case EAGAIN:
    case EINPROGRESS:
    case EALREADY:
      return SocketError::would_block;
    case ECONNREFUSED:
      return SocketError::refused;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
    case EAFNOSUPPORT:
    case ENONET:
      return SocketError::unreachable;
    case ETIMEDOUT:
      return SocketError::timed_out;
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
      return SocketError::reset;
    case EADDRINUSE:
      return SocketError::in_use;
    case EACCES:
    case EPERM:
      return SocketError::denied;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
      return SocketError::limit;
    case EMSGSIZE:
      return SocketError::too_large;
    case EADDRNOTAVAIL:
    case EINVAL:
      return SocketError::invalid;
    default:
      return SocketError::failed;
  }
}

}  // namespace zt::io

// SPDX-License-Identifier: Apache-2.0
#pragma once
// What c-ares' configure would write for Linux with glibc.

#include <arpa/nameser.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/types.h>

#define CARES_TYPEOF_ARES_SOCKLEN_T socklen_t
#define CARES_TYPEOF_ARES_SSIZE_T ssize_t
#define CARES_HAVE_SYS_TYPES_H 1
#define CARES_HAVE_SYS_SOCKET_H 1
#define CARES_HAVE_SYS_SELECT_H 1
#define CARES_HAVE_ARPA_NAMESER_H 1
#define CARES_HAVE_ARPA_NAMESER_COMPAT_H 1

#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every wrong command line, token and file has an exact sentence and the documented exit code.
set -uo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset ZT_TOKEN ZT_ADMIN
failures=0

# expect CODE TEXT CMD…: CMD exits with CODE and says TEXT.
expect() {
  local code=$1 text=$2 said actual; shift 2
  said=$("$@" 2>&1 < /dev/null); actual=$?
  if [ "$actual" != "$code" ] || ! grep -qF -- "$text" <<< "$said"; then
    echo "FAILED: $* exited $actual, wanted $code with \"$text\"; it said: $said"
    failures=$((failures + 1))
  else
    echo "ok: $* exits $code"
  fi
}

expect 0 "zt 0." "$ZT" --version
expect 0 "controller" "$ZT" --help
expect 2 "" "$ZT"
expect 2 "" "$ZT" --no-such-flag
expect 2 "" "$ZT" client
expect 2 "no token was given" "$ZT" connector --state "$work/a"
expect 2 "the enrolment token is wrong" "$ZT" connector --state "$work/b" --token nonsense
expect 2 "$work/none" "$ZT" connector --state "$work/c" --token-file "$work/none"
expect 2 "no token was given" "$ZT" relay serve --state "$work/d"
expect 2 "not PORT or ADDRESS:PORT" "$ZT" relay serve --state "$work/e" --listen x:y
expect 2 "not PORT or ADDRESS:PORT" "$ZT" controller serve --state "$work/f" --listen nowhere
expect 2 "not a name or an address" "$ZT" controller serve --state "$work/g" \
  --listen 127.0.0.1:1 --host 'a b'
expect 2 "$work/none" "$ZT" client up --state "$work/h" --key-file "$work/none"
echo '{"zt":"other"}' > "$work/key"; chmod 600 "$work/key"
expect 2 "not a service account's key" "$ZT" client up --state "$work/i" --key-file "$work/key"
expect 2 "forward" "$ZT" client up --state "$work/j" --key-file "$work/key" --forward nonsense
expect 4 "no client is running" "$ZT" client status --socket "$work/none.sock"
expect 4 "no client is running" "$ZT" client down --socket "$work/none.sock"
expect 4 "not ready within" "$ZT" client wait --timeout 0.1 --socket "$work/none.sock"
expect 0 "complete" "$ZT" completion bash
expect 1 "zt: cannot write to standard output: No space" sh -c '"$0" --help > /dev/full' "$ZT"
expect 1 "zt: cannot write to standard output" sh -c '"$0" --version > /dev/full' "$ZT"
expect 1 "zt: cannot write to standard output: No space" sh -c '"$0" > /dev/full' "$ZT"
expect 1 "zt: cannot write to standard output: Bad file" sh -c '"$0" --help >&-' "$ZT"
expect 2 "no token was given" sh -c '"$0" connector --state "$1" >&- <&-' "$ZT" "$work/k"
expect 1 "cannot write" sh -c '"$0" completion bash > /dev/full' "$ZT"
exit $((failures > 0))

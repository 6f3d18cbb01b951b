#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `zt demo` shows a private page through all four roles in one process, and ends on Ctrl-C.
set -euo pipefail
work=$(mktemp -d)
trap 'kill "${demo:-}" 2>/dev/null || true; rm -rf "$work"' EXIT
"$ZT" demo > "$work/out" 2> "$work/err" &
demo=$!
for _ in $(seq 200); do
  url=$(grep -o 'http://127[^ ]*' "$work/out" || true)
  [ -z "$url" ] || break
  kill -0 "$demo" || { cat "$work/err"; exit 1; }
  sleep 0.05  # Waits for output, up to ten seconds.
done
[ -n "$url" ] || { echo "the demo printed no address"; cat "$work/out" "$work/err"; exit 1; }
curl -fsS --retry 20 --retry-delay 1 --retry-all-errors --max-time 20 "$url" | tee "$work/page"
grep -q 'This page is private' "$work/page"
kill -INT "$demo"
wait "$demo"

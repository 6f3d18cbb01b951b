#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# One TCP stream on a path with delay and loss: TCP with BBR, TCP with CUBIC, and zt, in turn.
#
#   lossy_path.sh ZT IMPAIRED_LINK [DELAY_MS LOSS_PER_MILLE RATE_MBIT QUEUE_MS [ROUNDS SECONDS]]
#
# ZT and IMPAIRED_LINK are the programs. By default 25 ms each way, 1 %, 100 Mbit/s, a queue of 50
# ms, three rounds of 20 seconds. Wants root, iperf3, and BBR in the kernel (modprobe tcp_bbr).
set -euo pipefail
zt=$(realpath "$1") link=$(realpath "$2")
shift 2
path=("${1:-25}" "${2:-10}" "${3:-100}" "${4:-50}") rounds=${5:-3} seconds=${6:-20}
scratch=$(mktemp -d)
near=ztl$$-near far=ztl$$-far
pids=()

finish() {
  ((${#pids[@]})) && kill "${pids[@]}" 2>/dev/null
  wait 2>/dev/null
  ip netns del $near 2>/dev/null
  ip netns del $far 2>/dev/null
  rm -r "$scratch"
}
trap finish EXIT

at() { local host=$1; shift; ip netns exec "$host" "$@"; }
start() {  # HOST LOG PROGRAM…
  local host=$1 log=$2; shift 2
  ip netns exec "$host" "$@" >"$scratch/$log" 2>&1 &
  pids+=($!)
}
until_ok() {
  for _ in $(seq 200); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done
  echo "gave up: $*" >&2
  tail -n 5 "$scratch"/*.log >&2
  exit 1
}
stream() {  # NAME TARGET FLAG…: prints Mbit/s that arrived
  local name=$1 target=$2; shift 2
  at $near iperf3 -c "$target" -t "$seconds" -J "$@" > "$scratch/stream.json"
  python3 -c 'import json, sys
end = json.load(open(sys.argv[2]))["end"]
print(sys.argv[1], round(end["sum_received"]["bits_per_second"] / 1e6, 1), "Mbit/s")' \
    "$name" "$scratch/stream.json"
}

ip netns add $near
ip netns add $far
start $near link.log "$link" $near $far "${path[@]}"
for end in "$near 10.99.0.1 10.99.0.2" "$far 10.99.0.2 10.99.0.1"; do
  read -r host own peer <<<"$end"
  at "$host" ip link set lo up
  until_ok ip -n "$host" link show impaired
  ip -n "$host" address add "$own" peer "$peer" dev impaired
  ip -n "$host" link set impaired up txqueuelen 1000
done
until_ok at $near ping -c 1 -W 1 10.99.0.2
start $far iperf3.log iperf3 -s

state=$scratch/state
mkdir "$state"
export ZT_ADMIN=$state/controller/admin.json
umask 077
start $far controller.log "$zt" controller serve --state "$state/controller" \
  --listen 10.99.0.2:8443 --host 10.99.0.2
until_ok test -s "$ZT_ADMIN"
until_ok at $far "$zt" admin network list
at $far "$zt" admin network create office > /dev/null
at $far "$zt" admin relay token --name relay --address 10.99.0.2:4433 > "$scratch/relay.token" \
  2> "$scratch/tokens.log"
at $far "$zt" admin connector token office --name gate > "$scratch/connector.token" \
  2>> "$scratch/tokens.log"
start $far relay.log "$zt" relay serve --state "$state/relay" --token-file "$scratch/relay.token" \
  --listen 10.99.0.2:4433
start $far connector.log "$zt" connector --state "$state/connector" \
  --token-file "$scratch/connector.token"
at $far "$zt" admin resource create service --network office --address 10.99.0.2 --tcp 5201 \
  > /dev/null
at $far "$zt" admin service-account create bench > /dev/null
at $far "$zt" admin service-account key bench --out "$scratch/key" \
  > /dev/null 2>> "$scratch/tokens.log"
at $far "$zt" admin rule create bench --subject svc:bench --resource service > /dev/null
start $near client.log "$zt" client up --state "$state/client" --socket "$scratch/socket" \
  --key-file "$scratch/key" --forward "5201=10.99.0.2:5201"
until_ok test -S "$scratch/socket"
until_ok at $near "$zt" client wait --socket "$scratch/socket" --timeout 20
at $near "$zt" client ping --socket "$scratch/socket" --until-direct 10.99.0.2:5201 > /dev/null

for _ in $(seq "$rounds"); do
  stream "TCP with BBR  " 10.99.0.2 -C bbr
  stream "TCP with CUBIC" 10.99.0.2 -C cubic
  stream "zt, direct    " 127.0.0.1
done

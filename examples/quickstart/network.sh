# SPDX-License-Identifier: Apache-2.0
# network.sh: the small internet of the quickstart and of the end-to-end tests, in namespaces.
#
#    laptop ────────┐
#    10.1.0.2       │
#    controller ── inet ──── gate ═══════ connector   the private network, 10.20.0.0/24:
#    10.3.0.2       │      10.5.0.2  │    10.20.0.2   gate masquerades what goes out
#    relay ─────────┘                └─── service     and drops whatever comes in
#    10.4.0.2                             10.20.0.10
#
# Usage: source it, then
#   net_up        makes the namespaces; fails with a reason where that is not allowed
#   on HOST CMD…  runs CMD on HOST: laptop, controller, relay, gate, connector or service
#   net_down      ends every process inside and removes everything that net_up made
# Names carry the shell's pid ($NET_PREFIX), so that several networks can stand side by side.
# net_host, net_wire, net_switch and net_plug add to it; put new hosts into NET_HOSTS.

NET_PREFIX=${NET_PREFIX:-zt$$}
NET_HOSTS='inet laptop controller relay gate connector service'

NET_LAPTOP=10.1.0.2
NET_CONTROLLER=10.3.0.2
NET_RELAY=10.4.0.2
NET_GATE=10.5.0.2
NET_CONNECTOR=10.20.0.2
NET_SERVICE=10.20.0.10

net_possible() {
  [ "$(id -u)" = 0 ] || { echo 'network namespaces need root'; return 1; }
  command -v ip >/dev/null || { echo 'the command ip is missing'; return 1; }
  command -v nft >/dev/null || { echo 'the command nft is missing'; return 1; }
  ip netns add "$NET_PREFIX-probe" 2>/dev/null || {
    echo 'this machine does not allow network namespaces'
    return 1
  }
  ip netns delete "$NET_PREFIX-probe"
}

on() { local host=$1; shift; ip netns exec "$NET_PREFIX-$host" "$@"; }

# net_wire A ADDRESS_A B ADDRESS_B: a cable between hosts; interfaces are named after the far end.
net_wire() {
  ip -n "$NET_PREFIX-$1" link add "$3" type veth peer name "$1" netns "$NET_PREFIX-$3"
  ip -n "$NET_PREFIX-$1" address add "$2" dev "$3"
  ip -n "$NET_PREFIX-$3" address add "$4" dev "$1"
  ip -n "$NET_PREFIX-$1" link set "$3" up
  ip -n "$NET_PREFIX-$3" link set "$1" up
}

# net_switch HOST ADDRESS: a switch in a host, as its interface "lan". Without a hardware address
# of its own it would borrow its lowest port's, and neighbours would lose it with each new cable.
net_switch() {
  ip -n "$NET_PREFIX-$1" link add lan address 02:00:00:00:00:01 type bridge
  ip -n "$NET_PREFIX-$1" address add "$2" dev lan
  ip -n "$NET_PREFIX-$1" link set lan up
  on "$1" sysctl -q -w net.ipv4.ip_forward=1
}

# net_plug HOST ADDRESS SWITCH GATEWAY: a cable to a switch; interfaces are named after the far end.
net_plug() {
  ip -n "$NET_PREFIX-$3" link add "$1" type veth peer name "$3" netns "$NET_PREFIX-$1"
  ip -n "$NET_PREFIX-$3" link set "$1" master lan up
  ip -n "$NET_PREFIX-$1" link set "$3" up
  ip -n "$NET_PREFIX-$1" address add "$2" dev "$3"
  ip -n "$NET_PREFIX-$1" route add default via "$4"
}

# net_host HOST: a host without a cable.
net_host() {
  ip netns add "$NET_PREFIX-$1"
  ip -n "$NET_PREFIX-$1" link set lo up
  # ip netns exec shows these files as /etc/… inside.
  mkdir -p "/etc/netns/$NET_PREFIX-$1"
  echo "127.0.0.1 localhost" > "/etc/netns/$NET_PREFIX-$1/hosts"
  : > "/etc/netns/$NET_PREFIX-$1/resolv.conf"
}

net_up() {
  net_possible || return 1
  local host
  for host in $NET_HOSTS; do net_host "$host"; done

  net_wire inet 10.1.0.1/24 laptop "$NET_LAPTOP/24"
  net_wire inet 10.3.0.1/24 controller "$NET_CONTROLLER/24"
  net_wire inet 10.4.0.1/24 relay "$NET_RELAY/24"
  net_wire inet 10.5.0.1/24 gate "$NET_GATE/24"
  on inet sysctl -q -w net.ipv4.ip_forward=1
  ip -n "$NET_PREFIX-laptop" route add default via 10.1.0.1
  ip -n "$NET_PREFIX-controller" route add default via 10.3.0.1
  ip -n "$NET_PREFIX-relay" route add default via 10.4.0.1
  ip -n "$NET_PREFIX-gate" route add default via 10.5.0.1

  # The private network: a switch in gate with two hosts.
  net_switch gate 10.20.0.1/24
  net_plug connector "$NET_CONNECTOR/24" gate 10.20.0.1
  net_plug service "$NET_SERVICE/24" gate 10.20.0.1
  on gate nft -f - <<'NFT'
table ip nat {
  chain out { type nat hook postrouting priority srcnat
    oifname "inet" masquerade random
  }
}
table ip filter {
  chain through { type filter hook forward priority filter; policy drop
    ct state established,related accept
    iifname "lan" accept
  }
  chain to_gate { type filter hook input priority filter; policy drop
    ct state established,related accept
    iifname { "lan", "lo" } accept
  }
}
NFT
  # Only the private network knows these names.
  for host in connector service; do
    echo "$NET_SERVICE db.internal web.internal ssh.internal" \
      >> "/etc/netns/$NET_PREFIX-$host/hosts"
  done
}

net_down() {
  local host pid
  for host in $NET_HOSTS; do
    for pid in $(ip netns pids "$NET_PREFIX-$host" 2>/dev/null); do
      kill -KILL "$pid" 2>/dev/null
    done
  done
  for host in $NET_HOSTS; do
    ip netns delete "$NET_PREFIX-$host" 2>/dev/null
    rm -rf "/etc/netns/${NET_PREFIX:?}-$host"
  done
  return 0
}

# SPDX-License-Identifier: Apache-2.0
"""routers.py: private networks behind routers of each kind, for the stories of NATs.

                  internet, a switch: PREFIX.0/24
       ┌─────────────┬──────┴──────┬──────────────┐
   home-full …   home-sym     office-full …  office-sym     a router of each kind on each side:
       │             │             │              │         PREFIX.N outside, 192.168.1.1 inside
  laptop-full … laptop-sym      door-full …   door-sym      192.168.1.2 and 192.168.1.3

All private networks have the same addresses, as homes and offices do. The routers are nftables."""
import json
import socket
import struct
import typing

import house

LAPTOP, LAPTOP_PORT = "192.168.1.2", 41002
DOOR, DOOR_PORT = "192.168.1.3", 41003
GATEWAY = "192.168.1.1"

# --- Routers

ROUTER = """
table ip nat {
  set sent_to { type ipv4_addr; flags dynamic,timeout; timeout 2m; }
  chain remember { type filter hook postrouting priority mangle
    oifname != "lan" update @sent_to { ip daddr }
  }
  chain inbound { type nat hook prerouting priority dstnat
    INBOUND
  }
  chain outbound { type nat hook postrouting priority srcnat
    OUTBOUND
  }
}
table ip filter {
  chain through { type filter hook forward priority filter; policy drop
    ct state established,related accept
    ct status dnat accept
    iifname "lan" accept
  }
  chain to_router { type filter hook input priority filter; policy drop
    ct state established,related accept
    iifname { "lan", "lo" } accept
  }
}
"""
FIREWALL_IPV6 = """
table ip6 filter {
  chain through { type filter hook forward priority filter; policy drop
    ct state established,related accept
    iifname "lan" accept
  }
}
"""
FORWARD = "dnat to udp dport map { 41002 : 192.168.1.2, 41003 : 192.168.1.3 }"

# A mapping of its own for each address of this internet, which lets in that address only.
REMOTES = [house.CONTROLLER, house.RELAY, *(f"10.6.0.{number}" for number in range(1, 64))]


def mappings(form):
    """Writes the elements of a map: one for each remote address, of laptop and of door."""
    return ", ".join(form.format(remote=remote, host=host, port=port, outside=1000 + port + number)
                     for number, remote in enumerate(REMOTES)
                     for host, port in ((LAPTOP, LAPTOP_PORT), (DOOR, DOOR_PORT)))


BY_ADDRESS_OUT = f"""oifname != "lan" meta l4proto udp \\
      snat ip to OUTSIDE : udp sport . ip daddr map {{
      {mappings("{port} . {remote} : {outside}")} }}
    oifname != "lan" masquerade"""
BY_ADDRESS_IN = f"""iifname != "lan" ip saddr @sent_to meta l4proto udp \\
      dnat ip to ip saddr . udp dport map {{
      {mappings("{remote} . {outside} : {host} . {port}")} }}"""


class Kind(typing.NamedTuple):
    """A kind of router by RFC 4787, under the name of RFC 3489 where that has one.

    `masquerade` keeps a port that is free, so the mapping does not depend on the destination."""
    short: str
    name: str
    lets_in: frozenset  # Who is let in apart from who was sent to: "port", "address".
    inbound: str = ""
    outbound: str = 'oifname != "lan" masquerade'
    differs_by: frozenset = frozenset()  # What of a destination the mapping depends on.

    @property
    def is_symmetric(self):
        return bool(self.differs_by)

    @property
    def is_strict(self):
        """Whether a peer whose port is not known gets in nowhere: where each address has a mapping
        of its own, the one that the peer knows is the relay's."""
        return not self.lets_in or self.is_symmetric


KINDS = [
    Kind("full", "full cone", frozenset({"port", "address"}),
         inbound=f'iifname != "lan" {FORWARD}'),
    Kind("addr", "address-restricted cone", frozenset({"port"}),
         inbound=f'iifname != "lan" ip saddr @sent_to {FORWARD}'),
    Kind("port", "port-restricted cone", frozenset()),
    Kind("adm", "address-dependent mapping", frozenset({"port"}), inbound=BY_ADDRESS_IN,
         outbound=BY_ADDRESS_OUT, differs_by=frozenset({"address"})),
    Kind("sym", "symmetric", frozenset(), outbound='oifname != "lan" masquerade fully-random',
         differs_by=frozenset({"address", "port"})),
]
FULL, _, PORT, _, SYMMETRIC = KINDS


class Site(typing.NamedTuple):
    """A private network behind a router."""
    kind: Kind
    router: str
    outside: str  # The router's address.
    host: str     # Laptop or door.


class Internet:
    """Gives each router an address of its own."""

    def __init__(self, home, prefix="10.6.0"):
        self.home, self.prefix, self.count = home, prefix, 1
        home.add_switch("inet", f"{prefix}.1/24")

    def add_router(self, router, rules):
        self.count += 1
        outside = f"{self.prefix}.{self.count}"
        self.home.add_host(router, f"{outside}/24", "inet", f"{self.prefix}.1")
        make_router(self.home, router, rules.replace("OUTSIDE", outside), f"{GATEWAY}/24")
        return outside

    def add_site(self, kind, place, host, address):
        router = f"{place}-{kind.short}"
        outside = self.add_router(router, rules_of(kind))
        host = f"{host}-{kind.short}"
        self.home.add_host(host, f"{address}/24", router, GATEWAY)
        return Site(kind, router, outside, host)

    def add_ipv6(self, sites):
        """Gives sites IPv6 addresses that nothing translates; routers let answers in only."""
        self.home.network("".join(f"on {host} sysctl -q -w net.ipv6.conf.all.forwarding=1;"
                                  for host in ("inet", *(site.router for site in sites))))
        self.home.must("inet", "ip", "address", "add", "fd06::1/64", "dev", "lan", "nodad")
        for number, site in enumerate(sites, 2):
            lan = f"fd06:{number}:"
            self.home.must(site.router, "nft", "-f", "-", input=FIREWALL_IPV6)
            for host, commands in {
                "inet": [f"route add {lan}:/64 via fd06::{number}"],
                site.router: [f"address add fd06::{number}/64 dev inet nodad",
                              f"address add {lan}:1/64 dev lan nodad",
                              "route add default via fd06::1"],
                site.host: [f"address add {lan}:2/64 dev {site.router} nodad",
                            f"route add default via {lan}:1"]}.items():
                self.home.must(host, "ip", "-6", "-batch", "-", input="\n".join(commands) + "\n")


def rules_of(kind):
    return ROUTER.replace("INBOUND", kind.inbound).replace("OUTBOUND", kind.outbound)


def make_router(home, router, rules, inside):
    home.add_switch(router, inside)
    # A frame from one port of the switch to another is nothing to the rules.
    home.run(router, "sysctl", "-q", "-w", "net.bridge.bridge-nf-call-iptables=0")
    home.must(router, "nft", "-f", "-", input=rules)


def let_hairpin(home, site):
    """Has a router turn back what is sent to its outside address, with that as the source."""
    home.must(site.router, "nft", "-f", "-", input=f"""
add rule ip nat inbound iifname "lan" ip daddr {site.outside} {FORWARD}
add rule ip nat outbound iifname "lan" oifname "lan" snat to {site.outside}
""")


def forget_mappings(home, router):
    """Empties a router's table of mappings, as its restart does: "delete all" of ctnetlink."""
    with home.inside(router), \
            socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as netfilter:
        delete_all, request_and_acknowledge = 0x102, 0x5
        netfilter.send(struct.pack("=IHHII BBH", 20, delete_all, request_and_acknowledge, 1, 0,
                                   socket.AF_INET, 0, 0))
        error, = struct.unpack_from("=i", netfilter.recv(4096), 16)
    if error != 0:
        raise house.StoryError(f"{router} keeps its mappings: error {error}")


# --- Roles

def target_of(door):
    return f"{door}.internal:7"


def start_door(home, door, router, *flags):
    """Starts a connector, with a network of its own in which the router serves echo."""
    name = target_of(door).split(":", maxsplit=1)[0]
    home.add_name(GATEWAY, name, hosts=[door])
    home.serve((GATEWAY, 7), house.echo, host=router)
    home.admin("network", "create", door)
    home.offer(door, name, tcp="7", network=door)
    return home.start_connector(door, door, "--udp-port", DOOR_PORT, *flags, host=door,
                                network=door)


def start_laptop(home, laptop, ports, *flags):
    """Starts a client; `ports` says for each door which port it forwards there."""
    forwards = [flag for door, port in ports.items()
                for flag in ("--forward", f"{port}={target_of(door)}")]
    home.sign_in("--udp-port", LAPTOP_PORT, *forwards, *flags, direct=True, host=laptop)


def way(home, laptop, door):
    """Returns how a client reaches a connector: "direct REMOTE" or "relayed:RELAY REMOTE"."""
    for connector in home.status(laptop)["connectors"]:
        if connector["name"] == door and "path" in connector:
            return f"{connector['path']} {connector['remote']}"
    return ""


def ping_until_direct(home, laptop, door, timeout):
    """Returns the seconds until the path is direct, or none."""
    pinged = home.client("ping", "--until-direct", "--timeout", timeout, target_of(door),
                         host=laptop)
    if pinged.returncode != 0:
        return None
    return float(pinged.stdout.split("direct after ")[1].split()[0])


def netcheck(home, laptop):
    return json.loads(home.client("netcheck", "--json", host=laptop).stdout)


def pairs(home, laptop):
    return home.client("status", "--paths", host=laptop).stdout

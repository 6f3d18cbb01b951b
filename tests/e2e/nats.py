#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every kind of NAT before client and connector: the path is direct exactly when RFC 4787 allows
it, and data flows in any case. Then rarer places: two routers in a row, both behind one, a firewall
that lets nearly nothing out, IPv6, and routers that forget a flow.

The network is drawn in routers.py. Clients and connectors stay up for the whole story, and the
first contact of each two is a cell of the matrix. Each router is asked with plain sockets first
whether it is what its name says."""
import concurrent.futures
import itertools
import time

import house
from routers import (DOOR, DOOR_PORT, FULL, GATEWAY, KINDS, LAPTOP, LAPTOP_PORT, PORT,
                     SYMMETRIC, Internet, forget_mappings, let_hairpin, make_router, netcheck,
                     pairs, ping_until_direct, rules_of, start_door, start_laptop, way)

RELAY_PORT = CONTROLLER_PORT = 443  # What the strictest firewall lets out.

# Bounds with room for a busy machine; the figures are printed.
DIRECT_WITHIN = 15
RELAYED_FOR = 5  # Seconds in which nothing becomes direct where nothing can.
GAP_MAX = 5.0

# The places of connectors; each laptop forwards a port to each.
DOORS = [*(f"door-{kind.short}" for kind in KINDS), "door-strict"]
PORTS = {door: 10001 + number for number, door in enumerate(DOORS)}


def can_be_direct(one, other):
    """A NAT whose mapping depends on the destination sends to each one from another port, which the
    other side can answer only if its filter lets unknown ports in."""
    return not (one.is_symmetric and other.is_strict) and \
        not (other.is_symmetric and one.is_strict)


def behaves(home, site, port):
    """Asks a router by plain sockets: which port is seen outside, and who may answer it?"""
    inside = home.udp(site.host, ("0.0.0.0", port))
    asked = home.udp("controller", (house.CONTROLLER, 9001))
    other_port = home.udp("controller", (house.CONTROLLER, 9002))
    other_address = home.udp("relay", (house.RELAY, 9001))

    def seen_by(far):
        inside.sendto(b"hello", far.getsockname())
        return far.recvfrom(100)[1]

    seen = seen_by(asked)
    for far, word in ((other_port, b"port"), (other_address, b"address"), (asked, b"asked")):
        far.sendto(word, seen)
    expected, heard = site.kind.lets_in | {"asked"}, set()
    while not heard >= expected:
        heard.add(inside.recv(100).decode())
    differs_by = {word for far, word in ((other_port, "port"), (other_address, "address"))
                  if seen_by(far) != seen}
    for one in (inside, asked, other_port, other_address):
        one.close()
    home.check(f"{site.router} behaves as its kind: {site.kind.name}",
               heard == expected and differs_by == site.kind.differs_by and
               seen[0] == site.outside, f"seen as {seen}, heard {heard}, differs by {differs_by}")


# --- The matrix

def meet(home, laptop, door):
    """Two sites see each other for the first time: returns seconds until direct, way, gap."""
    can = can_be_direct(laptop.kind, door.kind)
    seconds = ping_until_direct(home, laptop.host, door.host, DIRECT_WITHIN if can else RELAYED_FOR)
    gap = house.EchoFlow(home, laptop.host, PORTS[door.host]).exchange()
    return seconds, way(home, laptop.host, door.host), gap


def matrix(home, laptops, doors):
    for door in doors:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            met = list(pool.map(meet, itertools.repeat(home), laptops, itertools.repeat(door)))
        for laptop, (seconds, where, gap) in zip(laptops, met):
            cell = f"{laptop.kind.name} client, {door.kind.name} connector"
            detail = f"{seconds}, {where}\n{pairs(home, laptop.host)}"
            if can_be_direct(laptop.kind, door.kind):
                home.check(f"{cell}: direct after {seconds} s", seconds is not None and
                           where.startswith(f"direct {door.outside}:"), detail)
            else:
                home.check(f"{cell}: relayed, as it must be", seconds is None and
                           where.startswith("relayed:"), detail)
            home.check(f"and data flows, in {gap:.3f} s", gap < GAP_MAX, detail)


# --- Other routers

STRICT = f"""
table ip nat {{
  chain outbound {{ type nat hook postrouting priority srcnat
    oifname != "lan" masquerade
  }}
}}
table ip filter {{
  chain through {{ type filter hook forward priority filter; policy drop
    ct state established accept
    iifname "lan" ip daddr {{ {house.CONTROLLER}, {house.RELAY} }} udp dport 443 accept
  }}
}}
"""


def strict_firewall(home, laptop):
    home.check("a connector that may send UDP to port 443 of relay and controller only: relayed",
               ping_until_direct(home, laptop, "door-strict", RELAYED_FOR) is None and
               way(home, laptop, "door-strict").startswith("relayed:"), pairs(home, laptop))
    flow = house.EchoFlow(home, laptop, PORTS["door-strict"])
    home.check("and data flows", flow.exchange() < GAP_MAX)


def two_routers(home, internet, door):
    internet.add_router("home-outer", rules_of(PORT))
    home.add_host("home-inner", f"{LAPTOP}/24", "home-outer", GATEWAY)
    make_router(home, "home-inner", rules_of(PORT), "192.168.2.1/24")
    home.add_host("laptop-inner", "192.168.2.2/24", "home-inner", "192.168.2.1")
    start_laptop(home, "laptop-inner", PORTS)
    seconds = ping_until_direct(home, "laptop-inner", door.host, DIRECT_WITHIN)
    home.check(f"a client behind two routers, both port-restricted cones: direct after {seconds} s",
               seconds is not None, pairs(home, "laptop-inner"))
    flow = house.EchoFlow(home, "laptop-inner", PORTS[door.host])
    home.check("and data flows", flow.exchange() < GAP_MAX)


def same_router(home, door):
    home.add_host("laptop-office", f"{LAPTOP}/24", door.router, GATEWAY)
    start_laptop(home, "laptop-office", PORTS)
    seconds = ping_until_direct(home, "laptop-office", door.host, DIRECT_WITHIN)
    where = way(home, "laptop-office", door.host)
    home.check(f"both behind the same router: direct after {seconds} s, by the network's addresses",
               where == f"direct {DOOR}:{DOOR_PORT}", pairs(home, "laptop-office"))
    flow = house.EchoFlow(home, "laptop-office", PORTS[door.host])
    flow.exchange()
    # Guests of a wireless network often cannot reach each other, but what is outside.
    let_hairpin(home, door)
    forget_mappings(home, door.router)  # Those that the new rules have not seen.
    for host in ("laptop-office", door.host):
        home.must(door.router, "ip", "link", "set", host, "type", "bridge_slave", "isolated", "on")
    gap = flow.exchange()
    home.check(f"then they reach only what is outside: the flow goes on after {gap:.3f} s",
               gap < GAP_MAX, pairs(home, "laptop-office"))
    home.wait_until("the path is direct over the router's outside address, by hairpin",
                    lambda: way(home, "laptop-office", door.host) ==
                    f"direct {door.outside}:{DOOR_PORT}", 60)
    home.check("direct over the router's outside address, by hairpin", flow.exchange() < GAP_MAX)


def knows_its_hairpin(home, site, expected):
    home.wait_until(f"zt client netcheck of {site.host}: hairpin {expected}",
                    lambda: netcheck(home, site.host)["ipv4"].get("hairpin") == expected)
    home.check(f"{site.router} is known: hairpin {expected}", True)


def forgetful_routers(home, laptop, door, is_direct):
    """Whoever is behind the router says something within a second, while flows are open, and so
    makes a new mapping: probes on a direct path, keep-alives to the relay."""
    expected = "direct" if is_direct else "relayed"
    flow = house.EchoFlow(home, laptop.host, PORTS[door.host])
    flow.exchange()
    home.check(f"a flow is {expected}", way(home, laptop.host, door.host).startswith(expected),
               way(home, laptop.host, door.host))
    for site in (laptop, door):
        forget_mappings(home, site.router)
        gap = flow.exchange()
        home.check(f"{site.router} forgets its mappings: the {expected} flow goes on after "
                   f"{gap:.3f} s", gap < GAP_MAX,
                   f"{way(home, laptop.host, door.host)}\n{pairs(home, laptop.host)}")


def ipv6(home, internet, laptop, door):
    """IPv4 is hopeless between these two; IPv6 has firewalls, but no translation."""
    internet.add_ipv6([laptop, door])
    start = time.monotonic()
    home.wait_until("the path is direct over IPv6",
                    lambda: way(home, laptop.host, door.host).startswith("direct [fd"), 60)
    home.check(f"both get IPv6 behind firewalls: direct after {time.monotonic() - start:.2f} s",
               house.EchoFlow(home, laptop.host, PORTS[door.host]).exchange() < GAP_MAX)


def story(home):
    internet = Internet(home)
    laptops = [internet.add_site(kind, "home", "laptop", LAPTOP) for kind in KINDS]
    doors = [internet.add_site(kind, "office", "door", DOOR) for kind in KINDS]
    for laptop in laptops:
        behaves(home, laptop, LAPTOP_PORT)
    for door in doors:
        behaves(home, door, DOOR_PORT)
    let_hairpin(home, laptops[0])
    internet.add_router("office-strict", STRICT)
    home.add_host("door-strict", f"{DOOR}/24", "office-strict", GATEWAY)

    home.open_controller(CONTROLLER_PORT)
    home.relay = home.start_relay("relay", RELAY_PORT)
    for door in DOORS:
        start_door(home, door, door.replace("door", "office"))
    for laptop in laptops:
        start_laptop(home, laptop.host, PORTS)
    matrix(home, laptops, doors)

    at_home, at_office = ({site.kind: site for site in sites} for sites in (laptops, doors))
    knows_its_hairpin(home, at_home[FULL], "yes")
    knows_its_hairpin(home, at_home[PORT], "no")
    strict_firewall(home, at_home[FULL].host)
    two_routers(home, internet, at_office[PORT])
    same_router(home, at_office[FULL])
    forgetful_routers(home, at_home[PORT], at_office[PORT], is_direct=True)
    forgetful_routers(home, at_home[SYMMETRIC], at_office[FULL], is_direct=True)
    forgetful_routers(home, at_home[SYMMETRIC], at_office[SYMMETRIC], is_direct=False)
    ipv6(home, internet, at_home[SYMMETRIC], at_office[SYMMETRIC])


house.tell(story)

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Routers that nobody crosses by punching, on both sides, and a real miniupnpd on some of them: it
is asked for a port, by PCP or by UPnP, and the path is direct. The mapping goes with the one who
asked for it, and comes back when the router has forgotten it. Then routers that mean no good.

The network is drawn in routers.py, with addresses outside that look public: a mapping to a private
one is of no use. They never leave the namespaces."""
import re
import socket
import threading
import time
import uuid

import house
from routers import (DOOR, DOOR_PORT, LAPTOP, LAPTOP_PORT, SYMMETRIC, Internet, netcheck, pairs,
                     ping_until_direct, start_door, start_laptop, way)

INTERNET = "11.6.0"
MAPPED_WITHIN = 20
DIRECT_WITHIN = 20
RELAYED_FOR = 5
# A mapping is asked for again once a minute.
MAPPED_AGAIN_WITHIN = 75

PORTS = {"door-none": 10001, "door-pcp": 10002, "door-upnp": 10003}

CHAINS = """
table inet miniupnpd
delete table inet miniupnpd
table inet miniupnpd {
  chain forward {
    type filter hook forward priority 0; policy accept;
    jump miniupnpd
  }
  chain prerouting {
    type nat hook prerouting priority -101; policy accept;
    jump prerouting_miniupnpd
  }
  chain postrouting {
    type nat hook postrouting priority 99; policy accept;
    jump postrouting_miniupnpd
  }
  chain miniupnpd {}
  chain prerouting_miniupnpd {}
  chain postrouting_miniupnpd {}
}
"""


class PortMapper:
    """A router's miniupnpd, that speaks PCP and NAT-PMP or UPnP."""

    def __init__(self, home, site, is_upnp):
        self.home, self.site = home, site
        self.name = f"miniupnpd-{site.router}"
        self.file = home.work / f"{self.name}.conf"
        self.file.write_text(f"""
ext_ifname=inet
listening_ip=lan
enable_upnp={"yes" if is_upnp else "no"}
enable_natpmp={"no" if is_upnp else "yes"}
secure_mode=yes
ipv6_disable=yes
http_port=5000
uuid={uuid.uuid4()}
upnp_table_name=miniupnpd
upnp_nat_table_name=miniupnpd
upnp_forward_chain=miniupnpd
upnp_nat_chain=prerouting_miniupnpd
upnp_nat_postrouting_chain=postrouting_miniupnpd
allow 1024-65535 192.168.1.0/24 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
""")
        self.start()

    def start(self):
        self.home.must(self.site.router, "nft", "-f", "-", input=CHAINS)
        self.process = self.home.start(self.site.router, self.name, "miniupnpd", "-d", "-f",
                                       self.file, "-P", self.home.work / f"{self.name}.pid")

    def forget(self):
        """Dies with all it knows, and starts again."""
        self.process.kill()
        self.process.wait()
        self.start()

    def mappings(self):
        """Returns the targets of what is let in, as ADDRESS:PORT."""
        rules = self.home.must(self.site.router, "nft", "list", "chain", "inet", "miniupnpd",
                               "prerouting_miniupnpd")
        return re.findall(r"dnat (?:ip )?to ([0-9.]+:[0-9]+)", rules)


def mapping_of(home, laptop):
    return netcheck(home, laptop)["port_mapping"]


def add_site(internet, place, name, host, address):
    """Adds a network behind a symmetric NAT."""
    return internet.add_site(SYMMETRIC._replace(short=name), place, host, address)


def is_direct(home, laptop, door, site, claim):
    seconds = ping_until_direct(home, laptop, door, DIRECT_WITHIN)
    where = way(home, laptop, door)
    home.check(f"{claim}: direct after {seconds} s", seconds is not None and
               (site is None or where.startswith(f"direct {site.outside}:")),
               f"{where}\n{pairs(home, laptop)}")
    gap = house.EchoFlow(home, laptop, PORTS[door]).exchange()
    home.check(f"and data flows, in {gap:.3f} s", gap < 5)


def without(home, laptop, door):
    home.check("symmetric NATs on both sides, and no mapping: relayed",
               ping_until_direct(home, laptop, door, RELAYED_FOR) is None and
               way(home, laptop, door).startswith("relayed:"), pairs(home, laptop))
    home.wait_until("the client has given up", lambda: mapping_of(home, laptop)["state"] ==
                    "no_answer", 40)
    home.check("netcheck says that the gateway answers nothing", True)


def by_connector(home, laptop, site, mapper, role, claim):
    """A connector's router maps its port."""
    home.wait_until(f"{site.host} is mapped", mapper.mappings, MAPPED_WITHIN)
    home.check(f"{claim} maps the connector's port",
               mapper.mappings() == [f"{DOOR}:{DOOR_PORT}"], str(mapper.mappings()))
    is_direct(home, laptop, site.host, site, f"symmetric NATs on both sides, and {claim}")
    role.kill()
    home.check("the connector crashes, and the mapping stays for a while", mapper.mappings())
    role.start()
    home.wait_until("it is mapped again", lambda: role.log().count("maps our port") == 2,
                    MAPPED_WITHIN)
    home.check("it starts again, and has the same mapping",
               mapper.mappings() == [f"{DOOR}:{DOOR_PORT}"], str(mapper.mappings()))
    role.stop_at_once()
    home.wait_until("the mapping is gone", lambda: not mapper.mappings())
    home.check("the connector ends, and takes its mapping along", True)


class HostileGateway:
    """A router that answers by UPnP with whatever `bodies` yields, for as long as it is read."""

    def __init__(self, home, site, location, bodies=()):
        self.asked = 0
        self.bodies = bodies
        self.search = home.udp(site.router, ("0.0.0.0", 1900), timeout=None)
        with home.inside(site.router):
            membership = socket.inet_aton("239.255.255.250") + socket.inet_aton("192.168.1.1")
            self.search.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        self.answer = f"HTTP/1.1 200 OK\r\nLOCATION: {location}\r\n\r\n".encode()
        threading.Thread(target=self.serve_search, daemon=True).start()
        home.serve(("0.0.0.0", 5000), self.serve, host=site.router)

    def serve_search(self):
        while True:
            _, source = self.search.recvfrom(2000)
            self.search.sendto(self.answer, source)

    def serve(self, connection):
        self.asked += 1
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for body in self.bodies():
            connection.sendall(body)


def endless():
    while True:
        yield bytes(1 << 16)


def slow():
    while True:
        yield b"<"
        time.sleep(0.5)


def hostile(home, site, location, bodies, claim):
    """A gateway that cannot be used is asked for a while, and given up."""
    gateway = HostileGateway(home, site, location, bodies)
    start_laptop(home, site.host, PORTS)
    before = home.client_role.resident_kib()
    state = home.wait_until("it is given up", lambda: mapping_of(home, site.host)["state"]
                            not in ("needed", "unknown") and mapping_of(home, site.host), 40)
    grown = home.client_role.resident_kib() - before
    home.check(f"{claim}: given up, and {grown} KiB grown", state["state"] in
               ("no_answer", "unsupported") and grown < 4096, str(state))
    return gateway


def by_hostile_gateways(home, internet):
    site = add_site(internet, "home", "slow", "laptop", LAPTOP)
    gateway = hostile(home, site, "http://192.168.1.1:5000/", slow, "UPnP a byte at a time")
    home.check("it was asked", gateway.asked > 0)
    site = add_site(internet, "home", "endless", "laptop", LAPTOP)
    gateway = hostile(home, site, "http://192.168.1.1:5000/", endless, "UPnP without an end")
    home.check("it was asked", gateway.asked > 0)
    site = add_site(internet, "home", "liar", "laptop", LAPTOP)
    home.must(site.router, "ip", "address", "add", "192.168.1.77/24", "dev", "lan")
    gateway = hostile(home, site, "http://192.168.1.77:5000/", endless, "UPnP that names another")
    home.check("who was named is not called", gateway.asked == 0)


def by_client(home, site, mapper):
    """A client's router maps its port; the other side has none."""
    start_laptop(home, site.host, PORTS)
    home.wait_until("the client is mapped", mapper.mappings, MAPPED_WITHIN)
    mapping = mapping_of(home, site.host)
    home.check("netcheck tells of the mapping", mapping["state"] == "mapped" and
               mapping["by"] == "PCP" and mapping["external"].startswith(f"{site.outside}:") and
               mapping["gateway"] == "192.168.1.1" and mapping["lifetime_s"] >= 120, str(mapping))
    is_direct(home, site.host, "door-none", None, "a mapping on the client's side alone")

    mapper.forget()
    home.check("the router restarts, and has forgotten", not mapper.mappings())
    start = time.monotonic()
    home.wait_until("the client is mapped again", mapper.mappings, MAPPED_AGAIN_WITHIN)
    home.check(f"mapped again after {time.monotonic() - start:.0f} s",
               mapper.mappings() == [f"{LAPTOP}:{LAPTOP_PORT}"], str(mapper.mappings()))
    home.client("down", host=site.host)
    home.wait_until("the mapping is gone", lambda: not mapper.mappings())
    home.check("the client ends, and takes its mapping along", True)


def not_wanted(home, site, mapper):
    start_laptop(home, site.host, PORTS, "--no-port-mapping")
    home.check("--no-port-mapping: relayed",
               ping_until_direct(home, site.host, "door-none", RELAYED_FOR) is None)
    home.check("and the router was not asked", not mapper.mappings() and
               mapping_of(home, site.host)["state"] == "off", str(mapper.mappings()))


def story(home):
    internet = Internet(home, INTERNET)
    laptop = add_site(internet, "home", "none", "laptop", LAPTOP)
    mapped_laptop = add_site(internet, "home", "pcp", "laptop", LAPTOP)
    doors = [add_site(internet, "office", name, "door", DOOR) for name in ("none", "pcp", "upnp")]
    mappers = {site.host: PortMapper(home, site, is_upnp=site.host == "door-upnp")
               for site in (mapped_laptop, *doors[1:])}

    home.open()
    roles = {site.host: start_door(home, site.host, site.router) for site in doors}
    start_laptop(home, laptop.host, PORTS)
    without(home, laptop.host, "door-none")
    for site, claim in ((doors[1], "PCP"), (doors[2], "UPnP")):
        by_connector(home, laptop.host, site, mappers[site.host], roles[site.host], claim)
    by_hostile_gateways(home, internet)
    by_client(home, mapped_laptop, mappers[mapped_laptop.host])
    not_wanted(home, mapped_laptop, mappers[mapped_laptop.host])


house.tell(story, needs=["miniupnpd"])

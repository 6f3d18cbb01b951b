#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Roaming under load: while a flow carries bulk both ways, the laptop changes its address, moves to
another network by another interface, and loses IPv4; the connector's host changes its address, and
loses IPv4, too. Each byte arrives, and the flow goes on soon after the new address works: directly,
and relayed.

             relay, controller (IPv4, IPv6)
                         │
    laptop ──────────── inet ──────── gate ──────────── connector ──────────── service
       └───── cafe ──────┘                10.20.0.0/24             10.30.0.0/24

The service has a cable to the connector of its own: its connections do not die with the address
that the connector has in gate's network."""
import contextlib
import hashlib
import os
import queue
import socket
import threading
import time

import house
from routers import FULL, GATEWAY, LAPTOP, LAPTOP_PORT, Internet, rules_of

TARGET = "bulk.internal:7"
PORT = 10007
RELAY_PORT = 4433
SERVICE = ("10.30.0.2", 7)
BLOCK_SIZE = 64 << 10
HELLO = b"hello"
MOVED = 64 << 20  # Bytes each way after a change: more than what is under way at its time.
# The aim is 0.3 s; a busy machine has other things to do. The figures are printed.
GAP_MAX = 1.0
# Only the client of a connection moves it. A connector that is bound at the relay's other address
# is not heard before the client asks again, by its probe timeout (RFC 9002 section 6.2).
GAP_OF_OTHER_FAMILY_MAX = 6.0


class Stream:
    """One direction of a bulk transfer: sends until it is told to end, receives, compares."""

    def __init__(self, sender, receiver, is_over):
        self.size, self.last, self.longest = 0, time.monotonic(), 0.0
        self.sent, self.received = hashlib.sha256(), hashlib.sha256()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.send, args=(sender, is_over), daemon=True),
                        threading.Thread(target=self.receive, args=(receiver,), daemon=True)]
        for thread in self.threads:
            thread.start()

    def send(self, connection, is_over):
        with contextlib.suppress(OSError):  # Seen by who compares.
            self.send_blocks(connection, is_over)

    def send_blocks(self, connection, is_over):
        block = os.urandom(BLOCK_SIZE - 8)
        number = 0
        while not is_over.is_set():
            piece = number.to_bytes(8, "big") + block  # Each differs from those before it.
            connection.sendall(piece)
            self.sent.update(piece)
            number += 1
        connection.shutdown(socket.SHUT_WR)

    def receive(self, connection):
        with contextlib.suppress(OSError):
            self.receive_to_the_end(connection)

    def receive_to_the_end(self, connection):
        while piece := connection.recv(BLOCK_SIZE):
            self.received.update(piece)
            now = time.monotonic()
            with self.lock:
                self.size += len(piece)
                self.longest, self.last = max(self.longest, now - self.last), now

    def mark(self):
        """Counts pauses from here on."""
        with self.lock:
            self.last, self.longest = time.monotonic(), 0.0

    def pause(self):
        """Returns the longest time without a byte since the mark."""
        with self.lock:
            return max(self.longest, time.monotonic() - self.last)

    def is_whole(self):
        for thread in self.threads:
            thread.join(timeout=house.PATIENCE)
        return self.sent.digest() == self.received.digest()


class Bulk:
    """A flow that carries as much as it can, both ways."""

    def __init__(self, home, accepted):
        self.home, self.is_over = home, threading.Event()
        self.laptop = home.connect("laptop", ("127.0.0.1", PORT))
        self.laptop.sendall(HELLO)
        service = accepted.get(timeout=house.PATIENCE)
        self.streams = [Stream(self.laptop, service, self.is_over),
                        Stream(service, self.laptop, self.is_over)]
        self.goes_on()

    def goes_on(self):
        """Waits until much more has arrived at both ends."""
        wanted = [stream.size + MOVED for stream in self.streams]
        self.home.wait_until("the bulk goes on", lambda: all(
            stream.size > size for stream, size in zip(self.streams, wanted)), 60)

    def survives(self, what, change, path, gap_max):
        """Makes a change and returns when the path is `path`. Pauses count from the moment at which
        any program could go on."""
        change(self.home)
        for stream in self.streams:
            stream.mark()
        self.goes_on()
        self.home.wait_until(f"{what}: the path is {path}", lambda: is_path(self.home, path), 60)
        up, down = (stream.pause() for stream in self.streams)
        self.home.check(f"{path}, {what}: the flow goes on after {up:.3f} s up, {down:.3f} s down",
                        max(up, down) < gap_max)

    def end(self):
        self.is_over.set()
        whole = [stream.is_whole() for stream in self.streams]
        size = sum(stream.size for stream in self.streams)
        self.home.check(f"all of {size >> 20} MiB arrived as they were sent", all(whole),
                        str(whole))


def is_path(home, path):
    return any(connector.get("path", "").split(":", maxsplit=1)[0] == path
               for connector in home.status()["connectors"])


# --- Changes

def wait_until_connected(home, host, relay):
    def is_connected():
        try:
            with home.connect(host, (relay, RELAY_PORT), timeout=0.1):
                return True
        except OSError:
            return False

    home.wait_until(f"{host} can reach the relay", is_connected)


def takes(host, interface, address, gateway):
    """A host has another address on its interface."""
    def change(home):
        home.must(host, "ip", "-4", "-batch", "-", input=f"""
address flush dev {interface}
address add {address}/24 dev {interface}
route add default via {gateway}
""")
        wait_until_connected(home, host, house.RELAY)
    return change


def moves(old, new, address, gateway):
    """The laptop is plugged into another network; when that works, the former one ends."""
    def change(home):
        home.must("laptop", "ip", "link", "set", new, "up")
        for host, interface in (("laptop", new), (new, "laptop")):
            home.wait_until("the cable is plugged in", lambda: "state UP" in home.must(
                host, "ip", "link", "show", "dev", interface))
        home.must("laptop", "ip", "-4", "-batch", "-", input=f"""
address flush dev {old}
link set {old} down
address add {address}/24 dev {new}
route add default via {gateway}
""")
        wait_until_connected(home, "laptop", house.RELAY)
    return change


def loses_ipv4(home):
    home.must("laptop", "ip", "-4", "address", "flush", "dev", "inet")
    wait_until_connected(home, "laptop", house.RELAY_IPV6)


def connector_has_ipv6_only(home):
    home.must("connector", "ip", "-6", "-batch", "-", input="""
address add fd20::2/64 dev gate nodad
route add default via fd20::1 dev gate
""")
    home.must("connector", "ip", "-4", "address", "flush", "dev", "gate")
    wait_until_connected(home, "connector", house.RELAY_IPV6)


def connector_has_ipv4_only(home):
    takes("connector", "gate", house.CONNECTOR, "10.20.0.1")(home)
    home.must("connector", "ip", "-6", "-batch", "-", input="""
route delete default
address flush dev gate scope global
""")


# What happens, and whether the path can be direct afterwards: laptop and connector have no family
# in common when one of them has IPv6 only.
CHANGES = (
    ("the laptop has another address", takes("laptop", "inet", "10.1.0.3", "10.1.0.1"), True),
    ("the laptop has lost IPv4", loses_ipv4, False),
    ("the laptop has IPv4 again", takes("laptop", "inet", "10.1.0.4", "10.1.0.1"), True),
    ("the laptop has another interface", moves("inet", "cafe", LAPTOP, GATEWAY), True),
    ("the laptop is back", moves("cafe", "inet", "10.1.0.2", "10.1.0.1"), True),
    ("the connector has another address",
     takes("connector", "gate", "10.20.0.3", "10.20.0.1"), True),
    ("the connector has IPv6 only", connector_has_ipv6_only, False),
    ("the connector is back", connector_has_ipv4_only, True),
)
CONNECTOR_FAMILIES = (connector_has_ipv6_only, connector_has_ipv4_only)


# --- The story

def add_cables(home):
    home.network("net_wire connector 10.30.0.1/24 service 10.30.0.2/24")
    Internet(home).add_router("cafe", rules_of(FULL))
    home.must("laptop", "ip", "route", "delete", "default")  # There is room for one.
    home.network(f"net_plug laptop {LAPTOP}/24 cafe {GATEWAY}")
    home.must("laptop", "ip", "-batch", "-", input="""
link set cafe down
address flush dev cafe
route add default via 10.1.0.1
""")
    home.add_ipv6()
    home.must("inet", "ip", "-6", "-batch", "-", input="""
address add fd05::1/64 dev gate nodad
route add fd20::/64 via fd05::2
""")
    home.give_ipv6("gate", "fd05::2")
    home.must("gate", "sysctl", "-q", "-w", "net.ipv6.conf.all.forwarding=1")
    home.must("gate", "ip", "address", "add", "fd20::1/64", "dev", "lan", "nodad")


def roams(home, accepted, path):
    home.give_ipv6("laptop", house.LAPTOP_IPV6)
    home.sign_in("--forward", f"{PORT}={TARGET}", "--udp-port", LAPTOP_PORT,
                 direct=path == "direct")
    home.wait_until_reached(TARGET)
    home.wait_until(f"the path is {path}", lambda: is_path(home, path))
    bulk = Bulk(home, accepted)
    for what, change, can_be_direct in CHANGES:
        gap_max = GAP_OF_OTHER_FAMILY_MAX if change in CONNECTOR_FAMILIES else GAP_MAX
        bulk.survives(what, change, path if can_be_direct else "relayed", gap_max)
    bulk.end()
    home.client_role.stop()


def story(home):
    add_cables(home)
    home.open_controller(name=house.CONTROLLER_NAME)
    home.start_relay("relay", RELAY_PORT, host=house.RELAY_NAME)
    home.open_connector()
    home.add_name(SERVICE[0], "bulk.internal")
    home.offer("bulk", "bulk.internal", tcp=str(SERVICE[1]))
    accepted, is_over = queue.SimpleQueue(), threading.Event()
    home.at_end.callback(is_over.set)

    def accept(connection):
        if house.receive(connection, len(HELLO)) == HELLO:  # A ping says nothing.
            accepted.put(connection)
            is_over.wait()  # The connection is closed when this returns.

    home.serve(SERVICE, accept)
    for path in ("direct", "relayed"):
        roams(home, accepted, path)


house.tell(story)

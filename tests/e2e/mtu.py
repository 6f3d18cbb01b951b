#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Packets of the right size: an underlay of 1280 bytes, a way that becomes narrow under a live flow
and tells nobody, jumbo frames, and no fragment ever. Directly and through the relay.
"""
import json
import os
import threading
import time

import house

TARGET = "echo.internal:7"
PORT = 10007
ETHERNET, NARROW, JUMBO = 1500, 1280, 9000
BULK = 8 << 20
GAP_MAX = 5.0  # With room for a busy machine; the figures are printed.

# What the packets between laptop and private network go through, and where they are cut.
CABLES = (("laptop", "inet"), ("inet", "laptop"), ("inet", "gate"), ("gate", "inet"),
          ("gate", "connector"), ("connector", "gate"))


def set_size(home, size, cables=CABLES):
    for host, device in cables:
        home.must(host, "ip", "link", "set", "dev", device, "mtu", size)


def narrow_the_middle(home, size):
    set_size(home, size, (("inet", "gate"), ("gate", "inet")))


def watch_the_internet(home):
    """The internet counts what should not be, and what should; and it swallows what is too large
    without a word. Offload would show it the batches in the place of the packets."""
    for host in ("laptop", "gate", "relay"):
        home.must(host, "ip", "link", "set", "dev", "inet", "gso_max_segs", "1")
    silence = """
table ip silence {
  chain out { type filter hook output priority 0
    icmp type destination-unreachable drop
  }
}"""
    home.must("gate", "nft", "-f", "-", input=silence)
    home.must("inet", "nft", "-f", "-", input=silence + """
table ip seen {
  counter fragments { }
  counter beyond_ethernet { }
  chain through { type filter hook prerouting priority -500
    ip frag-off & 0x3fff != 0 counter name fragments
    meta l4proto udp ip length > 1500 counter name beyond_ethernet
  }
}""")


def seen(home, counter):
    listed = home.must("inet", "nft", "--json", "list", "counter", "ip", "seen", counter)
    return next(entry["counter"]["packets"] for entry in json.loads(listed)["nftables"]
                if "counter" in entry)


def swallowed(home):
    """Returns how many packets inet and gate have dropped for their size."""
    count = 0
    for host in ("inet", "gate"):
        names, values = (line.split() for line in home.must(
            host, "grep", "^Ip:", "/proc/net/snmp").splitlines())
        count += int(values[names.index("FragFails")])
    return count


def bulk(flow):
    """Sends a few megabytes through the flow and back, and returns the longest wait in seconds."""
    sent = os.urandom(1 << 16) * (BULK >> 16)
    sender = threading.Thread(target=flow.connection.sendall, args=(sent,))
    sender.start()
    received, longest, last = bytearray(), 0.0, time.monotonic()
    while len(received) < len(sent):
        piece = flow.connection.recv(1 << 16)
        if not piece:
            raise house.StoryError("the flow has ended")
        received += piece
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    sender.join()
    if received != sent:
        raise house.StoryError("the flow gave other bytes back")
    return longest


def path(home):
    return home.status()["connectors"][0].get("path", "")


def begin(home, is_direct):
    home.sign_in("--forward", f"{PORT}={TARGET}", direct=is_direct)
    home.wait_until_reached(TARGET)
    if is_direct:
        home.wait_until("the path is direct", lambda: path(home) == "direct")
    return house.EchoFlow(home, "laptop", PORT)


def narrows_under_a_live_flow(home, flow, size, what):
    bulk(flow)
    before = swallowed(home)
    narrow_the_middle(home, size)
    gap = bulk(flow)
    lost = swallowed(home) - before
    home.check(f"{what}: {lost} packets are swallowed, the flow goes on after {gap:.3f} s",
               lost > 0 and gap < GAP_MAX)


def is_narrow_from_the_start(home, is_direct):
    home.client_role.stop()
    flow = begin(home, is_direct)
    wait = bulk(flow)
    home.check(f"a way of {NARROW} bytes carries a flow, {'directly' if is_direct else 'relayed'}",
               wait < GAP_MAX, f"{wait:.3f} s")


def uses_jumbo_frames(home):
    home.client_role.stop()
    set_size(home, JUMBO)
    before = seen(home, "beyond_ethernet")
    flow = begin(home, True)
    home.wait_until("packets grow beyond those of Ethernet",
                    lambda: bulk(flow) < GAP_MAX and seen(home, "beyond_ethernet") - before > 500)
    home.check("where jumbo frames pass, they are used", True)
    narrows_under_a_live_flow(home, flow, ETHERNET, "jumbo frames pass no more")


def story(home):
    watch_the_internet(home)
    home.open()
    home.add_name(house.SERVICE, "echo.internal")
    home.offer("echo", "echo.internal", tcp="7")
    home.serve((house.SERVICE, 7), house.echo)
    flow = begin(home, True)
    narrows_under_a_live_flow(home, flow, NARROW, "the direct way becomes narrow and tells nobody")
    for is_direct in (True, False):
        is_narrow_from_the_start(home, is_direct)
    narrow_the_middle(home, ETHERNET)
    home.client_role.stop()
    flow = begin(home, False)
    narrows_under_a_live_flow(home, flow, NARROW, "the way behind the relay becomes narrow")
    set_size(home, NARROW)
    is_narrow_from_the_start(home, True)
    uses_jumbo_frames(home)
    home.check("no packet was ever fragmented", seen(home, "fragments") == 0,
               str(seen(home, "fragments")))


house.tell(story)

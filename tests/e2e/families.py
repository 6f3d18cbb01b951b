#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A laptop that has IPv6 only and a connector that has IPv4 only: controller and relay have both,
and data flows, relayed. When the laptop gets IPv4 as well, the path becomes direct.
"""
import json

import house

TARGET = "echo.internal:7"
PORT = 10007
# With room for a busy machine; the figures are printed.
GAP_MAX = 3.0


def path(home):
    return home.status()["connectors"][0].get("path", "")


def has_ipv6_only(home):
    home.must("laptop", "ip", "-4", "address", "flush", "dev", "inet")
    home.give_ipv6("laptop", house.LAPTOP_IPV6)
    home.sign_in("--forward", f"{PORT}={TARGET}", direct=True)
    home.check("a client with IPv6 only signs in at a controller that has both", True)
    home.wait_until_reached(TARGET)
    said = json.loads(home.client("netcheck", "--json").stdout)
    home.check("it is bound at the relay by IPv6, and the connector by IPv4",
               [(relay["bound"], relay["family"]) for relay in said["relays"]] == [(True, "IPv6")],
               str(said["relays"]))
    flow = house.EchoFlow(home, "laptop", PORT)
    gap = flow.exchange()
    home.check(f"data flows to a connector that has IPv4 only, in {gap:.3f} s", gap < GAP_MAX)
    home.check("relayed", path(home).startswith("relayed:"), path(home))
    return flow


def gets_ipv4(home, flow):
    home.must("laptop", "ip", "-batch", "-", input="""
address add 10.1.0.2/24 dev inet
route add default via 10.1.0.1
""")
    home.wait_until("the path is direct", lambda: path(home) == "direct", 60)
    home.check("it gets IPv4, too: the flow goes on, directly", flow.exchange() < GAP_MAX)


def story(home):
    home.add_ipv6()
    home.open_controller(name=house.CONTROLLER_NAME)
    home.start_relay("relay", 4433, host=house.RELAY_NAME)
    home.open_connector()
    home.add_name(house.SERVICE, "echo.internal")
    home.offer("echo", "echo.internal", tcp="7")
    home.serve((house.SERVICE, 7), house.echo)
    gets_ipv4(home, has_ipv6_only(home))


house.tell(story)

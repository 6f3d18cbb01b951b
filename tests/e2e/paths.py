#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A live flow and its paths: through the relay first, direct soon, back when that path dies, on
when the laptop changes its address, and over to another relay when the one in use is killed."""
import json
import time

import house

TARGET = "echo.internal:7"
PORT = 10007
# Bounds with room for a busy machine; the figures are printed.
DIRECT_WITHIN = 5.0
GAP_MAX = 3.0
ROAMED = "10.1.0.3"


def echo(connection):
    while piece := connection.recv(65536):
        connection.sendall(piece)


class Flow:
    """A live flow through the client, and how long its bytes take."""

    def __init__(self, home):
        self.connection = home.connect("laptop", ("127.0.0.1", PORT))
        self.connection.settimeout(20)
        self.count = 0

    def exchange(self):
        """Sends a few bytes, and returns the seconds until they have come back."""
        self.count += 1
        text = f"{self.count:08}".encode()
        start = time.monotonic()
        self.connection.sendall(text)
        if house.receive(self.connection, len(text)) != text:
            raise house.StoryError("the flow has ended, or gave other bytes back")
        return time.monotonic() - start


def connector_status(home):
    return home.status()["connectors"][0]


def path(home):
    return connector_status(home).get("path", "")


def block(home, is_blocked):
    """The internet loses what laptop and private network send each other directly."""
    rules = "delete table ip cut" if not is_blocked else f"""
table ip cut {{
  chain through {{ type filter hook forward priority 0
    ip saddr 10.1.0.0/24 ip daddr 10.5.0.0/24 drop
    ip saddr 10.5.0.0/24 ip daddr 10.1.0.0/24 drop
  }}
}}"""
    home.must("inet", "nft", "-f", "-", input=rules)


def becomes_direct(home):
    pinged = home.client("ping", "--until-direct", "--timeout", "20", TARGET)
    home.say(pinged.stdout.splitlines()[-1] if pinged.stdout else pinged.stderr)
    home.check("the first flow goes through the relay, and soon the path is direct",
               pinged.returncode == 0 and "relayed:rly_" in pinged.stdout.splitlines()[0],
               pinged.stdout + pinged.stderr)
    seconds = float(pinged.stdout.split("direct after ")[1].split()[0])
    home.check(f"within {DIRECT_WITHIN} s", seconds < DIRECT_WITHIN, str(seconds))
    pairs = connector_status(home)["pairs"]
    home.check("status --json lists the pairs, and the one in use",
               [pair["state"] for pair in pairs].count("in use") == 1, json.dumps(pairs))
    text = home.client("status", "--paths").stdout
    home.check("status --paths says it to people", "in use" in text and "ROUND TRIP" in text, text)


def survives_the_path(home, flow):
    flow.exchange()
    block(home, True)
    gap = flow.exchange()
    home.check(f"the direct path dies: the flow goes on after {gap:.3f} s", gap < GAP_MAX)
    home.check("through the relay", path(home).startswith("relayed:"), path(home))
    block(home, False)
    home.wait_until("the path is direct again", lambda: path(home) == "direct", 90)
    home.check("and back, when it works again", flow.exchange() < GAP_MAX)


def survives_roaming(home, flow):
    home.must("laptop", "ip", "-batch", "-", input=f"""
address delete 10.1.0.2/24 dev inet
address add {ROAMED}/24 dev inet
route add default via 10.1.0.1
""")
    gap = flow.exchange()
    home.check(f"the laptop has another address: the flow goes on after {gap:.3f} s", gap < GAP_MAX)
    log = home.client_role.log()
    home.check("the client has noticed by itself", "the network has changed" in log)
    home.wait_until("the path is direct again", lambda: path(home) == "direct", 90)


def survives_a_relay(home):
    home.client_role.stop()
    second = home.start_relay("second", 4434)
    home.wait_until("the connector is bound at both relays",
                    lambda: home.connector.log().count("connector  bound at a relay") == 2)
    home.sign_in("--forward", f"{PORT}={TARGET}")
    home.wait_until("the client knows both relays", lambda: len(home.status()["relays"]) == 2)
    home.wait_until_reached(TARGET)
    flow = Flow(home)
    flow.exchange()
    relays = {relay["id"]: relay["name"] for relay in home.status()["relays"]}
    used = relays[path(home).removeprefix("relayed:")]
    (second if used == "second" else home.relay).kill()
    gap = flow.exchange()
    home.check(f"the relay in use is killed: the flow goes on after {gap:.3f} s", gap < GAP_MAX)
    now = relays.get(path(home).removeprefix("relayed:"))
    home.check("through the other one", now not in (None, used), f"{used}, then {now}")


def story(home):
    home.open()
    home.add_name(house.SERVICE, "echo.internal")
    home.offer("echo", "echo.internal", tcp="7")
    home.serve((house.SERVICE, 7), echo)
    home.sign_in("--forward", f"{PORT}={TARGET}", direct=True)
    becomes_direct(home)
    flow = Flow(home)
    survives_the_path(home, flow)
    survives_roaming(home, flow)
    survives_a_relay(home)


house.tell(story)

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Firewalls that let out TCP 443 and nothing else, before the client, before the connector, and
before both: flows work, over TCP to controller and relay, and `status` and `netcheck` say so. UDP
is let out again under a live flow, and blocked again: the flow moves to UDP and back to TCP. A
relay is killed and started again while TCP is all there is.
"""
import hashlib
import json
import os
import threading

import house

TARGET = "echo.internal:7"
PORT = 10007
RELAY_PORT = CONTROLLER_PORT = 443
# Bounds with room for a busy machine; the figures are printed.
MOVED_WITHIN = 40  # UDP is tried again after some 20 s, then less often.
GAP_MAX = 5.0
BULK_SIZE = 8 << 20

STRICT = """
table inet strict {
  chain out { type filter hook output priority filter; policy drop
    oifname "lo" accept
    ct state established,related accept
    IFTCP
  }
}
"""


def shut(home, host):
    """The host's firewall lets out TCP 443 to the controller and the relay. What it had let through
    before it forgets: UDP that was established is none any more."""
    rules = STRICT.replace("ct state established,related accept",
                           "meta l4proto tcp ct state established,related accept")
    networks = "ip daddr { 10.3.0.0/24, 10.4.0.0/24 } tcp dport 443 accept"
    if host == "connector":
        networks += "\n    ip daddr 10.20.0.0/24 accept"  # Its own private network.
    home.must(host, "nft", "-f", "-", input=rules.replace("IFTCP", networks))


def open_up(home, host):
    home.must(host, "nft", "delete", "table", "inet", "strict")


def relay_of(home):
    relays = home.status()["relays"]
    return relays[0]["by"] if relays else None


def netcheck(home):
    return json.loads(home.client("netcheck", "--json").stdout)


def bulk(home):
    """Echoes some megabytes, and returns whether they came back as they were."""
    sent = os.urandom(BULK_SIZE)
    with home.connect("laptop", ("127.0.0.1", PORT)) as connection:
        writer = threading.Thread(target=connection.sendall, args=(sent,), daemon=True)
        writer.start()
        received = house.receive(connection, BULK_SIZE)
        writer.join()
    return hashlib.sha256(received).digest() == hashlib.sha256(sent).digest()


def works_over_tcp(home, who):
    home.wait_until_reached(TARGET)
    flow = house.EchoFlow(home, "laptop", PORT)
    home.say(f"{who}: a round trip of {flow.exchange() * 1000:.1f} ms")
    home.check(f"{who} behind a firewall that lets out TCP 443 only: a flow works", True)
    home.check(f"{who}: {BULK_SIZE >> 20} MiB come back as they were", bulk(home))


def the_client(home):
    shut(home, "laptop")
    home.sign_in("--forward", f"{PORT}={TARGET}", direct=True)
    works_over_tcp(home, "the client")
    home.check("status --json says that the relay is reached by TCP", relay_of(home) == "TCP")
    text = home.client("status").stdout
    home.check("status says it to people", "TCP (UDP is blocked here)" in text, text)
    connector, = home.status()["connectors"]
    home.check("so does the connector's path", connector["by"] == "TCP" and
               connector["path"].startswith("relayed:"), json.dumps(connector))
    said = netcheck(home)
    home.check("netcheck: UDP is blocked, all works by TCP",
               said["udp_blocked"] and said["working"] and said["controller"]["by"] == "TCP" and
               said["relays"][0]["by"] == "TCP" and "observed" not in said["relays"][0],
               json.dumps(said))
    home.check("and what follows", said["conclusion"].startswith("UDP is blocked here"),
               said["conclusion"])


def udp_comes_and_goes(home):
    flow = house.EchoFlow(home, "laptop", PORT)
    flow.exchange()
    open_up(home, "laptop")
    home.wait_until("the relay is reached by UDP again",
                    lambda: flow.exchange() < GAP_MAX and relay_of(home) == "UDP", 360)
    home.check("UDP is let out again: the live flow has moved there", flow.exchange() < GAP_MAX)
    home.check("the client says so in its log",
               "a relay is reached by UDP again" in home.client_role.log())
    home.wait_until("a direct path is found", lambda: flow.exchange() < GAP_MAX and
                    home.status()["connectors"][0]["path"] == "direct")
    shut(home, "laptop")
    gap = flow.exchange()
    home.check(f"UDP is blocked under the live flow: it goes on after {gap:.3f} s", gap < 10)
    home.wait_until("by TCP", lambda: flow.exchange() < GAP_MAX and relay_of(home) == "TCP")
    flow.exchange()


def both(home):
    shut(home, "connector")
    home.connector.kill()
    home.connector.start()
    home.wait_until("the connector is bound by TCP",
                    lambda: "by=TCP" in home.connector.log().split("connector starts")[-1])
    works_over_tcp(home, "client and connector")
    flow = house.EchoFlow(home, "laptop", PORT)
    flow.exchange()
    home.relay.kill()
    home.relay.start()
    gap = flow.exchange()
    home.check(f"the relay is killed and started again: the flow goes on after {gap:.3f} s",
               gap < 20)


def the_connector(home):
    open_up(home, "laptop")
    home.client_role.stop()
    home.sign_in("--forward", f"{PORT}={TARGET}", direct=True)
    works_over_tcp(home, "the connector")
    home.check("the client is at the relay by UDP", relay_of(home) == "UDP")


def refuses_others(home):
    answer = home.run("laptop", "curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}",
                      f"https://{house.RELAY}/").stdout
    home.check("the relay says 404 to a browser", answer == "404", answer)


def story(home):
    home.open_controller(port=CONTROLLER_PORT)
    home.relay = home.start_relay("relay", RELAY_PORT)
    home.open_connector()
    home.add_name(house.SERVICE, "echo.internal")
    home.offer("echo", "echo.internal", tcp="7")
    home.serve((house.SERVICE, 7), house.echo)
    the_client(home)
    udp_comes_and_goes(home)
    both(home)
    the_connector(home)
    refuses_others(home)


house.tell(story, needs=["curl"])

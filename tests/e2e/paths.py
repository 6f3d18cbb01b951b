#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A live flow and its paths: through the relay first, direct soon, back when that path dies, on
when the laptop changes its address, and over to another relay when the one in use is killed. On the
way, `zt client netcheck` says what the network allows: without a NAT, behind one, and without UDP.
"""
import json

import house

TARGET = "echo.internal:7"
PORT = 10007
# Bounds with room for a busy machine; the figures are printed.
DIRECT_WITHIN = 5.0
GAP_MAX = 3.0
ROAMED = "10.1.0.3"


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


def opens_a_second_relay(home):
    home.client_role.stop()
    second = home.start_relay("second", 4434)
    home.wait_until("the connector is bound at both relays",
                    lambda: home.connector.log().count("connector  bound at a relay") == 2)
    return second


def netcheck(home):
    done = home.client("netcheck", "--json")
    return done.returncode, json.loads(done.stdout)


def are_both_bound(home):
    return [relay["bound"] for relay in netcheck(home)[1]["relays"]] == [True, True]


def says_what_the_network_allows(home):
    home.sign_in(direct=True)
    home.wait_until("the client is bound at both relays", lambda: are_both_bound(home))
    code, said = netcheck(home)
    home.check("netcheck --json: all is well, exit code 0",
               (code, said["working"], said["controller"]["up"]) == (0, True, True), str(said))
    home.check("each relay is bound by IPv4, with a round trip, and sees the laptop itself",
               [(relay["bound"], relay["family"], relay["round_trip_ms"] > 0, relay["observed"])
                for relay in said["relays"]] ==
               [(True, "IPv4", True, f"{ROAMED}:{said['udp_port']}")] * 2, str(said["relays"]))
    home.check("so there is no NAT, and IPv6 leads nowhere",
               (said["ipv4"]["addresses"], said["ipv4"]["mapping"],
                said["ipv4"]["hairpin"], said["ipv6"]["direct_peers"]) ==
               ([ROAMED], "none", "not-needed", "none"), str(said))
    text = home.client("netcheck").stdout
    home.check("netcheck says it to people, and what will happen",
               "no NAT" in text and "direct paths are likely with any peer" in text, text)
    socket = home.control_socket("laptop")
    short = home.run("laptop", home.zt, "netcheck", "--socket", socket).stdout
    home.check("zt netcheck is the same question", "direct paths are likely with any peer" in short,
               short)


def says_what_a_nat_does(home):
    """The internet gives the laptop another port for each destination."""
    home.must("inet", "nft", "-f", "-", input=f"""
table ip nat {{
  chain out {{ type nat hook postrouting priority srcnat
    ip saddr {ROAMED} oifname {{ "relay", "gate" }} masquerade random
  }}
}}""")
    home.client_role.stop()
    home.sign_in(direct=True)
    home.wait_until("the client is bound at both relays", lambda: are_both_bound(home))
    _, said = netcheck(home)
    home.check("two ports of one host see two ports: address and port-dependent mapping",
               (said["ipv4"]["mapping"], said["ipv4"]["direct_peers"]) ==
               ("address-and-port-dependent", "few"), str(said))
    home.check("which limits whom a direct path is likely with",
               "neither symmetric nor port-restricted" in said["conclusion"], said["conclusion"])


def says_who_blocks_udp(home):
    home.client_role.stop()
    home.must("inet", "nft", "-f", "-", input=f"""
delete table ip nat
table ip cut {{
  chain through {{ type filter hook forward priority 0
    ip saddr {ROAMED} oifname "relay" drop
  }}
}}""")
    home.sign_in()
    home.wait_until("no relay has answered", lambda: all(
        relay["reason"] for relay in netcheck(home)[1]["relays"]))
    code, said = netcheck(home)
    home.check("UDP to the relays is blocked: exit code 4, and each relay's reason",
               (code, said["working"], said["controller"]["up"]) == (4, False, True) and
               all("no answer" in relay["reason"] for relay in said["relays"]), str(said))
    home.check("and what must be allowed", f"UDP to {house.RELAY}:" in said["conclusion"],
               said["conclusion"])
    block(home, False)
    home.wait_until("netcheck exits 0 when it is allowed", lambda: netcheck(home)[0] == 0, 60)
    home.check("then it says that the operator keeps flows on relays",
               netcheck(home)[1]["conclusion"].startswith("relayed only"))


def survives_a_relay(home, second):
    home.client_role.stop()
    home.sign_in("--forward", f"{PORT}={TARGET}")
    home.wait_until("the client knows both relays", lambda: len(home.status()["relays"]) == 2)
    home.wait_until_reached(TARGET)
    flow = house.EchoFlow(home, "laptop", PORT)
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
    home.serve((house.SERVICE, 7), house.echo)
    home.sign_in("--forward", f"{PORT}={TARGET}", direct=True)
    becomes_direct(home)
    flow = house.EchoFlow(home, "laptop", PORT)
    survives_the_path(home, flow)
    survives_roaming(home, flow)
    second = opens_a_second_relay(home)
    says_what_the_network_allows(home)
    says_what_a_nat_does(home)
    says_who_blocks_udp(home)
    survives_a_relay(home, second)


house.tell(story)

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A laptop that is 50 ms away from controller, relay and connector: the first flow goes through the
relay, and the path is direct within a second of its first byte.

    laptop ──── impaired_link, 25 ms each way ──── inet …
"""
import os
import pathlib
import time

import house

TARGET = "echo.internal:7"
PORT = 10007
DELAY_MS, LOSS_PER_MILLE, RATE_MBIT, QUEUE_MS = 25, 0, 100, 50
ROUND_TRIP = 2 * DELAY_MS / 1000
DIRECT_WITHIN = 1.0  # Four times what it takes; the figures are printed.
ROUNDS = 3


def move_away(home):
    """Puts the link in the place of the laptop's cable."""
    link = pathlib.Path(os.environ["ZT"]).resolve().parents[1] / "tests" / "e2e" / "impaired_link"
    if not link.exists():
        raise house.StoryError(f"{link} is missing: build the target tests/e2e/impaired_link")
    home.start("inet", "impaired_link", link, *(f"{home.network_prefix}-{host}"
                                                for host in ("laptop", "inet")),
               DELAY_MS, LOSS_PER_MILLE, RATE_MBIT, QUEUE_MS)
    for host, cable, own, peer in (("laptop", "inet", "10.1.0.2", "10.1.0.1"),
                                   ("inet", "laptop", "10.1.0.1", "10.1.0.2")):
        home.wait_until("the link is there", lambda: home.run(
            host, "ip", "link", "show", "dev", "impaired").returncode == 0)
        home.must(host, "ip", "-batch", "-", input=f"""
link set {cable} down
address flush dev {cable}
address add {own} peer {peer} dev impaired
link set impaired up
""")
    home.must("laptop", "ip", "route", "add", "default", "via", "10.1.0.1")


def path(home):
    return next((connector.get("path", "") for connector in home.status()["connectors"]), "")


def becomes_direct_under_a_flow(home):
    """Returns the seconds from the first byte until the path is direct, and an exchange's then."""
    home.sign_in("--forward", f"{PORT}={TARGET}", direct=True)
    flow = house.EchoFlow(home, "laptop", PORT)
    flow.exchange()
    first_byte = time.monotonic()
    home.wait_until("the path is direct", lambda: path(home) == "direct")
    seconds = time.monotonic() - first_byte
    gap = flow.exchange()
    home.client_role.stop()
    return seconds, gap


def becomes_direct_under_a_ping(home):
    """Returns the seconds that ping says, which begin before there is a connection."""
    home.sign_in(direct=True)
    pinged = home.client("ping", "--until-direct", "--timeout", "20", TARGET)
    home.check("ping --until-direct sees a relayed answer first, then a direct one",
               pinged.returncode == 0 and "relayed:rly_" in pinged.stdout.splitlines()[0],
               pinged.stdout + pinged.stderr)
    home.say(pinged.stdout.splitlines()[0])
    home.say(pinged.stdout.splitlines()[-1])
    home.client_role.stop()
    return float(pinged.stdout.split("direct after ")[1].split()[0])


def story(home):
    home.open()
    home.add_name(house.SERVICE, "echo.internal")
    home.offer("echo", "echo.internal", tcp="7")
    home.serve((house.SERVICE, 7), house.echo)
    move_away(home)
    for _ in range(ROUNDS):
        seconds, gap = becomes_direct_under_a_flow(home)
        home.check(f"the path is direct {seconds:.2f} s after the first byte",
                   seconds < DIRECT_WITHIN)
        home.check(f"and 50 ms long: an exchange takes {1000 * gap:.0f} ms", gap >= ROUND_TRIP)
    seconds = becomes_direct_under_a_ping(home)
    home.check(f"with all that comes before the first byte it takes {seconds:.2f} s",
               seconds < DIRECT_WITHIN)


if not pathlib.Path("/dev/net/tun").exists():
    house.skip("this machine has no /dev/net/tun")
house.tell(story)

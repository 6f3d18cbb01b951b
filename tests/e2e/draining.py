#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""SIGTERM: a relay in use and a connector in use end in order, and no flow is lost by it; a second
SIGTERM ends a process at once, and so does the end of --drain-timeout.
"""
import signal
import subprocess
import time

import house

TARGET = "echo.internal:7"
PORT = 10007
# Bounds with room for a busy machine; the figures are printed.
GAP_MAX = 1.0
ENDS_WITHIN = 8.0
AT_ONCE = 3.0


def has_ended(process):
    return process.poll() is not None


def ends(process, within):
    """Returns the exit code, or nothing if the process lives on."""
    try:
        return process.wait(timeout=within)
    except subprocess.TimeoutExpired:
        return None


def used_relay(home):
    relays = {relay["id"]: relay["name"] for relay in home.status()["relays"]}
    path = home.status()["connectors"][0]["path"]
    return relays.get(path.removeprefix("relayed:"))


def is_cut(connection):
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def used_connector(home):
    return next(connector["name"] for connector in home.status()["connectors"]
                if connector["flows"] > 0)


def relay_drains(home, second):
    flow = house.EchoFlow(home, "laptop", PORT)
    flow.exchange()
    used = used_relay(home)
    role = second if used == "second" else home.relay
    started = time.monotonic()
    role.process.terminate()
    gap = 0.0
    while not has_ended(role.process) and time.monotonic() < started + ENDS_WITHIN:
        gap = max(gap, flow.exchange())
    code = ends(role.process, 1)
    seconds = time.monotonic() - started
    home.check(f"the relay in use is told to end: no answer took more than {gap:.3f} s",
               gap < GAP_MAX)
    home.check(f"it ends by itself, empty, after {seconds:.1f} s, with 0",
               code == 0 and "drained" in role.log(), f"{code}: {role.log()[-800:]}")
    home.check("the flow goes on through the other one",
               flow.exchange() < GAP_MAX and used_relay(home) not in (None, used))
    home.check("and new flows open", house.EchoFlow(home, "laptop", PORT).exchange() < GAP_MAX)
    flow.connection.close()
    role.start()
    home.wait_until("it is back, and both ends use it again", lambda: len(
        home.status()["relays"]) == 2)


def connector_drains(home, other):
    flow = house.EchoFlow(home, "laptop", PORT)
    flow.exchange()
    used = used_connector(home)
    role = other if used == "other" else home.connector
    role.process.terminate()
    home.wait_until("the client knows that it drains", lambda: any(
        connector["name"] == used and connector["draining"]
        for connector in home.status()["connectors"]))
    new = house.EchoFlow(home, "laptop", PORT)
    gap = new.exchange()
    home.check(f"a connector is told to end: a new flow goes elsewhere within {gap:.3f} s",
               gap < GAP_MAX and any(connector["name"] != used and connector["flows"] == 1
                                     for connector in home.status()["connectors"]),
               str(home.status()["connectors"]))
    home.check("the live flow goes on, and the process waits for it",
               flow.exchange() < GAP_MAX and not has_ended(role.process))
    flow.connection.close()
    code = ends(role.process, ENDS_WITHIN)
    home.check("when the flow has ended, so does the process, with 0", code == 0,
               f"{code}: {role.log()[-800:]}")
    home.check("the new flow lives", new.exchange() < GAP_MAX)
    new.connection.close()
    role.start()
    home.wait_until_online("connector", used)


def second_signal_ends(home, other):
    """The connector has a live flow: it would wait for long."""
    flow = house.EchoFlow(home, "laptop", PORT)
    flow.exchange()
    role = other if used_connector(home) == "other" else home.connector
    role.process.terminate()
    home.wait_until("it drains", lambda: "draining" in role.log().splitlines()[-1])
    home.check("a connector with a live flow waits", not has_ended(role.process))
    started = time.monotonic()
    role.process.send_signal(signal.SIGINT)
    code = ends(role.process, AT_ONCE)
    home.check(f"a second signal ends it at once: {time.monotonic() - started:.2f} s", code == 0)
    home.check("the application notices", is_cut(flow.connection))


def timeout_ends(home):
    relay = home.start_relay("third", 4435, "--drain-timeout", "1")
    home.wait_until("the client is bound there", lambda: "third" in str(home.status()["relays"]))
    home.relay.kill()
    home.second.kill()
    started = time.monotonic()
    relay.process.terminate()
    code = ends(relay.process, ENDS_WITHIN)
    home.check(f"the only relay ends with its time: {time.monotonic() - started:.1f} s",
               code == 0 and "the time for draining is over" in relay.log(), relay.log()[-800:])


def story(home):
    home.open()
    home.second = home.start_relay("second", 4434)
    home.add_name(house.SERVICE, "echo.internal")
    home.offer("echo", "echo.internal", tcp="7")
    home.serve((house.SERVICE, 7), house.echo)
    home.sign_in("--forward", f"{PORT}={TARGET}")
    home.wait_until("the client knows both relays", lambda: len(home.status()["relays"]) == 2)
    home.wait_until("the connector is bound at both relays",
                    lambda: home.connector.log().count("connector  bound at a relay") == 2)
    home.wait_until_reached(TARGET)
    relay_drains(home, home.second)
    other = home.start_connector("other", "other")
    connector_drains(home, other)
    second_signal_ends(home, other)
    timeout_ends(home)


house.tell(story)

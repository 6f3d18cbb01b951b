#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each role in turn is killed under load, as by a power cut, and started again: what does not need
it goes on, everything works afterwards, and the log has what happened meanwhile. Who is stopped in
good order says so, and others take over at once."""
import collections
import os
import threading
import time

import house

ECHO, COUNTED = 7001, 7002
BLOCK_SIZE = 64 << 10
LOAD_FLOWS = 4
COUNTED_FLOWS = 20
# Seconds from the restart of a role to flows that work. Nodes that have nothing to say to a relay
# find out by their next keep-alive, every ten seconds, that it has lost them.
BACK_WITHIN = {"controller": 5, "relay": 20, "connector": 10, "client": 5}
HANDED_OVER_WITHIN = 5  # Seconds, if the role could say that it ends.


def echo(connection):
    while got := connection.recv(BLOCK_SIZE):
        connection.sendall(got)


class Load:
    """Threads that open flows, send a block back and forth and close them, for ever."""

    def __init__(self, home):
        self.home, self.done, self.failed, self.is_over = home, 0, 0, False
        self.block = os.urandom(BLOCK_SIZE)
        self.lock = threading.Lock()
        for _ in range(LOAD_FLOWS):
            threading.Thread(target=self.run, daemon=True).start()
        home.at_end.callback(self.end)

    def run(self):
        while not self.is_over:
            works = carries(self.home, ECHO, self.block)
            with self.lock:
                self.done += works
                self.failed += not works
            if not works:
                time.sleep(0.05)  # What is refused at once is not asked for in a busy loop.

    def goes_on(self):
        """Waits until flows that begin from here on have worked."""
        seen = self.done + LOAD_FLOWS
        self.home.wait_until("the load goes on", lambda: self.done > seen)

    def end(self):
        self.is_over = True


def carries(home, port, block):
    """Opens a flow and returns whether it brings a block there and back."""
    try:
        with home.connect("laptop", ("127.0.0.1", port), timeout=2) as connection:
            sender = threading.Thread(target=send_quietly, args=(connection, block))
            sender.start()
            got = house.receive(connection, len(block))
            sender.join()
            return got == block
    except OSError:
        return False


def send_quietly(connection, block):
    try:
        connection.sendall(block)
    except OSError:
        pass  # Seen by the reader as well.


class LiveFlow:
    def __init__(self, home):
        self.connection = home.connect("laptop", ("127.0.0.1", ECHO), timeout=2)

    def lives(self):
        try:
            self.connection.sendall(b"still there?")
            return house.receive(self.connection, 12) == b"still there?"
        except OSError:
            return False


def back(home, role, load):
    """Starts a role that was killed, and measures until flows work again."""
    started = time.monotonic()
    role.start()
    home.wait_until("a flow works", lambda: carries(home, ECHO, b"again"), timeout=60)
    load.goes_on()
    seconds = time.monotonic() - started
    limit = BACK_WITHIN[role.name]
    home.check(f"after the {role.name}'s restart flows work within {limit} s: {seconds:.1f} s",
               seconds < limit)


def controller_dies(home, load):
    live = LiveFlow(home)
    home.must("controller", home.zt, "admin", "rule", "create", "last-word", "--subject", "svc:ci",
              "--resource", "echo")
    home.controller.kill()
    home.check("a live flow survives the controller's death", live.lives())
    load.goes_on()
    home.check("new flows open without it, by the grants that are there", all(
        carries(home, COUNTED, b"counted") for _ in range(COUNTED_FLOWS)))
    back(home, home.controller, load)
    home.wait_until_controller_answers()
    home.check("what an administrator was told is done is still done after it",
               any(rule["name"] == "last-word" for rule in home.admin_json("rule", "list")))
    home.check("and the live flow lives", live.lives())
    home.wait_until("the client is connected again", lambda: home.status()["controller"]["up"])
    home.wait_until_online("connector", "gate-house")
    home.admin("rule", "delete", "echo")
    home.check("the new controller's word counts: another rule still allows the flow", live.lives())
    home.admin("rule", "delete", "last-word")
    home.wait_until("the flow is cut", lambda: not live.lives())
    home.admin("rule", "create", "echo", "--subject", "svc:ci", "--resource", "echo")
    home.wait_until("flows work again", lambda: carries(home, ECHO, b"again"))


def relay_dies(home, load):
    live = LiveFlow(home)
    home.check("a flow is alive", live.lives())
    home.relay.kill()
    back(home, home.relay, load)
    home.check("a live flow survives the relay's death and restart", live.lives())


def connector_dies(home, load):
    live = LiveFlow(home)
    home.check("a flow is alive", live.lives())
    home.connector.kill()
    back(home, home.connector, load)
    home.check("the flow that died with the connector has ended on the laptop", not live.lives())


def client_dies(home, load):
    home.client_role.kill()
    back(home, home.client_role, load)
    home.check("it is the same device", len(home.admin_json("device", "list")) == 1)


def connector_leaves(home, load):
    second = home.start_connector("second", "second")
    load.goes_on()
    in_use = home.status()["connectors"][0]["name"]
    started = time.monotonic()
    # It does not wait for the live flows of before.
    code = (home.connector if in_use == "gate-house" else second).stop_at_once()
    home.check("a connector ends with 0 when it is told to", code == 0, str(code))
    load.goes_on()
    seconds = time.monotonic() - started
    names = [connector["name"] for connector in home.status()["connectors"]]
    home.check(f"the other connector takes over within {HANDED_OVER_WITHIN} s: {seconds:.1f} s",
               seconds < HANDED_OVER_WITHIN and in_use not in names, str(names))


def relay_is_restarted(home, load):
    live = LiveFlow(home)
    started = time.monotonic()
    home.relay.stop_at_once()  # There is no other relay that it could wait for.
    home.relay.start()
    load.goes_on()
    seconds = time.monotonic() - started
    home.check(f"a relay is restarted in good order within {HANDED_OVER_WITHIN} s: {seconds:.1f} s",
               seconds < HANDED_OVER_WITHIN)
    home.check("and live flows survive that", live.lives())


def log_is_whole(home):
    def counted():
        events = home.admin_json("events", "--limit", "100000", "--resource", "counted")
        return collections.Counter((event["reporter"], event["event"]) for event in events)

    wanted = COUNTED_FLOWS + 1  # And the one that fetched the grant.
    home.wait_until("the reports of the outage are in the log", lambda: all(
        counted()[(reporter, "closed")] >= wanted for reporter in ("client", "connector")))
    home.check("flows of the controller's absence are in the log, each once from each end",
               all(counted()[(reporter, event)] == wanted for reporter in ("client", "connector")
                   for event in ("opened", "closed")), str(counted()))
    events = home.admin_json("events", "--limit", "100000")
    keys = collections.Counter((event["id"], event["reporter"], event["event"])
                               for event in events)
    home.check(f"none of {len(events)} events is there twice", max(keys.values()) == 1,
               str(keys.most_common(3)))


def story(home):
    home.add_name(house.SERVICE, "echo.internal", "counted.internal")
    home.open()
    home.offer("echo", "echo.internal", tcp=str(ECHO))
    home.offer("counted", "counted.internal", tcp=str(COUNTED))
    home.serve((house.SERVICE, ECHO), echo)
    home.serve((house.SERVICE, COUNTED), echo)
    home.sign_in("--forward", f"{ECHO}=echo.internal:{ECHO}",
                 "--forward", f"{COUNTED}=counted.internal:{COUNTED}")
    home.wait_until("the way is open", lambda: carries(home, ECHO, b"first"))
    home.check("the first counted flow works", carries(home, COUNTED, b"first"))
    load = Load(home)
    load.goes_on()
    controller_dies(home, load)
    log_is_whole(home)
    relay_dies(home, load)
    connector_dies(home, load)
    client_dies(home, load)
    connector_leaves(home, load)
    relay_is_restarted(home, load)
    home.say(f"load: {load.done} flows of {BLOCK_SIZE >> 10} KiB worked, {load.failed} did not")


if __name__ == "__main__":
    house.tell(story)

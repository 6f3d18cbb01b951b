#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clients whose processes stand still for longer than their relay and their controller wait for
them, as when their machines sleep: live flows go on at once, in both directions, and new ones open.
The laptop's flow is direct, the tablet's is relayed; they sleep at the same time.
"""
import signal
import time

import house

TARGET = "echo.internal:7"
PORT = 10007
ASLEEP = 45  # Seconds: above QUIC's idle timeout with relay and controller.
# With room for a busy machine; the figure is printed.
AWAKE_WITHIN = 3.0


class Sleeper:
    """A client, and a flow of it."""

    def __init__(self, home, host, is_direct):
        self.home, self.host, self.expected = home, host, "direct" if is_direct else "relayed"
        home.sign_in("--forward", f"{PORT}={TARGET}", direct=is_direct, host=host)
        self.process = home.client_role.process
        home.wait_until_reached(TARGET, host=host)
        self.wait_for_its_path()
        self.flow = house.EchoFlow(home, host, PORT)
        self.flow.exchange()

    def wait_for_its_path(self):
        self.home.wait_until(f"the path of the {self.host} is {self.expected}", self.is_as_expected)

    def is_as_expected(self):
        path = self.home.status(self.host)["connectors"][0].get("path", "")
        return path.split(":", maxsplit=1)[0] == self.expected

    def fall_asleep(self):
        self.home.check(f"the flow of the {self.host} is {self.expected} when it falls asleep",
                        self.is_as_expected())
        self.process.send_signal(signal.SIGSTOP)
        self.flow.connection.sendall(b"asleep")  # It waits in the client's kernel.

    def wake(self):
        started = time.monotonic()
        self.process.send_signal(signal.SIGCONT)
        answer = house.receive(self.flow.connection, 6)
        seconds = time.monotonic() - started
        self.home.check(f"{self.expected}: after {ASLEEP} s of sleep a flow went on within "
                        f"{seconds:.3f} s", answer == b"asleep" and seconds < AWAKE_WITHIN,
                        repr(answer))
        self.home.check("and lives", self.flow.exchange() < AWAKE_WITHIN)
        gap = house.EchoFlow(self.home, self.host, PORT).exchange()
        self.home.check("new flows open", gap < AWAKE_WITHIN)
        self.wait_for_its_path()
        self.home.check(f"and are {self.expected}", self.flow.exchange() < AWAKE_WITHIN)


def story(home):
    home.open()
    home.add_name(house.SERVICE, "echo.internal")
    home.offer("echo", "echo.internal", tcp="7")
    home.serve((house.SERVICE, 7), house.echo)
    home.add_switch("inet", "10.6.0.1/24")
    home.add_host("tablet", "10.6.0.2/24", "inet", "10.6.0.1")
    sleepers = [Sleeper(home, "laptop", True), Sleeper(home, "tablet", False)]
    for sleeper in sleepers:
        sleeper.fall_asleep()
    time.sleep(ASLEEP)
    for sleeper in sleepers:
        sleeper.wake()


house.tell(story)

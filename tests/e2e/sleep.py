#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A client whose process stands still for longer than its relay and its controller wait for it, as
when its machine sleeps: live flows go on at once, in both directions, and new ones open.
"""
import signal
import time

import house

TARGET = "echo.internal:7"
PORT = 10007
ASLEEP = 45  # Seconds: above QUIC's idle timeout with relay and controller.
# With room for a busy machine; the figure is printed.
AWAKE_WITHIN = 3.0


def sleep(home, *, paths):
    flow = house.EchoFlow(home, "laptop", PORT)
    flow.exchange()
    process = home.client_role.process
    process.send_signal(signal.SIGSTOP)
    flow.connection.sendall(b"asleep")  # It waits in the client's kernel.
    time.sleep(ASLEEP)
    started = time.monotonic()
    process.send_signal(signal.SIGCONT)
    answer = house.receive(flow.connection, 6)
    seconds = time.monotonic() - started
    home.check(f"{paths}: after {ASLEEP} s of sleep a flow went on within {seconds:.3f} s",
               answer == b"asleep" and seconds < AWAKE_WITHIN, repr(answer))
    home.check(f"{paths}: and lives", flow.exchange() < AWAKE_WITHIN)
    gap = house.EchoFlow(home, "laptop", PORT).exchange()
    home.check(f"{paths}: new flows open", gap < AWAKE_WITHIN)
    flow.connection.close()


def story(home):
    home.open()
    home.add_name(house.SERVICE, "echo.internal")
    home.offer("echo", "echo.internal", tcp="7")
    home.serve((house.SERVICE, 7), house.echo)
    home.sign_in("--forward", f"{PORT}={TARGET}")
    home.wait_until_reached(TARGET)
    sleep(home, paths="direct")


house.tell(story)

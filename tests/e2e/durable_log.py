#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Nothing is lost: connector and client are killed while the controller is down, everything is
started again, and the central log has every event, once. A full disk stops nobody."""
import collections
import contextlib
import socket
import subprocess

import house

ECHO = 7001
SHORT_FLOWS = 12


def echo(connection):
    while got := connection.recv(1 << 16):
        connection.sendall(got)


def exchange(connection):
    connection.sendall(b"there and back")
    return connection.recv(14, socket.MSG_WAITALL) == b"there and back"


def live_flow(home):
    connection = home.connect("laptop", ("127.0.0.1", ECHO))
    if not exchange(connection):
        raise house.StoryError("a flow does not work")
    return connection


def short_flow(home):
    with live_flow(home) as connection:
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)


def events(home, resource="echo"):
    return home.admin_json("events", "--limit", "100000", "--resource", resource)


def count(found, reporter, event, reason=""):
    return sum(item["reporter"] == reporter and item["event"] == event and
               item.get("reason", "").startswith(reason) for item in found)


def lines(home, role):
    return (home.work / role / "flows.log").read_text().count("\n")


def all_die(home):
    """Returns how many flows there were, and how many of them were open when their ends died."""
    kept = [live_flow(home)]
    home.wait_until("the log has the first flow", lambda: count(
        events(home), "connector", "opened") == count(events(home), "client", "opened") == 1)
    home.controller.kill()
    for _ in range(SHORT_FLOWS):
        short_flow(home)
    kept.append(live_flow(home))
    # The connector hears of an end when the client's bytes have ended there.
    home.wait_until("both ends have kept what they saw", lambda: all(
        (home.work / role / "flows.log").read_text().count('"event":"closed"') >= SHORT_FLOWS
        for role in ("connector", "client")))
    home.connector.kill()
    home.client_role.kill()
    for connection in kept:
        connection.close()
    return SHORT_FLOWS + len(kept), len(kept)


def all_come_back(home):
    home.connector.start()
    home.client_role.start()
    home.controller.start()
    home.wait_until_controller_answers()
    home.wait_until_signed_in()


def nothing_is_lost(home):
    flow_count, open_count = all_die(home)
    all_come_back(home)
    home.wait_until("the log has the ends", lambda: all(
        count(events(home), reporter, "closed") >= flow_count
        for reporter in ("client", "connector")), timeout=40)
    found = events(home)
    for reporter in ("client", "connector"):
        numbers = [count(found, reporter, "opened"), count(found, reporter, "closed"),
                   count(found, reporter, "closed", f"the {reporter} was restarted")]
        home.check(f"every flow is in the log of the {reporter}: opened, closed, and "
                   f"{open_count} of them by the restart",
                   numbers == [flow_count, flow_count, open_count], str(numbers))
    keys = collections.Counter((item["id"], item["reporter"], item["event"]) for item in found)
    home.check("and each event once", max(keys.values()) == 1, str(keys.most_common(2)))


def what_is_told_needs_no_keeping(home):
    for role in ("connector", "client"):
        file = home.work / role / "flows.log"
        home.check(f"the {role}'s file is its owner's alone", file.stat().st_mode & 0o777 == 0o600)
    home.wait_until_reached(f"echo.internal:{ECHO}", timeout=40)
    told = len(events(home))
    home.connector.kill()
    home.connector.start()
    home.wait_until_online("connector", "gate-house")
    home.wait_until_reached(f"echo.internal:{ECHO}", timeout=40)
    home.wait_until("the flow of the ping is in the log", lambda: len(events(home)) > told)
    home.check("a connector that starts anew has a short file", lines(home, "connector") < 20,
               str(lines(home, "connector")))


def disk_is_full(home):
    """The connector's state is on a file system of its own, which somebody fills."""
    home.connector.kill()
    state = home.work / "connector"
    saved = {file.name: file.read_bytes() for file in state.iterdir()}
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs", state],
                             capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        return home.say(f"no file system to fill: {mounted.stderr.strip()}")
    home.at_end.callback(subprocess.run, ["umount", "--lazy", state], check=False)
    for name, content in saved.items():
        (state / name).write_bytes(content)
        (state / name).chmod(0o600)
    home.connector.start()
    home.wait_until_online("connector", "gate-house")
    home.wait_until_reached(f"echo.internal:{ECHO}", timeout=40)
    with contextlib.suppress(OSError), (state / "filler").open("wb", buffering=0) as filler:
        while filler.write(bytes(512)):
            pass
    told = count(events(home), "connector", "closed")
    for _ in range(SHORT_FLOWS):
        short_flow(home)
    warning = "flow reports cannot be kept"
    home.wait_until("the connector has warned", lambda: warning in home.connector.log())
    home.check("a full disk is told once", home.connector.log().count(warning) == 1)
    home.wait_until("the log has the flows all the same, from both ends", lambda: count(
        events(home), "connector", "closed") == count(
            events(home), "client", "closed") >= told + SHORT_FLOWS)
    home.check("flows go on with a full disk, and are reported", True)
    (state / "filler").unlink()
    home.wait_until("the connector keeps reports again", lambda: "flow reports are kept again"
                    in home.connector.log())
    home.check("when there is space again, reports are kept again", True)


def story(home):
    home.add_name(house.SERVICE, "echo.internal")
    home.open()
    home.offer("echo", "echo.internal", tcp=str(ECHO))
    home.serve((house.SERVICE, ECHO), echo)
    home.sign_in("--forward", f"{ECHO}=echo.internal:{ECHO}")
    home.wait_until("relay and connector are there", lambda: home.status()["relays"])
    nothing_is_lost(home)
    what_is_told_needs_no_keeping(home)
    disk_is_full(home)


if __name__ == "__main__":
    house.tell(story)

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is refused or cannot be reached comes out true: as a reply of SOCKS, as a response of the
HTTP proxy, as an exit code with a sentence; and access that is taken away ends at once."""
import base64
import json
import re
import struct
import subprocess
import threading
import time

import house

SOCKS, HTTP = 1080, 3128
ECHO = 7001
NEVER_DIALLED = 8080
END_WITHIN = 1.0  # Seconds from the administrator's command to the end of a live flow.

# target, reply of SOCKS5 (RFC 1928), status and error (RFC 9209) of the proxy, exit code, words
REFUSALS = [
    ("web.internal:81", 5, 502, "connection_refused", 4, "refused the connection"),
    ("web.internal:99", 2, 403, "http_request_denied", 3, "does not offer tcp port 99"),
    ("nothing.internal:80", 2, 403, "http_request_denied", 3, "ask an administrator"),
    ("unruled.internal:80", 2, 403, "http_request_denied", 3, "ask an administrator"),
    ("mixed.internal:443", 2, 403, "http_request_denied", 3, '"nobody-443" denies'),
    ("missing.dev.internal:80", 4, 502, "dns_error", 4, "missing.dev.internal"),
    ("lost.internal:80", 3, 502, "destination_unavailable", 4, "lost.internal:80"),
    ("loop.internal:8080", 2, 403, "http_request_denied", 3, "a loopback address"),
    ("loop6.internal:8080", 2, 403, "http_request_denied", 3, "a loopback address"),
    ("metadata.internal:8080", 2, 403, "http_request_denied", 3, "a cloud metadata service"),
    ("itself.internal:8080", 2, 403, "http_request_denied", 3, "of the connector itself"),
    ("disguise.internal:8080", 2, 403, "http_request_denied", 3, "a loopback address"),
    ("nowhere.internal:8080", 2, 403, "http_request_denied", 3, "the unspecified address"),
]
PROHIBITED = {  # Where the names of somebody who means harm may point.
    "loop": "127.0.0.1", "loop6": "::1", "disguise": "::ffff:127.0.0.1",
    "metadata": "169.254.169.254", "itself": house.CONNECTOR, "nowhere": "0.0.0.0",
}


def socks_reply(home, target):
    """Asks the SOCKS server for a target by name, and returns the code that it answers."""
    host, port = target.split(":")
    with home.connect("laptop", ("127.0.0.1", SOCKS)) as connection:
        connection.sendall(b"\x05\x01\x00")
        house.receive(connection, 2)
        connection.sendall(b"\x05\x01\x00\x03" + bytes([len(host)]) + host.encode() +
                           struct.pack("!H", int(port)))
        return connection.makefile("rb").read(10)[1]


def proxy_answer(home, target):
    """Asks the HTTP proxy to CONNECT, and returns status, type of error and everything it said."""
    with home.connect("laptop", ("127.0.0.1", HTTP)) as connection:
        connection.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        said = connection.makefile("rb").read().decode()
    error = re.search(r"(?im)^proxy-status: zt-client; ?error=([a-z_]+)", said)
    return int(said.split()[1]), error and error[1], said


def refusals(home):
    for target, reply, status, error, code, words in REFUSALS:
        connected = home.client("connect", target)
        home.check(f"connect to {target} exits {code} and says: {words}",
                   connected.returncode == code and words in connected.stderr,
                   f"{connected.returncode}: {connected.stderr}")
        actual = socks_reply(home, target)
        home.check(f"SOCKS5 to {target} is answered with {reply}", actual == reply, str(actual))
        actual_status, actual_error, said = proxy_answer(home, target)
        home.check(f"CONNECT to {target} is answered with {status}, {error} and the words",
                   (actual_status, actual_error) == (status, error) and words in said, said)


def make_resources(home):
    home.add_name(house.SERVICE, "echo.internal", "mixed.internal", "unruled.internal")
    home.add_name("10.99.99.99", "lost.internal")  # Which no router knows.
    for name, address in PROHIBITED.items():
        home.add_name(address, f"{name}.internal")
        home.offer(name, f"{name}.internal", tcp=str(NEVER_DIALLED))
    home.offer("web", "web.internal", tcp="80-90")
    home.offer("echo", "echo.internal", tcp=str(ECHO))
    home.offer("unruled", "unruled.internal", tcp="80", rule=False)
    home.offer("dev", "*.dev.internal", tcp="80")
    home.offer("lost", "lost.internal", tcp="80")
    home.offer("mixed", "mixed.internal", tcp="80,443")
    home.admin("rule", "create", "nobody-443", "--deny", "--subject", home.subject(),
               "--resource", "mixed", "--tcp", "443")


def echo(connection):
    while got := connection.recv(1 << 16):
        connection.sendall(got)


def live_flow(home):
    connection = home.connect("laptop", ("127.0.0.1", ECHO))
    connection.sendall(b"alive")
    home.check("a flow is alive", house.receive(connection, 5) == b"alive")
    return connection


def seconds_to_end(connection, act):
    """Does `act`, and returns how long after its beginning the connection has ended."""
    ended = []

    def watch():
        try:
            while connection.recv(1 << 16):
                pass
        except OSError:
            pass  # A reset is an end.
        ended.append(time.monotonic())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    started = time.monotonic()
    act()
    watcher.join(timeout=20)
    return ended[0] - started if ended else None


def cut(home, what, act):
    with live_flow(home) as connection:
        seconds = seconds_to_end(connection, act)
    home.check(f"{what} cuts the live flow within {END_WITHIN:g} s: "
               f"{'never' if seconds is None else f'{seconds * 1000:.0f} ms'}",
               seconds is not None and seconds < END_WITHIN)


def is_denied(home):
    refused = home.client("connect", f"echo.internal:{ECHO}")
    home.check("the next flow is denied", refused.returncode == 3, refused.stderr)


def revocations(home):
    cut(home, "deleting the rule", lambda: home.admin("rule", "delete", "echo"))
    is_denied(home)
    home.wait_until("the central log says why the flow ended", lambda: any(
        event["reporter"] == "connector" and "revoked" in event["reason"]
        for event in home.admin_json("events", "--resource", "echo", "--event", "closed")))
    home.check("the central log says why it ended", True)

    home.admin("rule", "create", "echo", "--subject", "svc:ci", "--resource", "echo")
    home.wait_until_reached(f"echo.internal:{ECHO}")
    cut(home, "disabling the resource", lambda: home.admin("resource", "disable", "echo"))
    is_denied(home)
    home.admin("resource", "enable", "echo")
    home.wait_until_reached(f"echo.internal:{ECHO}")

    key = home.admin_json("service-account", "keys", "ci")[0]["id"]
    cut(home, "revoking the client's key",
        lambda: home.admin("service-account", "revoke-key", "ci", key))
    code = home.client_role.process.wait(timeout=house.PATIENCE)
    home.check("the client whose key was revoked exits 3", code == 3, str(code))
    again = home.run("laptop", *home.client_role.command)
    home.check("a client that starts with a revoked key exits 3 and says so",
               again.returncode == 3 and "revoked" in again.stderr,
               f"{again.returncode}: {again.stderr}")


def changed(token, member):
    """Returns the token with another first letter of one member."""
    content = token.removeprefix("zt1.")
    content = json.loads(base64.urlsafe_b64decode(content + "=" * (-len(content) % 4)))
    content[member] = ("B" if content[member][0] == "A" else "A") + content[member][1:]
    return "zt1." + base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def enrolment(home):
    def enrol(name, token):
        return home.run("connector", home.zt, "connector", "--state", home.work / name,
                        "--token-file", "-", input=token)

    used = (home.work / "connector.token").read_text()
    home.admin("connector", "token", "office", "--expires", "1s", "--out", home.work / "short")
    fresh = home.admin("connector", "token", "office").strip()
    tries = {"used": (used, "is used up"), "unknown": (changed(fresh, "s"), "is not known here")}
    for name, (token, words) in tries.items():
        done = enrol(name, token)
        home.check(f"an enrolment token that {words} is refused with exit code 3",
                   done.returncode == 3 and words in done.stderr, done.stderr)
    expires = time.monotonic() + 1  # Nothing can be asked for that; this is what the token says.
    time.sleep(max(0.0, expires - time.monotonic()))
    done = enrol("expired", (home.work / "short").read_text())
    home.check("an enrolment token that has expired is refused with exit code 3",
               done.returncode == 3 and "expired" in done.stderr, done.stderr)

    done = home.run("connector", home.zt, "relay", "serve", "--state", home.work / "other",
                    "--token-file", "-", input=fresh)
    home.check("a connector's token does not enrol a relay: exit code 2",
               done.returncode == 2 and "enrols a connector" in done.stderr, done.stderr)

    process = home.start("connector", "wrong-pin", home.zt, "connector", "--state",
                         home.work / "pin", "--token-file", "-", stdin=subprocess.PIPE)
    process.stdin.write(changed(fresh, "p").encode())
    process.stdin.close()
    log = home.logs / "wrong-pin.log"
    home.wait_until("the connector says that it is not the right controller",
                    lambda: "certificate is not the one demanded" in log.read_text())
    nodes = home.admin_json("connector", "list")
    home.check("with another controller's pin nothing is enrolled, and the token is not spent",
               len(nodes) == 1 and any(token["uses_left"] == 1 for token in
                                       home.admin_json("enrolment-token", "list")), str(nodes))


def nobody_there(home):
    code = home.client("status").returncode
    home.check("without a client, its commands exit 4", code == 4, str(code))
    home.controller.stop()
    done = home.run("controller", home.zt, "admin", "rule", "list")
    home.check("without a controller, admin exits 4", done.returncode == 4, done.stderr)


def story(home):
    home.open()
    make_resources(home)
    dialled = []
    home.serve(("0.0.0.0", NEVER_DIALLED), dialled.append, host="connector")
    home.serve((house.SERVICE, ECHO), echo)
    home.sign_in("--socks", str(SOCKS), "--http-proxy", str(HTTP),
                 "--forward", f"{ECHO}=echo.internal:{ECHO}")
    home.wait_until_reached(f"echo.internal:{ECHO}")
    refusals(home)
    home.check("nobody has dialled the connector's own machine", not dialled, str(dialled))
    revocations(home)
    enrolment(home)
    nobody_there(home)


if __name__ == "__main__":
    house.tell(story)

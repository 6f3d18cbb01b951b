#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The relay cannot read: what flows through it is nowhere in its memory, its files, its logs or on
its wire, while the same search finds it at both ends."""
import os
import pathlib
import re
import socket
import threading

import house

PORT = 7001
CANARY_SIZE = 32
ROUNDS = 200
ETH_P_ALL = 3
SO_RCVBUFFORCE = 33  # Which Python does not name.
PIECE_SIZE = 16 << 20


class Capture:
    """Everything that passes one interface of one host, as tcpdump would see it."""

    def __init__(self, home, host, interface):
        with home.inside(host):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                                        socket.htons(ETH_P_ALL))
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
            self.socket.bind((interface, 0))
        self.socket.settimeout(0.2)
        self.bytes = bytearray()
        self.is_done = False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while True:
            try:
                self.bytes += self.socket.recv(1 << 16)
            except TimeoutError:
                if self.is_done:  # And nothing is left in the socket.
                    return

    def stop(self):
        self.is_done = True
        self.thread.join()
        self.socket.close()
        return bytes(self.bytes)


def memory_regions(pid):
    """Yields every readable piece of a process's memory."""
    maps = pathlib.Path(f"/proc/{pid}/maps").read_text()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for start, end in re.findall(r"^([0-9a-f]+)-([0-9a-f]+) r", maps, re.MULTILINE):
            at, end = int(start, 16), int(end, 16)
            overlap = b""
            while at < end:
                try:
                    memory.seek(at)
                    piece = memory.read(min(PIECE_SIZE, end - at))
                except (OSError, OverflowError):
                    break  # The kernel's own pages, [vvar] and [vsyscall].
                yield overlap + piece
                overlap, at = piece[-2 * CANARY_SIZE:], at + len(piece)


class Sought:
    """What must not be found, in the forms in which text may show it."""

    def __init__(self, canary):
        self.forms = (canary, canary.hex().encode(), canary.hex().upper().encode())

    def in_bytes(self, content):
        return any(form in content for form in self.forms)

    def in_memory(self, pid):
        return any(self.in_bytes(piece) for piece in memory_regions(pid))

    def in_files(self, place):
        return any(self.in_bytes(path.read_bytes())
                   for path in pathlib.Path(place).rglob("*") if path.is_file())


def story(home):
    home.open_controller()
    home.open_relay("--log-level", "trace")  # Let it say all that it can say.
    home.open_connector()
    name = f"{os.urandom(8).hex()}.internal"
    home.add_name(house.SERVICE, name)
    home.offer("echo", name, tcp=str(PORT), udp=str(PORT))
    home.sign_in("--forward", f"{PORT}={name}:{PORT}", "--forward", f"udp:{PORT}={name}:{PORT}")
    up, down = os.urandom(CANARY_SIZE), os.urandom(CANARY_SIZE)
    asked, answered, named = Sought(up), Sought(down), Sought(name.encode())

    def answer(connection):
        while house.receive(connection, CANARY_SIZE) == up:
            connection.sendall(down)

    home.serve((house.SERVICE, PORT), answer)
    service = home.udp("service", (house.SERVICE, PORT))
    threading.Thread(target=answer_datagrams, args=(service, up, down), daemon=True).start()
    home.wait_until_reached(f"{name}:{PORT}")

    at_relay = Capture(home, "relay", "inet")
    at_service = Capture(home, "service", "gate")
    with home.connect("laptop", ("127.0.0.1", PORT)) as connection:
        asker = home.udp("laptop")
        replies = 0
        for _ in range(ROUNDS):
            connection.sendall(up)
            replies += house.receive(connection, CANARY_SIZE) == down
            asker.sendto(up, ("127.0.0.1", PORT))
            replies += asker.recv(CANARY_SIZE) == down
        home.check("the canary went up and another came down, by TCP and UDP",
                   replies == 2 * ROUNDS, f"{replies} of {2 * ROUNDS}")
        look_into_memory(home, asked, answered, named)  # While the flows live.
    wire, plain = at_relay.stop(), at_service.stop()
    home.say(f"captured {len(wire)} bytes at the relay and {len(plain)} at the service")
    home.check("a capture at the service shows both canaries: the search can find them",
               asked.in_bytes(plain) and answered.in_bytes(plain))
    home.check("a capture at the relay shows the flow's packets",
               len(wire) > 4 * ROUNDS * CANARY_SIZE)
    secrets = (asked, answered, named)
    home.check("a capture at the relay shows neither canary nor the target's name",
               not any(sought.in_bytes(wire) for sought in secrets))
    log, files = home.logs / "relay.log", home.work / "relay"
    home.check("the relay's log and files were really read", log.stat().st_size > 0 and
               Sought(b"PRIVATE KEY").in_files(files))
    home.check("the relay's log and files show none of them", not any(
        sought.in_bytes(log.read_bytes()) or sought.in_files(files) for sought in secrets))


def look_into_memory(home, asked, answered, named):
    def finds(role, *sought):
        return [one.in_memory(role.pid) for one in sought]

    home.check("the client's memory holds canaries and target: the search can find them",
               all(finds(home.client_role, asked, answered, named)))
    home.check("the connector's memory holds them as well",
               all(finds(home.connector, asked, answered, named)))
    home.check("the relay's memory was really read: it holds the path of its state",
               all(finds(home.relay, Sought(f"{home.work}/relay".encode()))))
    home.check("the relay's memory holds neither canary nor the target's name",
               not any(finds(home.relay, asked, answered, named)))
    home.check("the controller's memory holds neither canary, but knows the name",
               finds(home.controller, asked, answered, named) == [False, False, True])


def answer_datagrams(service, up, down):
    service.settimeout(None)
    while True:
        asked, asker = service.recvfrom(2048)
        if asked == up:
            service.sendto(down, asker)


if __name__ == "__main__":
    house.tell(story)

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""UDP through a forward and through SOCKS5 UDP ASSOCIATE: real DNS, datagrams of all sizes, and
replies that come to who asked."""
import concurrent.futures
import os
import socket
import struct
import threading
from errno import EMSGSIZE

import house

ECHO, DNS = 7001, 53
FORWARDED_ECHO, FORWARDED_DNS, SOCKS = 17001, 15353, 1080
SIZE_MAX = 1200
ASKERS = 4
TEXT = "x" * 250  # Of a record; four of them make an answer of more than a kilobyte.


def start_echo(home):
    """Answers each datagram with itself, backwards."""
    service = home.udp("service", (house.SERVICE, ECHO), timeout=None)

    def answer():
        while True:
            asked, asker = service.recvfrom(1 << 16)
            service.sendto(asked[::-1], asker)

    threading.Thread(target=answer, daemon=True).start()


def start_dns(home):
    home.start("service", "dnsmasq", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null",
               "--no-resolv", "--no-hosts", "--user=root", "--pid-file=", "--edns-packet-max=1232",
               f"--listen-address={house.SERVICE}", "--bind-interfaces", f"--port={DNS}",
               "--host-record=answer.example,10.9.8.7",
               f"--txt-record=long.example,{','.join([TEXT] * 4)}")
    home.wait_until("dnsmasq answers", lambda: "10.9.8.7" in dig(
        home, "answer.example", "A", host="service", server=house.SERVICE, port=DNS))


def dig(home, name, kind, host="laptop", server="127.0.0.1", port=FORWARDED_DNS):
    return home.run(host, "dig", "+short", "+notcp", "+ignore", "+time=5", "+tries=1",
                    "+bufsize=1232", f"@{server}", "-p", port, name, kind).stdout


def ask_all_sizes(home):
    """Sends datagrams of each size, one at a time; returns how many were answered rightly."""
    with home.udp("laptop", timeout=2) as asker:
        asker.connect(("127.0.0.1", FORWARDED_ECHO))
        answered = 0
        for size in range(1, SIZE_MAX + 1):
            question = os.urandom(size)
            asker.send(question)
            try:
                answered += asker.recv(1 << 16) == question[::-1]
            except TimeoutError:
                continue
        return answered


def through_forward(home):
    home.check("dig gets an answer of a real DNS server",
               dig(home, "answer.example", "A") == "10.9.8.7\n")
    long = dig(home, "long.example", "TXT")
    home.check("dig gets an answer of more than a kilobyte, by UDP", long.count(TEXT) == 4, long)
    with concurrent.futures.ThreadPoolExecutor(ASKERS) as pool:
        counts = list(pool.map(ask_all_sizes, [home] * ASKERS))
    home.check(f"{ASKERS} askers at once get each its own answers, of 1 to {SIZE_MAX} bytes",
               counts == [SIZE_MAX] * ASKERS, f"{counts} of {SIZE_MAX} each")

    with home.udp("laptop", timeout=5) as asker:
        asker.connect(("127.0.0.1", FORWARDED_ECHO))
        asker.send(b"")
        home.check("an empty datagram is a datagram", asker.recv(1 << 16) == b"")
        asker.send(os.urandom(8000))
        try:
            told = asker.recv(1 << 16)
        except OSError as error:
            told = error.errno
        home.check("one that fits no packet is lost, and its sender is told", told == EMSGSIZE)
        asker.send(b"after")
        home.check("the flow goes on", asker.recv(1 << 16) == b"retfa")


class Association:
    """A small SOCKS5 client, for UDP (RFC 1928 section 7)."""

    def __init__(self, home):
        self.control = home.connect("laptop", ("127.0.0.1", SOCKS))
        self.control.sendall(b"\x05\x01\x00")
        method = house.receive(self.control, 2)
        self.control.sendall(b"\x05\x03\x00\x01" + bytes(6))
        version, reply, _, kind, *ip = house.receive(self.control, 8)
        port, = struct.unpack("!H", house.receive(self.control, 2))
        self.is_open = (method, version, reply, kind) == (b"\x05\x00", 5, 0, 1)
        self.address = (".".join(map(str, ip)), port)
        self.socket = home.udp("laptop", timeout=5)

    def send(self, name, port, payload):
        head = b"\x00\x00\x00\x03" + bytes([len(name)]) + name.encode() + struct.pack("!H", port)
        self.socket.sendto(head + payload, self.address)

    def receive(self):
        """Returns name, port and payload of the next datagram."""
        got = self.socket.recv(1 << 16)
        if got[:4] != b"\x00\x00\x00\x03":
            raise house.StoryError(f"not a datagram from a name: {got[:16].hex()}")
        end = 5 + got[4]
        return got[5:end].decode(), *struct.unpack("!H", got[end:end + 2]), got[end + 2:]


def through_socks(home):
    one, other = Association(home), Association(home)
    home.check("SOCKS5 opens an association for UDP, for each who asks",
               one.is_open and other.is_open and one.address != other.address,
               f"{one.address} {other.address}")
    answered = 0
    for size in range(1, SIZE_MAX + 1, 50):
        questions = [os.urandom(size) for _ in range(2)]
        for association, question in zip((one, other), questions):
            association.send("echo.internal", ECHO, question)
        answered += all(association.receive() == ("echo.internal", ECHO, question[::-1])
                        for association, question in zip((one, other), questions))
    home.check("two associations get each its own answers",
               answered == len(range(1, SIZE_MAX + 1, 50)), f"{answered}")

    query = b"\x12\x34\x01\x00\x00\x01" + bytes(6) + b"\x06answer\x07example\x00\x00\x01\x00\x01"
    one.send("dns.internal", DNS, query)
    one.send("echo.internal", ECHO, b"beside it")
    got = {name: payload for name, _, payload in (one.receive(), one.receive())}
    home.check("one association reaches two services, and each answer says whose it is",
               got.get("echo.internal") == b"ti ediseb" and
               got.get("dns.internal", b"").endswith(bytes([10, 9, 8, 7])), str(got))

    one.send("echo.internal", ECHO + 1, b"to a port that is not offered")
    home.wait_until("the refusal is in the client's log", lambda: f"port {ECHO + 1}" in
                    home.client_role.log())
    with home.udp("laptop") as stranger:
        stranger.sendto(b"\x00\x00\x00\x03\x0decho.internal" + struct.pack("!H", ECHO) + b"forged",
                        one.address)
    one.send("echo.internal", ECHO, b"mine")
    home.check("what is refused is in the log, what a stranger sends is dropped, and the rest "
               "goes on", one.receive() == ("echo.internal", ECHO, b"enim"))

    one.control.close()
    home.wait_until("the association's port is closed",
                    lambda: f":{one.address[1]} " not in home.must("laptop", "ss", "-Hnul"))
    other.send("echo.internal", ECHO, b"still")
    home.check("the end of the TCP connection ends its association, and no other's",
               other.receive() == ("echo.internal", ECHO, b"llits"))


def story(home):
    home.add_name(house.SERVICE, "echo.internal", "dns.internal")
    home.open()
    start_echo(home)
    start_dns(home)
    home.offer("echo", "echo.internal", udp=str(ECHO))
    home.offer("dns", "dns.internal", udp=str(DNS))
    home.sign_in("--socks", str(SOCKS), "--forward",
                 f"udp:{FORWARDED_ECHO}=echo.internal:{ECHO}", "--forward",
                 f"udp:127.0.0.1:{FORWARDED_DNS}=dns.internal:{DNS}")
    home.wait_until("the way is open", lambda: dig(home, "answer.example", "A"))
    through_forward(home)
    through_socks(home)
    events = home.wait_until("the log has a UDP flow", lambda: [
        event for event in home.admin_json("events") if event["protocol"] == "udp"
        and event["event"] == "closed"])
    home.check("the central log counts bytes of UDP in both directions",
               all(event["bytes_up"] and event["bytes_down"] for event in events), str(events[:1]))


if __name__ == "__main__":
    house.tell(story, needs=["dig", "dnsmasq", "ss"])

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""UDP datagrams that do not fit the path: whoever sent one is told by ICMP what fits, as by a
router. An application before a forwarded port and before SOCKS5, and a service behind the
connector; on a narrow path, too, and not without the privilege."""
import errno
import os
import socket
import struct
import threading

import house

ECHO, BIG = 7001, 7002
FORWARDED_ECHO, FORWARDED_BIG, SOCKS = 17001, 17002, 1080
ECHO_AT, BIG_AT = "127.0.0.1", "127.0.0.2"
UNDERLAY, NARROW = 1500, 1280
TOO_LARGE = bytes(9000)
HEADERS = 28    # Of IPv4 and UDP.
PATIENCE = 2.0  # For one answer. A datagram may be lost, and answers are so many a second.
IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_MTU = 10, 2, 14


def connected(home, host, remote, local=None):
    """Returns a UDP socket that lets nobody fragment."""
    made = home.udp(host, timeout=PATIENCE)
    made.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if local:
        made.bind(local)
    made.connect(remote)
    return made


def start_echo(home):
    service = home.udp("service", (house.SERVICE, ECHO), timeout=None)

    def answer():
        while True:
            service.sendto(*service.recvfrom(1 << 16))

    threading.Thread(target=answer, daemon=True).start()


def is_told(sender, payload):
    """Sends a datagram, and returns whether the next call fails because it was too large."""
    try:
        sender.send(payload)
        sender.recv(1 << 16)
    except OSError as error:
        return error.errno == errno.EMSGSIZE
    return False


def is_answered(sender, payload):
    """Sends a datagram, and returns whether it comes back, behind whatever header."""
    try:
        sender.send(payload)
        return sender.recv(1 << 16).endswith(payload[-1000:])
    except TimeoutError:
        return False


def learnt_mtu(sender):
    return sender.getsockopt(socket.IPPROTO_IP, IP_MTU)


def learns(home, sender, who, payload):
    """Waits until the sender is told that the payload is too large; returns the MTU it learns."""
    home.wait_until(f"{who} gets EMSGSIZE", lambda: is_told(sender, payload))
    return learnt_mtu(sender)


def check_route(home, host, address, mtu):
    route = home.must(host, "ip", "route", "get", address)
    home.check(f"the {host}'s route says so", f"mtu {mtu}" in route, route)


def check_what_fits(home, sender, mtu, header=b""):
    payload = header + os.urandom(mtu - HEADERS - len(header))
    home.wait_until("what fits is answered", lambda: is_answered(sender, payload))
    home.check("what its kernel lets pass is carried and answered", True)


def tells_an_application(home):
    with connected(home, "laptop", (ECHO_AT, FORWARDED_ECHO)) as sender:
        mtu = learns(home, sender, "an application", TOO_LARGE)
        home.check(f"an application that sends too much gets EMSGSIZE and learns {mtu}",
                   UNDERLAY - 200 < mtu < UNDERLAY)
        check_what_fits(home, sender, mtu)
        home.check("its kernel keeps one byte more back",
                   is_told(sender, bytes(mtu - HEADERS + 1)))
        check_route(home, "laptop", ECHO_AT, mtu)
    return mtu


def tells_an_application_before_socks(home, mtu):
    """What it sends has a SOCKS header, which takes no room in the flow."""
    forget(home)  # For the port of SOCKS is on an address of which less is known.
    control = home.connect("laptop", ("127.0.0.1", SOCKS))
    control.sendall(b"\x05\x01\x00\x05\x03\x00\x01" + bytes(6))
    port, = struct.unpack("!H", house.receive(control, 2 + 10)[-2:])
    name = b"echo.internal"
    header = b"\x00\x00\x00\x03" + bytes([len(name)]) + name + struct.pack("!H", ECHO)
    with control, connected(home, "laptop", ("127.0.0.1", port)) as sender:
        learnt = learns(home, sender, "it", header + TOO_LARGE)
        home.check(f"before SOCKS it learns {learnt}, for it is told of its own packets",
                   abs(learnt - mtu - len(header)) < 8, f"{mtu} and {len(header)}")
        check_what_fits(home, sender, learnt, header)


def tells_a_service(home, mtu):
    """The service's own network is as narrow as the underlay, so the least excess must do."""
    service = home.udp("service", timeout=PATIENCE)
    service.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    service.bind((house.SERVICE, BIG))
    asker = home.udp("laptop", timeout=PATIENCE)
    asker.connect((BIG_AT, FORWARDED_BIG))

    def ask():
        asker.send(b"much, please")
        try:
            return service.recvfrom(1 << 16)[1]
        except TimeoutError:
            return None

    with service, asker:
        connector = home.wait_until("the service is asked", ask)
        with connected(home, "service", connector, (house.SERVICE, BIG)) as sender:
            learnt = learns(home, sender, "a service", bytes(UNDERLAY - HEADERS))
            home.check(f"a service that answers too much gets EMSGSIZE and learns {learnt}",
                       abs(learnt - mtu) < 8, f"{mtu}")
            answer = os.urandom(learnt - HEADERS)

            def is_received():
                sender.send(answer)
                try:
                    return asker.recv(1 << 16) == answer
                except TimeoutError:
                    return False

            home.wait_until("the answer is received", is_received)
            home.check("an answer that its kernel lets pass is received", True)
            check_route(home, "service", connector[0], learnt)


def forget(home):
    for host in ("laptop", "service"):
        home.must(host, "ip", "route", "flush", "cache")


def tells_of_a_narrow_path(home):
    home.client_role.stop()
    forget(home)
    for host, device in (("inet", "relay"), ("relay", "inet")):
        home.must(host, "ip", "link", "set", "dev", device, "mtu", NARROW)
    sign_in(home)
    with connected(home, "laptop", (ECHO_AT, FORWARDED_ECHO)) as sender:
        mtu = learns(home, sender, "an application", TOO_LARGE)
        home.check(f"where {NARROW} bytes pass, an application learns {mtu}",
                   NARROW - 150 < mtu < NARROW)
        check_what_fits(home, sender, mtu)


def restart_with(home, command, capabilities):
    """Restarts the client with these capabilities, in the words of setpriv(1)."""
    home.client_role.stop()
    forget(home)
    home.client_role.command = ["setpriv", "--bounding-set", capabilities, "--", *command]
    home.client_role.start()
    home.wait_until_signed_in()


def needs_one_privilege(home):
    command = home.client_role.command
    restart_with(home, command, "-all,+net_raw")
    with connected(home, "laptop", (ECHO_AT, FORWARDED_ECHO)) as sender:
        home.wait_until("an application gets EMSGSIZE", lambda: is_told(sender, TOO_LARGE))
        home.check("CAP_NET_RAW is all that it takes", True)
    restart_with(home, command, "-net_raw")
    with connected(home, "laptop", (ECHO_AT, FORWARDED_ECHO)) as sender:
        home.wait_until("the log says that nobody is told", lambda: is_told(sender, TOO_LARGE) or
                        "CAP_NET_RAW" in home.client_role.log())
        is_told(sender, TOO_LARGE)
        home.check("without CAP_NET_RAW nobody is told, the log says so once, and the flow goes on",
                   is_answered(sender, bytes(1000)) and learnt_mtu(sender) > len(TOO_LARGE) and
                   home.client_role.log().count("CAP_NET_RAW") == 1)


def sign_in(home):
    home.sign_in("--socks", str(SOCKS),
                 "--forward", f"udp:{ECHO_AT}:{FORWARDED_ECHO}=echo.internal:{ECHO}",
                 "--forward", f"udp:{BIG_AT}:{FORWARDED_BIG}=big.internal:{BIG}")


def story(home):
    home.add_name(house.SERVICE, "echo.internal", "big.internal")
    home.open()
    start_echo(home)
    home.offer("echo", "echo.internal", udp=str(ECHO))
    home.offer("big", "big.internal", udp=str(BIG))
    sign_in(home)
    mtu = tells_an_application(home)
    tells_an_application_before_socks(home, mtu)
    tells_a_service(home, mtu)
    tells_of_a_narrow_path(home)
    needs_one_privilege(home)


if __name__ == "__main__":
    house.tell(story, needs=["setpriv"])

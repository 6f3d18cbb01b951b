#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""1 GiB each way at once arrives unharmed, half-close is faithful, and a reader that stops costs
nobody memory."""
import concurrent.futures
import contextlib
import hashlib
import os
import queue
import select
import socket
import threading
import time

import house

SIZE = 1 << 30
BLOCK_SIZE = 1 << 20
GROWTH_MAX_KIB = 64 << 10
STALLED_FOR = 1.0  # Seconds without room after which a sender counts as blocked.
PORTS = range(7001, 7008)
ECHO, BULK, LAPTOP_FIRST, SERVICE_FIRST, STALLS, FLOODS, FLOODS_MANY = PORTS
STALLED_COUNT = 8  # Their windows together are more than the connection has for all.


def blocks(seed, size=SIZE):
    """Yields a stream of random blocks, each different by its number."""
    body = seed + os.urandom(BLOCK_SIZE - 8 - len(seed))
    for number in range(size // BLOCK_SIZE):
        yield number.to_bytes(8, "big") + body


def send(connection, stream):
    """Sends a stream to its end and half-closes; returns the digest."""
    digest = hashlib.sha256()
    for block in stream:
        connection.sendall(block)
        digest.update(block)
    connection.shutdown(socket.SHUT_WR)
    return digest.hexdigest()


def receive(connection):
    """Receives to the end of the stream; returns size and digest."""
    digest, size, buffer = hashlib.sha256(), 0, bytearray(BLOCK_SIZE)
    while got := connection.recv_into(buffer):
        digest.update(memoryview(buffer)[:got])
        size += got
    return size, digest.hexdigest()


def both_ways(connection, seed):
    connection.settimeout(60)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        sent = pool.submit(send, connection, blocks(seed))
        received = pool.submit(receive, connection)
        return sent.result(), received.result()


def bulk(home):
    service = concurrent.futures.Future()
    home.serve((house.SERVICE, BULK),
               lambda connection: service.set_result(both_ways(connection, b"out")))
    started = time.monotonic()
    with home.connect("laptop", ("127.0.0.1", BULK)) as connection:
        sent_in, received_out = both_ways(connection, b"in")
    sent_out, received_in = service.result(timeout=60)
    seconds = time.monotonic() - started
    home.check("1 GiB arrives in the private network unharmed", received_in == (SIZE, sent_in),
               f"{received_in[0]} bytes")
    home.check("1 GiB arrives on the laptop unharmed at the same time",
               received_out == (SIZE, sent_out), f"{received_out[0]} bytes")
    home.say(f"{seconds:.1f} s: {SIZE * 8 / seconds / 1e9:.2f} Gbit/s in each direction at once")


def half_close(home):
    """Each side in turn ends first; what the other one sends afterwards still arrives."""
    heard = concurrent.futures.Future()

    def answer_after_the_end(connection):
        heard.set_result(receive(connection)[0])
        connection.sendall(b"said after the laptop's end")

    home.serve((house.SERVICE, LAPTOP_FIRST), answer_after_the_end)
    with home.connect("laptop", ("127.0.0.1", LAPTOP_FIRST)) as connection:
        connection.sendall(b"question")
        connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").read()
    home.check("the service sees the laptop's half-close and can still answer",
               heard.result(10) == 8 and answer == b"said after the laptop's end", answer)

    late = concurrent.futures.Future()

    def end_first(connection):
        connection.sendall(b"greeting")
        connection.shutdown(socket.SHUT_WR)
        late.set_result(connection.makefile("rb").read())

    home.serve((house.SERVICE, SERVICE_FIRST), end_first)
    with home.connect("laptop", ("127.0.0.1", SERVICE_FIRST)) as connection:
        greeting = connection.makefile("rb").read()
        connection.sendall(b"said after the service's end")
        connection.shutdown(socket.SHUT_WR)
        home.check("the laptop sees the service's half-close and can still send",
                   greeting == b"greeting" and
                   late.result(10) == b"said after the service's end", greeting)


def send_until_blocked(connection, stream):
    """Sends until there was no room for a while; returns what was taken, and its digest."""
    connection.setblocking(False)
    digest, size = hashlib.sha256(), 0
    for block in stream:
        view = memoryview(block)
        while view:
            if not select.select([], [connection], [], STALLED_FOR)[1]:
                return size, digest.hexdigest()
            taken = connection.send(view)
            digest.update(view[:taken])
            size, view = size + taken, view[taken:]
    return size, digest.hexdigest()


def backpressure(home):
    roles = {"client": home.client_role, "relay": home.relay, "connector": home.connector}
    before = {name: role.resident_kib() for name, role in roles.items()}
    released = threading.Event()
    arrived, flooded = concurrent.futures.Future(), concurrent.futures.Future()

    def read_late(connection):
        released.wait(60)
        arrived.set_result(receive(connection))

    def flood(connection):
        flooded.set_result(send_until_blocked(connection, blocks(b"flood")))
        released.wait(60)
        connection.shutdown(socket.SHUT_WR)

    home.serve((house.SERVICE, STALLS), read_late)
    home.serve((house.SERVICE, FLOODS), flood)
    with home.connect("laptop", ("127.0.0.1", STALLS)) as upward, \
            home.connect("laptop", ("127.0.0.1", FLOODS)) as downward:
        sent_size, sent_digest = send_until_blocked(upward, blocks(b"stall"))
        flood_size, flood_digest = flooded.result(timeout=60)
        home.check("a sender blocks when the service stops reading", sent_size < SIZE)
        home.check("a sender blocks when the application on the laptop stops reading",
                   flood_size < SIZE)
        home.say(f"taken before it blocked: {sent_size >> 20} MiB up, {flood_size >> 20} MiB down")
        ping = home.client("ping", "-c", "1", f"bulk.internal:{ECHO}")
        home.check("another flow passes the blocked ones", ping.returncode == 0, ping.stderr)
        for name, role in roles.items():
            growth = role.resident_kib() - before[name]
            home.check(f"the {name} has not grown by more than 64 MiB: {growth / 1024:.1f} MiB",
                       growth < GROWTH_MAX_KIB)
        released.set()
        upward.setblocking(True)
        upward.shutdown(socket.SHUT_WR)
        home.check("when reading goes on, what was taken arrives in the private network",
                   arrived.result(timeout=60) == (sent_size, sent_digest))
        home.check("and on the laptop", receive(downward) == (flood_size, flood_digest))


def echo(connection):
    while got := connection.recv(BLOCK_SIZE):
        connection.sendall(got)


def many_stalled(home):
    """Readers that stop do not take the connection's window from those that read."""
    blocked = queue.SimpleQueue()

    def flood(connection):
        blocked.put(send_until_blocked(connection, blocks(b"many")))
        receive(connection)  # Until the laptop gives up.

    home.serve((house.SERVICE, FLOODS_MANY), flood)
    with contextlib.ExitStack() as flows:
        for _ in range(STALLED_COUNT):
            flows.enter_context(home.connect("laptop", ("127.0.0.1", FLOODS_MANY)))
        for _ in range(STALLED_COUNT):
            blocked.get(timeout=60)
        payload = os.urandom(BLOCK_SIZE)
        with home.connect("laptop", ("127.0.0.1", ECHO), timeout=5) as connection:
            try:
                sender = threading.Thread(target=connection.sendall, args=(payload,), daemon=True)
                sender.start()
                echoed = connection.makefile("rb").read(BLOCK_SIZE)
            except TimeoutError:
                echoed = b""
        home.check(f"1 MiB comes back past {STALLED_COUNT} flows whose readers have stopped",
                   echoed == payload)


def story(home):
    home.add_name(house.SERVICE, "bulk.internal")
    home.open()
    home.offer("bulk", "bulk.internal", tcp=f"{PORTS[0]}-{PORTS[-1]}")
    home.serve((house.SERVICE, ECHO), echo)
    home.sign_in(*(flag for port in PORTS
                   for flag in ("--forward", f"{port}=bulk.internal:{port}")))
    home.wait_until_reached(f"bulk.internal:{ECHO}")
    half_close(home)
    backpressure(home)
    many_stalled(home)
    bulk(home)


if __name__ == "__main__":
    house.tell(story)

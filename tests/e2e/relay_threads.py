#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A relay with four threads: several clients and connectors, whose packets the kernel spreads over
them; streams come through whole, and SIGTERM ends all of them.
"""
import concurrent.futures
import hashlib
import os
import re

import house

TARGET = "echo.internal:7"
PORT = 10007
CLIENTS = 4
SIZE = 16 << 20


def stream_through(home, host, seed):
    """Sends a stream to the echo service; returns whether it came back whole."""
    block = hashlib.sha256(str(seed).encode()).digest() * 2048
    connection = home.connect(host, ("127.0.0.1", PORT))
    connection.settimeout(60)
    with connection, concurrent.futures.ThreadPoolExecutor(1) as pool:
        def send():
            digest = hashlib.sha256()
            for number in range(SIZE // len(block)):
                piece = number.to_bytes(8, "big") + block[8:]
                digest.update(piece)
                connection.sendall(piece)
            return digest.hexdigest()

        sent = pool.submit(send)
        digest = hashlib.sha256(house.receive(connection, SIZE // len(block) * len(block)))
        return sent.result() == digest.hexdigest()


def start_clients(home):
    hosts = ["laptop"]
    for number in range(2, CLIENTS + 1):
        hosts.append(f"desk{number}")
        home.add_host(hosts[-1], f"10.6.0.{number}/24", "inet", "10.6.0.1")
    for host in hosts:
        home.sign_in("--forward", f"{PORT}={TARGET}", host=host)
        home.wait_until(f"{host} reaches the service", lambda host=host: home.client(
            "ping", "-c", 1, TARGET, host=host).returncode == 0)
    return hosts


def thread_count(role):
    return len(os.listdir(f"/proc/{role.pid}/task"))


def streams(home, hosts):
    with concurrent.futures.ThreadPoolExecutor(len(hosts)) as pool:
        results = list(pool.map(lambda host: stream_through(home, host, host), hosts))
    home.check(f"{len(hosts)} clients at once: {SIZE >> 20} MiB each way, whole and in order",
               all(results), str(results))
    for host in hosts:
        connectors = home.status(host)["connectors"]
        lost = sum(connector.get("packets_lost", 0) for connector in connectors)
        sent = sum(connector.get("packets_sent", 0) for connector in connectors)
        home.say(f"{host}: {lost} of {sent} packets lost")
        home.check("next to nothing was taken for lost", lost * 50 <= sent, f"{lost} of {sent}")


def story(home):
    home.open_controller()
    home.open_relay("--threads", "4")
    home.open_connector()
    home.start_connector("second", "second")
    home.add_switch("inet", "10.6.0.1/24")
    home.add_name(house.SERVICE, "echo.internal")
    home.offer("echo", "echo.internal", tcp="7")
    home.serve((house.SERVICE, 7), house.echo)
    hosts = start_clients(home)
    home.check("the relay has four threads", thread_count(home.relay) == 4,
               str(thread_count(home.relay)))
    streams(home, hosts)
    code = home.relay.stop_at_once()
    log = home.relay.log()
    home.check("two signals end all threads, with 0", code == 0, f"{code}: {log[-800:]}")
    threads = [dict(re.findall(r"(\w+)=(\d+)", line)) for line in log.splitlines()
               if "a thread has forwarded" in line]
    home.say(str(threads))
    total = sum(int(thread["bytes"]) for thread in threads)
    home.check("together they have forwarded all of it", total >= 2 * SIZE * len(hosts), str(total))
    home.check("more than one of them", sum(int(t["bytes"]) > 0 for t in threads) > 1)
    home.check("nothing that was handed over was lost",
               all(thread["handed_lost"] == "0" for thread in threads))
    home.relay.start()
    home.wait_until_online("relay", "relay")
    home.wait_until("the nodes are bound again", lambda: home.client(
        "ping", "-c", 1, TARGET).returncode == 0, 60)
    home.check("after a restart it works as before", stream_through(home, "laptop", "again"))


house.tell(story)

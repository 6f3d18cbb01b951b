#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A client in the background: up, wait, status, resources, ping and down; a connector that comes
after it is used as soon as it is there, and a ping shows what the path loses."""
import json
import os
import re
import stat
import time

import house
import postgres
import web

USED_WITHIN = 5.0  # Seconds from the connector's start to an answer.
LAPTOP = "10.1.0.2"  # Of network.sh.
LOSSY_PINGS = 20
FLAGS = ["--forward", "15432=db.internal:5432", "--forward", "8080=web.internal:80",
         "--socks", "1080", "--always-relay"]


def up(home):
    return home.run("laptop", home.zt, "client", "up", "--background", "--state",
                    home.work / "client", "--socket", home.socket, "--key-file", home.key, *FLAGS)


def curl(home):
    return home.run("laptop", "curl", "-fsS", "--max-time", "5", "--socks5-hostname",
                    "127.0.0.1:1080", "-o", "/dev/null", "http://web.internal/page")


def psql(home):
    return home.run("laptop", "psql", "-h", "127.0.0.1", "-p", "15432", "-U", "postgres", "-XAtc",
                    "select 6 * 7")


def without_connector(home):
    started = up(home)
    home.check("up --background returns when the client is up", started.returncode == 0,
               started.stderr)
    home.check("wait returns at once", home.client("wait", "--timeout", "5").returncode == 0)
    connected = home.client("connect", "web.internal:80")
    home.check("without a connector the resource is out of reach: exit code 4, and the reason",
               connected.returncode == 4 and '"web" is online' in connected.stderr,
               connected.stderr)
    home.check("curl and psql fail", curl(home).returncode != 0 and psql(home).returncode != 0)


def connector_comes(home):
    started = time.monotonic()
    home.open_connector()
    home.wait_until("curl gets an answer", lambda: curl(home).returncode == 0)
    seconds = time.monotonic() - started
    home.check(f"curl gets an answer soon after the connector has started: {seconds:.1f} s",
               seconds < USED_WITHIN)
    asked = psql(home)
    home.check("and so does psql, at the first try", asked.stdout == "42\n", asked.stderr)


def what_it_says(home):
    status = home.status()
    home.check("status --json: signed in as ci, by a controller that is up",
               (status["version"], status["signed_in"], status["subject_name"],
                status["controller"]["up"]) == (1, True, "ci", True), str(status))
    home.check("status --json: the connector is ready, with path and round trip",
               [(connector["name"], connector["ready"], connector["path"].split(":")[0],
                 connector["round_trip_ms"] > 0) for connector in status["connectors"]] ==
               [("gate-house", True, "relayed", True)], str(status["connectors"]))
    home.check("status --json: every way in, with its address",
               sorted((way["kind"], way["listen"], way["target"]) for way in status["ingress"]) ==
               [("forward", "127.0.0.1:15432", "db.internal:5432"),
                ("forward", "127.0.0.1:8080", "web.internal:80"),
                ("socks", "127.0.0.1:1080", "")], str(status["ingress"]))
    home.check("status --json: a grant for each resource in use",
               sorted(grant["resource"] for grant in status["grants"]) == ["database", "web"])
    text = home.client("status").stdout
    home.check("status says it to people", all(
        word in text for word in ("ci (svc_", "gate-house", "relayed:", "15432")), text)

    resources = json.loads(home.client("resources", "--json").stdout)["resources"]
    home.check("resources --json: what this account may reach, and nothing else",
               sorted((one["name"], one["address"], tuple(one["tcp"])) for one in resources) ==
               [("database", "db.internal", ("5432",)), ("web", "web.internal", ("80",))],
               str(resources))
    home.check("resources says it to people", "db.internal" in home.client("resources").stdout)

    pinged = home.client("ping", "-c", "3", "web.internal:80")
    home.check("ping shows three answers and the path", pinged.returncode == 0 and
               pinged.stdout.count("connected in") == 3 and "3 of 3 answered" in pinged.stdout,
               pinged.stdout)
    home.check("and counts the packets that it took", packets(pinged.stdout) is not None,
               pinged.stdout)
    answers = [json.loads(line) for line in
               home.client("ping", "--json", "-c", "2", "web.internal:80").stdout.splitlines()]
    home.check("ping --json is an object for each", len(answers) == 2 and all(
        answer["ok"] and answer["time_ms"] > 0 for answer in answers), str(answers))
    home.check("with the packets sent and lost since the first", len(answers) == 2 and
               0 < answers[0]["packets_sent"] < answers[1]["packets_sent"] and
               answers[1]["packets_lost"] <= answers[1]["packets_sent"], str(answers))
    denied = home.client("ping", "-c", "1", "payroll.internal:443")
    home.check("ping of what is not allowed exits 3", denied.returncode == 3, denied.stderr)


def packets(text):
    """Returns how many packets were lost and how many sent, by the last line of a ping."""
    found = re.search(r", (\d+) of (\d+) packets lost \((\d+\.\d) %\)$", text.strip())
    return found and (int(found[1]), int(found[2]))


def what_a_path_loses(home):
    home.must("inet", "nft", "-f", "-", input=f"""
        table ip lossy {{
          chain laptop {{
            type filter hook forward priority 0
            ip saddr {LAPTOP} ip daddr {house.RELAY} numgen random mod 100 < 20 drop
          }}
        }}""")
    pinged = home.client("ping", "-c", LOSSY_PINGS, "web.internal:80")
    home.must("inet", "nft", "delete", "table", "ip", "lossy")
    home.say(pinged.stdout.splitlines()[-1] if pinged.stdout else pinged.stderr)
    home.check("on a path that loses every fifth packet all pings are answered",
               f"{LOSSY_PINGS} of {LOSSY_PINGS} answered" in pinged.stdout, pinged.stdout)
    lost, sent = packets(pinged.stdout) or (0, 0)
    home.check("and the loss shows", 0 < lost < sent, pinged.stdout)


def who_may_ask(home):
    state = home.work / "client"
    modes = {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in [state, *state.rglob("*")]
             if not path.is_socket()}
    home.check("nobody else may read what the client keeps", modes == {0}, str(modes))

    def ask_as_another():
        return home.run("laptop", "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups",
                        home.zt, "client", "status", "--socket", home.socket)

    said = ask_as_another()
    home.check("another user's question is refused: exit code 3", said.returncode == 3,
               f"{said.returncode}: {said.stderr}")
    os.chmod(state, 0o711)
    os.chmod(home.socket, 0o777)
    said = ask_as_another()
    home.check("even where files let him, for the kernel says who he is: no answer",
               said.returncode == 1 and not said.stdout, f"{said.returncode}: {said.stdout}")
    os.chmod(state, 0o700)


def down(home):
    second = up(home)
    home.check("a second client beside it is refused, with the reason",
               second.returncode == 1 and "another zt process" in second.stderr,
               f"{second.returncode}: {second.stderr}")
    home.check("and the first goes on", curl(home).returncode == 0)
    home.check("down exits 0", home.client("down").returncode == 0)
    home.wait_until("its ports are closed",
                    lambda: "127.0.0.1" not in home.must("laptop", "ss", "-Hntl"))
    home.check("afterwards no client is running: exit code 4",
               home.client("status").returncode == 4)
    again = up(home)
    home.check("it comes up again, with the same key and the same device",
               again.returncode == 0 and len(home.admin_json("device", "list")) == 1,
               again.stderr)
    home.wait_until_reached("web.internal:80")
    home.check("and reaches what it reached", psql(home).stdout == "42\n")
    home.client("down")


def story(home):
    home.open_controller()
    home.open_relay()
    home.offer("web", "web.internal", tcp="80")
    home.offer("database", "db.internal", tcp="5432")
    home.offer("payroll", "payroll.internal", tcp="443", rule=False)
    web.start_nginx(home)
    postgres.start_postgres(home)
    without_connector(home)
    connector_comes(home)
    what_it_says(home)
    what_a_path_loses(home)
    who_may_ask(home)
    down(home)


if __name__ == "__main__":
    house.tell(story, needs=["curl", "nginx", "openssl", "psql", "setpriv", "ss"])

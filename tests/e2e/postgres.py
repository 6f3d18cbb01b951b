#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""psql works with a real PostgreSQL in the private network: bulk both ways, and sessions that wait
for each other."""
import glob
import os
import subprocess

import house

ROWS = 400_000


def start_postgres(home):
    programs = os.path.dirname(sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"))[-1])
    place = home.work / "postgres"
    place.mkdir()
    home.must("service", "chown", "postgres:", place)
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "env", "-C",
               place]
    home.must("service", *as_user, f"{programs}/initdb", "-D", place / "data", "-A", "trust",
              "-U", "postgres", "--no-sync")
    with (place / "data" / "pg_hba.conf").open("a") as rules:
        rules.write("host all all 0.0.0.0/0 trust\n")
    home.start("service", "postgres", *as_user, f"{programs}/postgres", "-D", place / "data",
               "-c", f"listen_addresses={house.SERVICE}", "-c", "unix_socket_directories=",
               "-c", "fsync=off")
    home.wait_until("PostgreSQL answers", lambda: home.run(
        "service", f"{programs}/pg_isready", "-q", "-h", house.SERVICE).returncode == 0)


class Session:
    """A psql on the laptop that is kept open, and asked line by line."""

    def __init__(self, home, connection):
        self.process = subprocess.Popen(
            home.on("laptop", "psql", *connection, "-Atq"), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=home.environment())

    def say(self, sql):
        self.process.stdin.write(f"{sql}\n")
        self.process.stdin.flush()

    def ask(self, sql):
        """Returns the lines that answer."""
        self.say(f"{sql}\n\\echo ---")
        return list(iter(lambda: self.process.stdout.readline().rstrip("\n"), "---"))

    def close(self):
        self.process.communicate("\\q\n", timeout=10)
        return self.process.returncode


def story(home):
    home.open()
    home.offer("database", "db.internal", tcp="5432")
    start_postgres(home)
    home.sign_in("--forward", "15432=db.internal:5432")
    home.wait_until_reached("db.internal:5432")
    connection = ["-h", "127.0.0.1", "-p", "15432", "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-X"]

    def psql(*commands, **options):
        flags = [flag for command in commands for flag in ("-c", command)]
        return home.run("laptop", "psql", *connection, "-Atq", *flags, **options)

    rows = "".join(f"{number}\tline {number * 7919 % 1000003} of the ledger\n"
                   for number in range(ROWS))
    done = psql("create table ledger (id int, line text)", "copy ledger from stdin", input=rows)
    home.check(f"COPY carries {ROWS} rows in ({len(rows) >> 20} MiB)", done.returncode == 0,
               done.stderr)
    told = psql("select count(*), sum(id) from ledger").stdout
    home.check("the database has them all", told == f"{ROWS}|{ROWS * (ROWS - 1) // 2}\n", told)
    done = psql("copy (select * from ledger order by id) to stdout")
    home.check("COPY carries them out again, unharmed", done.stdout == rows, done.stderr)

    first, second = Session(home, connection), Session(home, connection)
    pids = [session.ask("select pg_backend_pid();")[0] for session in (first, second)]
    home.check("two sessions are two backends", pids[0] != pids[1] and all(pids), str(pids))
    first.ask("listen news;")
    second.ask("notify news, 'it works';")
    heard = home.wait_until("the notice is heard", lambda: "".join(first.ask("select 1;")[1:]))
    home.check("a NOTIFY of one session is heard by the other",
               "news" in heard and "it works" in heard, heard)
    first.ask("begin; update ledger set line = 'locked' where id = 1;")
    second.say("update ledger set line = 'waited' where id = 1;\n\\echo updated")
    waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock';"
    home.wait_until("the second session waits", lambda: first.ask(waiting) == ["1"])
    first.ask("commit;")
    home.check("a session that waits for the other's lock goes on when it is released",
               second.process.stdout.readline() == "updated\n" and
               first.ask("select line from ledger where id = 1;") == ["waited"])
    home.check("both sessions end in peace", [first.close(), second.close()] == [0, 0])


if __name__ == "__main__":
    house.tell(story, needs=["psql", "setpriv"])

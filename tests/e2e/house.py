# SPDX-License-Identifier: Apache-2.0
"""house.py: a whole installation of zt in network namespaces, for the stories beside it.

A story is an executable file with one theme. It hands a function to `tell`, which makes the
network of examples/quickstart/network.sh, gives the function a House, counts its checks, and
removes everything afterwards, whatever happened:

    def story(house):
        house.open()
        house.offer("wiki", "web.internal", tcp="80")
        house.sign_in("--socks", "1080")
        house.check("the wiki answers", house.run("laptop", "curl", …).returncode == 0)

    house.tell(story, needs=["curl"])

Programs run on a host by `run` (until they end) and `start` (until the house is left). Sockets of
the story itself are made inside a host by `inside`: a socket stays where it was made, so one
process plays an application on the laptop and the service behind the connector.

Nothing waits for a fixed time: `wait_until` asks again until a condition holds, and fails the
story if it never does. Addresses and ports are fixed, for every house has a network of its own.

If a check fails, the ends of all logs are printed and the logs are kept.
"""
import contextlib
import ctypes
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[2]
NETWORK = ROOT / "examples" / "quickstart" / "network.sh"
SKIPPED = 77  # See tests/README.md.
LOG_TAIL = 25
PATIENCE = 20  # Seconds that `wait_until` waits by default: plenty on a busy machine.

# Addresses of network.sh.
CONTROLLER = "10.3.0.2"
RELAY = "10.4.0.2"
CONNECTOR = "10.20.0.2"
SERVICE = "10.20.0.10"
# Of `add_ipv6`, and names for both families.
LAPTOP_IPV6, CONTROLLER_IPV6, RELAY_IPV6 = "fd01::2", "fd03::2", "fd04::2"
CONTROLLER_NAME, RELAY_NAME = "controller.example", "relay.example"

CLONE_NEWNET = 0x40000000


class StoryError(Exception):
    """The story cannot go on."""


class Role:
    """One process of zt, which can be killed and started again."""

    def __init__(self, house, host, name, command, first=()):
        self.house, self.host, self.name = house, host, name
        self.command, self.first = list(command), list(first)
        self.process = None

    def start(self):
        """`first` is for the first start only: a token must not be needed twice."""
        self.process = self.house.start(self.host, self.name, *self.command, *self.first)
        self.first = []
        return self

    def kill(self):
        """Ends the process as a power cut does."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Lets the process end in order, which takes up to its --drain-timeout."""
        self.process.terminate()
        return self.process.wait(timeout=40)

    def stop_at_once(self):
        """Tells it twice, by two signals: two of one kind may arrive as one."""
        self.process.send_signal(signal.SIGINT)
        return self.stop()

    @property
    def pid(self):
        return self.process.pid

    def resident_kib(self):
        return resident_kib(self.pid)

    def log(self):
        return (self.house.logs / f"{self.name}.log").read_text(errors="replace")


class House:
    """Four roles on hosts of their own, what was started beside them, and the count of checks."""

    def __init__(self, network_prefix):
        self.network_prefix = network_prefix
        self.zt = os.environ["ZT"]
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="zt-e2e."))
        self.work.chmod(0o711)  # Servers of other users find their files below it.
        self.logs = self.work / "log"
        self.logs.mkdir()
        self.socket = self.control_socket("laptop")
        self.passed = self.failed = 0
        self.processes = []
        self.hosts_added = []
        self.at_end = contextlib.ExitStack()  # For what must be undone before the network goes.

    # --- Checks and waiting

    def check(self, claim, holds, detail=""):
        """Prints and counts one check, and returns whether it held."""
        if holds:
            self.passed += 1
            print(f"ok {claim}", flush=True)
        else:
            self.failed += 1
            print(f"FAILED {claim}{': ' if detail else ''}{detail}", flush=True)
        return bool(holds)

    def say(self, text):
        print(f"   {text}", flush=True)

    def wait_until(self, what, condition, timeout=PATIENCE):
        """Asks `condition` until it is true, and returns what it returned."""
        deadline = time.monotonic() + timeout
        while True:
            if result := condition():
                return result
            if time.monotonic() > deadline:
                raise StoryError(f"within {timeout} s it did not happen that {what}")
            time.sleep(0.02)  # Between two questions, not in place of one.

    # --- More hosts than those of network.sh

    def add_host(self, host, address, switch, gateway):
        """Adds a host that hangs on another one's switch: see net_plug in network.sh."""
        self.hosts_added.append(host)
        self.network(f"net_host {host}; net_plug {host} {address} {switch} {gateway}")

    def add_switch(self, host, address):
        """Makes a host the router of a network of its own: see net_switch in network.sh."""
        self.network(f"net_switch {host} {address}")

    def add_ipv6(self):
        """Gives IPv6 to controller and relay, under names that stand for both families, and makes
        room for the laptop's: see `give_ipv6`."""
        self.network("on inet sysctl -q -w net.ipv6.conf.all.forwarding=1")
        for host, address in (("laptop", LAPTOP_IPV6), ("controller", CONTROLLER_IPV6),
                              ("relay", RELAY_IPV6)):
            self.must("inet", "ip", "address", "add", f"{address[:-1]}1/64", "dev", host, "nodad")
        everybody = ("laptop", "controller", "relay", "connector")
        for host, name, addresses in (
                ("controller", CONTROLLER_NAME, (CONTROLLER, CONTROLLER_IPV6)),
                ("relay", RELAY_NAME, (RELAY, RELAY_IPV6))):
            self.give_ipv6(host, addresses[1])
            for address in addresses:
                self.add_name(address, name, hosts=everybody)

    def give_ipv6(self, host, address):
        """Gives an address to a host's cable to the internet: it has none when it is plugged in."""
        self.must(host, "ip", "-6", "-batch", "-", input=f"""
address replace {address}/64 dev inet nodad
route replace default via {address[:-1]}1 dev inet
""")

    def network(self, commands):
        made = network(f"set -e; {commands}", self.network_prefix)
        if made.returncode != 0:
            raise StoryError(f"{commands}: {made.stdout}{made.stderr}")

    # --- Programs and sockets

    def on(self, host, *command):
        return ["ip", "netns", "exec", f"{self.network_prefix}-{host}", *map(str, command)]

    def run(self, host, *command, timeout=60, **options):
        """Runs a program to its end; its output is text unless `text=False` is given."""
        options = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL} | options
        if "input" in options:
            options.pop("stdin")
        return subprocess.run(self.on(host, *command), timeout=timeout, check=False,
                              env=self.environment(), **options)

    def must(self, host, *command, **options):
        """Runs a program that the story needs to succeed, and returns its output."""
        done = self.run(host, *command, **options)
        if done.returncode != 0:
            raise StoryError(f"{' '.join(map(str, command))} exited {done.returncode}: "
                             f"{done.stdout}{done.stderr}")
        return done.stdout

    def start(self, host, name, *command, **options):
        """Starts a program that lives as long as the house; its output goes to log/NAME.log."""
        with (self.logs / f"{name}.log").open("ab") as log:
            options = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log} | options
            process = subprocess.Popen(self.on(host, *command), env=self.environment(), **options)
        self.processes.append(process)
        return process

    def environment(self):
        return os.environ | {"ZT_ADMIN": str(self.work / "controller" / "admin.json"),
                             "HOME": str(self.work), "LC_ALL": "C.UTF-8"}

    @contextlib.contextmanager
    def inside(self, host):
        """Until it is left, this thread makes its sockets on `host`."""
        with open("/proc/thread-self/ns/net") as home, \
                open(f"/run/netns/{self.network_prefix}-{host}") as away:
            set_network_namespace(away)
            try:
                yield
            finally:
                set_network_namespace(home)

    def connect(self, host, address, timeout=30):
        with self.inside(host):
            return socket.create_connection(address, timeout=timeout)

    def udp(self, host, address=None, timeout=10):
        with self.inside(host):
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.settimeout(timeout)
        if address:
            made.bind(address)
        return made

    def serve(self, address, handler, host="service"):
        """Runs handler(connection) in a thread for each connection to `address` on `host`."""
        with self.inside(host):
            listener = socket.create_server(address, backlog=128)

        def handle(connection):
            with connection, contextlib.suppress(OSError):
                handler(connection)

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=handle, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        self.at_end.callback(listener.close)
        return listener

    # --- The four roles

    def open(self):
        """Starts controller, relay and connector of the network "office"."""
        self.open_controller()
        self.open_relay()
        self.open_connector()

    def open_controller(self, port=8443, name=None):
        """With a name it is reached by that, at all its addresses."""
        state = self.work / "controller"
        self.controller = Role(self, "controller", "controller", [
            self.zt, "controller", "serve", "--state", state,
            "--listen", port if name else f"{CONTROLLER}:{port}",
            "--host", name or CONTROLLER]).start()
        self.wait_until("the controller made its first key",
                        lambda: (state / "admin.json").exists())
        self.wait_until_controller_answers()
        self.admin("network", "create", "office")

    def wait_until_controller_answers(self):
        self.wait_until("the controller answers", lambda: self.run(
            "controller", self.zt, "admin", "network", "list").returncode == 0)

    def open_relay(self, *flags):
        self.relay = self.start_relay("relay", 4433, *flags)

    def start_relay(self, name, port, *flags, host=None):
        """Starts a relay on the relays' host, with its state and its log under its name.

        With the name of a host it is reached by that, at all its addresses."""
        address = f"{host or RELAY}:{port}"
        token = self.token("relay", "token", "--name", name, "--address", address)
        relay = Role(self, "relay", name, [
            self.zt, "relay", "serve", "--state", self.work / name,
            "--listen", port if host else address, *flags], ["--token-file", token]).start()
        self.wait_until_online("relay", name)
        return relay

    def open_connector(self, *flags):
        self.connector = self.start_connector("gate-house", "connector", *flags)

    def start_connector(self, name, place, *flags, host="connector", network="office"):
        """Starts a connector with its state in the directory PLACE and its log in PLACE.log."""
        token = self.token("connector", "token", network, "--name", name)
        connector = Role(self, host, place, [
            self.zt, "connector", "--state", self.work / place, *flags],
            ["--token-file", token]).start()
        self.wait_until_online("connector", name)
        return connector

    def wait_until_online(self, kind, name):
        """Waits until the controller sees a relay or connector of this name."""
        self.wait_until(f"{kind} {name} is online", lambda: any(
            node["name"] == name and node["online"] for node in self.admin_json(kind, "list")))

    def token(self, *arguments):
        """Makes an enrolment token and returns the file that holds it."""
        file = self.work / f"{arguments[0]}.token"
        self.admin(*arguments, "--out", file, "--force")
        return file

    def admin(self, *arguments):
        return self.must("controller", self.zt, "admin", *arguments)

    def admin_json(self, *arguments):
        return json.loads(self.admin(*arguments, "--json"))

    def offer(self, name, address, tcp=None, udp=None, rule=True, network="office"):
        """Makes a resource and, unless `rule` is false, the rule "NAME" that lets ci reach it."""
        ports = [*(["--tcp", tcp] if tcp else []), *(["--udp", udp] if udp else [])]
        self.admin("resource", "create", name, "--network", network, "--address", address, *ports)
        if rule:
            self.admin("rule", "create", name, "--subject", self.subject(), "--resource", name)

    def subject(self):
        """Returns the service account ci, with a key in self.key, making it when first asked."""
        self.key = self.work / "ci.key"
        if not self.key.exists():
            self.admin("service-account", "create", "ci")
            self.admin("service-account", "key", "ci", "--out", self.key)
        return "svc:ci"

    def sign_in(self, *flags, direct=False, host="laptop"):
        """Starts the client of a host with `flags`, and waits until it is signed in.

        Unless `direct` is true it uses relays only, so that a story knows which way it looks at."""
        self.subject()
        flags = [*flags, *([] if direct else ["--always-relay"])]
        control = self.control_socket(host)
        self.client_role = Role(self, host, control.parent.name, [
            self.zt, "client", "up", "--state", control.parent, "--socket", control,
            "--key-file", self.key, *flags]).start()
        self.wait_until_signed_in(host)

    def control_socket(self, host):
        """Returns the control socket of a host's client, which is in its state directory."""
        return self.work / ("client" if host == "laptop" else f"client-{host}") / "control.sock"

    def wait_until_signed_in(self, host="laptop"):
        waited = self.client("wait", "--timeout", PATIENCE, host=host)
        if waited.returncode != 0:
            raise StoryError(f"the client did not sign in: {waited.stderr}")

    def client(self, operation, *arguments, host="laptop", **options):
        return self.run(host, self.zt, "client", operation, "--socket", self.control_socket(host),
                        *arguments, **options)

    def status(self, host="laptop"):
        return json.loads(self.client("status", "--json", host=host).stdout)

    def wait_until_reached(self, target, timeout=PATIENCE, host="laptop"):
        """Waits until a flow to HOST:PORT opens: relay and connector may be on their way."""
        self.wait_until(f"{target} is reached", lambda: self.client(
            "ping", "-c", 1, target, host=host).returncode == 0, timeout)

    def add_name(self, address, *names, hosts=("connector", "service")):
        """Gives names to an address in /etc/hosts: by default those of the private network."""
        for host in hosts:
            file = pathlib.Path(f"/etc/netns/{self.network_prefix}-{host}/hosts")
            with file.open("a") as lines:
                lines.write(f"{address} {' '.join(names)}\n")

    # --- The end

    def close(self):
        self.at_end.close()
        for process in self.processes:
            process.terminate()
        deadline = time.monotonic() + 5
        for process in self.processes:
            try:
                process.wait(timeout=max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        network(f"NET_HOSTS+=' {' '.join(self.hosts_added)}'; net_down", self.network_prefix)
        if not self.failed:
            shutil.rmtree(self.work, ignore_errors=True)

    def print_logs(self):
        for log in sorted(self.logs.glob("*.log")):
            print(f"--- the end of {log}")
            print("\n".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL:]))


def echo(connection):
    """Sends back what comes: a handler for House.serve."""
    while piece := connection.recv(65536):
        connection.sendall(piece)


class EchoFlow:
    """A live flow from a client's forwarded port to `echo`."""

    def __init__(self, home, host, port):
        self.connection = home.connect(host, ("127.0.0.1", port))
        self.count = 0

    def exchange(self):
        """Sends a few bytes, and returns the seconds until they have come back."""
        self.count += 1
        text = f"{self.count:08}".encode()
        start = time.monotonic()
        self.connection.sendall(text)
        if receive(self.connection, len(text)) != text:
            raise StoryError("the flow has ended, or gave other bytes back")
        return time.monotonic() - start


def receive(connection, size):
    """Receives `size` bytes, or fewer if the stream ends before."""
    received = bytearray()
    while len(received) < size and (piece := connection.recv(size - len(received))):
        received += piece
    return bytes(received)


def resident_kib(pid):
    """Returns the memory that a process holds (VmRSS)."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise StoryError(f"process {pid} has no memory")


def set_network_namespace(file):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def network(function, prefix):
    return subprocess.run(["bash", "-c", f". '{NETWORK}'; {function}"], capture_output=True,
                          text=True, env=os.environ | {"NET_PREFIX": prefix}, check=False)


def skip(reason):
    print(reason)
    sys.exit(SKIPPED)


def tell(story, needs=()):
    """Runs one story in a house of its own, prints the count and exits with its outcome."""
    prefix = f"zt{os.getpid()}"
    if "ZT" not in os.environ:
        sys.exit("ZT must name the program: see tests/README.md")
    if missing := [program for program in needs if not shutil.which(program)]:
        skip(f"{', '.join(missing)} is not installed: see tests/tools/setup test")
    if (possible := network("net_possible", prefix)).returncode != 0:
        skip(possible.stdout.strip())
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    house = House(prefix)
    try:
        if (made := network("net_up", prefix)).returncode != 0:
            raise StoryError(f"no network: {made.stdout}{made.stderr}")
        story(house)
    except StoryError as error:
        house.check("the story came to its end", False, str(error))
    except Exception:  # pylint: disable=broad-except
        house.check("the story came to its end", False, traceback.format_exc())
    except BaseException:
        house.failed += 1
        raise
    finally:
        if house.failed:
            house.print_logs()
            print(f"all logs are in {house.logs}")
        house.close()
    print(f"{house.passed} passed, {house.failed} failed, 0 skipped")
    sys.exit(1 if house.failed else 0)

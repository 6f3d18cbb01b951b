#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ssh and scp reach a real sshd in the private network through `zt client connect`."""
import hashlib
import os
import shutil

import house

PAYLOAD_SIZE = 20 << 20


def start_sshd(home):
    """Starts an sshd with a host key of its own, which lets in root by one key only."""
    place = home.work / "ssh"
    place.mkdir(mode=0o700)
    for name in ("host", "user"):
        home.must("service", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / name)
    shutil.copy(place / "user.pub", place / "authorized_keys")
    os.makedirs("/run/sshd", exist_ok=True)  # sshd wants its empty directory.
    (place / "config").write_text(f"""
ListenAddress {house.SERVICE}:22
HostKey {place}/host
PidFile none
AuthorizedKeysFile {place}/authorized_keys
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
Subsystem sftp internal-sftp
""")
    public_key = (place / "host.pub").read_text()
    (place / "known_hosts").write_text(f"ssh.internal {public_key}")
    home.start("service", "sshd", shutil.which("sshd"), "-D", "-e", "-f", place / "config")
    return place


def options(home, place):
    proxy = f"{home.zt} client connect --socket {home.socket} %h:%p"
    return ["-F", "none", "-i", place / "user", "-o", f"ProxyCommand={proxy}",
            "-o", f"UserKnownHostsFile={place}/known_hosts", "-o", "StrictHostKeyChecking=yes",
            "-o", "BatchMode=yes"]


def story(home):
    home.open()
    home.offer("ssh", "ssh.internal", tcp="22")
    place = start_sshd(home)
    home.sign_in()
    home.wait_until_reached("ssh.internal:22")
    ssh = options(home, place)

    said = home.run("laptop", "ssh", *ssh, "root@ssh.internal", "echo $SSH_CONNECTION; exit 7")
    home.check("ssh logs in, past the pinned host key, and brings the exit code of its command",
               said.returncode == 7, said.stderr)
    home.check("sshd sees the connector as its peer", said.stdout.startswith(house.CONNECTOR),
               said.stdout)
    typed = os.urandom(1 << 20).hex()
    said = home.run("laptop", "ssh", *ssh, "root@ssh.internal", "sha256sum", input=typed)
    home.check("standard input ends where it ends, and the answer still comes",
               said.stdout.split()[:1] == [hashlib.sha256(typed.encode()).hexdigest()],
               said.stderr)

    payload = os.urandom(PAYLOAD_SIZE)
    sent, stored, fetched = (home.work / name for name in ("sent", "stored", "fetched"))
    sent.write_bytes(payload)
    copied = home.run("laptop", "scp", "-q", *ssh, sent, f"root@ssh.internal:{stored}")
    home.check("scp carries 20 MiB into the private network unharmed",
               copied.returncode == 0 and stored.read_bytes() == payload, copied.stderr)
    copied = home.run("laptop", "scp", "-q", *ssh, f"root@ssh.internal:{stored}", fetched)
    home.check("scp carries 20 MiB out of it unharmed",
               copied.returncode == 0 and fetched.read_bytes() == payload, copied.stderr)

    refused = home.run("laptop", "ssh", *ssh, "-p", "23", "root@ssh.internal", "true")
    home.check("ssh to a port that is not offered fails, and says why",
               refused.returncode == 255 and "zt:" in refused.stderr, refused.stderr)


if __name__ == "__main__":
    house.tell(story, needs=["ssh", "scp", "sshd", "ssh-keygen"])

"""What containers may reach on a platform of an ordinary user, which runs this: it prints what they saw.

Its words are the two servers of the test's internet, of which the lists allow the second; an address that this machine
gets when the file "ready" is in the user's folder, which "added" says; and a port at which somebody listens there.
"""

from __future__ import annotations

import json
import pathlib
import socket
import ssl
import subprocess
import sys
import time

import windlass

CLI = [sys.executable, "-m", "windlass.cli"]
app = windlass.App("test-outbound-of-a-user")
other = sys.argv[2] if len(sys.argv) > 2 else "192.0.2.1"  # in containers nobody asks


def tell(targets: list[tuple[str, int]]) -> list[str]:
    """What each target says, or why it says nothing."""
    said = []
    for target in targets:
        try:
            with socket.create_connection(target, 5) as one:
                one.sendall(b"x")
                said.append(one.recv(99).decode())
        except OSError as exc:
            said.append(f"nothing: {exc}")
    return said


free = app.function(name="free", serialized=True)(tell)
blocked = app.function(name="blocked", serialized=True, block_network=True)(tell)
listed = app.function(name="listed", serialized=True, outbound_cidr_allowlist=[other])(tell)


@app.function(serialized=True, outbound_domain_allowlist=["*.allowed.test"])
def named(address: str, name: str) -> str:
    """How a server is greeted by that name, with TLS."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((address, 443), 5) as one, context.wrap_socket(one, server_hostname=name):
            return "greeted"
    except OSError as exc:
        return f"refused: {exc}"


def asked(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CLI, *words], capture_output=True, text=True, check=False)


def late(address: str, port: int) -> str:
    """What a container hears at an address that the machine has only now, once the platform has seen it."""
    (pathlib.Path.home() / "ready").touch()
    while not (pathlib.Path.home() / "added").exists():
        time.sleep(0.05)
    end = time.monotonic() + 40
    while (said := free.remote([(address, port)])[0]).startswith("from") and time.monotonic() < end:
        time.sleep(0.5)
    return said


def main(server: str) -> None:
    targets = [(server, 80), (other, 80)]
    try:
        with app.run():
            said = {name: one.remote(targets) for name, one in ways.items()}
            said["late"] = [late(sys.argv[3], int(sys.argv[4]))]
            said["named"] = [named.remote(server, "elsewhere.test")]
            end = time.monotonic() + 10
            while not (logs := asked("app", "logs", str(app.app_id), "--source", "system")).stderr:
                if time.monotonic() > end:
                    break
                time.sleep(0.1)
        proxy = asked("proxy", "create", "p", "--address", other)
        print(json.dumps({**said, "log": logs.stderr, "proxy": [proxy.returncode, proxy.stdout + proxy.stderr]}))
    finally:
        subprocess.run([*CLI, "server", "stop"], stdout=subprocess.DEVNULL, check=False)


ways = {"free": free, "blocked": blocked, "listed": listed}

if __name__ == "__main__":
    main(sys.argv[1])

"""What tests of outbound networks do inside a node: ``python outbound.py HOME SERVER OTHER``. Prints one JSON object.

Names resolve as NAMES says, because no test may need the internet's: the servers stand in a network of the test.
"""
from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import fenced

from windlass.worker import network, node

SERVER, OTHER = sys.argv[2:4]
NAMES = {
    "allowed.test": [SERVER], "deep.below.wild.test": [SERVER], "private.test": ["10.1.2.3"], "other.test": [SERVER],
}

TRY = """
import contextlib, socket, ssl, sys
def patient(s):
    s.settimeout(10)  # the kernel connects, a busy program answers
    return contextlib.nullcontext()
def tcp(where, text=b"hello\\n"):
    with socket.create_connection(where, 3) as s:
        patient(s)
        s.sendall(text)
        return s.recv(100).decode().strip()
def udp(where):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(4)
        s.connect(where)
        s.send(b"hello")
        return s.recv(100).decode().strip()
def tls(where, name):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(where, 3) as s, patient(s), context.wrap_socket(s, server_hostname=name) as t:
        t.sendall(b"hello\\n")
        return t.recv(100).decode().strip()
for line in sys.stdin:
    try:
        print(eval(line))
    except OSError as exc:
        print("refused", type(exc).__name__, exc)
"""


async def tried(net: network.Network, *attempts: str) -> list[str]:
    line = ["nsenter", f"--net={net.path}", sys.executable, "-S", "-c", TRY]
    process = await asyncio.create_subprocess_exec(*line, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    out, _ = await asyncio.wait_for(process.communicate("\n".join(attempts).encode()), 40)
    return out.decode().splitlines()


async def told(said: list[tuple[str, str]], name: str, words: str) -> None:
    """The kernel gathers for a moment what it refused; its last one comes while there still is whom it is about."""
    deadline = time.monotonic() + 10
    while not any(one == name and words in text for one, text in said) and time.monotonic() < deadline:
        await asyncio.sleep(0.05)


async def resolve(name: str) -> list[str]:
    if name not in NAMES:
        raise OSError(f"no {name}")
    return NAMES[name]


async def lists(place: node.Node) -> dict[str, Any]:
    said: list[tuple[str, str]] = []
    found: dict[str, Any] = {"said": said}
    server, other = f"('{SERVER}', {{}})", f"('{OTHER}', {{}})"
    async with network.NetworkPool(place, size=1, resolve=resolve) as pool:
        pool.say = lambda container_id, text: said.append((container_id, text))
        async with pool.lease("free", block_network=False) as free:
            found["free"] = await tried(free, f"tcp({server.format(80)})", f"udp({server.format(53)})")
        plan: Any = {"cidrs": [f"{OTHER}/32", "10.0.0.0/8", "2001:db8::/32"]}
        async with pool.lease("cidr", block_network=False, plan=plan) as one:
            attempts = [
                f"tcp({other.format(80)})", f"udp({other.format(53)})", f"tcp({server.format(80)})",
                f"udp({server.format(53)})", "tcp(('10.1.2.3', 80))", f"tls({other.format(443)}, 'x.test')",
                f"tls({server.format(443)}, 'allowed.test')",
            ]  # fmt: skip
            found["cidr"] = await tried(one, *attempts)
            await told(said, "cidr", "10.1.2.3, TCP port 80")
        async with pool.lease("nothing", block_network=False, plan={"cidrs": [], "domains": []}) as one:
            attempts = [f"tcp({server.format(80)})", f"tls({server.format(443)}, 'allowed.test')"]
            found["nothing"] = await tried(one, *attempts)
        plan = {"cidrs": [f"{OTHER}/32"], "domains": ["allowed.test", "*.wild.test", "private.test", "gone.test"]}
        async with pool.lease("named", block_network=False, plan=plan) as one:
            attempts = [
                f"tls({server.format(443)}, 'allowed.test')", "tls(('198.51.100.1', 443), 'Deep.Below.Wild.Test')",
                "tls(('10.1.2.3', 443), 'allowed.test')", f"tls({server.format(443)}, 'other.test')",
                f"tls({server.format(443)}, None)", f"tls({server.format(443)}, 'private.test')",
                f"tls({server.format(443)}, 'gone.test')", f"tcp({server.format(443)}, b'GET / HTTP/1.1\\r\\n\\r\\n')",
                f"tcp({server.format(80)})", f"tls({server.format(8443)}, 'allowed.test')",
                f"udp({server.format(443)})",
                f"tls({other.format(443)}, 'any.test')", "tcp(('198.19.0.1', 1443))", f"tcp({other.format(80)})",
            ]  # fmt: skip
            found["named"] = await tried(one, *attempts)
            async with pool.lease("all", block_network=False, plan={"domains": ["*"]}) as two:
                await told(said, "named", f"{SERVER}, UDP port 443")
                found["all"] = await tried(two, f"tls({server.format(443)}, 'other.test')", f"tcp({server.format(80)})")
    found.update(await again(place))
    found["fenced"] = await fenced.attempts(place, SERVER, OTHER)
    return found


async def again(place: node.Node) -> dict[str, Any]:
    """A worker that ends, and the next one: the lists hold throughout, and go with the container."""
    server, plan = f"('{SERVER}', {{}})", {"domains": ["allowed.test"]}
    attempts = [f"tls({server.format(443)}, 'allowed.test')", f"tcp({server.format(80)})"]
    found: dict[str, Any] = {}
    async with network.NetworkPool(place, size=1, resolve=resolve) as pool:
        try:
            async with pool.lease("kept", block_network=False, plan=plan) as one:  # type: ignore[arg-type]
                raise asyncio.CancelledError
        except asyncio.CancelledError:
            pass
    found["between"] = await tried(one, *attempts)
    async with network.NetworkPool(place, size=1, resolve=resolve) as pool:
        async with pool.lease("kept", block_network=False) as one:
            found["after"] = await tried(one, *attempts)
    table = subprocess.run(["nft", "list", "table", "inet", "windlass"], capture_output=True, text=True, check=True)
    found["left"] = [line.strip() for line in table.stdout.splitlines() if "limit" in line and "wc" in line]
    return found


if __name__ == "__main__":
    loaded = node.load(Path(sys.argv[1]))
    assert loaded is not None
    print(json.dumps(asyncio.run(lists(loaded))))

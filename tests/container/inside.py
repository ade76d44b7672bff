"""What tests do inside a node: ``python inside.py HOME what``. Prints one JSON object."""
from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from windlass import exception
from windlass.worker import cgroups, network, node, outside, userns

CONNECT = """
import socket, sys
host, port = sys.argv[1].rsplit(":", 1)
try:
    socket.create_connection((host, int(port)), 1).close()
    print("open")
except OSError as exc:
    print("closed")
"""
LISTEN = """
import socket
server = socket.create_server(("0.0.0.0", 80))
print("ready", flush=True)
server.accept()
"""


def _in(net: network.Network, *argv: str) -> list[str]:
    return ["nsenter", f"--net={net.path}", sys.executable, "-S", "-c", *argv]


def _reach(net: network.Network, target: str) -> str:
    return subprocess.run(_in(net, CONNECT, target), capture_output=True, text=True, timeout=10).stdout.strip()


async def networks(place: node.Node, host_service: str) -> dict[str, object]:
    """Who reaches whom."""
    async with network.NetworkPool(place, size=2) as pool:
        async with pool.lease("a", block_network=False) as one, pool.lease("b", block_network=False) as two:
            async with pool.lease("c", block_network=True) as alone:
                listener = subprocess.Popen(_in(two, LISTEN), stdout=subprocess.PIPE)
                try:
                    assert listener.stdout is not None and listener.stdout.readline() == b"ready\n"
                    return {
                        "addresses": [one.address, two.address, alone.address],
                        "neighbour": _reach(one, f"{two.address}:80"),
                        "host": _reach(one, host_service),
                        "host from the node": _from_node(host_service),
                        "blocked": _reach(alone, host_service),
                        "itself": _reach(two, "127.0.0.1:80"),
                    }
                finally:
                    listener.kill()
                    listener.wait()


def _from_node(target: str) -> str:
    line = [sys.executable, "-S", "-c", CONNECT, target]
    return subprocess.run(line, capture_output=True, text=True, timeout=10).stdout.strip()


async def restart(place: node.Node) -> dict[str, object]:
    """A pool that ended by cancellation, and the one after it."""
    first = network.NetworkPool(place, size=2)
    async with first:
        try:
            async with first.lease("a", block_network=False) as before:
                raise asyncio.CancelledError
        except asyncio.CancelledError:
            pass
    async with network.NetworkPool(place, size=2) as second:
        async with second.lease("a", block_network=False) as after:
            kept = sorted(path.name for path in place.netns.iterdir())
        second.retain([])
    return {"before": str(before.path), "after": str(after.path), "files": kept}


def memory(place: node.Node) -> dict[str, object]:
    """A program that takes more than it may."""
    groups = cgroups.Cgroups(place.groups)
    if groups.gaps:
        return {"gaps": groups.gaps}
    limit = 32 * 2**20
    group = groups.create("ta-x", cpu_request=0.125, cpu_limit=None, memory_limit=limit, pids_limit=50)
    line = [sys.executable, "-S", "-c", "block = b'x' * (100 << 20)"]
    code = subprocess.run(group.enter_argv(line), check=False).returncode
    found = {"code": code, "oom": group.oom(), "limit": group.limit, "peak": group.peak()}
    return {**found, "removed": group.remove()}


async def mapped(place: node.Node) -> dict[str, object]:
    """A host program as a container's root, and the deletion of what it made."""
    folder = place.inside / "mapped"
    folder.mkdir()
    os.chown(folder, 1, 1)
    place.inside.chmod(0o711)
    lines: list[str] = []
    script = f"id -u; mount -t tmpfs none /mnt && echo mounted; touch {folder}/file; exit 7"
    code = await userns.run(["sh", "-c", script], namespace=place.userns, env=os.environ, log=lines.append)
    owner = (folder / "file").stat().st_uid
    await userns.remove_tree(folder)
    return {"code": code, "lines": lines, "owner": owner, "there": folder.exists()}


async def outer(home: Path, target: str) -> dict[str, object]:
    """What programs reach: of the outside thread, of this one, and of a thread that begins later."""
    outer = outside.leave_behind(home)
    argv, lines = [sys.executable, "-S", "-c", CONNECT, target], list[str]()
    code = await outer.run(argv, env={}, log=lines.append, timeout=20)
    await outer.run(["sh", "-c", f"cat; cat {outside.INPUT}"], env={}, log=lines.append, timeout=20, data=b"said\n")
    late, slow = list[str](), "sleep 4711 & echo on its way; exec sleep 4711"
    try:
        await outer.run(["sh", "-c", slow], env={}, log=late.append, timeout=3)
    except exception.TimeoutError as exc:
        late.append(str(exc))
    return {
        "outside": [code, *lines], "here": _from_node(target), "late": late,
        "thread": await asyncio.to_thread(_from_node, target), "left": _sleepers(0),
    }  # fmt: skip


async def cancelled(home: Path) -> dict[str, object]:
    """A program outside whose awaiting task is cancelled."""
    outer, begun = outside.leave_behind(home), asyncio.Event()
    running = asyncio.ensure_future(
        outer.run(["sh", "-c", "sleep 4711 & echo begun; wait"], env={}, log=lambda line: begun.set())
    )
    await asyncio.wait_for(begun.wait(), 10)
    there = _sleepers(1)
    running.cancel()
    await asyncio.wait([running])
    return {"cancelled": running.cancelled(), "there": there, "left": _sleepers(0)}


def _sleepers(wanted: int) -> int:
    """How many there are; waits a while for ``wanted``."""
    deadline = time.monotonic() + 5
    while True:
        found = 0
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                found += path.read_bytes() == b"sleep\x004711\0"
        if found == wanted or time.monotonic() > deadline:
            return found


def main() -> None:
    place = node.load(Path(sys.argv[1]))
    assert place is not None
    what = {
        "networks": lambda: asyncio.run(networks(place, sys.argv[3])),
        "restart": lambda: asyncio.run(restart(place)),
        "memory": lambda: memory(place),
        "mapped": lambda: asyncio.run(mapped(place)),
        "outside": lambda: asyncio.run(outer(place.home, sys.argv[3])),
        "cancelled": lambda: asyncio.run(cancelled(place.home)),
    }
    print(json.dumps(what[sys.argv[2]]()))


if __name__ == "__main__":
    main()

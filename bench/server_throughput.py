"""The server alone: what an input costs it, with a runner and a client that do nothing, over real sockets.

    python bench/server_throughput.py [--inputs 20000] [--calls 3000]

The server is its own process; runner and client share another, on purpose: on two cores that is what they have.
"""
from __future__ import annotations

import argparse
import asyncio
import os
import pickle
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).parent.parent / "tests/server"))

import fakes

from windlass import paths
from windlass.kit import ids

TICKS = os.sysconf("SC_CLK_TCK")
NONE = pickle.dumps(None)
ARGS = pickle.dumps(((1,), {}))


def cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1048576


class NoopRunner(fakes.Runner):
    """Answers each notice of leases with one request, without looking at the inputs."""

    def _serve(self, incoming) -> None:
        if incoming.method != "runner.lease":
            return
        outputs, values = [], []
        for lease in incoming.body["leases"]:
            outputs.append({
                "input_id": lease["input_id"], "attempt": lease["attempt"], "status": "success", "seconds": 0.00001,
                "value": {"at": len(values), "size": len(NONE)},
            })
            values.append(NONE)
        task = asyncio.get_running_loop().create_task(self.peer.request("runner.outputs", {"outputs": outputs}, values))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


async def mapped(client: fakes.Client, function: str, total: int, window: int = 1000, batch: int = 49) -> float:
    call_id = ids.new("fc")
    await client.peer.request("call.create", {
        "call_id": call_id, "function_id": function, "kind": "map", "inputs": [], "closed": False,
    })
    began = time.perf_counter()
    done, sent, room = 0, 0, asyncio.Event()

    async def feed() -> None:
        nonlocal sent
        while sent < total:
            while sent - done > window - batch:
                room.clear()
                await room.wait()
            count = min(batch, total - sent)
            items = [{"index": sent + i, "payload": {"at": i, "size": len(ARGS)}} for i in range(count)]
            sent += count
            await client.peer.request(
                "call.put", {"call_id": call_id, "inputs": items, "closed": sent == total}, [ARGS] * count
            )

    feeding = asyncio.get_running_loop().create_task(feed())
    async for item in client.peer.stream("call.outputs", {"call_id": call_id}):
        done += len(item.body["outputs"])
        room.set()
    await feeding
    assert done == total, (done, total)
    return time.perf_counter() - began


async def remote(client: fakes.Client, function: str) -> float:
    began = time.perf_counter()
    body = {
        "call_id": ids.new("fc"), "function_id": function, "kind": "remote", "closed": True,
        "inputs": [{"index": 0, "payload": {"at": 0, "size": len(ARGS)}}],
    }
    async for _ in client.peer.stream("call.run", body, [ARGS]):
        pass
    return time.perf_counter() - began


async def measure(home: Path, pid: int, inputs: int, calls: int) -> None:
    fakes.Runner = NoopRunner  # type: ignore[misc]
    worker = await fakes.Worker(home, None).start()
    client = await fakes.Client(home).start()
    limits = {"min_containers": 0, "max_containers": 1, "buffer_containers": 0, "scaledown_window": 60.0}
    function = await client.app(autoscaler=limits)
    for _ in range(50):
        await remote(client, function)
    before = cpu(pid)
    times = sorted([await remote(client, function) for _ in range(calls)])
    used = cpu(pid) - before
    print(f"round trip  p50 {times[calls // 2] * 1e6:.0f} us  p99 {times[calls * 99 // 100] * 1e6:.0f} us  "
          f"mean {statistics.mean(times) * 1e6:.0f} us  server {used / calls * 1e6:.0f} us CPU per call")
    before = cpu(pid)
    seconds = await mapped(client, function, inputs)
    used = cpu(pid) - before
    print(f"map         {inputs / seconds:,.0f} inputs/s  server {used / inputs * 1e6:.1f} us CPU per input  "
          f"resident {resident(pid):.0f} MiB")
    del worker


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--calls", type=int, default=3_000)
    parser.add_argument("--profile", default=None, help="write a profile of the server to this file")
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="w-bench-"))
    profiler = ["-m", "cProfile", "-o", options.profile] if options.profile else []
    server = subprocess.Popen([sys.executable, *profiler, "-m", "windlass.server", "--home", str(home)])
    try:
        while not paths.server_socket(home).exists():
            time.sleep(0.02)
        time.sleep(0.1)
        print(f"idle        resident {resident(server.pid):.0f} MiB")
        uvloop.run(measure(home, server.pid, options.inputs, options.calls))
    finally:
        server.terminate()
        server.wait(10)
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()

"""What queued inputs cost the server: resident memory and database, for each of a million that wait.

    python bench/queued_million.py [--inputs 1000000]

The function has no containers, so nothing is ever taken from the queue. Arguments are what ``f.spawn(1)`` sends.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import server_throughput as server

import fakes  # isort: skip - found through server_throughput
from windlass import paths
from windlass.kit import ids

BATCH = 1000


async def fill(home: Path, count: int) -> None:
    client = await fakes.Client(home).start()
    function = await client.app(state="detached")
    call_id = ids.new("fc")
    body = {"call_id": call_id, "function_id": function, "kind": "spawn", "inputs": [], "closed": False}
    await client.peer.request("call.create", body)
    for begin in range(0, count, BATCH):
        items = [{"index": begin + i, "payload": {"at": i, "size": len(server.ARGS)}} for i in range(BATCH)]
        put = {"call_id": call_id, "inputs": items, "closed": begin + BATCH >= count}
        await client.peer.request("call.put", put, [server.ARGS] * BATCH)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    count = parser.parse_args().inputs
    home = Path(tempfile.mkdtemp(prefix="w-bench-"))
    process = subprocess.Popen([sys.executable, "-m", "windlass.server", "--home", str(home)])
    try:
        while not paths.server_socket(home).exists():
            time.sleep(0.02)
        time.sleep(0.2)
        before, began = server.resident(process.pid), time.perf_counter()
        asyncio.run(fill(home, count))
        taken, after = time.perf_counter() - began, server.resident(process.pid)
        size = sum(file.stat().st_size for file in (home / "db").iterdir()) / 1048576
        print(
            f"{count:,} queued: {after - before:.1f} MiB more resident, {size:.0f} MiB of database: "
            f"{(after - before + size) * 1048576 / count:,.0f} bytes each; {count / taken:,.0f} inputs/s taken in"
        )
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()

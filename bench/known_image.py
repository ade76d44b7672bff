"""What a known image costs a run: the time until the client has its id.

    python bench/known_image.py

Measured where it is felt, in the client: resolving steps, hashing the files that ``copy=True`` steps hold, and the
server's answer. The platform that is up is asked; it is started if need be.
"""
from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

import windlass
from windlass.client import bridge, resolver, session


def image(steps: int, copied: str = "") -> windlass.Image:
    """``steps`` in all; with ``copied`` one of them holds this folder."""
    made = windlass.Image.debian_slim()
    for number in range(steps - 1 - bool(copied)):
        made = made.run_commands(f"true {number}")
    return made.add_local_dir(copied, "/srv/data", copy=True) if copied else made


async def resolve(wanted: windlass.Image) -> float:
    """Milliseconds."""
    context = resolver.Context(session.current())
    begun = time.perf_counter()
    try:
        await context.load(wanted)
    finally:
        await context.close()
    return (time.perf_counter() - begun) * 1000


def figures(steps: int, copied: str = "", times: int = 100) -> str:
    bridge.run(resolve(image(steps, copied)))  # build it, if it is not known
    taken = sorted(bridge.run(resolve(image(steps, copied))) for _ in range(times))
    return f"median {statistics.median(taken):.1f} ms, p90 {taken[int(times * 0.9)]:.1f} ms"


def main() -> None:
    print("1 step:", figures(1))
    print("10 steps:", figures(10))
    for files, size in ((10, 1_000), (100, 10_000), (1_000, 100_000)):
        with tempfile.TemporaryDirectory() as folder:
            for number in range(files):
                (Path(folder) / str(number)).write_bytes(os.urandom(size))
            print(f"10 steps, one of {files:,} files of {size:,} bytes:", figures(10, folder, times=20))


if __name__ == "__main__":
    main()

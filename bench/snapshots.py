"""Figures of memory snapshots, through the public SDK, against the platform that is up.

    python bench/snapshots.py [--starts 60] [--burst 100] [--quiet 15] [--json FILE]

* start: from just before the call is made to the first line of user code in a new container. That is more than the
  decision to start one: it holds the way of the call through client and server, too. numpy is imported in the template.
* cold: the same without a snapshot.
* burst: as many containers at once, until user code runs in the last; the first burst of a template that was used once,
  and then was left alone for some quiet seconds, in which forks were made that wait (so many of them, so big).
* unprepared: the same right after the first call of a template: of the forks only the least wait.
* memory: what one more idle fork adds (``Private_*`` of all processes in it, as the host counts).
* once: a hook of 1.5 s with ``snap=True`` in several containers.

Run it on a machine that does nothing else; the load is printed beside the figures.
"""
from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import windlass

app = windlass.App("bench-snapshots")
image = windlass.Image.debian_slim().pip_install("numpy")
with image.imports():
    import numpy


@app.function(image=image, enable_memory_snapshot=True, single_use_containers=True)
def begun() -> float:
    return time.time() if numpy else 0.0


@app.function(image=image, single_use_containers=True)
def begun_cold() -> float:
    return time.time() if numpy else 0.0


@app.function(image=image, enable_memory_snapshot=True, single_use_containers=True)
def together(seconds: float) -> tuple[float, str]:
    at = time.time()
    time.sleep(seconds)
    return at, os.environ["MODAL_TASK_ID"]


@app.function(image=image, enable_memory_snapshot=True, single_use_containers=True)
def together_at_once(seconds: float) -> tuple[float, str]:
    return time.time(), time.sleep(seconds) or os.environ["MODAL_TASK_ID"]


@app.cls(enable_memory_snapshot=True, single_use_containers=True)
class Slow:
    @windlass.enter(snap=True)
    def load(self) -> None:
        time.sleep(1.5)

    @windlass.method()
    def call(self) -> None: ...


def starts(function: Any, count: int) -> dict[str, float]:
    """Milliseconds from the call to user code."""
    function.remote()
    time.sleep(1)
    times = []
    for _ in range(count):
        asked = time.time()
        times.append((function.remote() - asked) * 1000)
        time.sleep(0.4)  # the cell of the next one is made meanwhile
    times.sort()
    return {
        "n": count, "least": times[0], "p50": statistics.median(times), "p99": times[min(count - 1, count * 99 // 100)]
    }  # fmt: skip


def burst(count: int, quiet: float) -> dict[str, float]:
    """Seconds until user code runs in each of ``count`` containers."""
    together.remote(0)
    time.sleep(quiet)
    waiting = _private("ce-")
    each = statistics.median(waiting.values()) if waiting else 0
    return {"waited": len(waiting), "private_kib_of_waiting": each, **_begun(together, count)}


def unprepared(count: int) -> dict[str, float]:
    together_at_once.remote(0)
    return _begun(together_at_once, count)


def _begun(function: Any, count: int) -> dict[str, float]:
    asked = time.time()
    begins = list(function.map([30.0] * count))
    return {"containers": len({task for _, task in begins}), "seconds": max(at for at, _ in begins) - asked}


def memory() -> dict[str, float]:
    """KiB that are private to one idle fork, of all its processes."""
    call = together.spawn(8.0)
    deadline = time.monotonic() + 10
    sizes: dict[str, int] = {}
    while time.monotonic() < deadline and not sizes:
        time.sleep(4)
        sizes = _private()
    task = call.get()[1]
    return {"private_kib": sizes.get(task, 0)}


def _private(prefix: str = "ta-") -> dict[str, int]:
    """By container, or by waiting fork (``ce-``): of all processes in its pid namespace, so of ours there, too."""
    sizes: dict[str, int] = {}
    names: dict[str, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                groups = (entry / "cgroup").read_text()
                lines = (entry / "smaps_rollup").read_text().splitlines()
                inside = os.readlink(entry / "ns/pid")
            except OSError:
                continue
            sizes[inside] = sizes.get(inside, 0) + sum(int(n.split()[1]) for n in lines if n.startswith("Private_"))
            for line in groups.splitlines():
                names.update({part: inside for part in line.split("/") if part.startswith(prefix)})
    return {name: sizes[inside] for name, inside in names.items()}


def once(count: int) -> dict[str, float]:
    """Seconds of the first call and, at most, of the next ones."""
    times = []
    for _ in range(count):
        began = time.monotonic()
        Slow().call.remote()
        times.append(time.monotonic() - began)
    return {"first": times[0], "next": max(times[1:])}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--starts", type=int, default=60)
    parser.add_argument("--burst", type=int, default=100)
    parser.add_argument("--quiet", type=float, default=15.0)
    parser.add_argument("--only", default="start,cold,memory,once,burst,unprepared")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    ways = {
        "start": lambda: starts(begun, options.starts), "cold": lambda: starts(begun_cold, max(2, options.starts // 6)),
        "memory": memory, "once": lambda: once(5), "burst": lambda: burst(options.burst, options.quiet),
        "unprepared": lambda: unprepared(options.burst),
    }  # fmt: skip
    figures: dict[str, Any] = {}
    with app.run():
        for name in options.only.split(","):
            before = os.getloadavg()[0]
            figures[name] = {**ways[name](), "load_before": before}
            print(name, {key: round(value, 1) for key, value in figures[name].items()}, flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()

"""Figures of dicts and queues from containers, with Redis on loopback beside them.

    python bench/kv.py [--write] [--rounds 2000]

* get, put: one key of 100 bytes, from a container. What is put is in the database before it is acknowledged.
* update: 10,000 keys at once.
* hand-off: from just before ``put`` in one container to just after ``get`` in another one that waits. Two containers
  throw a value to and fro: half of the time there and back. "After silence": nobody did anything for 3 ms before the
  put, so all processes must first be woken from sleep, which is what a virtual processor is slowest at.
* waiters: processor time, in one second, of the server and of a container in which 1,000 getters wait in one line.

Redis (``redis-server`` of Debian, or what ``REDIS_SERVER`` names) keeps an append-only file. Its client is this program
itself, on the host, with a plain socket and without pickling: what Windlass adds to that is the way out of a container.
"""
from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import windlass

app = windlass.App("bench-kv")
entries = windlass.Dict.from_name("bench-kv", create_if_missing=True)
line = windlass.Queue.from_name("bench-kv", create_if_missing=True)

WAITERS = 1000


@app.function(timeout=300)
def dict_rounds(rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each ``get`` and ``put``, and keys a second of each ``update``."""
    value = b"x" * 100
    entries["key"] = value
    times: dict[str, list[float]] = {"get": [], "put": [], "update": []}
    for _ in range(rounds):
        times["put"].append(_timed(lambda: entries.put("key", value)))
        times["get"].append(_timed(lambda: entries.get("key")))
    for turn in range(10):
        many = {f"{turn} {n}": n for n in range(10_000)}
        times["update"].append(10_000 / _timed(lambda many=many: entries.update(many)) * 1000)
    return times


def _timed(act: Any) -> float:
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1000


@app.function(timeout=300)
def put_times(rounds: int) -> None:
    for _ in range(rounds):
        line.get(partition="ready")  # the other one is about to wait
        time.sleep(0.003)
        line.put(time.time(), partition="items")


@app.function(timeout=300)
def get_times(rounds: int) -> list[float]:
    """Milliseconds since each was put."""
    times = []
    for _ in range(rounds):
        line.put(1, partition="ready")
        put_at = line.get(partition="items")
        times.append((time.time() - put_at) * 1000)
    return times


@app.function(timeout=300)
def ping(rounds: int) -> list[float]:
    """Milliseconds of half a round trip."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        line.put(1, partition="ping")
        line.get(partition="pong")
        times.append((time.perf_counter() - began) * 500)
    return times


@app.function(timeout=300)
def pong(rounds: int) -> None:
    for _ in range(rounds):
        line.put(line.get(partition="ping"), partition="pong")


@app.function(timeout=300)
async def many_waiters(seconds: float) -> tuple[float, int]:
    """Processor seconds a second of this container while all wait, and how many of them got a value afterwards."""
    waiters = [asyncio.ensure_future(line.get.aio(partition="many")) for _ in range(WAITERS)]
    await asyncio.sleep(3)
    await line.put.aio(1, partition="all wait")
    before = time.process_time()
    await asyncio.sleep(seconds)
    used = (time.process_time() - before) / seconds
    await line.put_many.aio(list(range(WAITERS)), partition="many")
    return used, len(set(await asyncio.gather(*waiters)))


def cpu(pid: int) -> float:
    """Processor seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def server_pid() -> int:
    from windlass import paths

    return int((paths.run(paths.home()) / "server.pid").read_text())


def windlass_figures(rounds: int) -> dict[str, Any]:
    with app.run():
        dict_rounds.remote(10)
        found: dict[str, Any] = dict_rounds.remote(rounds)
        for thrown, name, other in ((ping, "hand-off", pong), (get_times, "after silence", put_times)):
            partner = other.spawn(rounds // 4)
            found[name] = thrown.remote(rounds // 4)
            partner.get()
        waiting, pid = many_waiters.spawn(5.0), server_pid()
        line.get(timeout=60, partition="all wait")
        before = cpu(pid)
        time.sleep(4)
        found["server waits"] = (cpu(pid) - before) / 4
        found["container waits"], served = waiting.get()
        assert served == WAITERS, f"{served} of {WAITERS} waiters were served"
    windlass.Dict.objects.delete("bench-kv")
    windlass.Queue.objects.delete("bench-kv")
    return found


def summary(found: dict[str, Any]) -> dict[str, str]:
    def spread(name: str) -> str:
        times = sorted(found[name])
        return f"{statistics.median(times):.2f} / {times[len(times) * 99 // 100]:.2f} ms"

    return {
        "get, p50 / p99": spread("get"),
        "put, p50 / p99": spread("put"),
        "update of 10,000 keys, median": f"{statistics.median(found['update']):,.0f} keys/s",
        "hand-off, p50 / p99": spread("hand-off"),
        "hand-off after silence, p50 / p99": spread("after silence"),
        f"{WAITERS:,} waiters: server": f"{found['server waits'] * 100:.1f} % of a processor",
        f"{WAITERS:,} waiters: container": f"{found['container waits'] * 100:.1f} % of a processor"
        if "container waits" in found else "-",
    }  # fmt: skip


def table(ours: dict[str, str], theirs: dict[str, str], load: float) -> str:
    rows = [f"| {name} | {value} | {theirs.get(name, '-')} |" for name, value in ours.items()]
    return "\n".join([
        f"`python bench/kv.py`, {platform.machine()}, {os.cpu_count()} processors, load {load:.1f} before.", "",
        "| | Windlass, from a container | Redis, from the host |", "|---|---|---|", *rows,
    ])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--write", action="store_true", help="into bench/RESULTS.md")
    options = parser.parse_args()
    import redis_peer
    import sections

    load = os.getloadavg()[0]
    ours = summary(windlass_figures(options.rounds))
    theirs = redis_peer.figures(options.rounds)
    text = table(ours, summary(theirs) if theirs else {}, load)
    print(text)
    if options.write:
        sections.put("Dicts and queues", text)


if __name__ == "__main__":
    main()

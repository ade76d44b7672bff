"""Sandboxes: create and first command, commands, output, files; adds its rows to ``bench/RESULTS.md``.

    python bench/sandboxes.py [--only create,burst,exec,output,files,snapshot,fork,idle,gvisor,vm] [--write]

The measure of "create" is that of public comparisons: from the call of ``create`` until the first command has answered.
Beside it, where they are installed: ``podman run -d`` and ``podman exec``, and runc's ``run -d`` and ``exec``, on the
same files.
"""
from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import main_job
import sections

import windlass
from windlass import paths

app = windlass.App("bench-sandboxes")
MIB = 1024 * 1024
IDLE = 500
CREATES = 300
Row = tuple[str, str]


def quantiles(seconds: list[float]) -> str:
    """By nearest rank; where there are fewer than a hundred, p99 is the slowest."""
    ordered = sorted(seconds)
    p99 = ordered[math.ceil(len(ordered) * 0.99) - 1]
    shown = f"p50 {statistics.median(ordered) * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms"
    return f"{shown}, slowest {ordered[-1] * 1000:.1f} ms (n = {len(ordered)})"


def timed(act: Callable[[], object], count: int) -> list[float]:
    found = []
    for _ in range(count):
        began = time.perf_counter()
        act()
        found.append(time.perf_counter() - began)
    return found


def create() -> Iterator[Row]:
    made: list[windlass.Sandbox] = []

    def one() -> None:
        sandbox = windlass.Sandbox.create(app=app)
        made.append(sandbox)
        assert sandbox.exec("true").wait() == 0

    one()
    found = []
    for _ in range(CREATES):
        found += timed(one, 1)
        made.pop().terminate(wait=True)
    yield "create, then the first command has answered", quantiles(found)
    yield from _podman()
    yield from _runc()


def burst() -> Iterator[Row]:
    async def one() -> float:
        began = time.perf_counter()
        sandbox = await windlass.Sandbox.create.aio(app=app)
        process = await sandbox.exec.aio("true")
        assert await process.wait.aio() == 0
        took = time.perf_counter() - began
        await sandbox.terminate.aio()
        return took

    async def all_at_once() -> list[float]:
        return await asyncio.gather(*(one() for _ in range(100)))

    yield "the same, 100 at once", quantiles(asyncio.run(all_at_once()))


def commands() -> Iterator[Row]:
    sandbox = windlass.Sandbox.create(app=app)
    sandbox.exec("true").wait()
    yield "exec of true", quantiles(timed(lambda: sandbox.exec("true").wait(), 200))
    sandbox.terminate()


def output() -> Iterator[Row]:
    sandbox = windlass.Sandbox.create(app=app)
    size = 1024 * MIB
    began = time.perf_counter()
    process = sandbox.exec("head", "-c", str(size), "/dev/zero", text=False)
    got = sum(len(piece) for piece in process.stdout)
    rate = got / (time.perf_counter() - began) / 1e6
    assert got == size, got
    yield "stdout of a command, 1 GiB", f"{rate:,.0f} MB/s"
    sandbox.terminate()


def files() -> Iterator[Row]:
    sandbox = windlass.Sandbox.create(app=app, timeout=600)
    data = bytes(100 * MIB)
    sandbox.filesystem.write_bytes(b"", "/tmp/warm")
    for name, act in (
        ("write", lambda: sandbox.filesystem.write_bytes(data, "/tmp/file")),
        ("read", lambda: sandbox.filesystem.read_bytes("/tmp/file")),
    ):
        found = timed(act, 5)
        yield f"{name} of a file of 100 MiB", f"{len(data) / statistics.median(found) / 1e6:,.0f} MB/s"
    sandbox.terminate()


def snapshot() -> Iterator[Row]:
    sandbox = windlass.Sandbox.create(app=app, timeout=600)
    sandbox.exec("sh", "-c", "for n in 1 2 3 4 5 6 7 8 9 10; do date > /root/$n; done").wait()
    yield "snapshot after 10 files changed", quantiles(timed(sandbox.snapshot_filesystem, 10))
    sandbox.terminate()


def fork() -> Iterator[Row]:
    sandbox = windlass.Sandbox.create(app=app, timeout=600)
    sandbox.exec("sh", "-c", "for n in 1 2 3 4 5 6 7 8 9 10; do date > /root/$n; done").wait()

    def one() -> None:
        forks = sandbox.fork(10)
        for made in forks:
            assert made.exec("test", "-e", "/root/10").wait() == 0
        for made in forks:
            made.terminate()

    yield "fork into 10, until each has answered", quantiles(timed(one, 5))
    sandbox.terminate()


def idle() -> Iterator[Row]:
    before, made = _available(), []
    began = time.perf_counter()
    for _ in range(IDLE):
        made.append(windlass.Sandbox.create("sleep", "900", app=app, timeout=900))
    assert made[-1].exec("true").wait() == 0
    took, used = time.perf_counter() - began, (before - _available()) / IDLE / MIB
    yield f"{IDLE} idle sandboxes", f"made in {took:.1f} s, {used:.2f} MiB each"
    for sandbox in made:
        sandbox.terminate()


def gvisor() -> Iterator[Row]:
    """What another kernel costs."""
    sandbox = yield from _level("gvisor", "runtime=gvisor", 10, _experimental_enable_snapshot=True)
    if sandbox is None:
        return
    began = time.perf_counter()
    kept = sandbox._experimental_snapshot()
    yield "memory snapshot", f"{(time.perf_counter() - began) * 1000:.0f} ms"

    def again() -> None:
        restored = windlass.Sandbox._experimental_from_snapshot(kept)
        assert restored.exec("true").wait() == 0
        restored.terminate()

    yield "restore of memory, first command answered", quantiles(timed(again, 5))


def machine() -> Iterator[Row]:
    """What a machine of its own costs."""
    how = "emulated" if os.environ.get("WINDLASS_VM_ACCEL") == "tcg" else "KVM"
    sandbox = yield from _level("vm", f"runtime=vm ({how})", 5, memory=512)
    if sandbox is not None:
        sandbox.terminate()


def _level(level: str, shown: str, creates: int, **more: Any) -> Generator[Row, None, windlass.Sandbox | None]:
    """The figures of a level, and a sandbox of it that runs; None where it is not here."""

    def one(**more: Any) -> windlass.Sandbox:
        sandbox = windlass.Sandbox.create(app=app, runtime=level, **more)
        assert sandbox.exec("true").wait() == 0
        return sandbox

    plain = {name: value for name, value in more.items() if not name.startswith("_")}
    try:
        one(**plain).terminate()
    except windlass.exception.UnimplementedError as exc:
        yield f"create with {shown}, first command answered", f"not here: {exc}"
        return None
    found = quantiles(timed(lambda: one(**plain).terminate(), creates))
    yield f"create with {shown}, first command answered", found
    sandbox = one(**more)
    yield f"exec of true with {shown}", quantiles(timed(lambda: sandbox.exec("true").wait(), 20))
    return sandbox


def _available() -> int:
    line = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable"))
    return int(line.split()[1]) * 1024


def _podman() -> Iterator[Row]:
    if shutil.which("podman") is None:
        return
    begin = ["podman", "run", "-d", "--rm", "--network", "none", "--rootfs", str(_tree()), "sleep", "100"]

    def one() -> None:
        made = subprocess.run(begin, capture_output=True, text=True, check=True).stdout.strip()
        subprocess.run(["podman", "exec", made, "true"], check=True)
        subprocess.run(["podman", "rm", "-f", "-t", "0", made], capture_output=True, check=True)

    try:
        one()
    except subprocess.CalledProcessError as exc:
        yield "podman run -d, podman exec true", f"does not work here: {(exc.stderr or '').strip()[-80:]}"
        return
    yield "podman run -d, exec true, rm", quantiles(timed(one, 10))


def _runc() -> Iterator[Row]:
    if shutil.which("runc") is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["runc", "spec"], cwd=folder, check=True)
        config = Path(folder) / "config.json"
        document = json.loads(config.read_text())
        document["process"] |= {"args": ["sleep", "100"], "terminal": False}
        document["root"] = {"path": str(_tree()), "readonly": True}
        config.write_text(json.dumps(document))
        name = "bench-windlass-runc"

        def one() -> None:
            quiet = subprocess.DEVNULL
            run = ["runc", "run", "-d", "--bundle", folder, name]
            subprocess.run(run, stdin=quiet, stdout=quiet, stderr=quiet, check=True)
            subprocess.run(["runc", "exec", name, "true"], stdin=quiet, stdout=quiet, stderr=quiet, check=True)

        def away() -> None:
            subprocess.run(["runc", "delete", "-f", name], capture_output=True, check=False)

        found = []
        try:
            for _ in range(20):
                found += timed(one, 1)
                away()
        except subprocess.CalledProcessError as exc:
            away()
            yield "runc run -d, runc exec true", f"does not work here: exit code {exc.returncode}"
            return
    yield "runc run -d, runc exec true (no network, no image)", quantiles(found)


def _tree() -> Path:
    """The files of ``debian_slim`` as the platform keeps them."""
    layers = sorted((paths.home() / "layers").glob("im-*/files"))
    return next(layer for layer in layers if (layer / "usr/bin/true").exists())


PARTS: dict[str, Callable[[], Iterator[Row]]] = {
    "create": create, "burst": burst, "exec": commands, "output": output, "files": files, "snapshot": snapshot,
    "fork": fork, "idle": idle, "gvisor": gvisor, "vm": machine,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    print(main_job.machine(), flush=True)
    rows: list[Row] = []
    with app.run():
        for name in chosen.only.split(","):
            for row in PARTS[name]():
                print(f"{row[0]}: {row[1]}", flush=True)
                rows.append(row)
    if chosen.write:
        table = "\n".join(f"| {name} | {figure} |" for name, figure in rows)
        sections.put("Sandboxes", f"{main_job.machine()}\n\n| what | figure |\n|---|---|\n{table}")


if __name__ == "__main__":
    main()

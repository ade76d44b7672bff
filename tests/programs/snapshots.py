"""Functions whose containers are forked from memory snapshots, and some that cannot be."""

from __future__ import annotations

import atexit
import ctypes
import json
import multiprocessing
import os
import random
import secrets
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Any, ClassVar

import windlass
from programs import walls

app = windlass.App("test-snapshots")
spare = windlass.App("test-snapshots-spare")
numeric = windlass.App("test-snapshots-numeric")
image = windlass.Image.debian_slim().pip_install("numpy")
with image.imports():
    import numpy
IMPORTED_BY = os.environ.get("MODAL_TASK_ID")
NEWNET, NEWUSER = 0x40000000, 0x10000000
SETNS, UNSHARE = 308, 272
_libc = ctypes.CDLL(None, use_errno=True)


def attempts() -> dict[str, int]:
    """Errors of what nobody inside may do."""
    found = {}
    for name, number, arguments in (
        ("setns", SETNS, (os.open("/proc/self/ns/net", os.O_RDONLY), NEWNET)),
        ("setns with guessed key", SETNS, (os.open("/proc/self/ns/net", os.O_RDONLY), 0, 1, 2, 3, 4)),
        ("unshare", UNSHARE, (NEWUSER,)),
    ):
        _libc.syscall(number, *arguments)
        found[name] = ctypes.get_errno()
    return found


@app.function(single_use_containers=True)
def cold() -> dict[str, Any]:
    return walls.facts()


@app.cls(enable_memory_snapshot=True, single_use_containers=True)
class Warm:
    @windlass.enter(snap=True)
    def warm(self) -> None:
        print("warming up")
        time.sleep(1.5)
        self.warmed_at = time.time()
        self.plan = json.loads(Path("/__windlass/plan.json").read_text())
        self.template = walls.facts()
        self.attempts = attempts_in_child()
        Path("/root/weights").write_text("made before the snapshot")
        self.file = Path("/root/weights").open()
        self.file.read(5)
        atexit.register(print, "the exit of a fork")

    @windlass.enter()
    def wake(self) -> None:
        self.woken_at = time.time()
        self.woken_by = os.environ["MODAL_TASK_ID"]

    @windlass.exit()
    def leave(self) -> None:
        print("left", self.woken_by)

    @windlass.method()
    def look(self, seconds: float = 0) -> dict[str, Any]:
        print("looking")
        print("complaining", file=sys.stderr)
        subprocess.run(["echo", "a child speaks"], check=True)
        Path("/root/own").open("x").close()  # fails in a file system of another fork
        found = {
            **walls.facts(), "warmed_at": self.warmed_at, "woken_at": self.woken_at, "woken_by": self.woken_by,
            "template": self.template, "template_plan": self.plan, "template_attempts": self.attempts,
            "attempts": attempts_in_child(), "now": time.time(), "monotonic": time.monotonic(),
            "read": self.file.read(5), "reads": os.readlink(f"/proc/self/fd/{self.file.fileno()}"),
            "address": subprocess.run(["cat", "/proc/net/fib_trie"], stdout=subprocess.PIPE, text=True).stdout,
            "hosts": Path("/etc/hosts").read_text(), "main": threading.current_thread() is threading.main_thread(),
            "ident": threading.get_ident() == threading.main_thread().ident, "pid": os.getpid(),
            "cgroup": Path("/proc/self/cgroup").read_text(),
            "descriptors": sorted(os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
                                  if os.path.exists(f"/proc/self/fd/{n}")),
        }  # fmt: skip
        time.sleep(seconds)
        return found

    @windlass.method()
    def draw(self) -> dict[str, str]:
        return {
            "random": str(random.random()),
            "ssl": ssl.RAND_bytes(8).hex(),
            "uuid1": str(uuid.uuid1()),
            "uuid4": str(uuid.uuid4()),
            "secrets": secrets.token_hex(8),
            "temporary name": Path(tempfile.mktemp()).name,
            "key of processes": bytes(multiprocessing.current_process().authkey).hex(),
        }

    @windlass.method()
    def wait(self, seconds: float) -> str:
        print(f"waiting {seconds:g}")
        time.sleep(seconds)
        return os.environ["MODAL_TASK_ID"]


def attempts_in_child() -> dict[str, int]:
    """In a process of its own: its descriptors go with it."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.write(writing, json.dumps(attempts()).encode())
        os._exit(0)
    os.close(writing)
    os.wait()
    with os.fdopen(reading) as answer:
        return dict(json.loads(answer.read()))


@app.cls(enable_memory_snapshot=True, single_use_containers=True)
class Bound:
    """What cannot be forked."""

    why: str = windlass.parameter()
    kept: ClassVar[list[Any]] = []

    @windlass.enter(snap=True)
    def bind(self) -> None:
        self.kept.append(getattr(self, "_" + self.why.replace(" ", "_"))())

    def _threads(self) -> Any:
        thread = threading.Thread(target=time.sleep, args=(60,), daemon=True, name="restless")
        thread.start()
        return thread

    def _socket(self) -> Any:
        return socket.socket()

    def _file(self) -> Any:
        return Path("/root/notes").open("w")

    def _process(self) -> Any:
        return subprocess.Popen(["sleep", "60"])

    def _memory(self) -> Any:
        import mmap

        return mmap.mmap(-1, 4096)

    def _names(self) -> Any:
        Path("/dev/shm/queue").write_text("shared")

    def _failure(self) -> Any:
        if os.environ["MODAL_TASK_ID"].startswith("te-"):
            raise RuntimeError("not here")

    @windlass.method()
    def where(self) -> str:
        return os.environ["MODAL_TASK_ID"]


@spare.function(enable_memory_snapshot=True, single_use_containers=True)
def passing() -> str:
    return os.environ["MODAL_TASK_ID"]


@numeric.function(image=image, enable_memory_snapshot=True, single_use_containers=True)
def number() -> tuple[float, str | None]:
    return float(numpy.random.random()), IMPORTED_BY


@app.function(enable_memory_snapshot=True)
@windlass.concurrent(max_inputs=4)
def crowded(number: int) -> dict[str, Any]:
    print(f"crowded {number}")
    time.sleep(1)
    return {"number": number, "task": os.environ["MODAL_TASK_ID"], "imported_by": IMPORTED_BY}


@app.function(enable_memory_snapshot=True)
@windlass.batched(max_batch_size=3, wait_ms=2000)
async def batches(numbers: list[int]) -> list[dict[str, Any]]:
    about = {"size": len(numbers), "task": os.environ["MODAL_TASK_ID"], "imported_by": IMPORTED_BY}
    return [{"number": number, **about} for number in numbers]

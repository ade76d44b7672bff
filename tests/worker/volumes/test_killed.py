"""Server and worker, real programs both, killed by kill -9 at every step of an upload, of an edit and of a compaction.

What was acknowledged is there afterwards, and whole; what was not is there whole or not at all; nothing is left over.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from windlass import exception, paths, wire
from windlass.kit import ids
from windlass.server.objects import uploads
from windlass.wire import peer
from windlass.wire.messages import volumes as messages
from windlass.worker.volumes import layers

PROGRAM = Path(__file__).parent / "deadly.py"
LOST = (exception.ServiceError, exception.ConnectionError, exception.NotFoundError, OSError)
HIGH = 16  # layers above which some are merged


@pytest.fixture
def home() -> Iterator[Path]:
    """Short, because sockets lie in it."""
    folder = Path(tempfile.mkdtemp(prefix="w-kil-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


class Both:
    """The two programs below ``home``, started again when they have died."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.running: dict[str, int] = {}  # by their pidfds, which are readable when they are dead
        environment = {**os.environ, "WINDLASS_SERVER_TICK": "0.05"}
        self.births = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(home)],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.peer: peer.Peer | None = None

    async def ready(self) -> peer.Peer:
        """A connection to a server that has a worker."""
        self._start()
        if self.peer is None or not self.peer.connected:
            self.peer = await self._connected()
        return self.peer

    def _start(self) -> None:
        for name in ("server", "worker"):
            if name not in self.running or self._dead(name):
                self.peer = None
                (self.home / "worker-ready").unlink(missing_ok=True)
                self.running[name] = self._born(name)

    def _born(self, name: str) -> int:
        assert self.births.stdin and self.births.stdout
        self.births.stdin.write(f"{name}\n")
        self.births.stdin.flush()
        return os.pidfd_open(int(self.births.stdout.readline()))

    def _dead(self, name: str, within: float = 0.0) -> bool:
        if not select.select([self.running[name]], [], [], within)[0]:
            return False
        os.close(self.running.pop(name))
        return True

    async def _connected(self) -> peer.Peer:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            self._start()  # one that was dying when we looked
            if (self.home / "worker-ready").exists():
                try:
                    loop, place = asyncio.get_running_loop(), str(paths.server_socket(self.home))
                    _, made = await loop.create_unix_connection(lambda: peer.Peer(None), place)
                    hello = {"protocol": wire.PROTOCOL, "version": "t", "client_id": ids.new("cl"), "role": "user"}
                    await made.request("hello", hello)
                    return made
                except (OSError, exception.Error):
                    pass
            await asyncio.sleep(0.01)
        raise AssertionError("the two programs did not come up")

    async def ask(self, method: str, *attachments: bytes, **body: Any) -> Any:
        """Ask until there is an answer, as clients do."""
        deadline = time.monotonic() + 30
        while True:
            try:
                asked = (await self.ready()).request(method, body, list(attachments))
                return (await asyncio.wait_for(asked, 20)).body
            except (exception.ServiceError, exception.ConnectionError, OSError):
                assert time.monotonic() < deadline, method
                await asyncio.sleep(0.01)

    def end(self) -> None:
        for name in [*self.running][::-1]:
            signal.pidfd_send_signal(self.running[name], signal.SIGTERM)
            assert self._dead(name, 20), name
        self.births.communicate(timeout=20)

    # -- what a client does ------------------------------------------------------------------------------------

    async def put(self, volume: str, files: dict[str, bytes], *, packed: bool) -> int:
        """Upload until it is acknowledged; the version that it became."""
        edit_id = ids.new("ed")
        for _ in range(20):
            steps = await self._sent(files, packed=packed)
            try:
                edit = json.dumps(steps).encode()
                return int((await self.ask("volume.edit", edit, volume_id=volume, edit_id=edit_id))["version"])
            except exception.NotFoundError:
                continue  # uploads went with a draft
        raise AssertionError("never acknowledged")

    async def _sent(self, files: dict[str, bytes], *, packed: bool) -> list[dict[str, Any]]:
        steps, blobs, pack = [], [], b""
        whole = b"".join(files.values())
        for path, data in files.items():
            step = {"op": "put", "path": path, "force": True, "digest": digest(data), "size": len(data)}
            steps.append({**step, "blob": digest(whole if packed else data), "offset": len(pack) if packed else 0})
            pack += data
        blobs = [whole] if packed else list(files.values())
        for blob in blobs:
            if (await self.ask("volume.missing", digests=[digest(blob)]))["missing"]:
                await self.ask(
                    "volume.upload", blob, upload_id=ids.new("up"), digest=digest(blob), offset=0, last=True
                )
        return steps

    async def shown(self, volume: str, paths: Iterable[str]) -> dict[str, bytes | None]:
        """What the files hold at one moment."""
        head = (await self.ask("volume.get", volume_id=volume))["head"]
        return {path: await self.read(volume, path, head) for path in paths}

    async def read(self, volume: str, path: str, at: int) -> bytes | None:
        deadline = time.monotonic() + 30
        while True:
            try:
                found = b""
                stream = (await self.ready()).stream("volume.fetch", {"volume_id": volume, "at": at}, [path.encode()])
                async for item in stream:
                    found += item.attachments[0]
                return found
            except exception.NotFoundError:
                return None
            except (exception.ServiceError, exception.ConnectionError, OSError):
                assert time.monotonic() < deadline, path
                await asyncio.sleep(0.01)

    # -- what is there -----------------------------------------------------------------------------------------

    def stack(self, volume: str) -> list[str]:
        with sqlite3.connect(self.home / "db/windlass.sqlite3") as db:
            rows = db.execute("SELECT layers FROM volume_version WHERE volume = ? ORDER BY n DESC LIMIT 1", (volume,))
            found = rows.fetchone()
        return json.loads(found[0]) if found else []

    def killed(self, program: str) -> bool:
        """Whether its order was used; otherwise it is taken back."""
        try:
            (self.home / f"kill-{program}").unlink()
        except FileNotFoundError:
            return True
        return False


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _walk(home: Path, program: str, *, packed: bool) -> int:
    """Replace files again and again; each time the program dies one step later. How many steps there are."""
    both = Both(home)

    async def walk() -> int:
        volume = (await both.ask("volume.get", name="v", create="missing"))["volume_id"]
        version, nth = await both.put(volume, _files(0), packed=packed), 0
        while True:
            nth += 1
            (home / f"kill-{program}").write_text(str(nth))
            putting = asyncio.get_running_loop().create_task(both.put(volume, _files(nth), packed=packed))
            while not putting.done() and (home / f"kill-{program}").exists():
                await asyncio.sleep(0.001)
            seen = await both.shown(volume, _files(0))
            assert seen in (_files(nth - 1), _files(nth)), f"half of step {nth} of the {program}"
            after = await putting
            assert after == version + 1, "an upload became a commit once"
            version = after
            assert await both.shown(volume, _files(0)) == _files(nth)
            if not both.killed(program):
                return nth

    try:
        nth = asyncio.run(asyncio.wait_for(walk(), 400))
    finally:
        both.end()
    _nothing_left(both)
    return nth


def _files(n: int) -> dict[str, bytes]:
    return {"a": f"{n}".encode() * 300, "b/c": f"c{n}".encode() * 300_000}


def _never(work: Any, name: str) -> Any:
    raise AssertionError(f"{name} is for a bucket")


def _nothing_left(both: Both) -> None:
    """After the sweep of a worker that starts, and the regular one."""
    store = layers.Layers(both.home)
    store.sweep()
    with sqlite3.connect(both.home / "db/windlass.sqlite3") as db:
        named = {layer for (text,) in db.execute("SELECT layers FROM volume_version") for layer in json.loads(text)}
    for name in set(store.known()) - named:
        store.remove(name)  # as for ``layers.keep``
    assert set(store.known()) == named, "a layer that is named is there"
    assert {path.name for path in store.root.iterdir()} - named == {".empty-1", ".empty-2"}
    kept = uploads.Uploads(both.home / "uploads", _never, synchronous=False)
    later = time.time() + 1
    for one in list(kept.stored()):
        kept.sweep(one.digest, later)
    kept.forget_unfinished(later)
    left = [path for path in (both.home / "uploads").rglob("*") if path.is_file()]
    assert not left, left


@pytest.mark.parametrize("packed", [True, False], ids=["a pack", "whole files"])
@pytest.mark.parametrize(("program", "steps"), [("server", 8), ("worker", 12)])
def test_an_upload_survives_a_kill_at_every_step(apart, home, program, steps, packed):
    assert apart(_walk, home, program, packed=packed) > steps


def _copying(home: Path, program: str) -> int:
    """Have the server read a file, copy it in the volume, and fork that; each time the program dies one step later."""
    both = Both(home)

    async def copied(file: Path) -> str:
        """As clients do: from the beginning, when the server died."""
        with file.open("rb") as opened:
            state = os.fstat(opened.fileno())
            body = {"descriptor": opened.fileno(), "identity": messages.identity(state), "size": state.st_size}
            deadline = time.monotonic() + 30
            while True:
                try:
                    replies = [one.body async for one in (await both.ready()).stream("volume.copy", body)]
                    return replies[-1]["digest"]
                except (exception.ServiceError, exception.ConnectionError, OSError):
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.01)

    async def edit(volume: str, step: dict[str, Any]) -> bool:
        """False where the upload was lost with a draft."""
        try:
            await both.ask("volume.edit", json.dumps([step]).encode(), volume_id=volume, edit_id=ids.new("ed"))
        except exception.NotFoundError:
            return False
        return True

    async def changed(volume: str, n: int) -> str:
        file = home / "local"
        file.write_bytes(_files(n)["b/c"])
        while True:
            found = await copied(file)
            step = {"op": "put", "path": "a", "force": True, "digest": found, "blob": found, "offset": 0}
            if await edit(volume, {**step, "size": file.stat().st_size}):
                break
        assert await edit(volume, {"op": "copy", "sources": ["a"], "path": "d"})
        with contextlib.suppress(exception.AlreadyExistsError):  # its answer was lost
            await both.ask("volume.fork", volume_id=volume, name=f"fork-{n}")
        return (await both.ask("volume.get", name=f"fork-{n}"))["volume_id"]

    async def walk() -> int:
        volume, nth = (await both.ask("volume.get", name="v", create="missing"))["volume_id"], 0
        await changed(volume, 0)
        while True:
            nth += 1
            before, after = (_files(n)["b/c"] for n in (nth - 1, nth))
            (home / f"kill-{program}").write_text(str(nth))
            changing = asyncio.get_running_loop().create_task(changed(volume, nth))
            while not changing.done() and (home / f"kill-{program}").exists():
                await asyncio.sleep(0.001)
            seen = tuple((await both.shown(volume, "ad")).values())
            assert seen in ((before, before), (after, before), (after, after)), f"half of step {nth} of the {program}"
            whole = {"a": after, "d": after}
            fork = await changing
            assert await both.shown(volume, "ad") == whole == await both.shown(fork, "ad")
            if not both.killed(program):
                return nth

    try:
        nth = asyncio.run(asyncio.wait_for(walk(), 400))
    finally:
        both.end()
    _nothing_left(both)
    return nth


@pytest.mark.parametrize(("program", "steps"), [("server", 12), ("worker", 12)])
def test_copies_and_forks_survive_a_kill_at_every_step(apart, home, program, steps):
    assert apart(_copying, home, program) > steps


def _merging(home: Path, program: str) -> int:
    """Let a stack grow until it is merged, and the program die one step later each time."""
    both = Both(home)

    async def put(volume: str, n: int) -> None:
        await both.put(volume, {f"f{n % 5}": f"{n}".encode(), f"d/{n % 3}": b"x"}, packed=True)
        shown[f"f{n % 5}"] = f"{n}".encode()

    async def whole(volume: str) -> None:
        assert await both.shown(volume, shown) == shown

    async def walk() -> int:
        volume = (await both.ask("volume.get", name="v", create="missing"))["volume_id"]
        n = missed = 0
        nth = 1
        while True:
            while len(both.stack(volume)) < HIGH:
                n += 1
                await put(volume, n)
            n += 1
            await put(volume, n)  # the stack is too high now
            (home / f"kill-{program}").write_text(str(nth))
            in_time = len(both.stack(volume)) >= HIGH  # else it was merged before the trap was set
            deadline = time.monotonic() + 30
            while len(both.stack(volume)) >= HIGH and (home / f"kill-{program}").exists():
                assert time.monotonic() < deadline, "never merged"
                await asyncio.sleep(0.001)
            used = both.killed(program)
            await whole(volume)
            while len(both.stack(volume)) >= HIGH:  # the next commit has it merged
                n += 1
                await put(volume, n)
                await asyncio.sleep(0.02)
            await whole(volume)
            missed = 0 if used else missed + in_time
            if missed == 6:  # some steps may have been made before the trap was set
                return nth
            nth += used

    shown: dict[str, bytes] = {}
    try:
        nth = asyncio.run(asyncio.wait_for(walk(), 500))
    finally:
        both.end()
    _nothing_left(both)
    return nth


@pytest.mark.parametrize(("program", "steps"), [("server", 3), ("worker", 8)])
def test_a_compaction_survives_a_kill_at_every_step(apart, home, program, steps):
    assert apart(_merging, home, program) > steps

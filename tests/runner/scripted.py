"""A server by script at one end, the real runner as a real process at the other."""
from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any

import windlass
from windlass import exception
from windlass.kit import ids
from windlass.wire import payload, peer

BOOT = Path(windlass.__file__).parent / "runner" / "boot.py"
CALL = "fc-" + "1" * 22


class Stage:
    """``outputs`` in order of arrival, ``seen``: every other request by method."""

    def __init__(
        self, folder: Path, code: str, *, token: str = "secret", blobs: Any = None, bound: str = "", **spec: Any
    ) -> None:
        self.token = token
        self.bound = bound
        self.folder = folder
        self.socket = str(folder / "s.sock")
        (folder / "code").mkdir()
        (folder / "code" / "job.py").write_text(textwrap.dedent(code))
        self.outputs: list[dict[str, Any]] = []
        self.values: dict[tuple[str, int], bytes] = {}
        self.seen: dict[str, list[Any]] = {}
        self.blobs: dict[str, bytearray] = blobs or {}
        self.drop: list[dict[str, Any]] = []
        self.deaf = False  # do not answer runner.outputs
        self.withheld: set[str] = set()  # do not answer those with items of these inputs
        self.again = False  # lease once more what is given back: on a slow machine each input may take long
        self.leased: dict[str, tuple[dict[str, Any], bytes]] = {}
        self.peer: peer.Peer | None = None
        self.changed = asyncio.Event()
        self.count = 0
        self.spec = {
            "tag": "f", "module": "job", "qualname": "f", "definition": "file", "serialized": None,
            "is_generator": False, "is_async": False, "timeout": 60.0, "single_use": False, **spec,
        }

    @contextlib.asynccontextmanager
    async def listening(self):
        loop = asyncio.get_running_loop()
        Path(self.socket).unlink(missing_ok=True)
        server = await loop.create_unix_server(lambda: peer.Peer(self._serve, lost=self._lost), self.socket)
        try:
            yield
        finally:
            server.close()
            if self.peer is not None:
                self.peer.close()
            await asyncio.sleep(0)

    @contextlib.contextmanager
    def process(self):
        plan = {
            "container_id": "ta-1", "token": self.token, "socket": self.socket, "function_id": "fu-1",
            "image_id": "im-1", "environment": "main", "spec": self.spec,
            "parameters": self.bound, "app": {"app_id": "ap-1", "app_name": "x", "functions": {}},
        }
        path = self.folder / "plan.json"
        path.write_text(json.dumps(plan))
        environment = {**os.environ, "WINDLASS_PLAN": str(path)}
        self.out, self.err = self.folder / "out", self.folder / "err"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.started = time.perf_counter()
            running = subprocess.Popen(
                [sys.executable, str(BOOT)], env=environment, cwd=self.folder / "code", stdin=subprocess.DEVNULL,
                stdout=out, stderr=err,
            )
        self.running = running
        try:
            yield running
        finally:
            if running.poll() is None:
                running.kill()
            running.wait()

    def lease(self, *inputs: Any, attempt: int = 1, method: str = "") -> list[str]:
        """Lease inputs given as tuples of arguments; returns their ids."""
        leases, attachments, names = [], [], []
        for args in inputs:
            data = pickle.dumps((args, {}), 4)
            name = ids.input_id(CALL, self.count)
            self.count += 1
            if len(data) > payload.INLINE_LIMIT:
                digest = payload.digest(data)
                self.blobs[digest] = bytearray(data)
                place = {"blob": digest, "size": len(data)}
            else:
                place = {"at": len(attachments), "size": len(data)}
                attachments.append(data)
            lease = {"input_id": name, "call_id": CALL, "attempt": attempt, "retries": 0, "payload": place}
            leases.append({**lease, "method": method} if method else lease)
            self.leased[name] = leases[-1], data
            names.append(name)
        assert self.peer is not None
        self.peer.notify("runner.lease", {"leases": leases}, attachments)
        return names

    def lease_named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """Lease one input with arguments by name."""
        return self.lease_raw(pickle.dumps((args, kwargs), 4))

    def lease_raw(self, data: bytes) -> str:
        """Lease one input whose arguments are these bytes."""
        name = ids.input_id(CALL, self.count)
        self.count += 1
        place = {"at": 0, "size": len(data)}
        lease = {"input_id": name, "call_id": CALL, "attempt": 1, "retries": 0, "payload": place}
        assert self.peer is not None
        self.peer.notify("runner.lease", {"leases": [lease]}, [data])
        return name

    def cancel(self, *names: str, attempt: int = 1) -> None:
        assert self.peer is not None
        self.peer.notify("runner.cancel", {"inputs": [{"input_id": name, "attempt": attempt} for name in names]})

    def stop(self, *, graceful: bool, grace: float = 10.0) -> None:
        assert self.peer is not None
        self.peer.notify("runner.stop", {"graceful": graceful, "grace": grace, "reason": "test"})

    async def until(self, condition, seconds: float = 20.0):
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            left = deadline - time.monotonic()
            assert left > 0, f"not in time; outputs {self.outputs}, seen {self.seen}, err {self.err.read_text()}"
            self.changed.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.changed.wait(), min(left, 0.05))
        return value

    async def quiet(self, switches, most: int, seconds: float) -> None:
        """Until a time of that length has passed in which ``switches()`` has not grown by more than ``most``."""
        end = time.monotonic() + 20
        while True:
            before = switches()
            await asyncio.sleep(seconds)
            if (grown := switches() - before) <= most:
                return
            assert time.monotonic() < end, f"it is not quiet: {grown} switches"

    async def end_of(self, name: str) -> dict[str, Any]:
        return await self.until(lambda: next((o for o in self.ends if o["input_id"] == name), None))

    async def exit_code(self) -> int:
        await self.until(lambda: self.running.poll() is not None)
        return self.running.returncode

    def switches(self) -> int:
        """How often all threads of the runner have given up the processor."""
        total = 0
        for task in Path(f"/proc/{self.running.pid}/task").iterdir():
            status = dict(line.split(":", 1) for line in (task / "status").read_text().splitlines())
            total += int(status["voluntary_ctxt_switches"])
        return total

    @property
    def ends(self) -> list[dict[str, Any]]:
        return [o for o in self.outputs if o["status"] != "item"]

    def value(self, output: dict[str, Any]) -> Any:
        place = output.get("value") or output["failure"]["error"]
        return pickle.loads(bytes(self.blobs[place["blob"]]) if "blob" in place else place["data"])

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.running.send_signal(number)

    # -- the other end --------------------------------------------------------------------------------------

    def _lost(self, link: peer.Peer, exc: BaseException | None) -> None:
        if self.peer is link:
            self.peer = None

    def _serve(self, call: peer.Incoming) -> None:
        self.seen.setdefault(call.method, []).append(call.body)
        self.changed.set()
        if call.method == "hello":
            self._hello(call)
        elif call.method == "runner.ready":
            self.peer = call.peer
            call.reply({"drop": self.drop})
        elif call.method == "runner.outputs":
            self._take(call)
        elif call.method == "runner.release":
            call.reply({})
            if self.again and not call.body.get("leaving"):
                self._lease_again(call.peer, [one["input_id"] for one in call.body["inputs"]])
        elif call.method == "blob.put":
            self.blobs.setdefault(call.body["digest"], bytearray()).extend(call.attachments[0])
            call.reply({})
        elif call.method == "blob.get":
            data = self.blobs[call.body["digest"]]
            for offset in range(call.body["offset"], len(data), payload.CHUNK):
                call.item({"offset": offset}, [bytes(data[offset : offset + payload.CHUNK])])
            call.end()
        else:
            call.reply({})

    def _hello(self, call: peer.Incoming) -> None:
        if call.body["token"] != "secret":
            call.fail(exception.AuthError("wrong token"))
        else:
            call.reply({"version": "1", "protocol": 1, "server_id": "s", "workspace": "w", "environment": "main"})

    def _lease_again(self, link: peer.Peer, names: list[str]) -> None:
        """As another attempt, each by itself."""
        for name in names:
            lease, data = self.leased[name]
            lease = {**lease, "attempt": lease["attempt"] + 1, "payload": {"at": 0, "size": len(data)}}
            self.leased[name] = lease, data
            link.notify("runner.lease", {"leases": [lease]}, [data])

    def _take(self, call: peer.Incoming) -> None:
        for output in call.body["outputs"]:
            for place in (output.get("value"), (output.get("failure") or {}).get("error")):
                if place is not None and "at" in place:
                    place["data"] = call.attachments[place["at"]]
            self.outputs.append(output)
        withheld = any(o["status"] == "item" and o["input_id"] in self.withheld for o in call.body["outputs"])
        if not self.deaf and not withheld:
            call.reply({})


def play(code: str, script, *, ready: bool = True, **spec: Any) -> None:
    """Run ``await script(stage)`` beside a runner of ``code`` that (``ready``) has said that it is."""
    folder = Path(tempfile.mkdtemp(prefix="w-runner-"))

    async def main() -> None:
        stage = Stage(folder, code, **spec)
        async with stage.listening():
            with stage.process():
                if ready:
                    await stage.until(lambda: stage.peer is not None)
                await script(stage)

    try:
        asyncio.run(asyncio.wait_for(main(), 30))
    finally:
        shutil.rmtree(folder)

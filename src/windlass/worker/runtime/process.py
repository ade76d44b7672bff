"""No isolation at all: a container is a plain process of this machine's Python.

Only for the project's own tests, chosen by the explicit setting ``WINDLASS_RUNTIME=process`` and never otherwise.
Images build at once and hold nothing; mounts are copied below the container's folder.
"""
from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from pathlib import Path

import windlass
from windlass import exception, paths
from windlass.kit import tasks, trees
from windlass.wire.messages import containers, images, workers
from windlass.worker import folder as folders
from windlass.worker import mounts, network, release
from windlass.worker.images import holds, store
from windlass.worker.runtime import base, handle, shim
from windlass.worker.sandboxes import box, execs, starting
from windlass.worker.volumes import service as volume_service

_START_TIME = 10.0  # seconds for the shim to write its pid file
_PASSED = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "TMPDIR")


class Processes:
    """``base.Runtime`` without isolation."""

    name = "process"
    abilities: frozenset[str] = frozenset()
    levels: Mapping[str, str] = {}
    gaps: Sequence[str] = ("this worker was asked to run without any isolation (WINDLASS_RUNTIME=process)",)

    def __init__(self, root: Path, *, boot: Path | None = None) -> None:
        self._root = root
        self.store = store.Store(root, holds.Holds())
        self.volumes: volume_service.Volumes | None = None
        self.network: network.NetworkPool | None = None
        self._boot = boot or Path(windlass.__file__).parent / "runner" / "boot.py"
        self._mounts = mounts.Mounts(root, owner=False)
        self._exits = handle.Exits(paths.run(root) / "exits")

    async def __aenter__(self) -> Processes:
        self._exits.__enter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._exits.__exit__(None, None, None)

    @contextlib.asynccontextmanager
    async def open(self, plan: containers.ContainerPlan) -> AsyncIterator[base.Running]:
        folder = folders.Folder(self._root, plan["container_id"])
        if "sandbox" in plan:
            raise _needs_containers("sandboxes")
        if any(map(plan.get, ("volumes", "buckets", "nfs"))):
            raise _needs_containers("volumes")
        if "network" in plan:
            raise _needs_containers("networks")
        uses = holds.named(plan.get("image_id", ""), plan["mounts"])
        with self.store.held.of(*uses), _removed_after(folder), self._exits.expect(folder.container_id) as ended:
            trees = [await self._mounts.tree(digest) for digest in plan["mounts"]]
            await asyncio.to_thread(_fill, folder, trees, plan, self._root)
            record = await self._launch(folder, plan)
            with handle.Handle(folder, ended).watch(record) as running:
                yield running

    @contextlib.asynccontextmanager
    async def adopt(self, container_id: str) -> AsyncIterator[base.Running]:
        folder = folders.Folder(self._root, container_id)
        with _removed_after(folder), self._exits.expect(container_id) as ended:
            record = folder.read()
            if record is None:
                raise exception.NotFoundError("the worker died while this container started")
            with handle.Handle(folder, ended).watch(record) as running:
                yield running

    async def prepare(self, plan: containers.ContainerPlan) -> None:
        """Nothing."""

    def known(self) -> list[str]:
        return folders.known(self._root)

    def command(self, container_id: str, argv: Sequence[str], *, pty: bool) -> base.Command:
        work = folders.Folder(self._root, container_id).path / "files" / "root"
        return base.Command(list(argv), _environment({}), str(work))

    @property
    def starter(self) -> starting.Starting:
        raise _needs_containers("sandboxes")

    def commands(self, home: box.Home, owner: tasks.Tasks) -> execs.Starter:
        raise _needs_containers("sandboxes")

    async def port(self, home: box.Home, number: int) -> socket.socket:
        raise _needs_containers("sandboxes")

    async def settle(self, home: box.Home) -> None:
        raise _needs_containers("sandboxes")

    def memory(self, home: box.Home) -> contextlib.AbstractAsyncContextManager[Path]:
        raise _needs_containers("sandboxes")

    def sandbox(self, container_id: str) -> box.Home:
        raise _needs_containers("sandboxes")

    async def build(self, plan: workers.BuildPlan, log: Callable[[str], None]) -> workers.ImageMeta:
        """Nothing to do, said as if it had been done."""
        meta: workers.ImageMeta = {
            "layers": [plan["image_id"]], "env": {}, "workdir": "", "entrypoint": [],
            "python": f"{sys.version_info[0]}.{sys.version_info[1]}", "size": 0,
        }  # fmt: skip
        layer = self._root / "layers" / plan["image_id"]
        layer.mkdir(parents=True, exist_ok=True)
        (layer / "meta.json").write_text(json.dumps(meta))
        return meta

    def contents(self, image_id: str) -> images.Contents:
        return {"installed": {"debian": {}, "python": {}}, "digest": ""}

    def keep_templates(self, functions: Collection[str]) -> None:
        """It has none."""

    def templates(self) -> list[str]:
        return []

    def images(self) -> list[str]:
        return sorted(path.parent.name for path in (self._root / "layers").glob("*/meta.json"))

    async def _launch(self, folder: folders.Folder, plan: containers.ContainerPlan) -> folders.Record:
        argv = [sys.executable, "-S", "-E", shim.__file__, str(folder.log), str(folder.pid_file)]
        argv += [str(self._exits.path / folder.container_id), sys.executable, str(self._boot)]
        environment = _environment(plan["env"]) | {"WINDLASS_PLAN": str(folder.plan)}
        monitor = await asyncio.to_thread(_spawn, argv, environment, str(folder.path / "files" / "root"))
        deadline = time.monotonic() + _START_TIME
        while not (pid := folders.read_pid(folder.pid_file)):
            if time.monotonic() > deadline or monitor.poll() is not None:
                raise exception.ExecutionError("the runner's process did not start")
            await asyncio.sleep(0.002)
        record: folders.Record = {
            "container_id": folder.container_id, "pid": pid, "pid_start": folders.start_time(pid),
            "monitor": monitor.pid, "monitor_start": folders.start_time(monitor.pid),
        }  # fmt: skip
        folder.write(record)
        return record


def _needs_containers(what: str) -> exception.UnimplementedError:
    return exception.UnimplementedError(f"{what} need containers: this worker runs without isolation")


def _spawn(argv: list[str], env: dict[str, str], cwd: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        argv, env=env, cwd=cwd, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def _environment(env: dict[str, str]) -> dict[str, str]:
    return {name: os.environ[name] for name in _PASSED if name in os.environ} | {"PYTHONUNBUFFERED": "1"} | env


def _fill(folder: folders.Folder, trees: list[Path], plan: containers.ContainerPlan, root: Path) -> None:
    files = folder.path / "files"
    (files / "root").mkdir(parents=True)
    for tree in trees:
        shutil.copytree(tree, files, dirs_exist_ok=True)
    folder.log.touch()
    runner = plan["runner"] | {"socket": str(paths.containers_socket(root))}
    path = folder.plan
    path.touch(0o600)
    path.write_text(json.dumps(runner))


def _removed_after(folder: folders.Folder) -> contextlib.AbstractContextManager[None]:
    return release.on_end(lambda: trees.remove(folder.path))

"""Whether virtual machines work here: one is started with the machine's own programs, and runs a command.

What came of it is remembered, a refusal until the machine is started again: a processor that cannot do it would be
asked for seconds by each worker that begins. Where somebody wants the processor emulated, only the doctor tries it: it
takes longer than a worker may.
"""
from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from windlass import exception
from windlass.kit import clock, ids
from windlass.worker import folder as folders
from windlass.worker import spec
from windlass.worker.runtime import probe
from windlass.worker.sandboxes import box, starting
from windlass.worker.sandboxes.vm import parts, plan, room

MEMORY = "vm.json"
_TIME = {parts.KVM: 8.0, parts.TCG: 120.0}
_SIZE = 256 * 1024 * 1024
_BOOT = Path("/proc/sys/kernel/random/boot_id")


async def tried(
    root: Path, starter: starting.Starting, environ: Mapping[str, str], *, patient: bool
) -> tuple[parts.Parts | None, str]:
    """What they are made of, and why there are none, "" where there are. ``root``: the home as the node names it."""
    try:
        found = await asyncio.to_thread(parts.find, environ)
    except (parts.Missing, OSError) as exc:
        return None, str(exc)
    memory, key = root / MEMORY, found.key
    why = _remembered(memory, key)
    if why is None and found.accel == parts.TCG and not patient:
        return found, ""
    if why is None:
        why = await _tried(root, found, starter)
        with contextlib.suppress(OSError):  # on a full disk it is tried again by the next one
            memory.write_text(json.dumps({key: {"why": why, "boot": _BOOT.read_text()}}))
    return found, why


def _remembered(memory: Path, key: str) -> str | None:
    try:
        known = json.loads(memory.read_text())[key]
    except (OSError, ValueError, KeyError):
        return None
    return str(known["why"]) if not known["why"] or known["boot"] == _BOOT.read_text() else None


async def _tried(root: Path, found: parts.Parts, starter: starting.Starting) -> str:
    """Why it does not work."""
    seconds = _TIME[found.accel]
    try:
        staged = await asyncio.to_thread(parts.made, found, root)
        await asyncio.wait_for(_ran(root, found, staged, starter), seconds)
    except asyncio.TimeoutError:
        return f"{parts.kernel_name(found)} did not start a command by {found.accel} within {seconds:.0f} s"
    except (exception.Error, OSError, ValueError, subprocess.SubprocessError) as exc:
        return f"a virtual machine cannot be run by {found.accel}: {exc}"
    return ""


async def _ran(root: Path, found: parts.Parts, staged: Path, starter: starting.Starting) -> None:
    scratch = Path(tempfile.mkdtemp(prefix=".level-", dir=root / folders.CONTAINERS))
    folder = folders.Folder(scratch, ids.new("ta"))
    first = 0
    try:
        folder.bundle.mkdir(parents=True)
        scratch.chmod(0o755)
        binds = list(await asyncio.to_thread(probe._host, folder.rootfs))
        for name in box.KERNELS_OWN:
            (folder.rootfs / name).mkdir()
        walls = spec.Box(
            name="doctor", argv=[], env={}, cwd="/", rootfs=folder.rootfs, binds=binds, memory=_SIZE,
            open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[1], seccomp=None,
        )  # fmt: skip
        planned = plan.cell_of(walls, found, staged, plan.stub(root), room.bundle(folder))
        first = await starter.cell(folder.container_id, planned)
        await _commanded(walls, folder, first, found, starter)
    finally:
        if first:
            starting.end(first)
        await asyncio.to_thread(shutil.rmtree, scratch, True)


async def _commanded(
    walls: spec.Box, folder: folders.Folder, first: int, found: parts.Parts, starter: starting.Starting
) -> None:
    asked: box.Asked = {"env": {"PATH": spec.PATH}, "cwd": "/", "uid": 0, "gid": 0, "groups": []}
    home = box.Home(folder, {"container_id": folder.container_id, "pid": first}, asked, [])
    within = room.Room(home, found)
    entry = within.furnish(walls, plan.Asked(_SIZE, 1, 256, ""), home.inside(["true"]))
    over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        await starter.execute(folder.container_id, entry, [null] * 3, over.set_result)
    finally:
        os.close(null)
    await within.up(over, clock.SystemClock())
    if code := await over:
        raise exception.ExecutionError(f"exit code {code}")

"""Which levels of isolation sandboxes can have here, by their names in ``Sandbox.create(runtime=…)``: each is tried.

A level that is not here is refused with its reason; nothing weaker ever takes its place.
"""
from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import resource
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from windlass import exception
from windlass.kit import ids
from windlass.worker import folder as folders
from windlass.worker import spec
from windlass.worker.runtime import probe
from windlass.worker.sandboxes import box, gvisor, sentry, starting
from windlass.worker.sandboxes.vm import parts, trial

CONTAINER = "container"
_MISSING = "runsc is not installed"
_TIME = 8.0  # whoever wants such a sandbox before it was tried waits as long
_MEMORY = "levels.json"
_ODD = 3
_OLD = "`ls` and other programs that ask for files by statx fail in it: runsc{date} is too old for them"
_EMULATED = f"the processor is emulated ({parts.ACCEL_SETTING}={parts.TCG}), many times slower than by KVM"
_TRIED = ["sh", "-c", f"ls / > /dev/null 2>&1 || exit {_ODD}"]


class Levels(NamedTuple):
    """``reasons``: why each is not here, "" where it is, or may be. ``notes``: what is lacking in those that are.
    ``runsc``, ``machine``: what serves for them, once it is sure."""

    runsc: sentry.Runsc | None
    reasons: Mapping[str, str]
    notes: Mapping[str, str]
    machine: parts.Parts | None = None

    def gvisor(self) -> sentry.Runsc:
        """Raises ``UnimplementedError`` where it is not here."""
        if self.runsc is None or self.reasons[sentry.LEVEL]:
            raise exception.UnimplementedError(
                f'runtime="gvisor" is not available here: {self.reasons[sentry.LEVEL]}',
                hint="Install runsc (the package, or gvisor.dev) and restart the platform; see `windlass doctor`.",
            )
        return self.runsc

    def vm(self) -> parts.Parts:
        """Raises ``UnimplementedError`` where it is not here."""
        if self.machine is None or self.reasons[parts.LEVEL]:
            raise exception.UnimplementedError(
                f'runtime="vm" is not available here: {self.reasons[parts.LEVEL]}',
                hint="`windlass doctor` says what it takes.",
            )
        return self.machine

    def lacks(self, level: str) -> bool:
        """Whether it is not sure that it is here."""
        return bool(self.reasons[level]) or (self.runsc if level == sentry.LEVEL else self.machine) is None


def recall(root: Path) -> Levels:
    """What was found the last time with the same programs and the same kernel; else what can be hoped for. Starts no
    program. ``root``: the home as the node names it."""
    runsc, reasons, notes = None, {sentry.LEVEL: "" if sentry.installed() else _MISSING}, {}
    try:
        kept = json.loads((root / _MEMORY).read_text())
        if kept["of"] == _of():
            runsc = kept["runsc"] and sentry.Runsc(Path(kept["runsc"][0]), *kept["runsc"][1:])
            reasons, notes = {sentry.LEVEL: kept["why"]}, {sentry.LEVEL: kept["note"]} if kept["note"] else {}
    except (OSError, ValueError, LookupError, TypeError):  # of another release, or cut off
        pass
    return Levels(runsc, {CONTAINER: "", **reasons, parts.LEVEL: parts.hope()}, notes)


async def look(
    root: Path, starter: starting.Starting, *, known: Levels | None = None, patient: bool = False
) -> Levels:  # fmt: skip
    """Try them, and remember what was found. ``known``: what need not be tried again; ``patient``: no worker serves
    meanwhile."""
    again = known is None or known.lacks(sentry.LEVEL)
    (runsc, reason, note), (machine, why) = await asyncio.gather(
        _gvisor(root, starter) if again else _same(known), trial.tried(root, starter, os.environ, patient=patient)
    )
    notes = {sentry.LEVEL: note} if note else {}
    if machine is not None and machine.accel == parts.TCG:
        notes[parts.LEVEL] = _EMULATED
    return Levels(runsc, {CONTAINER: "", sentry.LEVEL: reason, parts.LEVEL: why}, notes, machine)


async def _same(known: Levels | None) -> tuple[sentry.Runsc | None, str, str]:
    assert known is not None
    return known.runsc, known.reasons[sentry.LEVEL], known.notes.get(sentry.LEVEL, "")


async def _gvisor(root: Path, starter: starting.Starting) -> tuple[sentry.Runsc | None, str, str]:
    """What is installed, why it is not here, and what it lacks."""
    of, reason, note = _of(), _MISSING, ""
    runsc = await asyncio.to_thread(sentry.find)
    if runsc is not None:
        code, reason = 0, ""
        try:
            code = await asyncio.wait_for(_try(root, runsc, starter), _TIME)
        except asyncio.TimeoutError:
            reason = f"runsc cannot run a sandbox: it did not end within {_TIME:.0f} s"
        except (exception.Error, OSError) as exc:
            reason = f"runsc cannot run a sandbox: {exc}"
        if code == _ODD:
            note = _OLD.format(date=f" of {runsc.date}" if runsc.date else "")
    elif sentry.installed():
        reason = "runsc is installed, but does not answer"
    program = None if runsc is None else [str(runsc.binary), *runsc[1:]]
    draft = root / f"{_MEMORY}.new"
    with contextlib.suppress(OSError):  # on a full disk it is tried again by the next one
        draft.write_text(json.dumps({"of": of, "runsc": program, "why": reason, "note": note}))
        draft.replace(root / _MEMORY)
    return runsc, reason, note


def _of() -> str:
    """What the answer depends on."""
    path = sentry.installed()
    stat = None if path is None else path.stat()
    return f"{path} {stat and stat.st_mtime_ns} {stat and stat.st_size} {platform.release()}"


async def _try(root: Path, runsc: sentry.Runsc, starter: starting.Starting) -> int:
    """The exit code of a command in a sandbox of the machine's own programs."""
    scratch = Path(tempfile.mkdtemp(prefix=".level-", dir=root / folders.CONTAINERS))
    name = ids.new("ta")
    folder = folders.Folder(scratch, name)
    try:
        folder.bundle.mkdir(parents=True)
        scratch.chmod(0o755)
        binds = await asyncio.to_thread(probe._host, folder.rootfs)
        for part in box.KERNELS_OWN:
            (folder.rootfs / part).mkdir(exist_ok=True)
        return await _ran(root, folder, list(binds), runsc, starter)
    finally:
        await asyncio.to_thread(shutil.rmtree, scratch, True)


async def _ran(
    root: Path, folder: folders.Folder, binds: list[spec.Bind], runsc: sentry.Runsc, starter: starting.Starting
) -> int:  # fmt: skip
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    walls = spec.Box(
        name="doctor", argv=[], env={}, cwd="/", rootfs=folder.rootfs, binds=binds, memory=0, open_files=files,
        seccomp=None,
    )  # fmt: skip
    bundle = gvisor.bundle(folder)
    first = await starter.cell(folder.container_id, sentry.plan(walls, runsc, sentry.stub(root), bundle, None))
    try:
        asked: box.Asked = {"env": {"PATH": spec.PATH}, "cwd": "/", "uid": 0, "gid": 0, "groups": []}
        record: folders.Record = {"container_id": folder.container_id, "pid": first}
        room = gvisor.Room(box.Home(folder, record, asked, []), runsc, files)
        room.furnish(walls, room.home.inside(_TRIED))
        over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        try:
            entry = room.entry(room.home.inside(_TRIED), restored=False)
            await starter.execute(folder.container_id, entry, [null] * 3, over.set_result)
        finally:
            os.close(null)
        code = await over
        if code not in (0, _ODD):
            raise exception.ExecutionError(room._reason("entry") or f"exit code {code}")
        return code
    finally:
        starting.end(first)

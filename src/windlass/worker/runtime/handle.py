"""A running container: its first process, its monitor, and how it ended.

The monitor (conmon, or ``shim``) is a process beside the container that outlives the worker: it keeps the log and
writes the exit status into the exit folder. Whoever waits learns of the end from that file; a monitor that dies
without writing it takes its container with it, because nobody could tell the end any more.
"""
from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Collection, Iterator
from pathlib import Path
from types import TracebackType

from windlass import exception
from windlass.wire.messages import containers
from windlass.worker import folder as folders
from windlass.worker import inotify, release

_WRITE_TIME = 1.0  # seconds between a monitor's death and its exit file becoming visible
_SIGNAL_BASE = 128


class Exits:
    """The folder that monitors write exit statuses into, one file a container."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._waiting: dict[str, asyncio.Future[int]] = {}
        self._inotify = inotify.Inotify()

    def __enter__(self) -> Exits:
        self.path.mkdir(parents=True, exist_ok=True)
        self._inotify.__enter__()
        self._inotify.watch(self.path, inotify.MOVED_TO | inotify.CLOSE_WRITE, self._appeared)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._inotify.__exit__(kind, exc, tb)

    def status(self, container_id: str) -> int | None:
        """The exit status if it is known already."""
        try:
            text = (self.path / container_id).read_text().strip()
        except FileNotFoundError:
            return None
        return int(text) if text else None

    def retain(self, known: Collection[str]) -> None:
        """Remove the files of containers that are not ``known`` any more."""
        for file in self.path.iterdir():
            if file.name not in known:
                file.unlink(missing_ok=True)

    @contextlib.contextmanager
    def expect(self, container_id: str) -> Iterator[asyncio.Future[int]]:
        """A future of the exit status. The file is removed when the container's life is over."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[container_id] = future
        self._appeared(container_id)
        try:
            with release.on_end(lambda: (self.path / container_id).unlink(missing_ok=True)):
                yield future
        finally:
            del self._waiting[container_id]

    def _appeared(self, name: str) -> None:
        future = self._waiting.get(name)
        if future is not None and not future.done() and (status := self.status(name)) is not None:
            future.set_result(status)


class Handle:
    """``base.Running`` for a container with a monitor."""

    def __init__(self, folder: folders.Folder, ended: asyncio.Future[int]) -> None:
        self.container_id = folder.container_id
        self.log = folder.log
        self._folder = folder
        self._ended = ended
        self._process: int | None = None
        self._interrupted: int | None = None
        """Which process is asked to stop, if it is another one."""
        self._monitor: int | None = None
        self._monitor_gone = asyncio.Event()
        self._shared = False
        """Whether its monitor has other containers, too."""

    @contextlib.contextmanager
    def watch(self, record: folders.Record) -> Iterator[Handle]:
        """Hold the processes of ``record`` by descriptors; on leaving, nothing of the container runs any more,
        unless the worker is ending."""
        self._process = folders.open_pid(record["pid"], record["pid_start"])
        if "process" in record:
            self._shared = True
            self._interrupted = folders.open_pid(record["process"], record["process_start"])
        self._monitor = folders.open_pid(record["monitor"], record["monitor_start"])
        loop = asyncio.get_running_loop()
        if self._monitor is not None:
            loop.add_reader(self._monitor, self._monitor_ended)
        else:
            self._monitor_gone.set()
            self._lost()
        try:
            with release.on_end(self.kill):
                yield self
        finally:
            self._stop_watching()
            for descriptor in (self._process, self._monitor, self._interrupted):
                if descriptor is not None:
                    os.close(descriptor)
            self._process = self._monitor = self._interrupted = None

    async def wait(self) -> containers.ContainerExit:
        """Exit code or signal; what else is known of the reason is added by the runtime."""
        try:
            status = await asyncio.shield(self._ended)
        except exception.NotFoundError as exc:
            return {"reason": "lost", "message": str(exc)}
        with contextlib.suppress(asyncio.TimeoutError):
            if self._shared:
                return _said(status)  # it goes on, for others
            # It is about to end too, and holds the control group until then.
            await asyncio.wait_for(self._monitor_gone.wait(), _WRITE_TIME)
        return _said(status)

    def interrupt(self) -> None:
        self._send(signal.SIGINT, self._process if self._interrupted is None else self._interrupted)

    def kill(self) -> None:
        self._send(signal.SIGKILL, self._process)

    def _send(self, number: signal.Signals, process: int | None) -> None:
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(process, number)

    def _stop_watching(self) -> None:
        if self._monitor is not None:
            asyncio.get_running_loop().remove_reader(self._monitor)

    def _monitor_ended(self) -> None:
        self._monitor_gone.set()
        self._stop_watching()
        asyncio.get_running_loop().call_later(_WRITE_TIME, self._lost)

    def _lost(self) -> None:
        if not self._ended.done():
            self.kill()
            self._ended.set_exception(exception.NotFoundError("its monitor died, so its exit status is unknown"))
            self._ended.exception()  # waited for or not, it is not an error of the loop


def _said(status: int) -> containers.ContainerExit:
    if status > _SIGNAL_BASE and status - _SIGNAL_BASE < signal.NSIG:
        return {"reason": "signal", "signal": status - _SIGNAL_BASE, "exit_code": status}
    return {"reason": "exited", "exit_code": status}

"""A running container with the words of its control group on its end."""
from __future__ import annotations

from collections.abc import Callable

from windlass.wire.messages import containers
from windlass.worker import cgroups
from windlass.worker.runtime import handle


class Contained:
    """``base.Running``. ``hungry``: whether a kernel of its own says that its memory was too small, which is less than
    the group's by ``beside``."""

    def __init__(
        self, running: handle.Handle, group: cgroups.Cgroup, hungry: Callable[[], bool] | None = None,
        beside: int = 0,
    ) -> None:  # fmt: skip
        self._hungry = hungry
        self._beside = beside
        self._running = running
        self._group = group
        self.container_id = running.container_id
        self.log = running.log

    async def wait(self) -> containers.ContainerExit:
        end = await self._running.wait()
        if peak := self._group.peak():
            end["memory_peak"] = peak
        if (used := self._group.cpu_seconds()) is not None:
            end["cpu_seconds"] = used
        if end.get("exit_code") != 0 and (self._group.oom() or (self._hungry and self._hungry())):
            end["reason"], end["memory_limit"] = "oom", max(0, (self._group.limit or 0) - self._beside)
        return end

    def interrupt(self) -> None:
        self._running.interrupt()

    def kill(self) -> None:
        self._running.kill()

"""Its life: waited for, asked after, ended, tagged."""
from __future__ import annotations

from windlass import exception
from windlass.client import faces
from windlass.sandbox import handle

_TERMINATED = ("terminated", "idle")


class Life(handle.Handle):
    """The members of ``Sandbox`` about its life."""

    @faces.method
    async def wait(self, raise_on_termination: bool = True) -> None:
        """Wait for its end.

        Args:
            raise_on_termination: False: that somebody terminated it is no error.

        Raises:
            SandboxTimeoutError: its ``timeout`` was over.
            SandboxTerminatedError: somebody terminated it, or its ``idle_timeout`` was over.
            ExecutionError: its command could not be started.
        """
        from windlass.client import sandboxes

        info = await sandboxes.ended(self.object_id)
        self._code = info["code"]
        if info["why"] == "timeout":
            raise exception.SandboxTimeoutError(f"the sandbox ran longer than its timeout: {self.object_id}")
        if info["why"] in _TERMINATED and raise_on_termination:
            idle = "its idle_timeout was over" if info["why"] == "idle" else "it was terminated"
            raise exception.SandboxTerminatedError(f"{self.object_id}: {info['message'] or idle}")
        if info["why"] == "failed":
            raise exception.ExecutionError(
                f"the sandbox could not start: {info['message']}",
                hint="Its command is a program of its image, not a line for a shell: for one, 'sh', '-c', '…'."
                if "No such file" in info["message"]
                else "",
            )

    @faces.method
    async def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        from windlass.client import sandboxes

        if self._code is None:
            self._code = (await sandboxes.about(self._usable()))["code"]
        return self._code

    @property
    def returncode(self) -> int | None:
        """The exit code that ``wait`` or ``poll`` has seen: 124 after its timeout, 137 when it was terminated."""
        return self._code

    @faces.method
    async def terminate(self, *, wait: bool = False) -> int | None:
        """End it now. Repeating is harmless.

        Args:
            wait: until it has ended; then the exit code is returned.
        """
        from windlass.client import sandboxes

        await handle.request("sandbox.terminate", {"sandbox_id": self._usable()})
        if wait:
            self._code = (await sandboxes.ended(self.object_id))["code"]
            return self._code
        return None

    @faces.method
    async def detach(self) -> None:
        """This handle is not used any more; the sandbox goes on. Only ``wait``, ``returncode`` and
        what its command printed are left; all else raises ``ClientClosed``."""
        self._detached = True

    @faces.method
    async def wait_until_ready(self, *, timeout: float = 300) -> None:
        """Wait until its ``readiness_probe`` has succeeded.

        Raises:
            InvalidError: ``timeout`` is not positive.
            TimeoutError: it was not ready in time.
            ConflictError: it has no probe, or has ended.
        """
        import time

        from windlass.client import sandboxes

        identity, end = self._usable(), time.monotonic() + handle.seconds("timeout", timeout)
        while True:
            info = await sandboxes.about(identity, "ready", min(50.0, max(0.0, end - time.monotonic())))
            if not info["probed"]:
                raise exception.ConflictError("this sandbox has no readiness probe", hint="Create it with one.")
            if info["ready"]:
                return
            if info["state"] == "finished":
                raise exception.ConflictError(f"the sandbox has finished before it was ready: {info['message']}")
            if time.monotonic() >= end:
                raise exception.TimeoutError(f"the sandbox was not ready within {timeout:g} s{handle.in_line(info)}")

    @faces.method
    async def get_tags(self) -> dict[str, str]:
        """Its tags."""
        return dict((await handle.request("sandbox.get", {"sandbox_id": self._usable()}))["tags"])

    @faces.method
    async def set_tags(self, tags: dict[str, str], *, client: object = None) -> None:
        """Give it these tags instead of those that it has.

        Raises:
            InvalidError: they are no strings.
        """
        from windlass.client import sandboxes

        await handle.request("sandbox.tags", {"sandbox_id": self._usable(), "tags": sandboxes.check_tags(tags)})

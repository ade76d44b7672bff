"""``Sandbox``: a container for a command that is not trusted, started and looked after from a program."""
from __future__ import annotations

import typing

from windlass import container_process, exception, io_streams, stream_type
from windlass.client import faces
from windlass.client import object as handles

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
    from typing import Any

    from windlass import file_io, sandbox_fs, tunnel
    from windlass.app import App
    from windlass.client import figures, logs, resolver
    from windlass.image import Image
    from windlass.secret import Secret
    from windlass.wire.messages import apps
    from windlass.wire.messages import sandboxes as messages

PIPE = stream_type.StreamType.PIPE
_MOST_INPUT = 2 * 1024 * 1024
_TERMINATED = ("terminated", "idle")
_INHERITED = "(inherited)"  # no name that could be given


class Probe:
    """How to learn that a sandbox is ready: a port that accepts connections, or a command that succeeds.

    Example:
        >>> sandbox = windlass.Sandbox.create(
        ...     "python", "-m", "http.server", "8080", app=app, readiness_probe=windlass.Probe.with_tcp(8080)
        ... )
        >>> sandbox.wait_until_ready()
    """

    tcp_port: int | None
    exec_argv: tuple[str, ...] | None
    interval_ms: int

    def __init__(
        self, tcp_port: int | None = None, exec_argv: tuple[str, ...] | None = None, interval_ms: int = 100
    ) -> None:
        if (tcp_port is None) == (exec_argv is None):
            raise exception.InvalidError("a probe asks either a port or a command")
        if tcp_port is not None and (
            isinstance(tcp_port, bool) or not isinstance(tcp_port, int) or not 0 < tcp_port < 65536
        ):
            raise exception.InvalidError(f"{tcp_port!r} is no port: they go from 1 to 65535")
        if exec_argv is not None and (not exec_argv or not all(isinstance(word, str) for word in exec_argv)):
            raise exception.InvalidError("a probe's command must be one or more strings")
        if isinstance(interval_ms, bool) or not isinstance(interval_ms, int) or interval_ms <= 0:
            raise exception.InvalidError(f"interval_ms must be a positive integer, not {interval_ms!r}")
        self.tcp_port = tcp_port
        self.exec_argv = exec_argv
        self.interval_ms = interval_ms

    @classmethod
    def with_tcp(cls, port: int, *, interval_ms: int = 100) -> Probe:
        """Ready when something listens at ``port``, asked every ``interval_ms``.

        Raises:
            InvalidError: that is no port, or no interval.
        """
        return cls(tcp_port=port, interval_ms=interval_ms)

    @classmethod
    def with_exec(cls, *argv: str, interval_ms: int = 100) -> Probe:
        """Ready when this command ends with 0, run in the sandbox again and again.

        Raises:
            InvalidError: there is no command, or no interval.
        """
        return cls(exec_argv=argv, interval_ms=interval_ms)

    def _spec(self) -> messages.ProbeSpec:
        spec: messages.ProbeSpec = {"interval": self.interval_ms / 1000}
        if self.tcp_port is not None:
            spec["port"] = self.tcp_port
        else:
            spec["argv"] = list(self.exec_argv or ())
        return spec


class Sandbox(handles.Object):
    """A container that runs a command of its own, under the control of a program: its files, its streams, further
    commands. It belongs to an app, and lives until its command ends, its time is over, or it is terminated, whatever
    becomes of the program that made it.

    Example:
        >>> app = windlass.App.lookup("agents", create_if_missing=True)
        >>> sandbox = windlass.Sandbox.create(app=app)
        >>> sandbox.exec("echo", "hello").stdout.read()
        'hello\\n'
        >>> sandbox.terminate()
    """

    _prefix = "sb"
    _code: int | None = None
    _info: messages.SandboxInfo
    _detached = False
    _text = True

    # -- into being --------------------------------------------------------------------------------------

    @staticmethod
    @faces.function
    async def create(
        *args: str,
        app: App | None = None,
        name: str | None = None,
        tags: dict[str, str] | None = None,
        image: Image | None = None,
        env: dict[str, str | None] | None = None,
        secrets: Sequence[Secret] | None = None,
        network_file_systems: Mapping[Any, Any] = {},
        timeout: int = 300,
        idle_timeout: int | None = None,
        workdir: str | None = None,
        gpu: object = None,
        cloud: str | None = None,
        region: str | Sequence[str] | None = None,
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        runtime: str | None = None,
        block_network: bool = False,
        outbound_cidr_allowlist: Sequence[str] | None = None,
        outbound_domain_allowlist: Sequence[str] | None = None,
        inbound_cidr_allowlist: Sequence[str] | None = None,
        volumes: Mapping[Any, Any] = {},
        pty: bool = False,
        encrypted_ports: Sequence[int] = (),
        h2_ports: Sequence[int] = (),
        unencrypted_ports: Sequence[int] = (),
        custom_domain: str | None = None,
        proxy: object = None,
        include_oidc_identity_token: bool = False,
        readiness_probe: Probe | None = None,
        verbose: bool = False,
        experimental_options: dict[str, Any] | None = None,
        client: object = None,
        environment_name: str | None = None,
        pty_info: object = None,
        cidr_allowlist: Sequence[str] | None = None,
        _experimental_enable_snapshot: bool = False,
    ) -> Sandbox:
        """Make a sandbox. Returns when the platform has accepted it: ``exec`` and the streams wait for it.

        Args:
            args: the command; without one the image's own, which for the default image sleeps for two days.
            app: that it belongs to; inside a container its own app, if none is given.
            name: unique among the running sandboxes of the app, for ``from_name``.
            tags: to find it by with ``list``.
            image: its files; by default ``Image.debian_slim()``. It needs no Python.
            env: variables of the command, and of all others that run in it.
            secrets: more variables.
            network_file_systems: by the paths that they are mounted at.
            timeout: seconds that it may run, up to a day.
            idle_timeout: seconds without a command and without input after which it ends.
            workdir: the folder that commands begin in.
            gpu: such as "H100" or "H100:2"; it waits until a machine has them free.
            cloud: accepted for compatibility.
            region: accepted for compatibility.
            cpu: cores that it is promised, or a pair with a limit.
            memory: MiB that it is promised, or a pair with a limit.
            runtime: how it is isolated: "container", which is the default, "gvisor", a kernel of its own, or "vm", a
                virtual machine of its own (where ``windlass doctor`` finds them). What is not here is refused, never
                replaced by something weaker.
            block_network: no network at all.
            outbound_cidr_allowlist: networks and addresses that it may reach, such as "203.0.113.0/24"; all else is
                refused. Together with domains, each list adds to the other; an empty one allows nothing.
            outbound_domain_allowlist: domains that it may reach by TLS on port 443: "example.com" for exactly that
                name, "*.example.com" for it and all below it, "*" for all.
            inbound_cidr_allowlist: networks that may come by its tunnels and connect tokens; None for all.
            volumes: volumes and buckets by the paths that they are mounted at.
            pty: its command has a terminal; what it complains is in its output then.
            encrypted_ports: ports of it that others reach, see ``tunnels``; TLS ends before them.
            h2_ports: the same, where TLS offers HTTP/2, which the program then must speak.
            unencrypted_ports: the same, with plain TCP beside.
            custom_domain: tunnels have names below this domain of yours (``windlass domain add``).
            proxy: the ``Proxy`` by whose address it leaves.
            include_oidc_identity_token: not available in this version.
            readiness_probe: how to learn that it is ready, see ``wait_until_ready``.
            verbose: its log also tells of each command and each use of its files from outside.
            experimental_options: accepted for compatibility.
            client: accepted for compatibility.
            environment_name: accepted for compatibility; the app decides.
            pty_info: removed; use ``pty``.
            cidr_allowlist: older word for ``outbound_cidr_allowlist``.
            _experimental_enable_snapshot: its memory can be kept (``_experimental_snapshot``); it has
                ``runtime="gvisor"`` then.

        Raises:
            InvalidError: an argument is wrong.
            ValueError: the app was never run or looked up.
            AlreadyExistsError: the app has a running sandbox of that name.
            ImageBuildError: its image cannot be built.
            UnimplementedError: this version, or this machine, cannot do what is asked for.
        """
        from windlass import sandbox_options as checks
        from windlass.client import sandboxes

        asked = dict(locals())
        for helper in ("args", "sandboxes", "checks"):
            asked.pop(helper)
        wish = sandboxes.Wish(*checks.wish(args, asked))
        return _made(await wish.create())

    @staticmethod
    @faces.function
    async def from_id(sandbox_id: str, client: object = None) -> Sandbox:
        """The sandbox of that id, also one that has ended.

        Raises:
            NotFoundError: there never was one, or its end is long ago.
        """
        from windlass.kit import ids

        if not isinstance(sandbox_id, str) or not ids.is_id(sandbox_id, "sb"):
            raise exception.NotFoundError(f"{sandbox_id!r} is no id of a sandbox")
        return _made(await _request("sandbox.get", {"sandbox_id": sandbox_id}))

    @staticmethod
    @faces.function
    async def from_name(
        app_name: str,
        name: str,
        *,
        environment_name: str | None = None,
        include_terminated: bool = False,
        client: object = None,
    ) -> Sandbox:
        """The running sandbox of that name in a deployed app.

        Args:
            app_name: of the app.
            name: that it was given.
            environment_name: where the app is deployed.
            include_terminated: also the last one that has ended, if none runs.
            client: accepted for compatibility.

        Raises:
            NotFoundError: there is none.
        """
        from windlass.client import names

        query: dict[str, Any] = {"app_name": app_name, "name": name, "ended": include_terminated}
        if environment := names.environment(environment_name):
            query["environment"] = environment
        return _made(await _request("sandbox.get", query))

    @staticmethod
    @faces.stream_function
    async def list(
        *, app_id: str | None = None, tags: dict[str, str] | None = None, client: object = None
    ) -> AsyncGenerator[Callable[[], Sandbox], None]:
        """Running sandboxes, newest first.

        Args:
            app_id: only those of this app.
            tags: only those that have at least these.
            client: accepted for compatibility.
        """
        from windlass.client import sandboxes

        query: dict[str, Any] = {} if app_id is None else {"app_id": app_id}
        if tags:
            query["tags"] = sandboxes.check_tags(tags)
        async for info in sandboxes.listed(query):
            yield lambda info=info: _made(info)  # type: ignore[misc]

    # -- its life ----------------------------------------------------------------------------------------

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
            raise exception.ExecutionError(f"the sandbox could not start: {info['message']}")

    @faces.method
    async def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        from windlass.client import sandboxes

        if self._code is None:
            self._code = (await sandboxes.about(self.object_id))["code"]
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

        await _request("sandbox.terminate", {"sandbox_id": self.object_id})
        if wait:
            self._code = (await sandboxes.ended(self.object_id))["code"]
            return self._code
        return None

    @faces.method
    async def detach(self) -> None:
        """This handle is not used any more; the sandbox goes on. Only ``wait`` and ``returncode`` are left."""
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

        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or timeout <= 0:
            raise exception.InvalidError(f"timeout must be positive, not {timeout!r}")
        identity, end = self._usable(), time.monotonic() + timeout
        while True:
            info = await sandboxes.about(identity, "ready", min(50.0, max(0.0, end - time.monotonic())))
            if not info["probed"]:
                raise exception.ConflictError("this sandbox has no readiness probe", hint="Create it with one.")
            if info["ready"]:
                return
            if info["state"] == "finished":
                raise exception.ConflictError(f"the sandbox has finished before it was ready: {info['message']}")
            if time.monotonic() >= end:
                raise exception.TimeoutError(f"the sandbox was not ready within {timeout:g} s{_in_line(info)}")

    @faces.method
    async def get_tags(self) -> dict[str, str]:
        """Its tags."""
        return dict((await _request("sandbox.get", {"sandbox_id": self._usable()}))["tags"])

    @faces.method
    async def set_tags(self, tags: dict[str, str], *, client: object = None) -> None:
        """Give it these tags instead of those that it has.

        Raises:
            InvalidError: they are no strings.
        """
        from windlass.client import sandboxes

        await _request("sandbox.tags", {"sandbox_id": self._usable(), "tags": sandboxes.check_tags(tags)})

    # -- its command -------------------------------------------------------------------------------------

    @property
    def stdout(self) -> io_streams.StreamReader[str]:
        """What its command prints, line by line; ``read`` gives everything from the beginning."""
        return self._reader("stdout", 1)

    @property
    def stderr(self) -> io_streams.StreamReader[str]:
        """What its command complains."""
        return self._reader("stderr", 2)

    @property
    def stdin(self) -> io_streams.StreamWriter:
        """The input of its command."""
        from windlass.client import streams

        if self._stdin is None:
            self._stdin = io_streams.StreamWriter(streams.Input(self._usable()), _MOST_INPUT)
        return self._stdin

    _stdin: io_streams.StreamWriter | None = None

    def _reader(self, source: str, number: int) -> io_streams.StreamReader[str]:
        from windlass.client import streams

        found = self._readers.get(source)
        if found is None:
            output = streams.EntryOutput(self.object_id, source)
            found = self._readers[source] = io_streams.StreamReader(
                output, number, text=True, by_line=True, whole=True
            )
        return found

    _readers: dict[str, io_streams.StreamReader[str]]

    @property
    def logs(self) -> logs.Logs:
        """What its command printed, also after its end."""
        from windlass.client import logs

        return logs.Logs(self._own_logs)

    async def _own_logs(self) -> apps.LogQuery:
        from windlass.client import sandboxes

        info = await sandboxes.about(self.object_id, "running", 50.0)
        return {"container_id": info["container_id"]} if info["container_id"] else {"app_id": info["app_id"], "tail": 0}

    # -- further commands --------------------------------------------------------------------------------

    @faces.method
    async def exec(
        self,
        *args: str,
        stdout: stream_type.StreamType = PIPE,
        stderr: stream_type.StreamType = PIPE,
        timeout: int | None = None,
        workdir: str | None = None,
        env: dict[str, str | None] | None = None,
        secrets: Sequence[Secret] | None = None,
        text: bool = True,
        bufsize: int = -1,
        pty: bool = False,
        pty_info: object = None,
    ) -> container_process.ContainerProcess[Any]:
        """Run another command in it. Waits until the sandbox runs.

        Args:
            args: the command.
            stdout: where its output goes.
            stderr: where its errors go.
            timeout: seconds that it may run; then it is killed and its exit code is -1.
            workdir: the folder that it begins in.
            env: more variables.
            secrets: more variables.
            text: False gives bytes.
            bufsize: 1 gives text line by line, -1 as it comes.
            pty: with a terminal.
            pty_info: removed; use ``pty``.

        Raises:
            InvalidError: an argument is wrong, or there is no such command in the sandbox.
            ConflictError: the sandbox has ended.

        Example:
            >>> process = sandbox.exec("ls", "/")
            >>> print(process.stdout.read())
        """
        from windlass import sandbox_options as checks
        from windlass.kit import ids

        asked = checks.execution(args, {
            "stdout": stdout, "stderr": stderr, "timeout": timeout, "workdir": workdir, "bufsize": bufsize,
            "text": text, "pty": pty, "pty_info": pty_info,
        })  # fmt: skip
        body: dict[str, Any] = {"sandbox_id": self._usable(), "exec_id": ids.new("ex"), **asked}
        if env or secrets:
            body["secrets"] = await checks.variables(env, secrets, self._info["app_id"])
        process: container_process.ContainerProcess[Any] = container_process.ContainerProcess(
            body["sandbox_id"], body["exec_id"], stdout=stdout, stderr=stderr, text=text, by_line=bufsize == 1
        )
        await process._begin(body)
        return process

    # -- files -------------------------------------------------------------------------------------------

    @property
    def filesystem(self) -> sandbox_fs.SandboxFilesystem:
        """Its files: read, write, copy, list, watch."""
        from windlass import sandbox_fs

        return sandbox_fs.SandboxFilesystem(self)

    @faces.method
    async def open(self, path: str, mode: str = "r") -> file_io.FileIO[Any]:
        """Open one of its files. Deprecated: use ``filesystem``.

        Raises:
            FileNotFoundError: there is none.
        """
        from windlass import file_io

        return await file_io.opened(self._usable(), path, mode)

    @faces.method
    async def ls(self, path: str) -> Sequence[str]:
        """Names in a folder. Deprecated: use ``filesystem.list_files``."""
        from windlass import file_io

        return await file_io.names(self._usable(), path)

    @faces.method
    async def mkdir(self, path: str, parents: bool = False) -> None:
        """Make a folder. Deprecated: use ``filesystem.make_directory``."""
        from windlass import file_io

        await file_io.asked(self._usable(), "mkdir", path, parents=parents)

    @faces.method
    async def rm(self, path: str, recursive: bool = False) -> None:
        """Remove a file or a folder. Deprecated: use ``filesystem.remove``."""
        from windlass import file_io

        await file_io.asked(self._usable(), "remove", path, recursive=recursive)

    @faces.stream
    async def watch(
        self,
        path: str,
        filter: Sequence[file_io.FileWatchEventType] | None = None,
        recursive: bool | None = None,
        timeout: int | None = None,
    ) -> AsyncGenerator[Callable[[], file_io.FileWatchEvent], None]:
        """Changes of files. Deprecated: use ``filesystem.watch``."""
        from windlass import sandbox_fs

        async for event in sandbox_fs.watched(self._usable(), path, filter, bool(recursive), timeout):
            yield lambda event=event: event  # type: ignore[misc]

    # -- what is to come ---------------------------------------------------------------------------------

    @faces.method
    async def reload_volumes(self, *, timeout: int = 55) -> None:
        """See what others have committed to its volumes since it began.

        Raises:
            ConflictError: a program in it has files of a volume open, or the sandbox has ended.
            TimeoutError: it took longer.
        """
        await _request("sandbox.reload", {"sandbox_id": self._usable(), "seconds": float(timeout)})

    @faces.method
    async def snapshot_filesystem(self, timeout: int = 55, *, ttl: int | None = 30 * 86400) -> Image:
        """Its files as an image, with what has changed since it began.

        Args:
            timeout: seconds that it may take.
            ttl: seconds that it is kept; None: for ever.

        Raises:
            TimeoutError: it took longer.
            ConflictError: the sandbox has ended.

        Example:
            >>> image = sandbox.snapshot_filesystem()
            >>> another = windlass.Sandbox.create(app=app, image=image)
        """
        return await self._snapshot("", timeout, ttl)

    @faces.method
    async def snapshot_directory(self, path: str, *, timeout: int = 55, ttl: int | None = 30 * 86400) -> Image:
        """One folder as an image.

        Args:
            path: of the folder.
            timeout: seconds that it may take.
            ttl: seconds that it is kept; None: for ever.

        Raises:
            InvalidError: the path is not absolute.
            SandboxFilesystemNotFoundError: there is no such folder.
            TimeoutError: it took longer.
        """
        if not isinstance(path, str) or not path.startswith("/"):
            raise exception.InvalidError(f"{path!r} is no absolute path in the sandbox")
        return await self._snapshot(path, timeout, ttl)

    @faces.method
    async def fork(self, n: int = 1, *, timeout: int = 55) -> Sequence[Sandbox]:
        """New sandboxes of the same app that begin with this one's files as they are now, and go their own ways.

        They are made as this one was: the same command (which starts anew: processes and memory are not forked),
        variables, limits, volumes and tags, but no name. What was changed is copied once for all of them, and what was
        not is shared. This one goes on. For other arguments, use ``snapshot_filesystem`` and ``create``.

        Args:
            n: how many, up to 100.
            timeout: seconds that the copy may take.

        Raises:
            InvalidError: an argument is wrong.
            ConflictError: the sandbox has ended.
            TimeoutError: the copy took longer.
            ResourceExhaustedError: the app has as many sandboxes as it may have.

        Example:
            >>> sandbox.exec("git", "clone", "https://example.com/project.git").wait()
            0
            >>> tries = sandbox.fork(10)
            >>> [one.exec("python", "attempt.py", str(number)) for number, one in enumerate(tries)]
        """
        from windlass.kit import ids

        if isinstance(n, bool) or not isinstance(n, int) or not 0 < n <= 100:
            raise exception.InvalidError(f"n must be between 1 and 100, not {n!r}")
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or timeout <= 0:
            raise exception.InvalidError(f"timeout must be a positive number of seconds, not {timeout!r}")
        wanted = [ids.new("sb") for _ in range(n)]
        body = {"sandbox_id": self._usable(), "fork_ids": wanted, "seconds": float(timeout)}
        return [_made(info) for info in (await _request("sandbox.fork", body))["sandboxes"]]

    async def _snapshot(self, path: str, timeout: float, ttl: float | None) -> Image:
        from windlass import image

        for name, given in (("timeout", timeout), ("ttl", ttl)):
            if given is not None and (
                isinstance(given, bool) or not isinstance(given, (int, float)) or given <= 0
            ):
                raise exception.InvalidError(f"{name} must be a positive number of seconds, not {given!r}")
        body: dict[str, Any] = {"sandbox_id": self._usable(), "path": path, "seconds": float(timeout)}
        if ttl is not None:
            body["ttl"] = float(ttl)
        made = await _request("sandbox.snapshot", body)
        found = image.Image.from_id(made["image_id"])
        found._hydrate(made["image_id"], {"python": made["python"], "mounts": made["mounts"]})
        return found

    @faces.method
    async def mount_image(self, path: str, image: Image) -> None:
        """Show an image at a folder, and hide what is there until ``unmount_image``. It can be written to.

        Args:
            path: of the folder, which is made where it is missing; not the root.
            image: one that is built, such as a snapshot.

        Raises:
            InvalidError: the path is not allowed, or the image is not built or has files that are attached at a start.
            NotFoundError: there is no such image, or the time of the snapshot is over.
            ConflictError: an image is mounted there already, or the sandbox has ended.

        Example:
            >>> tools = sandbox.snapshot_directory("/opt/tools")
            >>> another.mount_image("/opt/tools", tools)
        """
        from windlass import image as images

        if not isinstance(image, images.Image):
            raise exception.InvalidError(f"image must be an Image, not {type(image).__name__}")
        if not image._lazy and not image.is_hydrated:
            raise exception.InvalidError("the image is not built yet", hint="Call image.build() first.")
        identity = await image._ready()
        if image._mounts or image._mount_digests:
            raise exception.InvalidError(
                "the image has local files that are attached when a container starts", hint="Add them with copy=True."
            )
        await _request("sandbox.mount", {"sandbox_id": self._usable(), "path": path, "image_id": identity})

    @faces.method
    async def unmount_image(self, path: str) -> None:
        """The reverse of ``mount_image``. Programs that use its files keep them.

        Raises:
            NotFoundError: no image is mounted there.
        """
        await _request("sandbox.unmount", {"sandbox_id": self._usable(), "path": path})

    @faces.method
    async def tunnels(self, timeout: int = 50) -> dict[int, tunnel.Tunnel]:
        """Where its ports are reached, by port. Waits until it runs. A tunnel ends with the sandbox.

        Args:
            timeout: seconds to wait.

        Raises:
            InvalidError: ``timeout`` is not positive.
            SandboxTimeoutError: it did not run in time.
            ConflictError: it has ended.

        Example:
            >>> sandbox = windlass.Sandbox.create("python", "-m", "http.server", app=app, encrypted_ports=[8000])
            >>> sandbox.tunnels()[8000].url
            'http://127.0.0.1:40213'
        """
        from windlass import tunnel
        from windlass.client import sandboxes

        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or timeout <= 0:
            raise exception.InvalidError(f"timeout must be a positive number of seconds, not {timeout!r}")
        try:
            told = await _request("sandbox.tunnels", {"sandbox_id": self._usable(), "seconds": float(timeout)})
        except exception.TimeoutError:
            line = _in_line(await sandboxes.about(self.object_id))
            raise exception.SandboxTimeoutError(f"the sandbox did not run within {timeout:g} s{line}") from None
        return {
            one["port"]: tunnel.Tunnel(one["host"], one["number"], one["host"] if one["raw"] else "", one["raw"])
            for one in told["tunnels"]
        }

    @faces.method
    async def create_connect_token(self, user_metadata: object = None, port: int = 8080) -> ConnectToken:
        """A token for HTTP requests and WebSockets to one of its ports. It is worth nothing once the sandbox has ended.

        Show it as ``Authorization: Bearer``, or as the query parameter ``_modal_connect_token``, which sets a cookie.

        Args:
            user_metadata: what the program is told of whoever shows the token, in the header ``X-Verified-User-Data``,
                which nobody else can set: JSON, less than 512 characters, no secret.
            port: where the program listens.

        Raises:
            InvalidError: an argument is wrong.
            ConflictError: the sandbox has ended.

        Example:
            >>> url, token = sandbox.create_connect_token(user_metadata={"user": "ada"})
            >>> request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
            >>> urllib.request.urlopen(request).read()
        """
        from windlass import sandbox_options as checks

        told = await _request("sandbox.token", {"sandbox_id": self._usable(), **checks.visitor(user_metadata, port)})
        return ConnectToken(told["url"], told["token"])

    @faces.method
    async def _experimental_snapshot(self, *, timeout: int = 300) -> SandboxSnapshot:
        """Keep its memory and its files at this moment, for seven days. It ends with that; a sandbox that is made from
        the snapshot goes on, without its network connections.

        It must have been made with ``_experimental_enable_snapshot=True``, and no command of ``exec`` may run.

        Raises:
            InvalidError: it was not made for snapshots.
            ConflictError: commands run in it, or it has ended.
            UnimplementedError: this machine has no mechanism for it; ``windlass doctor`` says why.

        Example:
            >>> snapshot = sandbox._experimental_snapshot()
            >>> again = windlass.Sandbox._experimental_from_snapshot(snapshot)
        """
        from windlass.kit import ids

        body = {"sandbox_id": self._usable(), "snapshot_id": ids.new("sn"), "seconds": float(timeout)}
        return SandboxSnapshot._of(await _request("sandbox.memory", body))

    @staticmethod
    @faces.function
    async def _experimental_from_snapshot(
        snapshot: SandboxSnapshot, client: object = None, *, name: str | None = _INHERITED
    ) -> Sandbox:
        """A sandbox that goes on where another one was.

        Args:
            snapshot: of the other one.
            client: accepted for compatibility.
            name: a new one, None for none; by default the name that the other one had.

        Raises:
            NotFoundError: the time of the snapshot is over.
            AlreadyExistsError: a sandbox of that name runs.
        """
        from windlass.client import sandboxes
        from windlass.kit import ids

        if not isinstance(snapshot, SandboxSnapshot):
            raise exception.InvalidError(f"snapshot must be a SandboxSnapshot, not {type(snapshot).__name__}")
        body: dict[str, Any] = {"snapshot_id": snapshot.object_id, "sandbox_id": ids.new("sb")}
        if name is not _INHERITED:
            body["name"] = "" if name is None else sandboxes.check_name(name)
        return _made(await _request("sandbox.restore", body))

    # -- life cycle --------------------------------------------------------------------------------------

    def _usable(self) -> str:
        if self._detached:
            raise exception.ClientClosed("this handle of the sandbox was detached", hint="Use Sandbox.from_id().")
        return self.object_id

    def _describe(self) -> str:
        return "Sandbox"

    def _metadata(self) -> dict[str, Any]:
        return {"info": self._info}

    def _apply_metadata(self, metadata: dict[str, Any]) -> None:
        self._info = metadata["info"]
        self._readers = {}

    async def _load(self, context: resolver.Context) -> None:
        raise exception.ExecutionError("a sandbox exists as soon as there is a handle of it")


class ConnectToken(typing.NamedTuple):
    """Where a sandbox answers requests, and the token that they must show."""

    url: str
    token: str


class Sandboxes:
    """The sandboxes of one app, see ``App.sandboxes``."""

    def __init__(self, app_id: str) -> None:
        self._app_id = app_id

    @faces.stream
    async def list(self, *, tags: dict[str, str] | None = None) -> AsyncGenerator[Callable[[], Sandbox], None]:
        """Those that run, newest first; with ``tags`` only those that have at least these."""
        from windlass.client import sandboxes

        query: dict[str, Any] = {"app_id": self._app_id, "tags": sandboxes.check_tags(tags or {})}
        async for info in sandboxes.listed(query):
            yield lambda info=info: _made(info)  # type: ignore[misc]

    @faces.method
    async def stats(
        self, *, since: datetime.datetime | None = None, until: datetime.datetime | None = None
    ) -> figures.SandboxStats:
        """How they fared; in the last hour unless ``since`` or ``until`` is given.

        Raises:
            InvalidError: the range spans more than 7 days or began more than 30 days ago.

        Example:
            >>> stats = app.sandboxes.stats()
            >>> print(stats.created, stats.running, stats.start.p50)
        """
        from windlass.client import figures

        return await figures.sandbox_stats(self._app_id, since, until)


class SandboxSnapshot(handles.Object):
    """The memory and the files of a sandbox at one moment, kept for seven days: ``Sandbox._experimental_snapshot``."""

    _prefix = "sn"
    _info: messages.MemoryInfo

    @staticmethod
    @faces.function
    async def from_id(sandbox_snapshot_id: str, client: object = None) -> SandboxSnapshot:
        """The snapshot of that id.

        Raises:
            NotFoundError: there never was one, or its time is over.
        """
        from windlass.kit import ids

        if not isinstance(sandbox_snapshot_id, str) or not ids.is_id(sandbox_snapshot_id, "sn"):
            raise exception.NotFoundError(f"{sandbox_snapshot_id!r} is no id of a snapshot")
        return SandboxSnapshot._of(await _request("sandbox.memory_get", {"snapshot_id": sandbox_snapshot_id}))

    @staticmethod
    def _of(info: messages.MemoryInfo) -> SandboxSnapshot:
        made = SandboxSnapshot._new()
        made._hydrate(info["snapshot_id"], {"info": info})
        return made

    def _describe(self) -> str:
        return "SandboxSnapshot"

    def _metadata(self) -> dict[str, Any]:
        return {"info": self._info}

    def _apply_metadata(self, metadata: dict[str, Any]) -> None:
        self._info = metadata["info"]

    async def _load(self, context: resolver.Context) -> None:
        raise exception.ExecutionError("a snapshot exists as soon as there is a handle of it")


def _made(info: messages.SandboxInfo) -> Sandbox:
    made = Sandbox._new()
    made._hydrate(info["sandbox_id"], {"info": info})
    made._code = info["code"]
    return made


def _in_line(info: messages.SandboxInfo) -> str:
    """Where a sandbox stands that waits for room; "" for others."""
    return f": it is number {info['position']} of those that wait for room" if info["position"] else ""


def _later(what: str) -> exception.UnimplementedError:
    return exception.UnimplementedError(f"{what} are not supported by this version of Windlass")


async def _request(method: str, body: Any) -> Any:
    from windlass.client import session

    return (await session.current().request(method, body)).body

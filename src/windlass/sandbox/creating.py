"""Into being: made, or found again by id, name, app and tags."""
from __future__ import annotations

from windlass import exception
from windlass.client import faces
from windlass.sandbox import handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
    from typing import Any

    from windlass.app import App
    from windlass.image import Image
    from windlass.sandbox import Sandbox
    from windlass.sandbox.probe import Probe
    from windlass.secret import Secret



class Creating(handle.Handle):
    """The members of ``Sandbox`` that make and find sandboxes."""

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
        return handle.made(await wish.create())

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
        return handle.made(await handle.request("sandbox.get", {"sandbox_id": sandbox_id}))

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
            InvalidError: a name is no string.
            NotFoundError: there is none.
        """
        from windlass.client import names

        for what, given in (("app_name", app_name), ("name", name)):
            if not isinstance(given, str):
                raise exception.InvalidError(f"{what} must be a string, not {given!r}")
        query: dict[str, Any] = {"app_name": app_name, "name": name, "ended": include_terminated}
        if environment := names.environment(environment_name):
            query["environment"] = environment
        return handle.made(await handle.request("sandbox.get", query))

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
            yield lambda info=info: handle.made(info)  # type: ignore[misc]

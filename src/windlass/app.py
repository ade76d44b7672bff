"""``App``: what belongs together and runs together."""
from __future__ import annotations

from windlass import exception, options
from windlass.client import clusters, faces, here, names, partial, source, web
from windlass.function import Function

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from typing import Any, Generic, ParamSpec, TypeVar, overload

    from typing_extensions import dataclass_transform

    from windlass import about, sandbox
    from windlass.client import figures, logs
    from windlass.client import run as running
    from windlass.cls import Cls, parameter
    from windlass.http_server import Server
    from windlass.image import Image
    from windlass.retries import Retries
    from windlass.schedule import Schedule
    from windlass.secret import Secret
    from windlass.wire.messages import apps as messages

    P = ParamSpec("P")
    R = TypeVar("R")
    T = TypeVar("T")

    class _Generic(Generic[P, R]): ...

    class _Decorator:
        @overload
        def __call__(self, raw_f: Callable[P, Coroutine[Any, Any, R]]) -> Function[P, R, Coroutine[Any, Any, R]]: ...
        @overload
        def __call__(self, raw_f: Callable[P, R]) -> Function[P, R, R]: ...
        def __call__(self, raw_f: Any) -> Any: ...

else:
    P = R = parameter = None

    def dataclass_transform(**how):
        return lambda function: function

    class _Generic:
        def __class_getitem__(cls, _: object) -> type:
            return cls


class LocalEntrypoint(_Generic[P, R]):
    """A function that runs on the user's machine under ``windlass run``. Calling it just calls it."""

    def __init__(self, app: App, name: str, raw_f: Callable[P, R]) -> None:
        self.app = app
        self.name = name
        self.raw_f = raw_f
        self.__doc__ = raw_f.__doc__
        self.__name__ = getattr(raw_f, "__name__", name)
        self.__wrapped__ = raw_f

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.raw_f(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<LocalEntrypoint {self.name!r}>"


class App:
    """Functions that are run, and stopped, together.

    Args:
        name: 1 to 64 letters, digits, dashes, underscores and dots.
        tags: keys and values to find the app by.
        image: of all functions that name none; by default ``Image.debian_slim()``.
        secrets: given to all functions, before their own.
        volumes: mounted in all functions: volumes by path.
        include_source: whether the file or package that defines a function is put into its containers.

    Example:
        >>> app = windlass.App("squares", image=windlass.Image.debian_slim().pip_install("numpy"))
        >>> @app.function()
        ... def square(x: int) -> int:
        ...     return x * x
        >>> with app.run():
        ...     print(square.remote(7))

    Raises:
        InvalidError: an argument is wrong.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        tags: dict[str, str] | None = None,
        image: Image | None = None,
        secrets: Sequence[Secret] = [],
        volumes: Mapping[Any, Any] = {},
        include_source: bool = True,
    ) -> None:
        if name is not None:
            names.check_object(name, "the app's name")
        options.refuse({"include_source": include_source})
        self._name = name
        self._description = name
        self._tags = names.check_tags(tags or {})
        self._image = options._image(image)
        self._secrets = options.secrets(secrets)
        self._volumes = options.volumes(volumes)
        self._include_source = include_source
        self._functions: dict[str, Function[..., Any, Any]] = {}
        self._classes: dict[str, Cls] = {}
        self._local_entrypoints: dict[str, LocalEntrypoint[..., Any]] = {}
        self._app_id: str | None = None
        self._running: running.Running | None = None
        self._default_image: Image | None = None
        if here.plan is not None and here.plan["app"]["app_name"] == name:
            self._app_id = here.plan["app"]["app_id"]

    # -- what it is -----------------------------------------------------------------------------------

    @property
    def name(self) -> str | None:
        """The name it was given."""
        return self._name

    @property
    def app_id(self) -> str | None:
        """Its identity: None until it ran for the first time, kept afterwards."""
        return self._app_id

    @property
    def description(self) -> str | None:
        """What lists show: the name, where nothing else was set."""
        return self._description

    def set_description(self, description: str) -> None:
        """Set what lists show."""
        self._description = description

    @property
    def image(self) -> Image | None:
        """The image of functions that name none."""
        return self._image

    @image.setter
    def image(self, image: Image) -> None:
        self._image = options._image(image)

    @property
    def registered_functions(self) -> dict[str, Function[..., Any, Any]]:
        """All functions by name. Deprecated."""
        return self._functions

    @property
    def registered_entrypoints(self) -> dict[str, LocalEntrypoint[..., Any]]:
        """All local entrypoints by name. Deprecated."""
        return self._local_entrypoints

    @property
    def registered_classes(self) -> dict[str, Cls]:
        """All classes by name. Deprecated."""
        return self._classes

    @property
    def registered_web_endpoints(self) -> list[str]:
        """Names of all web functions. Deprecated."""
        return []

    def __repr__(self) -> str:
        return f"App({self._name!r})"

    def __reduce__(self) -> Any:
        return _restore, (self._name, self._app_id)

    # -- running --------------------------------------------------------------------------------------

    @faces.context
    def run(
        self,
        *,
        name: str | None = None,
        client: object = None,
        detach: bool = False,
        interactive: bool = False,
        environment_name: str | None = None,
    ) -> AbstractAsyncContextManager[App, bool | None]:
        """Run the app while the block lasts: builds images, creates functions, and stops everything at the end.

        Args:
            name: what lists show for this run.
            client: accepted for compatibility.
            detach: let the app go on when the client goes away, until its last input has ended.
            interactive: containers may attach the terminal; needs ``enable_output()``.
            environment_name: the environment to run in.

        Raises:
            InvalidError: it is running already, or called while the module is imported.
            ConnectionError: the platform can neither be reached nor started.
            ImageBuildError: an image cannot be built.
        """
        from windlass.client import run as running

        found = running.Running(
            self, name=name, detach=detach, interactive=interactive, environment_name=environment_name
        )
        found.check()
        return found

    @faces.function
    async def lookup(
        name: str,
        *,
        client: object = None,
        environment_name: str | None = None,
        create_if_missing: bool = False,
    ) -> App:
        """An app on the server by name or id; the result has no local definitions.

        Args:
            name: of a deployed app; or the id of any app.
            client: accepted for compatibility.
            environment_name: where it is deployed.
            create_if_missing: make an empty deployed app where there is none of that name.

        Raises:
            NotFoundError: there is none.
        """
        from windlass.client import session
        from windlass.kit import ids

        by_id = ids.is_id(name, "ap")
        if create_if_missing and by_id:
            raise exception.InvalidError("an app cannot be created by its id")
        if not by_id:
            names.check_object(name, "the app's name")
        environment = "" if by_id else names.environment(environment_name)
        if create_if_missing:
            body = {"app_id": ids.new("ap"), "name": name, "description": name, "state": "deployed",
                    "environment": environment}  # fmt: skip
            info = (await session.current().request("app.create", body)).body
        else:
            query = {"app": name, "environment": environment, "any_state": by_id}
            info = (await session.current().request("app.get", query)).body
        return _restore(info["name"], info["app_id"])

    @faces.method
    async def deploy(
        self,
        *,
        name: str | None = None,
        environment_name: str | None = None,
        tag: str = "",
        client: object = None,
        strategy: str = "rolling",
    ) -> App:
        """Publish the app: it lives on the platform until it is stopped, whatever becomes of this program.

        Images are built and files uploaded first; then all functions become the next version at once, or, where
        anything fails, nothing changes. What is the current version already is not published again.

        Args:
            name: the name to deploy under; by default the app's own.
            environment_name: the environment to deploy to.
            tag: a word of your own for this version, shown in the history.
            client: accepted for compatibility.
            strategy: "rolling" lets the old containers serve until new ones take their place; "recreate" stops them
                at once, and what they ran runs again on the new version.

        Raises:
            InvalidError: there is no name, or an argument is wrong.
            ImageBuildError: an image cannot be built.

        Example:
            >>> app.deploy()
            >>> windlass.Function.from_name("squares", "square").remote(7)
            49
        """
        from windlass.client import deploy

        await deploy.deploy(
            self, deploy.Wishes(name=name, environment=environment_name, tag=tag, strategy=strategy)
        )
        return self

    @faces.method
    async def stop(self, *, client: object = None) -> None:
        """End the app: its inputs are cancelled, its containers stop, and it takes no more calls."""
        from windlass.client import session

        body = {"app_id": self._known_id(), "reason": "stopped", "message": "App.stop()"}
        await session.current().request("app.stop", body)

    @faces.method
    async def info(self, refresh: bool = False) -> about.AppInfo:
        """What the platform knows of the app, asked for each time. ``refresh`` is accepted for compatibility."""
        from windlass import about
        from windlass.client import session

        query = {"app": self._known_id(), "any_state": True}
        return about.app((await session.current().request("app.get", query)).body)

    @faces.method
    async def get_dashboard_url(self) -> str:
        """This version has no dashboard.

        Raises:
            UnimplementedError: always.
        """
        from windlass.client import object as objects

        raise objects.no_dashboard()

    @faces.method
    async def set_tags(self, tags: dict[str, str], *, client: object = None) -> None:
        """Replace the tags of the app on the platform."""
        from windlass.client import session

        body = {"app_id": self._known_id(), "tags": names.check_tags(tags)}
        await session.current().request("app.tags", body)
        self._tags = dict(tags)

    @faces.method
    async def get_tags(self, *, client: object = None) -> dict[str, str]:
        """The tags of the app on the platform."""
        from windlass.client import session

        reply = await session.current().request("app.tags", {"app_id": self._known_id()})
        found: dict[str, str] = reply.body["tags"]
        return found

    def _known_id(self) -> str:
        if self._app_id is None:
            raise exception.ExecutionError(f"{self!r} has no id yet", hint="It gets one when it is run or deployed.")
        return self._app_id

    # -- defining -------------------------------------------------------------------------------------

    def function(
        self,
        _warn_parentheses_missing: Any = None,
        *,
        image: Image | None = None,
        schedule: Schedule | None = None,
        env: dict[str, str | None] | None = None,
        secrets: Sequence[Secret] = (),
        gpu: Any = None,
        serialized: bool = False,
        network_file_systems: Mapping[Any, Any] = {},
        volumes: Mapping[Any, Any] = {},
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        ephemeral_disk: int | None = None,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: int | None = None,
        proxy: Any = None,
        retries: int | Retries | None = None,
        timeout: int = options.TIMEOUT,
        startup_timeout: int | None = None,
        name: str | None = None,
        is_generator: bool | None = None,
        cloud: str | None = None,
        region: str | Sequence[str] | None = None,
        routing_region: str | None = None,
        nonpreemptible: bool = False,
        enable_memory_snapshot: bool = False,
        block_network: bool = False,
        outbound_cidr_allowlist: Sequence[str] | None = None,
        outbound_domain_allowlist: Sequence[str] | None = None,
        restrict_modal_access: bool = False,
        single_use_containers: bool = False,
        max_inputs: int | None = None,
        i6pn: bool | None = None,
        include_source: bool | None = None,
        experimental_options: dict[str, Any] | None = None,
        keep_warm: int | None = None,
        concurrency_limit: int | None = None,
        container_idle_timeout: int | None = None,
        allow_concurrent_inputs: int | None = None,
        allow_cross_region_volumes: bool | None = None,
        mounts: object = None,
    ) -> _Decorator:
        """Make a Python function a function of the app: it then runs in containers.

        Args:
            image: what its containers look like.
            schedule: when it runs by itself, once the app is deployed or served: a ``Cron`` or a ``Period``. The
                function must need no arguments.
            env: environment variables that are no secrets.
            secrets: environment variables that are; later ones override earlier ones.
            gpu: GPUs of its own: ``"H100"``, ``"A100:2"`` for two, ``"any"``, or a list in order of preference.
            serialized: ship the function pickled instead of by its file; for closures.
            network_file_systems: network file systems by the path that they are mounted at; deprecated, use volumes.
            volumes: folders that are shared and stay: volumes by the path that they are mounted at.
            cpu: cores to reserve, or ``(reserved, hard limit)``.
            memory: MiB to reserve, or ``(reserved, hard limit)``.
            ephemeral_disk: MiB of disk.
            min_containers: keep so many containers even without work.
            max_containers: never run more.
            buffer_containers: keep so many idle ones beyond what is needed while there is work.
            scaledown_window: seconds after which an idle container may be stopped, 2 to 3600.
            proxy: the ``Proxy`` by whose address its containers leave.
            retries: how often a failed input is tried again.
            timeout: seconds that one input may run, 1 to 86400.
            startup_timeout: seconds that a container may take to start; by default like ``timeout``.
            name: name inside the app; by default that of the function.
            is_generator: True for a plain function that returns a generator.
            cloud: has no effect on own machines.
            region: has no effect on own machines.
            routing_region: has no effect on own machines.
            nonpreemptible: has no effect on own machines.
            enable_memory_snapshot: containers are forked from one that has imported the code already, where that is
                possible; of classes, one that has also run the hooks with ``snap=True``. What was drawn or read before
                is the same in all of them.
            block_network: containers have no network.
            outbound_cidr_allowlist: networks and addresses that containers may reach, such as "203.0.113.0/24"; all
                else is refused. Together with domains, each list adds to the other; an empty one allows nothing.
            outbound_domain_allowlist: domains that containers may reach by TLS on port 443: "example.com" for exactly
                that name, "*.example.com" for it and all below it, "*" for all.
            restrict_modal_access: code in the containers cannot use the platform.
            single_use_containers: a container ends after one input.
            max_inputs: use ``single_use_containers``.
            i6pn: its containers have an IPv6 address of a private network, which they find at the host name
                ``i6pn.modal.local``; by these addresses those containers of the app reach each other, and nobody else
                reaches them. They tell each other with a ``Dict`` or a ``Queue``.
            include_source: overrides the app's setting.
            experimental_options: has no effect.
            keep_warm: removed, use ``min_containers``.
            concurrency_limit: removed, use ``max_containers``.
            container_idle_timeout: removed, use ``scaledown_window``.
            allow_concurrent_inputs: removed.
            allow_cross_region_volumes: removed.
            mounts: removed; see ``Image.add_local_python_source``.

        Raises:
            InvalidError: an argument is wrong, or the function cannot be run in a container.
            TypeError: a class was decorated.
        """
        asked = dict(locals())
        if _warn_parentheses_missing is not None:
            raise exception.InvalidError("@app.function needs parentheses", hint="Write @app.function().")

        def decorate(raw_f: Callable[..., Any]) -> Function[..., Any, Any]:
            if isinstance(raw_f, (Function, LocalEntrypoint)):
                raise exception.InvalidError("@app.function must be the outermost decorator, and there only once")
            raw_f, marks = partial.taken(raw_f)
            source.check(raw_f, serialized=serialized, name=name)
            origin = source.Source(raw_f, serialized=serialized, is_generator=is_generator)
            if origin.is_generator and "batching" in marks:
                raise exception.InvalidError(f"{origin.qualname!r} is a generator function: it cannot be batched")
            chosen = options.Options(asked, is_generator=origin.is_generator)
            if chosen.schedule is not None:
                source.check_callable_alone(raw_f, "schedule=")
            if "web" in marks:
                web.check(raw_f, marks["web"])
                web.check_options(True, retries=chosen.retries, marks=marks)
            chosen.include_source = self._include_source if include_source is None else include_source
            tag = origin.qualname if name is None else name
            if name is not None:
                names.check_object(name, "the function's name")
            clusters.settle(tag, marks, chosen)
            described = Function._describing(self, tag, origin, chosen)
            described._asked = marks
            return self._register(described)

        return decorate  # type: ignore[return-value]

    @dataclass_transform(field_specifiers=(parameter,), kw_only_default=True)
    def cls(
        self,
        _warn_parentheses_missing: Any = None,
        *,
        image: Image | None = None,
        env: dict[str, str | None] | None = None,
        secrets: Sequence[Secret] = (),
        gpu: Any = None,
        serialized: bool = False,
        network_file_systems: Mapping[Any, Any] = {},
        volumes: Mapping[Any, Any] = {},
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        ephemeral_disk: int | None = None,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: int | None = None,
        proxy: Any = None,
        retries: int | Retries | None = None,
        timeout: int = options.TIMEOUT,
        startup_timeout: int | None = None,
        cloud: str | None = None,
        region: str | Sequence[str] | None = None,
        routing_region: str | None = None,
        nonpreemptible: bool = False,
        enable_memory_snapshot: bool = False,
        block_network: bool = False,
        outbound_cidr_allowlist: Sequence[str] | None = None,
        outbound_domain_allowlist: Sequence[str] | None = None,
        restrict_modal_access: bool = False,
        single_use_containers: bool = False,
        max_inputs: int | None = None,
        i6pn: bool | None = None,
        include_source: bool | None = None,
        experimental_options: dict[str, Any] | None = None,
        keep_warm: int | None = None,
        concurrency_limit: int | None = None,
        container_idle_timeout: int | None = None,
        allow_concurrent_inputs: int | None = None,
        allow_cross_region_volumes: bool | None = None,
        mounts: object = None,
    ) -> Callable[[type[T]], type[T]]:
        """Make the methods of a class functions of the app. An instance in each container serves them all.

        What the class takes is declared with ``parameter``; methods that can be called carry ``@method()``;
        ``@enter()`` and ``@exit()`` mark what runs once at the start and the end of a container.

        The arguments are those of ``function``; they hold for all methods. ``enable_memory_snapshot`` is needed for
        hooks with ``snap=True``.

        Example:
            >>> @app.cls(memory=1024)
            ... class Model:
            ...     size: str = windlass.parameter(default="small")
            ...
            ...     @windlass.enter()
            ...     def load(self):
            ...         self.weights = read_weights(self.size)
            ...
            ...     @windlass.method()
            ...     def predict(self, x: int) -> int:
            ...         return self.weights[x]
            >>> Model(size="large").predict.remote(1)

        Raises:
            InvalidError: an argument is wrong, or the class cannot be served.
            TypeError: something else than a class was decorated.
        """
        asked = dict(locals())
        if _warn_parentheses_missing is not None:
            raise exception.InvalidError("@app.cls needs parentheses", hint="Write @app.cls().")

        def decorate(decorated: Any) -> Any:
            from windlass import cls
            from windlass.client import anatomy

            if isinstance(decorated, cls.Cls):
                raise exception.InvalidError("@app.cls must be the outermost decorator, and there only once")
            user_cls, marks = partial.taken(decorated)
            source.check_class(user_cls, serialized=serialized)
            found = anatomy.read(user_cls)
            if found.snap_enter and not enable_memory_snapshot:
                raise exception.InvalidError(
                    f"class {user_cls.__name__!r} has hooks with snap=True, but no memory snapshot",
                    hint="Write @app.cls(enable_memory_snapshot=True).",
                )
            chosen = options.Options(asked, is_generator=False)
            answers = any("web" in method.asked for method in found.methods.values())
            web.check_options(answers, retries=chosen.retries, marks=found.asked)
            chosen.include_source = self._include_source if include_source is None else include_source
            clusters.settle(user_cls.__name__, {**marks, **found.asked}, chosen, found.methods)
            origin = source.Source(user_cls, serialized=serialized, is_generator=False)
            service = Function._describing(self, f"{user_cls.__name__}.*", origin, chosen)
            service._anatomy, service._asked = found, {**marks, **found.asked}
            service._class_info = {
                "class_name": user_cls.__name__,
                "methods": found.method_specs(),
                "parameters": found.parameters,
            }
            handle = cls.describing(self._register(service), user_cls)
            self._classes[user_cls.__name__] = handle
            return handle

        return decorate

    def server(
        self,
        *,
        image: Image | None = None,
        env: dict[str, str | None] | None = None,
        secrets: Sequence[Secret] | None = None,
        gpu: Any = None,
        serialized: bool = False,
        volumes: Mapping[Any, Any] = {},
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        ephemeral_disk: int | None = None,
        target_concurrency: int | None = None,
        max_concurrency: int | None = None,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaleup_window: int | None = None,
        scaledown_window: int | None = None,
        startup_timeout: int = 30,
        name: str | None = None,
        port: int = 8000,
        unauthenticated: bool = False,
        h2_enabled: bool = False,
        exit_grace_period: int = 0,
        routing_region: str | None = "us-east",
        compute_region: str | Sequence[str] | None = None,
        cloud: str | None = None,
        nonpreemptible: bool = False,
        proxy: Any = None,
        i6pn: bool | None = None,
        enable_memory_snapshot: bool = False,
        include_source: bool | None = None,
        experimental_options: dict[str, Any] | None = None,
    ) -> Callable[[type[Any]], Server]:
        """Serve the HTTP server that the hooks of a class start in each container.

        A request goes to a container that is ready; it does not wait for one. While there is none, the answer is 503
        with ``Retry-After``, and a container starts. Requests with the same ``Modal-Session-ID`` header go to the same
        container while it lives. A container whose program stops listening ends, and another takes its place.

        Args:
            target_concurrency: requests at once that one container is planned with; by default ``max_concurrency``.
            max_concurrency: requests at once that one container takes; by default 1000. Where all have so many, the
                answer is 503.
            scaleup_window: seconds for which more containers must be needed before more start; the first one starts at
                once.
            startup_timeout: seconds for the hooks, and for the program to listen.
            name: in the app and in the URL; by default that of the class.
            port: where the program listens, on all addresses of the container.
            unauthenticated: answer also who has no proxy token.
            h2_enabled: not available: programs are asked by HTTP/1.1.
            exit_grace_period: seconds beyond the usual 30 in which requests may end when a container shall stop.
            compute_region: has no effect on own machines.

        The other arguments are those of ``function``.

        Example:
            >>> @app.server(port=8000, unauthenticated=True, target_concurrency=20)
            ... class Files:
            ...     @windlass.enter()
            ...     def start(self):
            ...         import subprocess
            ...         subprocess.Popen(["python3", "-m", "http.server", "8000"])

        Raises:
            InvalidError: an argument is wrong, or the class cannot be served.
            TypeError: something else than a class was decorated.
        """
        asked = dict(locals())
        if name is not None:
            names.check_object(name, "the server's name")

        def decorate(decorated: Any) -> Server:
            from windlass import http_server

            server, service = http_server.described(self, decorated, asked)
            assert service._options is not None
            service._options.include_source = self._include_source if include_source is None else include_source
            self._register(service)
            return server

        return decorate

    def local_entrypoint(
        self, _warn_parentheses_missing: Any = None, *, name: str | None = None
    ) -> Callable[[Callable[P, R]], LocalEntrypoint[P, R]]:
        """Let ``windlass run`` call a function on the user's machine, inside the running app.

        Args:
            name: name to choose it by; by default that of the function.

        Raises:
            InvalidError: the name is taken.
        """
        if _warn_parentheses_missing is not None:
            raise exception.InvalidError(
                "@app.local_entrypoint needs parentheses", hint="Write @app.local_entrypoint()."
            )
        if name is not None and not isinstance(name, str):
            raise exception.InvalidError("the name of a local entrypoint must be a string")

        def decorate(raw_f: Callable[P, R]) -> LocalEntrypoint[P, R]:
            tag = name if name is not None else getattr(raw_f, "__qualname__", "")
            if tag in self._local_entrypoints:
                raise exception.InvalidError(f"there are two local entrypoints named {tag!r}", hint="Give one a name=.")
            entrypoint = LocalEntrypoint(self, tag, raw_f)
            self._local_entrypoints[tag] = entrypoint
            return entrypoint

        return decorate

    def include(self, other_app: App, /, inherit_tags: bool = True) -> App:
        """Add the functions of another app, and its tags where this one has no such tag itself.

        Example:
            >>> app = windlass.App("whole").include(part.app)
        """
        for function in other_app._functions.values():
            self._register(function, included=True)
        self._classes.update(other_app._classes)
        if inherit_tags:
            self._tags = {**other_app._tags, **self._tags}
        return self

    # -- looking after it -----------------------------------------------------------------------------

    @property
    def logs(self) -> logs.Logs:
        """What its containers print, also after its end: ``fetch``, ``tail`` and ``stream``.

        Example:
            >>> for entry in app.logs.tail(100):
            ...     print(entry.message, end="")
        """
        from windlass.client import logs

        return logs.Logs(self._own_logs)

    @property
    def sandboxes(self) -> sandbox.Sandboxes:
        """Its sandboxes: those that run, with ``list``.

        Example:
            >>> for one in app.sandboxes.list():
            ...     one.terminate()
        """
        from windlass import sandbox

        return sandbox.Sandboxes(self._known_id())

    async def _own_logs(self) -> messages.LogQuery:
        return {"app_id": self._known_id()}

    @faces.method
    async def stats(
        self, *, since: datetime.datetime | None = None, until: datetime.datetime | None = None
    ) -> figures.Stats:
        """How the inputs of its functions fared; in the last hour unless ``since`` or ``until`` is given.

        Raises:
            InvalidError: the range spans more than 7 days or began more than 30 days ago.
        """
        from windlass.client import figures

        return await figures.stats({"app_id": self._known_id()}, since, until)

    # -- inside ---------------------------------------------------------------------------------------

    def _register(self, function: Function[..., Any, Any], *, included: bool = False) -> Function[..., Any, Any]:
        known = self._functions.get(function._tag)
        if known is not None and known is not function and not source.is_interactive(function.get_raw_f()):
            import warnings

            warnings.warn(f"two functions of {self!r} are named {function._tag!r}: the later one counts", stacklevel=4)
        self._functions[function._tag] = function
        self._hydrate_in_container(function)
        return function

    def _hydrate_in_container(self, function: Function[..., Any, Any]) -> None:
        """Inside a container the ids of the app's functions are known without asking anybody."""
        if here.plan is None:
            return
        layout = here.plan["app"]
        info = layout["functions"].get(function._tag)
        if info is not None and layout["app_name"] in (None, self._name):
            function._hydrate_from(info)

    def _chosen_image(self, function: Function[..., Any, Any]) -> Image | None:
        own = function._options.image if function._options is not None else None
        return own or self._image

    def _image_for(self, function: Function[..., Any, Any]) -> Image:
        chosen = self._chosen_image(function)
        if chosen is not None:
            return chosen
        if self._default_image is None:
            from windlass.image import Image

            self._default_image = Image.debian_slim()
        return self._default_image


def _restore(name: str | None, app_id: str | None) -> App:
    """An app without local definitions."""
    app = App(name)
    app._app_id = app_id
    return app

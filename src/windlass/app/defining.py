"""Defining an app: decorators that make functions, classes, servers and local entrypoints parts of it."""
from __future__ import annotations

from windlass import exception, options
from windlass import function as functions
from windlass.app import handle
from windlass.client import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from typing import Any, Generic, ParamSpec, TypeVar, overload

    from typing_extensions import dataclass_transform

    from windlass.app import App
    from windlass.cls import parameter
    from windlass.function import Function
    from windlass.http_server import Server
    from windlass.image import Image
    from windlass.retries import Retries
    from windlass.schedule import Schedule
    from windlass.secret import Secret

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


class Defining(handle.Handle):
    """The members of ``App`` that say what it consists of."""

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
        asked, app = dict(locals()), self._whole
        if _warn_parentheses_missing is not None:
            raise exception.InvalidError("@app.function needs parentheses", hint="Write @app.function().")

        def decorate(raw_f: Callable[..., Any]) -> Function[..., Any, Any]:
            if isinstance(raw_f, (functions.Function, LocalEntrypoint)):
                raise exception.InvalidError("@app.function must be the outermost decorator, and there only once")
            return self._register(functions.described(app, raw_f, asked))

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
        asked, app = dict(locals()), self._whole
        if _warn_parentheses_missing is not None:
            raise exception.InvalidError("@app.cls needs parentheses", hint="Write @app.cls().")

        def decorate(decorated: Any) -> Any:
            from windlass import cls

            handle, service = cls.described(app, decorated, asked)
            self._register(service)
            self._classes[service._class_name] = handle
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
        asked, app = dict(locals()), self._whole
        if name is not None:
            names.check_object(name, "the server's name")

        def decorate(decorated: Any) -> Server:
            from windlass import http_server

            server, service = http_server.described(app, decorated, asked)
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
            entrypoint = LocalEntrypoint(self._whole, tag, raw_f)
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
        return self._whole

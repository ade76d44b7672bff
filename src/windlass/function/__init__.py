"""``Function``: the handle that ``@app.function`` puts in the place of a Python function.

``calling`` runs it; ``handle`` is what both share; here is how one gets it, its variants, and how one looks after it.
"""
from __future__ import annotations

from windlass import exception
from windlass.client import faces
from windlass.function import calling

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from windlass import about, autoscaler, options
    from windlass.app import App
    from windlass.client import binding, figures, logs, metrics, source
    from windlass.function.handle import O, P, R
    from windlass.retries import Retries
    from windlass.secret import Secret
    from windlass.wire.messages import functions
else:
    P = R = O = None  # noqa: E741


class Function(calling.Calling[P, R, O]):
    """A function that runs in containers. Made by ``@app.function()``, or looked up with ``Function.from_name``.

    Example:
        >>> @app.function()
        ... def square(x: int) -> int:
        ...     return x * x
        >>> with app.run():
        ...     square.remote(3), list(square.map(range(4)))
        (9, [0, 1, 4, 9])
    """

    # -- making one -------------------------------------------------------------------------------------

    @staticmethod
    def from_name(
        app_name: str,
        name: str,
        *,
        version: int | None = None,
        namespace: object = None,
        environment_name: str | None = None,
        client: object = None,
    ) -> Function[..., Any, Any]:
        """A function of a deployed app, looked up when it is first used.

        Args:
            app_name: the name that the app was deployed under.
            name: the function's name inside the app.
            version: stay with this version of the app, in containers of its own. Functions of the app that are
                called from there are of the same version.
            namespace: accepted for compatibility.
            environment_name: where the app is deployed; by default the environment of this program.
            client: accepted for compatibility.

        Raises:
            InvalidError: the name has a dot: methods are looked up through their class.

        Example:
            >>> square = windlass.Function.from_name("squares", "square")
            >>> square.remote(7)
            49
        """
        if isinstance(name, str) and "." in name:
            raise exception.InvalidError(
                f"{name!r} names a method", hint="Look up the class: Cls.from_name(app_name, class_name)."
            )
        return _deployed(app_name, name, version, environment_name)

    @staticmethod
    def from_id(function_id: str, *, client: object = None) -> Function[..., Any, Any]:
        """The function with that id, looked up when it is first used."""
        return _looked_up({"function_id": function_id}, function_id)

    @staticmethod
    def _describing(app: App, tag: str, source: source.Source, options: options.Options) -> Function[..., Any, Any]:
        function: Function[..., Any, Any] = Function._new()
        function._app, function._tag, function._source, function._options = app, tag, source, options
        function._is_generator = source.is_generator
        return function

    # -- what it is -------------------------------------------------------------------------------------

    @property
    def app(self) -> App:
        """The app that it was defined in."""
        if self._app is None:
            raise exception.ExecutionError(f"{self._describe()} was looked up, not defined here")
        return self._app

    @property
    def tag(self) -> str:
        """Its name inside the app."""
        return self._tag

    @property
    def is_generator(self) -> bool:
        """Whether it yields values."""
        return bool(self._is_generator)

    @property
    def raw_f(self) -> Callable[P, O]:
        """The Python function itself."""
        return self.get_raw_f()

    if not TYPE_CHECKING:

        def __call__(self, *args, **kwargs):
            raise exception.InvalidError(
                f"{self._describe()} cannot be called directly",
                hint=f"Use {self._shown}.remote(...) for a container, or {self._shown}.local(...) for this process.",
            )

    def __reduce__(self) -> Any:
        return super().__reduce__() if self._binding is None else (_bound, (self._binding, self._is_generator))

    # -- variants ---------------------------------------------------------------------------------------

    def with_options(
        self,
        *,
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        gpu: Any = None,
        env: dict[str, str | None] | None = None,
        secrets: Sequence[Secret] | None = None,
        volumes: Mapping[Any, Any] = {},
        retries: int | Retries | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: int | None = None,
        timeout: int | None = None,
        region: str | Sequence[str] | None = None,
        cloud: str | None = None,
        routing_region: str | None = None,
    ) -> Function[P, R, O]:
        """The same function with other options: a variant with containers and an autoscaler of its own.

        What is left out stays as it is. Calls can be stacked. Whoever asks for the same options shares the containers;
        ``min_containers`` of the original does not hold for them. The arguments are those of ``@app.function``.

        Example:
            >>> f.with_options(memory=4096, timeout=3600).remote(1)

        Raises:
            InvalidError: an option is wrong.
        """
        from windlass import options

        asked = dict(locals())
        if retries is not None and self._is_generator:
            raise exception.InvalidError("retries= cannot be used with generator functions")
        return self._variant(options.overrides(asked))

    def with_concurrency(self, *, max_inputs: int, target_inputs: int | None = None) -> Function[P, R, O]:
        """The same function with containers that take several inputs at once; a variant as by ``with_options``."""
        from windlass import options

        return self._variant({"concurrency": options.concurrency(max_inputs, target_inputs)})

    def with_batching(self, *, max_batch_size: int, wait_ms: int) -> Function[P, R, O]:
        """The same function with inputs that are gathered into batches; a variant as by ``with_options``."""
        from windlass import options
        from windlass.client import source

        self._expect(generator=False, verb="batched")
        if self._source is not None:
            source.columns(self._source.raw_f)
        return self._variant({"batching": options.batching(max_batch_size, wait_ms)})

    def _variant(self, overrides: dict[str, Any]) -> Function[P, R, O]:
        from windlass import options
        from windlass.client import binding

        known = self._binding
        base, before = (self, {}) if known is None else (known.base, known.overrides)
        variant: Function[P, R, O] = Function._new()
        for name in ("_app", "_app_id", "_tag", "_source", "_options", "_is_generator"):
            setattr(variant, name, getattr(self, name))
        variant._binding = binding.Binding(base, {}, options.stacked(before, overrides))
        return variant

    # -- looking after it -------------------------------------------------------------------------------

    @faces.method
    async def get_current_stats(self) -> about.FunctionStats:
        """How many inputs wait and run, and how many containers there are."""
        import asyncio

        from windlass import about
        from windlass.client import session

        request = session.current().request("function.stats", {"function_id": await self._ready()})
        stats: functions.FunctionStats = (await asyncio.wait_for(request, 10)).body
        return about.FunctionStats(**stats)

    @property
    def logs(self) -> logs.Logs:
        """What its containers print, also after the end of its app: ``fetch``, ``tail`` and ``stream``."""
        from windlass.client import logs

        return logs.of_function(self._ready)

    @property
    def metrics(self) -> metrics.Metrics:
        """Its figures: ``current`` for what waits and runs now, ``fetch`` for how inputs fared in a span of time."""
        from windlass.client import metrics

        return metrics.Metrics(self.get_current_stats.aio, self.stats.aio)

    @faces.method
    async def stats(
        self,
        *,
        since: datetime.datetime | None = None,
        until: datetime.datetime | None = None,
        container: str | None = None,
        all_variants: bool = False,
    ) -> figures.Stats:
        """How its inputs fared; in the last hour unless ``since`` or ``until`` is given.

        Args:
            since: from here on.
            until: up to here.
            container: not kept by container.
            all_variants: whether those with other options and parameters count as well.

        Raises:
            InvalidError: the range spans more than 7 days or began more than 30 days ago.
        """
        from windlass.client import figures

        identity = await self._ready()
        return await figures.of_function(identity, since, until, container=container, variants=all_variants)

    @faces.method
    async def update_autoscaler(
        self,
        *,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: int | None = None,
    ) -> functions.AutoscalerSpec:
        """Change the autoscaler until the next deploy. What is left out stays; returns what holds now.

        ``autoscaler.update`` can also take bounds away.

        Raises:
            InvalidError: a number is wrong, the bounds contradict each other, or it is a method: these share the
                containers of their object.
        """
        from windlass import autoscaler

        return await autoscaler.override(
            self._pool, min_containers=min_containers, max_containers=max_containers,
            buffer_containers=buffer_containers, scaledown_window=scaledown_window,
        )  # fmt: skip

    @property
    def autoscaler(self) -> autoscaler.Autoscaler:
        """The bounds of its pool of containers: ``settings`` and ``update``."""
        from windlass import autoscaler

        return autoscaler.Autoscaler(self._pool)

    async def _pool(self) -> str:
        """The id of what has containers of its own."""
        return await self._ready()

    @faces.method
    async def info(self, refresh: bool = False) -> about.FunctionInfo:
        """What it was defined with, asked for each time. ``refresh`` is accepted for compatibility."""
        from windlass import about
        from windlass.client import session

        reply = await session.current().request("function.info", {"function_id": await self._ready()})
        return about.function(reply.body)

    @faces.method
    async def get_web_url(self) -> str | None:
        """The public URL of a web function; None for others."""
        from windlass.client import web_urls

        return (await web_urls.of(await self._ready())).get(self._method)

    # -- removed ----------------------------------------------------------------------------------------

    @faces.method
    async def keep_warm(self, warm_pool_size: int) -> None:
        """Removed: use ``update_autoscaler(min_containers=...)``."""
        raise exception.DeprecationError("keep_warm was removed; use update_autoscaler(min_containers=...)")

    @faces.function
    async def lookup(
        app_name: str,
        name: str,
        namespace: object = None,
        client: object = None,
        environment_name: str | None = None,
    ) -> Function[..., Any, Any]:
        """Removed: use ``Function.from_name``."""
        raise exception.DeprecationError("Function.lookup was removed; use Function.from_name")

    def shell(self, *args: object, **kwargs: object) -> object:
        """Removed: use ``windlass shell file.py::function``, or a ``Sandbox``."""
        raise exception.DeprecationError(
            "Function.shell was removed; use `windlass shell file.py::function`, or modal.Sandbox"
        )

    def call(self, *args: object, **kwargs: object) -> object:
        """Removed: use ``remote``."""
        raise exception.DeprecationError("Function.call was removed; use Function.remote")

    @property
    def web_url(self) -> str:
        """Removed: use ``get_web_url()``."""
        raise exception.DeprecationError("web_url was removed; use get_web_url()")


def described(app: App, decorated: Any, asked: Mapping[str, Any]) -> Function[..., Any, Any]:
    """What ``@app.function`` makes of a function, not yet registered.

    Raises ``InvalidError``, or ``TypeError`` where a class was decorated.
    """
    from windlass.client import names, partial, source

    raw_f, marks = partial.taken(decorated)
    source.check(raw_f, serialized=asked["serialized"], name=asked["name"])
    origin = source.Source(raw_f, serialized=asked["serialized"], is_generator=asked["is_generator"])
    if origin.is_generator and "batching" in marks:
        raise exception.InvalidError(f"{origin.qualname!r} is a generator function: it cannot be batched")
    chosen = app._options_of(asked, is_generator=origin.is_generator)
    if chosen.schedule is not None:
        source.check_callable_alone(raw_f, "schedule=")
    if "web" in marks:
        from windlass.client import web

        web.check(raw_f, marks["web"])
        web.check_options(retries=chosen.retries, marks=marks)
    if asked["name"] is not None:
        names.check_object(asked["name"], "the function's name")
    tag = asked["name"] or origin.qualname
    if "cluster" in marks:
        from windlass.client import clusters

        clusters.settle(tag, marks, chosen)
    function = Function._describing(app, tag, origin, chosen)
    function._asked = marks
    return function


def _deployed(app_name: str, tag: str, version: int | None, environment_name: str | None) -> Function[..., Any, Any]:
    """Of a deployed app."""
    if version is not None and (isinstance(version, bool) or not isinstance(version, int) or version < 1):
        raise exception.InvalidError(f"version must be a number from 1, not {version!r}")
    from windlass.client import names

    names.check_object(app_name, "the app's name")
    names.check_function(tag)
    environment = names.environment(environment_name)
    lookup: functions.FunctionGet = {"app_name": app_name, "tag": tag, "environment": environment}
    if version is not None:
        lookup["version"] = version
    return _looked_up(lookup, tag)


def _looked_up(lookup: functions.FunctionGet, shown: str) -> Function[..., Any, Any]:
    function: Function[..., Any, Any] = Function._new()
    function._lookup, function._tag, function._lazy = lookup, shown, True
    function._is_generator = None
    return function


def _bound(binding: binding.Binding, is_generator: bool | None) -> Function[..., Any, Any]:
    """A variant that has travelled."""
    function: Function[..., Any, Any] = Function._new()
    function._binding, function._tag, function._app_id = binding, binding.base._tag, binding.base._app_id
    function._is_generator = is_generator
    return function

"""``Function``: the handle that ``@app.function`` puts in the place of a Python function."""
from __future__ import annotations

from windlass import exception
from windlass.client import faces
from windlass.client import object as objects

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime
    from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
    from typing import Any, Generic, ParamSpec, TypeVar

    from windlass import about, autoscaler, options
    from windlass.app import App
    from windlass.client import anatomy, binding, figures, inputs, logs, metrics, resolver, results, source
    from windlass.function_call import FunctionCall
    from windlass.retries import Retries
    from windlass.secret import Secret
    from windlass.wire.messages import functions

    P = ParamSpec("P")
    R = TypeVar("R", covariant=True)
    O = TypeVar("O", covariant=True)  # noqa: E741 - what the original function returns: R, or an awaitable of it

    class _Base(objects.Object, Generic[P, R, O]): ...

else:
    P = R = O = None  # noqa: E741

    class _Base(objects.Object):
        def __class_getitem__(cls, _: object) -> type:
            return cls


class Function(_Base[P, R, O]):
    """A function that runs in containers. Made by ``@app.function()``, or looked up with ``Function.from_name``.

    Example:
        >>> @app.function()
        ... def square(x: int) -> int:
        ...     return x * x
        >>> with app.run():
        ...     square.remote(3), list(square.map(range(4)))
        (9, [0, 1, 4, 9])
    """

    _prefix = "fu"
    _tag: str = ""
    _app: App | None = None
    _source: source.Source | None = None
    _options: options.Options | None = None
    _spec: functions.FunctionSpec | None = None
    _lookup: functions.FunctionGet | None = None
    _is_generator: bool | None = False
    """None until it is known: before a looked-up function is hydrated."""
    _app_id: str | None = None
    _binding: binding.Binding | None = None
    """Of a variant: which one. Its id is known when it is ready."""
    _method: str = ""
    """Of a method: its name. Then the function is the class's."""
    _asked: dict[str, Any] = {}
    """Fields of its spec that other decorators ask for."""
    _web_urls: dict[str, str] = {}
    """Where it answers requests, once it is hydrated."""
    _anatomy: anatomy.Anatomy | None = None
    """Of a class that is defined here."""
    _class_info: dict[str, Any] | None = None
    """Of a class that is defined here or hydrated: its name, methods and parameters."""

    # -- making one -----------------------------------------------------------------------------------

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

    # -- what it is -----------------------------------------------------------------------------------

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

    def get_raw_f(self) -> Callable[P, O]:
        """The Python function itself.

        Raises:
            ExecutionError: the function was looked up, so its code is not here.
        """
        if self._source is None:
            raise exception.ExecutionError(
                f"{self._describe()} was looked up, so its code is not here", hint="Use .remote()."
            )
        raw_f: Callable[P, O] = self._source.raw_f
        return raw_f

    if not TYPE_CHECKING:

        def __call__(self, *args, **kwargs):
            raise exception.InvalidError(
                f"{self._describe()} cannot be called directly",
                hint=f"Use {self._shown}.remote(...) for a container, or {self._shown}.local(...) for this process.",
            )

    # -- calling it -----------------------------------------------------------------------------------

    @faces.opened
    def remote(self, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, Callable[[], R]]:
        """Run it in a container and return what it returns, or raise what it raises.

        Raises:
            InvalidError: it is a generator function.
        """
        from windlass.client import invoke

        self._expect(generator=False)
        return invoke.remote(self, invoke.pack(args, kwargs))

    @faces.stream
    def remote_gen(self, /, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Callable[[], Any], None]:
        """Run a generator function in a container; yields its values in order, as they come.

        Raises:
            InvalidError: it is no generator function.
        """
        from windlass.client import generate, invoke

        self._expect(generator=True)
        return generate.generate(self, invoke.pack(args, kwargs))

    def local(self, /, *args: P.args, **kwargs: P.kwargs) -> O:
        """Call the Python function in this process. A warning says which of its mounts are not there."""
        raw_f = self.get_raw_f()
        _warn_of_mounts(self, self._binding)
        return raw_f(*args, **kwargs)

    @faces.opened
    def spawn(self, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, Callable[[], FunctionCall[R]]]:
        """Enqueue one input and return at once. It runs even if the caller goes away.

        Example:
            >>> call = f.spawn(1)
            >>> call.get()
        """
        from windlass import function_call
        from windlass.client import invoke

        self._expect(generator=False, verb="spawned")
        return function_call.spawned(invoke.spawn(self, invoke.pack(args, kwargs)))

    # -- maps -----------------------------------------------------------------------------------------

    @faces.results
    def map(
        self,
        *input_iterators: Any,
        kwargs: dict[str, Any] = {},  # noqa: B006 - never changed
        order_outputs: bool = True,
        return_exceptions: bool = False,
        wrap_returned_exceptions: bool | None = None,
    ) -> results.Results[R]:
        """Run it for each item of the iterables, side by side in many containers; yields the results.

        Args:
            input_iterators: one iterable for each positional parameter; the shortest ends the map. They are read
                lazily, so they may be endless.
            kwargs: keyword arguments of every call.
            order_outputs: False yields results as they come.
            return_exceptions: True yields exceptions in the place of results, instead of raising the first.
            wrap_returned_exceptions: has no effect.

        Example:
            >>> for result in f.map(range(100)):
            ...     print(result)
        """
        from windlass.client import inputs

        _warn_wrapping(wrap_returned_exceptions)
        source = inputs.Zipped(input_iterators, kwargs)
        return self._mapped(source, ordered=order_outputs, return_exceptions=return_exceptions)

    @faces.results
    def starmap(
        self,
        input_iterator: Any,
        *,
        kwargs: dict[str, Any] = {},  # noqa: B006 - never changed
        order_outputs: bool = True,
        return_exceptions: bool = False,
        wrap_returned_exceptions: bool | None = None,
    ) -> results.Results[R]:
        """Like ``map``, but each item is unpacked into the positional arguments.

        Example:
            >>> list(add.starmap([(1, 2), (3, 4)]))
            [3, 7]
        """
        from windlass.client import inputs

        _warn_wrapping(wrap_returned_exceptions)
        source = inputs.Starred(input_iterator, kwargs)
        return self._mapped(source, ordered=order_outputs, return_exceptions=return_exceptions)

    @faces.effect
    def for_each(
        self,
        *input_iterators: Any,
        kwargs: dict[str, Any] = {},  # noqa: B006 - never changed
        ignore_exceptions: bool = False,
    ) -> results.Effect[None]:
        """Like ``map`` without results: waits until all have ended."""
        from windlass.client import inputs, results

        source = inputs.Zipped(input_iterators, kwargs)
        mapped = self._mapped(source, ordered=False, return_exceptions=ignore_exceptions)
        return results.Effect(mapped.exhaust, mapped.aexhaust)

    @faces.effect
    def spawn_map(
        self,
        *input_iterators: Any,
        kwargs: dict[str, Any] = {},  # noqa: B006 - never changed
    ) -> results.Effect[None]:
        """Enqueue one input for each item and return when all are with the server. They run without the caller."""
        from windlass.client import inputs, results

        mapped = self._mapped(inputs.Zipped(input_iterators, kwargs), kind="spawn")

        def blocking() -> None:
            mapped.submit()

        async def asynchronous() -> None:
            await mapped.asubmit()

        return results.Effect(blocking, asynchronous)

    @faces.effect
    def experimental_spawn_map(
        self,
        *input_iterators: Any,
        kwargs: dict[str, Any] = {},  # noqa: B006 - never changed
    ) -> results.Effect[FunctionCall[R]]:
        """Like ``spawn_map``, and returns one call that holds all the inputs."""
        from windlass import function_call
        from windlass.client import inputs, results

        mapped = self._mapped(inputs.Zipped(input_iterators, kwargs), kind="spawn")

        def blocking() -> FunctionCall[R]:
            return function_call.of_inputs(mapped.submit())

        async def asynchronous() -> FunctionCall[R]:
            return function_call.of_inputs(await mapped.asubmit())

        return results.Effect(blocking, asynchronous)

    def _mapped(self, source: inputs.Zipped | inputs.Starred, **how: Any) -> results.Results[Any]:
        from windlass.client import results

        self._expect(generator=False, verb="mapped")
        return results.Results(ready=self._ready_to_map, name=self._tag, method=self._method, source=source, **how)

    async def _ready_to_map(self) -> str:
        function_id = await self._ready()
        self._expect(generator=False, verb="mapped")
        return function_id

    def _expect(self, *, generator: bool, verb: str = "") -> None:
        """Refuse to call it in the wrong way, as soon as it is known what it is."""
        if self._answers_requests:
            raise exception.InvalidError(
                f"{self._describe()} is a web function: it answers HTTP requests, and cannot be {verb or 'called'}",
                hint=f"Ask {self._shown}.get_web_url(), or use {self._shown}.local(...).",
            )
        if self._is_generator is None or self._is_generator == generator:
            return
        if verb:
            raise exception.InvalidError(f"{self._describe()} is a generator function: it cannot be {verb}")
        if generator:
            raise exception.InvalidError(f"{self._describe()} is no generator function", hint="Use .remote().")
        raise exception.InvalidError(f"{self._describe()} is a generator function", hint="Use .remote_gen().")

    # -- variants -------------------------------------------------------------------------------------

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

    # -- looking after it -----------------------------------------------------------------------------

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
        from windlass.client import session

        reply = await session.current().request("function.get", {"function_id": await self._ready()})
        urls: dict[str, str] = reply.body.get("web_urls", {})
        return urls.get(self._method)

    # -- removed --------------------------------------------------------------------------------------

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

    # -- inside ---------------------------------------------------------------------------------------

    @property
    def _shown(self) -> str:
        """In code that hints write."""
        return self._tag

    @property
    def _answers_requests(self) -> bool:
        """Whether it is known to be a web function."""
        if self._method:
            return "web" in self._info.get("methods", {}).get(self._method, {})
        return "web" in self._asked or "" in self._web_urls

    def _describe(self) -> str:
        return f"Class {self._class_name!r}" if self._tag.endswith(".*") else f"Function {self._tag!r}"

    def _metadata(self) -> dict[str, Any]:
        common = {"tag": self._tag, "app_id": self._app_id, "is_generator": self._is_generator}
        return {**common, **self._info, "web_urls": self._web_urls}

    def _apply_metadata(self, metadata: dict[str, Any]) -> None:
        self._tag, self._app_id = metadata["tag"], metadata["app_id"]
        self._is_generator = metadata["is_generator"]
        self._web_urls = metadata.get("web_urls", {})
        if metadata.get("class_name"):
            self._class_info = {name: metadata[name] for name in ("class_name", "methods", "parameters")}

    def _hydrate_from(self, info: functions.FunctionInfo) -> None:
        self._hydrate(info["function_id"], {**info})

    @property
    def _info(self) -> dict[str, Any]:
        """Of a class, as soon as it is known: ``class_name``, ``methods`` and ``parameters`` of its spec."""
        return self._class_info or {}

    @property
    def _class_name(self) -> str:
        return self._tag.removesuffix(".*")

    async def _ready(self) -> str:
        if self._binding is None:
            return await super()._ready()
        self._object_id = await self._binding.ready()
        if self._is_generator is None and not self._method:
            self._is_generator = self._binding.base._is_generator
        return self._object_id

    @property
    def _known_id(self) -> str | None:
        """Its id where nobody needs to be asked: that of a variant may be of an earlier run of the app."""
        return self._object_id if self._binding is None else None

    def __reduce__(self) -> Any:
        return super().__reduce__() if self._binding is None else (_bound, (self._binding, self._is_generator))

    def _deps(self) -> Sequence[objects.Object]:
        if self._options is None or self._app is None:
            return ()
        volumes = [*self._app._volumes.values(), *self._options.volumes.values()]
        needed: list[objects.Object] = [self._app._image_for(self), *self._app._secrets, *self._options.secrets]
        needed += self._options.network_file_systems.values()
        if self._options.proxy is not None:
            needed.append(self._options.proxy)
        if volumes:
            from windlass.client import buckets

            needed += buckets.needs(volumes)
        return needed

    async def _load(self, context: resolver.Context) -> None:
        if self._lookup is not None:
            self._hydrate_from((await context.session.request("function.get", self._lookup)).body)
            return
        from windlass.client import create

        await create.function(self, context)

    def _entered(self) -> None:
        """Called by the runner when the module is imported: errors of the image's ``imports()`` count now."""
        if self._app is not None:
            image = self._app._chosen_image(self)
            if image is not None:
                image._entered()


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


def _warn_of_mounts(function: Function[..., Any, Any], bound: binding.Binding | None) -> None:
    """For ``local()`` outside of containers. ``function``: has the options; ``bound``: what a variant overrides."""
    from windlass.client import here

    if function._options is None or function._app is None or here.in_container():
        return
    volumes = (bound.overrides.get("volumes") if bound is not None else None) or {
        **function._app._volumes, **function._options.volumes,
    }  # fmt: skip
    if paths := sorted({*volumes, *function._options.network_file_systems}):
        import warnings

        text = f"{function._describe()} runs in this process, where nothing is mounted at {', '.join(paths)}"
        warnings.warn(text, stacklevel=3)


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


def _warn_wrapping(wrap: bool | None) -> None:
    if wrap is not None:
        import warnings

        warnings.warn(
            "wrap_returned_exceptions has no effect: exceptions are returned as they are",
            exception.DeprecationError,
            stacklevel=4,
        )

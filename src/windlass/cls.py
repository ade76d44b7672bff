"""``Cls``: the handle that ``@app.cls`` puts in the place of a class, and ``parameter`` for what the class takes.

    Cls ── Cls(x=1) ──► Obj ── obj.method ──► Method (a Function)

On the server a class is one function, which serves all methods; each set of parameters and options is a variant of it.
"""
from __future__ import annotations

from windlass import exception, function
from windlass.client import anatomy, binding, faces, handle, local, partial, source
from windlass.function import calling

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from windlass.app import App
    from windlass.retries import Retries
    from windlass.secret import Secret
    from windlass.wire.messages import functions

    _Function = function.Function[..., Any, Any]
else:
    _Function = function.Function

_OBJ = frozenset({"_cls", "_binding", "_values", "_kept"})


def parameter(*, default: Any = partial.NO_DEFAULT, init: bool = True) -> Any:
    """Declare a parameter of a class: a keyword of its constructor, and an attribute of its instances.

    Each set of values has containers of its own. Types are ``str``, ``int``, ``bool`` and ``bytes``.

    Args:
        default: the value where none is given.
        init: False only tells type checkers of an attribute; the constructor does not take it.

    Example:
        >>> @app.cls()
        ... class Model:
        ...     size: str = windlass.parameter(default="small")
        ...
        ...     @windlass.method()
        ...     def describe(self) -> str:
        ...         return self.size
        >>> Model(size="large").describe.remote()
        'large'
    """
    return partial.Parameter(default, init)


class Method(_Function):
    """A method of an object: a function that runs with the object's instance."""

    _obj: Obj
    _partial: partial.Partial | None = None

    @staticmethod
    def _of(obj: Obj, name: str, marked: partial.Partial | None) -> Method:
        service = obj._cls._service
        method = Method._new()
        method._obj, method._method, method._partial = obj, name, marked
        method._app, method._app_id, method._binding = service._app, service._app_id, obj._binding
        method._tag = f"{service._class_name}.{name}"
        spec = service._info.get("methods", {}).get(name)
        method._is_generator = None if spec is None else spec.get("is_generator", False)
        return method

    @property
    def _shown(self) -> str:
        return f"obj.{self._method}"

    @property
    def _info(self) -> dict[str, Any]:
        return self._obj._cls._service._info

    def _describe(self) -> str:
        return f"Method {self._tag!r}"

    def get_raw_f(self) -> Callable[..., Any]:
        """The Python function, which takes the instance first.

        Raises:
            ExecutionError: the class was looked up, so its code is not here.
        """
        if self._partial is None:
            raise exception.ExecutionError(
                f"{self._describe()} was looked up, so its code is not here", hint="Use .remote()."
            )
        raw_f: Callable[..., Any] = self._partial.raw_f
        return raw_f

    def local(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call it in this process, on the object's one local instance, whose enter hooks ran before."""
        raw_f = self.get_raw_f()
        calling.warn_of_mounts(self._obj._cls._service, self._binding)
        return self._obj._local().call(raw_f, args, kwargs)

    async def _ready(self) -> str:
        function_id = await super()._ready()
        methods = self._obj._cls._service._info.get("methods", {})
        if self._method not in methods:
            raise _no_method(self._obj._cls, self._method)
        self._is_generator = methods[self._method].get("is_generator", False)
        return function_id

    async def _pool(self) -> str:
        raise exception.InvalidError(
            f"{self._describe()} has no containers of its own: all methods share those of their object",
            hint="Use obj.update_autoscaler(...) of the instance.",
        )

    def _variant(self, overrides: dict[str, Any]) -> function.Function[Any, Any, Any]:
        raise exception.InvalidError(
            f"{self._describe()} shares the options of its class",
            hint=f"Use {self._obj._cls._name}.with_options(...)(...) and call the method of that.",
        )

    def __reduce__(self) -> Any:
        return _method_of, (self._obj, self._method)


def _method_of(obj: Obj, name: str) -> Any:
    return obj._method_handle(name, None)


class Obj:
    """An instance of a class, as ``Cls(...)`` makes it: it says in which containers its methods run. Asks nobody."""

    def __init__(self, cls: Cls, bound: binding.Binding, values: dict[str, Any]) -> None:
        self._cls = cls
        self._binding = bound
        self._values = values
        self._kept: local.Instance | None = None

    def __getattr__(self, name: str) -> Any:
        if name in _OBJ or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(name)
        found = self._cls._anatomy
        if found is not None:
            marked = found.methods.get(name)
            return getattr(self._local().instance, name) if marked is None else self._method_handle(name, marked)
        methods = self._cls._service._info.get("methods")
        if methods is not None and name not in methods:
            raise _no_method(self._cls, name)
        return self._method_handle(name, None)

    def __repr__(self) -> str:
        return f"<{self._cls._name} object>"

    def __reduce__(self) -> Any:
        return _restored, (self._cls, self._binding)

    @faces.method
    async def update_autoscaler(
        self,
        *,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: int | None = None,
    ) -> functions.AutoscalerSpec:
        """Change the autoscaler of this set of parameters and options until the next deploy; returns what holds now."""
        from windlass import autoscaler

        return await autoscaler.override(
            self._binding.ready, min_containers=min_containers, max_containers=max_containers,
            buffer_containers=buffer_containers, scaledown_window=scaledown_window,
        )  # fmt: skip

    def _method_handle(self, name: str, marked: partial.Partial | None) -> Method:
        return Method._of(self, name, marked)

    def _local(self) -> local.Instance:
        if self._kept is None:
            user_cls, found = self._cls._user_cls, self._cls._anatomy
            if user_cls is None or found is None:
                raise exception.ExecutionError(
                    f"{self._cls._describe()} was looked up, so its code is not here", hint="Use .remote()."
                )
            self._kept = local.Instance(anatomy.instance(user_cls, self._values, self), found)
        return self._kept


def _restored(cls: Cls, bound: binding.Binding) -> Obj:
    """An object that has travelled."""
    return Obj(cls, bound, bound.given)


class Cls(handle.Handle):
    """A class whose methods run in containers. Made by ``@app.cls()``, or looked up with ``Cls.from_name``.

    Calling it makes an object; the object's methods are functions.

    Example:
        >>> @app.cls()
        ... class Counter:
        ...     start: int = windlass.parameter(default=0)
        ...
        ...     @windlass.enter()
        ...     def prepare(self):
        ...         self.count = self.start
        ...
        ...     @windlass.method()
        ...     def next(self) -> int:
        ...         self.count += 1
        ...         return self.count
        >>> Counter(start=10).next.remote()
        11
    """

    _service: function.Function[..., Any, Any]
    _anatomy: anatomy.Anatomy | None = None
    _overrides: dict[str, Any] = {}

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
    ) -> Cls:
        """A class of a deployed app, looked up when it is first used. See ``Function.from_name``.

        Example:
            >>> Model = windlass.Cls.from_name("models", "Model")
            >>> Model(size="large").describe.remote()

        Raises:
            InvalidError: a name is wrong.
        """
        if not isinstance(name, str) or "." in name:
            raise exception.InvalidError(
                f"{name!r} is no name of a class", hint="Look up the class, and call the method of an object of it."
            )
        return _with_service(function._deployed(app_name, f"{name}.*", version, environment_name))

    @faces.function
    async def lookup(
        app_name: str,
        name: str,
        namespace: object = None,
        client: object = None,
        environment_name: str | None = None,
    ) -> Cls:
        """Removed: use ``Cls.from_name``."""
        raise exception.DeprecationError("Cls.lookup was removed; use Cls.from_name")

    # -- instances ------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Obj:
        """An object with these values for the parameters of the class.

        Raises:
            InvalidError: positional arguments, or values that are larger than 16 KiB.
            ParameterError: a parameter is missing, unknown or of the wrong type.
        """
        if args:
            raise exception.InvalidError(
                f"{self._name} takes its parameters by keyword only", hint=f"Write {self._name}(name=value)."
            )
        service = self._service
        if "parameters" not in service._info:
            return Obj(self, binding.Binding(service, kwargs, self._overrides), kwargs)
        schema = service._info["parameters"]
        values = anatomy.bind(self._name, schema, kwargs)
        binding.check_size(schema, values)
        return Obj(self, binding.Binding(service, values, self._overrides), values)

    def with_options(
        self,
        *,
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        gpu: Any = None,
        env: dict[str, str | None] | None = None,
        secrets: Sequence[Secret] = (),
        volumes: Mapping[Any, Any] = {},
        retries: int | Retries | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: int | None = None,
        timeout: int | None = None,
        region: str | Sequence[str] | None = None,
        cloud: str | None = None,
        routing_region: str | None = None,
        concurrency_limit: int | None = None,
        container_idle_timeout: int | None = None,
        allow_concurrent_inputs: int | None = None,
    ) -> Cls:
        """The same class with other options, whose objects have containers of their own; see ``Function.with_options``.

        Example:
            >>> Model.with_options(memory=4096)(size="large").describe.remote()

        Raises:
            InvalidError: an option is wrong.
        """
        from windlass import options

        return self._variant(options.overrides(dict(locals())))

    def with_concurrency(self, *, max_inputs: int, target_inputs: int | None = None) -> Cls:
        """The same class with containers that take several inputs at once; see ``with_options``."""
        from windlass import options

        return self._variant({"concurrency": options.concurrency(max_inputs, target_inputs)})

    def with_batching(self, *, max_batch_size: int, wait_ms: int) -> Cls:
        """The same class with inputs that are gathered into batches; see ``with_options``."""
        from windlass import options

        return self._variant({"batching": options.batching(max_batch_size, wait_ms)})

    def _variant(self, overrides: dict[str, Any]) -> Cls:
        from windlass import options

        variant = _with_service(self._service)
        variant._user_cls, variant._anatomy = self._user_cls, self._anatomy
        variant._overrides = options.stacked(self._overrides, overrides)
        return variant

    # -- what it is -----------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return self._service._class_name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        methods = self._service._info.get("methods")
        if methods is None or name in methods:
            return _Uninstantiated(self._name, name)
        if self._user_cls is None:
            raise _no_method(self, name)
        return getattr(self._user_cls, name)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        """``class Other(Model)``: classes inherit from the user's class, not from its handle."""
        if self._user_cls is None:
            raise TypeError(f"{self._describe()} was looked up: no class can inherit from it")
        return (self._user_cls,)

    def _describe(self) -> str:
        return f"Class {self._name!r}"

    def __reduce__(self) -> Any:
        return _travelled, (self._service, self._overrides)


def described(app: App, decorated: Any, asked: Mapping[str, Any]) -> tuple[Cls, _Function]:
    """What ``@app.cls`` makes of a class, and the function that serves it, not yet registered.

    Raises ``InvalidError``, or ``TypeError`` where no class was decorated.
    """
    if isinstance(decorated, Cls):
        raise exception.InvalidError("@app.cls must be the outermost decorator, and there only once")
    user_cls, marks = partial.taken(decorated)
    source.check_class(user_cls, serialized=asked["serialized"])
    found, name = anatomy.read(user_cls), user_cls.__name__
    if found.snap_enter and not asked["enable_memory_snapshot"]:
        raise exception.InvalidError(
            f"class {name!r} has hooks with snap=True, but no memory snapshot",
            hint="Write @app.cls(enable_memory_snapshot=True).",
        )
    chosen, wanted = app._options_of(asked), {**marks, **found.asked}
    if any("web" in method.asked for method in found.methods.values()):
        from windlass.client import web

        web.check_options(retries=chosen.retries, marks=found.asked)
    if "cluster" in wanted:
        from windlass.client import clusters

        clusters.settle(name, wanted, chosen, found.methods)
    origin = source.Source(user_cls, serialized=asked["serialized"], is_generator=False)
    service = function.Function._describing(app, f"{name}.*", origin, chosen)
    service._anatomy, service._asked = found, wanted
    service._class_info = {"class_name": name, "methods": found.method_specs(), "parameters": found.parameters}
    return describing(service, user_cls), service


def describing(service: function.Function[..., Any, Any], user_cls: type) -> Cls:
    """The handle of a class that is defined here."""
    cls = _with_service(service)
    cls._user_cls, cls._anatomy = user_cls, service._anatomy
    return cls


def serving(
    user_cls: type, found: anatomy.Anatomy, values: dict[str, Any], info: functions.FunctionInfo
) -> local.Instance:
    """The one instance of a container, which serves the function of ``info``. Running its hooks is the runner's job."""
    service: _Function = function.Function._new()
    service._hydrate_from(info)
    cls = describing(service, user_cls)
    cls._anatomy = found
    made = Obj(cls, binding.settled(service), values)._local()
    made.entered = True
    return made


def _with_service(service: function.Function[..., Any, Any]) -> Cls:
    return Cls._over(service)


def _travelled(service: function.Function[..., Any, Any], overrides: dict[str, Any]) -> Cls:
    cls = _with_service(service)
    cls._overrides = overrides
    return cls


def _no_method(cls: Cls, name: str) -> exception.NotFoundError:
    methods = ", ".join(cls._service._info.get("methods", {}))
    return exception.NotFoundError(f"{cls._describe()} has no method {name!r}", hint=f"It has: {methods}.")


class _Uninstantiated:
    """``Cls.method``: any use of it says what is missing."""

    def __init__(self, class_name: str, name: str) -> None:
        self._names = class_name, name

    def __getattr__(self, used: str) -> Any:
        class_name, name = self._names
        raise AttributeError(
            f"{class_name}.{name}.{used}: methods are called on an object of the class. "
            f"Hint: instantiate it: {class_name}().{name}.{used}(...)"
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.__getattr__("remote")

    def __repr__(self) -> str:
        return f"<method {'.'.join(self._names)} of a class without an object>"

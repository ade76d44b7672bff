"""What decorators leave in the user's class until ``@app.cls`` reads it: marked functions and declared parameters.

Both are descriptors, because the class goes on living: in containers, and as the one local instance, its instances
answer by them. An instance that Windlass made knows the handle that it belongs to (``OWNER``).
"""
from __future__ import annotations

from windlass import exception
from windlass.client import object as objects

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

OWNER = "_windlass_obj"
"""Name of the attribute by which an instance knows its handle."""

METHOD, ENTER, SNAP_ENTER, EXIT = "method", "enter", "enter before the snapshot", "exit"
WEB = "web function"
SERVED = frozenset({METHOD, WEB})
"""Roles of what inputs run."""
HOOKS = frozenset({ENTER, SNAP_ENTER, EXIT})

NO_DEFAULT: Any = type("NO_DEFAULT", (), {"__repr__": lambda self: "<no default>"})()


class Partial:
    """A function, or a class, that decorators have marked.

    ``roles``: what a method of a class is. ``asked``: options that other decorators ask for, by the name that they have
    in ``FunctionSpec`` (for a class: of the class). ``is_generator``: None to find out from the code.
    """

    def __init__(self, raw_f: Any, roles: frozenset[str] = frozenset(), asked: dict[str, Any] | None = None) -> None:
        self.raw_f = raw_f
        self.roles = roles
        self.asked = asked or {}
        self.is_generator: bool | None = None
        self.__name__ = getattr(raw_f, "__name__", "")
        self.__qualname__ = getattr(raw_f, "__qualname__", "")
        self.__doc__ = getattr(raw_f, "__doc__", None)

    @property
    def __wrapped__(self) -> Any:
        return self.raw_f

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        obj = None if not self.roles & SERVED else getattr(instance, OWNER, None)
        if obj is None:
            return self.raw_f.__get__(instance, owner)
        return obj._method_handle(self.__name__, self)

    def __repr__(self) -> str:
        return f"<{self.__qualname__}, {' and '.join(sorted(self.roles)) or 'with options'} of a class>"

    def __reduce__(self) -> Any:
        return _restore, (self.raw_f, self.roles, self.asked, self.is_generator)


def _restore(raw_f: Any, roles: frozenset[str], asked: dict[str, Any], is_generator: bool | None) -> Partial:
    partial = Partial(raw_f, roles, asked)
    partial.is_generator = is_generator
    return partial


def mark(raw_f: Any, name: str, *, role: str = "", asked: dict[str, Any] | None = None) -> Partial:
    """Add a mark to a function, a class, or something marked already. ``name``: of the decorator, for errors."""
    if isinstance(raw_f, (staticmethod, classmethod)):
        raise exception.InvalidError(f"@{name} cannot decorate a {type(raw_f).__name__}", hint="It needs `self`.")
    if isinstance(raw_f, objects.Object):
        raise exception.InvalidError(
            f"@{name} stands above @app.function or @app.cls", hint="The app's decorator must be the outermost one."
        )
    known = raw_f if isinstance(raw_f, Partial) else Partial(raw_f)
    if role and isinstance(known.raw_f, type):
        raise exception.InvalidError(f"@{name} decorates methods, not the class {known.raw_f.__name__!r}")
    if not callable(known.raw_f):
        raise exception.InvalidError(f"@{name} decorates functions, not {type(raw_f).__name__}")
    if asked and asked.keys() & known.asked.keys():
        raise exception.InvalidError(f"@{name} stands twice on {known.__qualname__!r}", hint="Leave one out.")
    if role and {role, *known.roles} >= {ENTER, SNAP_ENTER}:
        raise exception.InvalidError(
            f"the hook {known.__qualname__!r} cannot run both before and after the memory snapshot",
            hint="Leave one @enter out, or make two methods of it.",
        )
    roles = known.roles | ({role} if role else frozenset())
    if roles >= SERVED:
        raise exception.InvalidError(
            f"{known.__qualname__!r} cannot be called and answer web requests at the same time",
            hint="Make two functions or methods of it.",
        )
    if roles & HOOKS and (METHOD in roles or known.asked or asked):
        raise exception.InvalidError(
            f"{known.__qualname__!r} cannot be a hook (@enter, @exit) and something to call at the same time",
            hint="Make two methods of it.",
        )
    marked = Partial(known.raw_f, frozenset(roles), {**known.asked, **(asked or {})})
    marked.is_generator = known.is_generator
    return marked


def taken(decorated: Any) -> tuple[Any, dict[str, Any]]:
    """The function or class below the decorators, and what they ask for. For ``@app.function`` and ``@app.cls``."""
    if not isinstance(decorated, Partial):
        return decorated, {}
    if not decorated.asked or (decorated.roles & SERVED and not decorated.asked.keys() & {"batching", "web"}):
        raise exception.InvalidError(
            f"{decorated.__qualname__!r} is marked as a method of a class",
            hint="Put @app.cls on the class; functions with @app.function need no @method, @enter or @exit.",
        )
    return decorated.raw_f, decorated.asked


class Parameter:
    """A declared parameter of a class, in the place of its value. Instances that have a value hide it."""

    __slots__ = ("default", "init", "name")

    def __init__(self, default: Any, init: bool) -> None:
        self.default = default
        self.init = init
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        if self.default is NO_DEFAULT:
            raise AttributeError(
                f"{type(instance).__name__} has no value for the parameter {self.name!r}", name=self.name, obj=instance
            )
        return self.default

    def __reduce__(self) -> Any:
        if self.default is NO_DEFAULT:
            return _declared, (self.name, self.init)
        return _declared, (self.name, self.init, self.default)


def _declared(name: str, init: bool, default: Any = NO_DEFAULT) -> Parameter:
    parameter = Parameter(default, init)
    parameter.name = name
    return parameter


def bare(decorator: Callable[..., Any], given: object, name: str) -> None:
    """Refuse ``@decorator`` without its parentheses."""
    if given is not None:
        raise exception.InvalidError(f"@{name} needs parentheses", hint=f"Write @{name}({_needs(decorator)}).")


def _needs(decorator: Callable[..., Any]) -> str:
    code = decorator.__code__
    names = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    defaults = getattr(decorator, "__kwdefaults__", None) or {}
    return ", ".join(f"{name}=..." for name in names if name not in defaults)

"""Reading a user's class: its methods, hooks and parameters, those of its bases first, and what is wrong with it.

Read twice by the same rules: where the class is decorated, and in the container that makes its one instance.
"""
from __future__ import annotations

from windlass import exception
from windlass.client import partial, source, web
from windlass.wire import parameters as values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from windlass.wire.messages import functions

Partial = partial.Partial
_TYPES = {"str": str, "int": int, "bool": bool, "bytes": bytes}


class Anatomy:
    """``methods`` by name; hooks in the order in which they run; ``parameters`` of the constructor, as on the wire."""

    __slots__ = ("asked", "enter", "exit", "methods", "parameters", "snap_enter")

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}
        """What decorators of methods ask for, for the whole class."""
        self.methods: dict[str, Partial] = {}
        self.snap_enter: list[Partial] = []
        self.enter: list[Partial] = []
        self.exit: list[Partial] = []
        self.parameters: list[functions.ParameterSpec] = []

    def method_specs(self) -> dict[str, functions.MethodSpec]:
        """What the server needs to know of the methods."""
        specs: dict[str, functions.MethodSpec] = {}
        for name, method in self.methods.items():
            is_generator, is_async = source.kind(method.raw_f, method.is_generator)
            specs[name] = {"is_generator": is_generator, "is_async": is_async}
            if "web" in method.asked:
                specs[name]["web"] = method.asked["web"]
        return specs


def read(user_cls: type) -> Anatomy:
    """Raises ``InvalidError`` for a class that cannot be served."""
    if user_cls.__init__ is not object.__init__:  # type: ignore[misc]
        raise exception.InvalidError(
            f"class {user_cls.__name__!r} has a constructor of its own (__init__)",
            hint="Declare what it takes with windlass.parameter(), and prepare instances in a method with @enter.",
        )
    found = Anatomy()
    for name, value in _members(user_cls).items():
        if isinstance(value, Partial):
            _sort_in(found, name, value)
        elif isinstance(value, partial.Parameter) and value.init:
            found.parameters.append(_parameter(user_cls, name, value))
    _check(user_cls, found)
    _check_hooks(user_cls, found)
    _check_defaults(user_cls, found)
    return found


def _members(user_cls: type) -> dict[str, Any]:
    """Attributes in the order of their first definition, bases first; what overrides takes the place of the old."""
    members: dict[str, Any] = {}
    for owner in reversed(user_cls.__mro__):
        members.update(vars(owner))
    return members


def _sort_in(found: Anatomy, name: str, value: Partial) -> None:
    if value.roles & partial.SERVED:
        found.methods[name] = value
        found.asked.update({key: asked for key, asked in value.asked.items() if key != "web"})
    if partial.SNAP_ENTER in value.roles:
        found.snap_enter.append(value)
    if partial.ENTER in value.roles:
        found.enter.append(value)
    if partial.EXIT in value.roles:
        found.exit.append(value)


def _check(user_cls: type, found: Anatomy) -> None:
    for name, value in _members(user_cls).items():
        if isinstance(value, Partial) and "concurrency" in value.asked:
            raise exception.InvalidError(
                f"@concurrent stands on the method {name!r}; all methods of a class share its containers",
                hint="Put it on the class, below @app.cls().",
            )
        if isinstance(value, Partial) and "cluster" in value.asked:
            raise exception.InvalidError(
                f"@clustered stands on the method {name!r}", hint="Put it on the class, below @app.cls()."
            )
    batched = [name for name, value in found.methods.items() if "batching" in value.asked]
    if batched and len(found.methods) > 1:
        raise exception.InvalidError(
            f"{batched[0]!r} is batched, so it must be the only method of {user_cls.__name__!r}",
            hint="Move the others into a class of their own.",
        )


def _check_hooks(user_cls: type, found: Anatomy) -> None:
    for hook in (*found.snap_enter, *found.enter, *found.exit):
        name = f"{user_cls.__name__}.{hook.__name__}"
        if source.kind(hook.raw_f)[0]:
            raise exception.InvalidError(f"the hook {name!r} is a generator, which nobody would run", hint="No yield.")
        of_old = hook in found.exit and source.takes(hook.raw_f, 4)
        if not source.takes(hook.raw_f, 1) and not of_old:
            raise exception.InvalidError(
                f"the hook {name!r} takes other arguments than self, and nobody passes any",
                hint="Write `def name(self):`; what it needs are parameters of the class.",
            )
    for name, method in found.methods.items():
        code = getattr(method.raw_f, "__code__", None)
        if code is not None and not code.co_argcount and not code.co_flags & source.VARIADIC:
            raise exception.InvalidError(f"the method {name!r} of {user_cls.__name__!r} does not take self")
        if "web" in method.asked:
            web.check(method.raw_f, method.asked["web"], own=1)
        if "batching" in method.asked and sum(map(len, source.columns(method.raw_f))) < 2:
            raise exception.InvalidError(
                f"the method {name!r} of {user_cls.__name__!r} is batched, so it needs a parameter beside self: "
                "the list of its inputs"
            )


# -- parameters -------------------------------------------------------------------------------------------


def _parameter(user_cls: type, name: str, declared: partial.Parameter) -> functions.ParameterSpec:
    kind = _type(user_cls, name)
    if declared.default is partial.NO_DEFAULT:
        return {"name": name, "type": kind, "has_default": False}
    default = checked(user_cls.__name__, name, kind, declared.default)
    return {"name": name, "type": kind, "has_default": True, "default": values.write(kind, default)}


def _check_defaults(user_cls: type, found: Anatomy) -> None:
    """Defaults that are too large by themselves are refused where they stand."""
    given = {one["name"]: values.read(one["type"], one["default"]) for one in found.parameters if one["has_default"]}
    values.encode([one for one in found.parameters if one["name"] in given], given)


def _type(user_cls: type, name: str) -> str:
    """The name of the annotated type. Raises ``InvalidError``."""
    for owner in user_cls.__mro__:
        if name in vars(owner):
            annotation = getattr(owner, "__annotations__", {}).get(name)
            kind = next(_kinds(owner, name, annotation), None)
            if kind is not None:
                return kind
            if annotation is None:
                raise exception.InvalidError(
                    f"parameter {name!r} of {user_cls.__name__!r} has no type", hint=f"Write `{name}: str = ...`."
                )
            shown = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", repr(annotation))
            raise exception.InvalidError(
                f"parameter {name!r} of {user_cls.__name__!r} has the type {shown}, which is not supported",
                hint="Parameters are str, int, bool or bytes; pass other data as arguments of methods.",
            )
    raise exception.InternalError(f"{user_cls.__name__} has no {name}")


def _kinds(owner: type, name: str, annotation: Any) -> Iterator[str]:
    if isinstance(annotation, str):  # `from __future__ import annotations`
        text = annotation.strip("'\" ").rpartition("builtins.")[2]
        if text in _TYPES:
            yield text
            return
        import typing

        try:
            annotation = typing.get_type_hints(owner).get(name)
        except Exception:  # noqa: BLE001 - the user's annotations may name what exists only for type checkers
            return
    for kind, known in _TYPES.items():
        if annotation is known:
            yield kind


def checked(class_name: str, name: str, kind: str, value: Any) -> Any:
    """``value`` itself when it has the right type: a boolean is an integer, too."""
    if not isinstance(value, _TYPES[kind]):
        raise exception.ParameterError(
            f"parameter {name!r} of {class_name!r} must be {kind}, not {type(value).__name__}: {value!r}"
        )
    return value


def bind(class_name: str, schema: list[functions.ParameterSpec], given: dict[str, Any]) -> dict[str, Any]:
    """A value for each parameter of ``schema``. Raises ``ParameterError`` (both a TypeError and an InvalidError)."""
    unknown = given.keys() - {one["name"] for one in schema}
    if unknown:
        names = ", ".join(one["name"] for one in schema)
        raise exception.ParameterError(
            f"{class_name!r} has no parameter {sorted(unknown)[0]!r}",
            hint=f"It has: {names}." if names else "Declare it in the class with windlass.parameter().",
        )
    bound = {}
    for one in schema:
        name, kind = one["name"], one["type"]
        if name in given:
            bound[name] = checked(class_name, name, kind, given[name])
        elif one.get("has_default"):
            bound[name] = values.read(kind, one["default"])
        else:
            raise exception.ParameterError(
                f"parameter {name!r} of {class_name!r} has no value", hint=f"Write {class_name}({name}=...)."
            )
    return bound


def instance(user_cls: Any, bound: dict[str, Any], owner: object) -> Any:
    """An instance with values for its parameters, whose constructor was not called."""
    made = user_cls.__new__(user_cls)
    for name, value in bound.items():
        setattr(made, name, value)
    try:
        object.__setattr__(made, partial.OWNER, owner)
    except AttributeError:
        raise exception.InvalidError(
            f"class {user_cls.__name__!r} has __slots__, which its instances cannot be served with",
            hint=f"Leave them out, or add {partial.OWNER!r} to them.",
        ) from None
    return made

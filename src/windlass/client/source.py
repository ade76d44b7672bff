"""How a function gets into its container.

    file         the script that defines it is put at /root/<file>.py and imported by its stem
    package      the whole top-level package is put below /root and imported by its dotted name
    serialized   the function itself is pickled; nothing is mounted (closures, notebooks, a REPL)

Imported with every app, also in containers: costly imports happen inside the functions.
"""
from __future__ import annotations

import sys

from windlass import exception

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from windlass.client import mount

VARIADIC, GENERATOR, COROUTINE, ASYNC_GENERATOR = 0x04, 0x20, 0x80, 0x200  # flags of code objects, as in ``inspect``

WARN_SIZE = 256 * 1024
"""Bytes of a pickled function above which a warning says so."""

MAX_SIZE = 16 * 1024 * 1024
"""Bytes of a pickled function above which it is refused."""


main_stem = ""
"""The name that this process's main script has in containers, once one of its functions is shipped as a file."""


class Source:
    """Where a function comes from. ``path`` is the script ("file"), ``package`` the top-level package ("package")."""

    __slots__ = ("definition", "is_async", "is_generator", "module", "package", "path", "qualname", "raw_f")

    def __init__(self, raw_f: Callable[..., Any], *, serialized: bool, is_generator: bool | None) -> None:
        self.raw_f = raw_f
        self.qualname: str = getattr(raw_f, "__qualname__", type(raw_f).__qualname__)
        self.is_generator, self.is_async = kind(raw_f, is_generator)
        self.definition, self.module, self.path, self.package = _locate(raw_f, serialized)

    def mounts(self) -> list[mount.Mount]:
        """What must be put into the container so that it can be imported there."""
        from pathlib import Path

        from windlass.client import mount

        if self.definition == "file":
            path = Path(self.path).resolve()
            return [mount.Mount(mount.File(path, f"root/{path.name}"))]
        if self.definition == "package":
            return [mount.Mount(mount.Module(self.package, ignore=lambda path: False))]
        return []

    def pickled(self, label: str) -> bytes:
        """The function for definition "serialized". Raises ``InvalidError`` when it is too large."""
        data = _by_value(self.raw_f)
        if len(data) > MAX_SIZE:
            raise exception.InvalidError(
                f"{label} pickles to {len(data):,} bytes, more than the limit of {MAX_SIZE:,}",
                hint="Its closure or globals hold large data: pass that as an argument, or load it in the function.",
            )
        if len(data) > WARN_SIZE:
            import warnings

            text = f"{label} pickles to {len(data):,} bytes: its closure or globals hold large data"
            warnings.warn(text, stacklevel=2)
        return data


def kind(raw_f: Any, is_generator: bool | None = None) -> tuple[bool, bool]:
    """(is a generator, is async), as its code says; ``is_generator`` overrides that."""
    flags = getattr(getattr(_unwrapped(raw_f), "__code__", None), "co_flags", 0)
    generates = bool(flags & (GENERATOR | ASYNC_GENERATOR)) if is_generator is None else is_generator
    return generates, bool(flags & (COROUTINE | ASYNC_GENERATOR))


def _unwrapped(raw_f: Any) -> Any:
    """The function whose code says whether it is a generator: inside of ``functools.partial`` and the like."""
    while hasattr(raw_f, "func") and not hasattr(raw_f, "__code__"):
        raw_f = raw_f.func
    return raw_f


def is_interactive(raw_f: Any) -> bool:
    """Defined at a prompt, in a notebook or in a script on stdin: there is no file to ship."""
    module = sys.modules.get(getattr(raw_f, "__module__", None) or "__main__")
    spec = getattr(module, "__spec__", None)
    return getattr(module, "__file__", None) in (None, "<stdin>") and (spec is None or spec.origin is None)


def _locate(raw_f: Any, serialized: bool) -> tuple[str, str, str, str]:
    """(definition, module, path, package)."""
    name: str = getattr(raw_f, "__module__", None) or "__main__"
    module = sys.modules.get(name)
    space = vars(module) if module is not None else getattr(raw_f, "__globals__", {})
    if serialized or is_interactive(raw_f):
        return "serialized", name, "", ""
    if name == "__main__" and space.get("__spec__") is not None:
        name = space["__spec__"].name  # ``python -m package.module``
    package: str = space.get("__package__") or ""
    if package:
        return "package", name, "", package.partition(".")[0]
    path: str = space.get("__file__") or ""
    if not path:
        raise exception.InvalidError(
            f"module {name!r}, which defines {raw_f!r}, has no file", hint="Use serialized=True."
        )
    stem = path.replace("\\", "/").rpartition("/")[2].rpartition(".")[0]
    if name == "__main__" or space.get("__name__") == "__main__":
        global main_stem
        main_stem = stem
    return "file", stem, path, ""


def _by_value(raw_f: Any) -> bytes:
    """Pickle the function with its code: its module need not exist in the container."""
    from windlass.wire import payload, pickling

    cloudpickle = pickling.library()

    name = getattr(raw_f, "__module__", None)
    module = sys.modules.get(name or "")
    ours = module is not None and name != "__main__" and not is_installed(module)
    if ours:
        cloudpickle.register_pickle_by_value(module)
    try:
        return payload.dumps(raw_f)
    finally:
        if ours:
            cloudpickle.unregister_pickle_by_value(module)


def is_installed(module: Any) -> bool:
    """Whether the module belongs to an installed package, which the image must have as well."""
    path = getattr(module, "__file__", None) or ""
    return not path or "site-packages" in path or "dist-packages" in path or path.startswith(sys.base_prefix + "/lib")


def check(raw_f: Any, *, serialized: bool, name: str | None) -> None:
    """Refuse what ``@app.function`` cannot take, with what to do instead."""
    if isinstance(raw_f, type):
        raise TypeError(f"@app.function cannot decorate the class {raw_f.__name__!r}: use @app.cls")
    if isinstance(raw_f, (staticmethod, classmethod)):
        raise exception.InvalidError("@app.function cannot decorate a method", hint="Use @app.cls with @method.")
    if not callable(raw_f):
        raise exception.InvalidError(f"@app.function decorates functions, not {type(raw_f).__name__}")
    qualname: str = getattr(raw_f, "__qualname__", type(raw_f).__qualname__)
    if serialized or is_interactive(raw_f):
        return
    if "<locals>" in qualname:
        raise exception.InvalidError(
            f"{qualname!r} is defined inside another function, so its container could not import it",
            hint="Move it to the top level of its module, or use @app.function(serialized=True).",
        )
    if "<lambda>" in qualname:
        raise exception.InvalidError(
            "a lambda cannot be imported in a container", hint="Use serialized=True and name=."
        )
    if "." in qualname:
        raise exception.InvalidError(
            f"{qualname!r} is a method: @app.function is for functions",
            hint="Use @app.cls on the class, and @method on it.",
        )


def check_callable_alone(raw_f: Any, why: str) -> None:
    """Refuse a function that cannot be called without arguments."""
    import inspect

    try:
        parameters = inspect.signature(raw_f).parameters.values()
    except (TypeError, ValueError):  # some builtins do not say
        return
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [one.name for one in parameters if one.default is one.empty and one.kind not in variadic]
    if needed:
        raise exception.InvalidError(
            f"{getattr(raw_f, '__qualname__', raw_f)!r} has {why} but needs arguments: {', '.join(needed)}",
            hint="Nobody passes any when it runs by itself: give them defaults.",
        )


def check_class(user_cls: Any, *, serialized: bool, decorator: str = "cls") -> None:
    """Refuse what ``@app.cls`` (or ``@app.server``) cannot take, with what to do instead."""
    if not isinstance(user_cls, type):
        kind = type(user_cls).__name__
        raise TypeError(f"@app.{decorator} decorates classes, not {kind}: use @app.function for functions")
    if "<locals>" in user_cls.__qualname__ and not serialized and not is_interactive(user_cls):
        raise exception.InvalidError(
            f"class {user_cls.__qualname__!r} is defined inside a function, so its container could not import it",
            hint=f"Move it to the top level of its module, or use @app.{decorator}(serialized=True).",
        )


def columns(raw_f: Any) -> tuple[list[str], list[str]]:
    """The parameters of a batched function that are given by position, and those given by name only.

    Raises ``InvalidError`` when each input cannot have a value for each of them, or there is no one answer.
    """
    import inspect

    name = getattr(raw_f, "__qualname__", repr(raw_f))
    if kind(raw_f)[0]:
        raise exception.InvalidError(f"{name!r} is a generator, which cannot be batched", hint="Return a list.")
    by_position: list[str] = []
    by_name: list[str] = []
    for one in inspect.signature(raw_f).parameters.values():
        if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD):
            raise exception.InvalidError(
                f"{name!r} is batched, so it cannot take any number of arguments ({one})",
                hint="It gets one list for each parameter: name them all.",
            )
        if one.default is not one.empty:
            raise exception.InvalidError(
                f"{name!r} is batched, so its parameter {one.name!r} cannot have a default",
                hint="Each input must have a value for each parameter, because they become lists.",
            )
        (by_name if one.kind == one.KEYWORD_ONLY else by_position).append(one.name)
    if not by_position and not by_name:
        raise exception.InvalidError(
            f"{name!r} is batched, so it needs a parameter: the list of its inputs", hint="Give it one."
        )
    return by_position, by_name


def takes(raw_f: Any, count: int) -> bool:
    """Whether a function can be called with ``count`` arguments by position, as far as its code says."""
    code = getattr(raw_f, "__code__", None)
    if code is None:
        return True
    by_name = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    if set(by_name) - set(raw_f.__kwdefaults__ or ()):
        return False
    least = code.co_argcount - len(raw_f.__defaults__ or ())
    return least <= count and (count <= code.co_argcount or bool(code.co_flags & VARIADIC))

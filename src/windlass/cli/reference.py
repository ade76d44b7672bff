"""What `windlass run` was asked for: ``FILE[::[app.]name]``, a module with ``-m``, or ``-`` for a script on stdin.

    parse     text → Reference                     (no import yet)
    load      Reference → the user's module        (runs the user's top-level code)
    choose    module, name → what to call          (a local entrypoint, a function or a method)
"""
from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.util
import inspect
import sys
import tempfile
import types
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from windlass import exception
from windlass.cli import failure

if TYPE_CHECKING:
    from windlass import app as apps_module
    from windlass import cls, function


class Method(NamedTuple):
    """A method of a class, whose object is yet to be made."""

    cls: cls.Cls
    name: str


if TYPE_CHECKING:
    Target = apps_module.LocalEntrypoint[..., Any] | function.Function[..., Any, Any] | Method


_STDIN = "stdin_script.py"


class Reference(NamedTuple):
    """``source`` is a path, a module name, or "-"; ``name`` the object inside it, "" where none was given."""

    source: str
    name: str
    is_module: bool

    def __str__(self) -> str:
        return f"{self.source}::{self.name}" if self.name else self.source

    @property
    def place(self) -> str:
        """The source as sentences call it."""
        return "The script on stdin" if self.source == "-" else self.source


def parse(text: str, *, is_module: bool = False) -> Reference:
    """Read a reference. Raises ``InvalidError`` for what cannot be one, with what was probably meant."""
    source, separator, name = text.partition("::")
    if separator and not name:
        raise exception.InvalidError(f"{text!r} names no object behind '::'.", hint=f"Did you mean `{source}`?")
    if not separator and _has_single_colon(source):
        raise exception.InvalidError(
            f"{text!r} has a single ':'.", hint=f"Did you mean `{_doubled(source, is_module)}`?"
        )
    if source == "-":
        if is_module or name:
            raise exception.InvalidError("A script on stdin can be no module and has one entrypoint only.")
    elif not is_module:
        _check_file_name(source)
    return Reference(source, name, is_module)


@contextlib.contextmanager
def load(reference: Reference) -> Iterator[types.ModuleType]:
    """The user's module, imported. A script from stdin lies in a temporary file while the block runs.

    Raises:
        NotFoundError: no such file or module.
        InvalidError: it defines two apps of one name.
        UserCodeError: the user's code failed (a syntax error included).
    """
    with contextlib.ExitStack() as stack:
        if reference.is_module:
            module = _import_module(reference.source)
        elif reference.source == "-":
            script = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="windlass-stdin-"))) / _STDIN
            script.write_bytes(sys.stdin.buffer.read())
            module = _import_file(script)
        else:
            module = _import_file(_existing(reference.source))
        _check_names(module, reference)
        yield module


def _check_names(module: types.ModuleType, reference: Reference) -> None:
    """Containers know their app by its name, and a deployment takes the place of the one before: two would get mixed
    up. Apps that define nothing (that were looked up, say) are in nobody's way."""
    variables = {id(app): variable for variable, app in _apps(module).items()}
    known: dict[str, str] = {}
    for app in apps(module):
        if app.name is None or not (app._functions or app._local_entrypoints):
            continue
        variable = variables[id(app)]
        if app.name in known:
            raise exception.InvalidError(
                f"{reference.place} has two apps named {app.name!r}: {known[app.name]} and {variable}.",
                hint="Give each a name of its own, or make one app of them with `include`.",
            )
        known[app.name] = variable


def choose(module: types.ModuleType, reference: Reference) -> Target:
    """What to call. Raises ``NotFoundError`` or ``InvalidError`` that list the candidates."""
    if reference.name:
        return _named(module, reference)
    winners = _first_non_empty(_levels(module))
    if len(winners) == 1:
        (winner,) = winners.values()
        return winner
    if winners:
        raise exception.InvalidError(
            f"{reference.place} has several candidates: {', '.join(sorted(winners))}.",
            hint="Give it one local entrypoint."
            if reference.source == "-"
            else f"Say which one, such as {reference.source}::{sorted(winners)[0]}.",
        )
    if not _apps(module):
        raise exception.NotFoundError(
            f"{reference.place} defines no app.", hint='It needs `app = modal.App("name")` and a function of the app.'
        )
    raise exception.NotFoundError(
        f"{reference.place} has nothing to run.",
        hint="Decorate a function with `@app.function()` or `@app.local_entrypoint()`.",
    )


def choose_app(module: types.ModuleType, reference: Reference) -> apps_module.App:
    """The app to deploy: the variable that is named, by default ``app``, or else the only one there is.

    Raises:
        NotFoundError: there is none of that name.
        InvalidError: the variable is no app.
    """
    from windlass import app

    known = _apps(module)
    wanted = reference.name or "app"
    if not reference.name and wanted not in known and len(apps(module)) == 1:
        (only,) = apps(module)
        found: Any = only
    else:
        found = getattr(module, wanted, None)
    if isinstance(found, app.App):
        return found
    if found is not None:
        raise exception.InvalidError(
            f"{wanted!r} in {reference.source} is {_article(found)}, not an app.",
            hint=f"Name one of its apps: {', '.join(sorted(known))}." if known else "It defines no app.",
        )
    close = difflib.get_close_matches(wanted, known, n=1)
    raise exception.NotFoundError(
        f"{reference.place} has no app {wanted!r}.",
        hint=f"Did you mean `{reference.source}::{close[0] if close else sorted(known)[0]}`?"
        if known
        else 'It needs `app = modal.App("name")`.',
    )


def program(module: types.ModuleType) -> Path:
    """The file that a module was imported from. Raises ``InvalidError`` for one that came from stdin."""
    path = Path(module.__file__ or "")
    if not path.is_file() or path.name == _STDIN:
        raise exception.InvalidError("A script on stdin has no place for a lock beside it.", hint="Write it to a file.")
    return path


def apps(module: types.ModuleType) -> list[Any]:
    """All apps that a module knows, each once."""
    return list({id(app): app for app in _apps(module).values()}.values())


# -- text -----------------------------------------------------------------------------------------------


def _has_single_colon(source: str) -> bool:
    return ":" in source and not Path(source).exists()


def _doubled(source: str, is_module: bool) -> str:
    file, _, name = source.partition(":")
    return f"{_with_suffix(file) if not is_module else file}::{name}"


def _with_suffix(source: str) -> str:
    """``hello`` is ``hello.py`` where there is such a file."""
    return f"{source}.py" if Path(f"{source}.py").is_file() and not Path(source).exists() else source


def _check_file_name(source: str) -> None:
    path = Path(source)
    if path.suffix != ".py" and not path.exists() and all(part.isidentifier() for part in source.split(".")):
        if (file := _with_suffix(source)) != source:
            raise exception.InvalidError(f"{source!r} is no file.", hint=f"Did you mean `{file}`?")
        raise exception.InvalidError(
            f"{source!r} is no file; it looks like a module.", hint=f"Did you mean `-m {source}`?"
        )
    if path.suffix == ".py" and "." in path.stem:
        raise exception.InvalidError(
            f"The file name {path.name!r} has more than one dot; Python could not import it in the container.",
            hint=f"Rename it, for example to {path.stem.replace('.', '_')}.py.",
        )


def _existing(source: str) -> Path:
    path = Path(source)
    if path.is_file():
        return path.resolve()
    if path.is_dir():
        raise exception.InvalidError(
            f"{source} is a folder.", hint="Name a file in it, or a module with `-m package.module`."
        )
    folder = path.parent
    stems = [entry.stem for entry in folder.glob("*.py")] if folder.is_dir() else []
    close = difflib.get_close_matches(path.stem, stems, n=1)  # not of names: all of them are alike in their ".py"
    raise exception.NotFoundError(
        f"No such file: {source}", hint=f"Did you mean {folder / close[0]}.py?" if close else "Is the path right?"
    )


# -- import ---------------------------------------------------------------------------------------------


def _import_file(path: Path) -> types.ModuleType:
    """Import a script under its stem, the way its container will."""
    name = path.stem
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise exception.InvalidError(f"{path} is no Python file.", hint="Its name must end in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with _user_code():
        spec.loader.exec_module(module)
    return module


def _import_module(name: str) -> types.ModuleType:
    if name.endswith(".py") or "/" in name:
        raise exception.InvalidError(
            f"{name!r} is a path, not a module.", hint=f"Leave out -m: `{name}`."
        )
    sys.path.insert(0, str(Path.cwd()))
    with _user_code():
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as exc:
            # Only when the module itself is missing; what it imports in vain is the user's own error.
            if exc.name and (name == exc.name or name.startswith(exc.name + ".")):
                raise exception.NotFoundError(
                    f"No module named {exc.name!r}.", hint="Call from the folder that contains the package."
                ) from None
            raise


@contextlib.contextmanager
def _user_code() -> Iterator[None]:
    from windlass.client import here

    here.importing = True  # an app cannot be run by a module that is being imported
    try:
        yield
    except Exception as exc:
        raise failure.UserCodeError(str(exc)) from exc
    finally:
        here.importing = False


# -- choice ---------------------------------------------------------------------------------------------


def _apps(module: types.ModuleType) -> dict[str, Any]:
    from windlass import app

    return {name: value for name, value in vars(module).items() if isinstance(value, app.App)}


def _levels(module: types.ModuleType) -> Iterator[dict[str, Target]]:
    """Candidates by falling priority: entrypoints, functions and methods of the module, then those of its apps."""
    from windlass import app, cls, function

    members = vars(module)
    yield _distinct({name: value for name, value in members.items() if isinstance(value, app.LocalEntrypoint)})
    functions = _distinct({name: value for name, value in members.items() if isinstance(value, function.Function)})
    classes = _distinct({name: value for name, value in members.items() if isinstance(value, cls.Cls)})
    yield {**functions, **_methods(classes)}
    apps = _apps(module)
    yield _distinct({tag: value for one in apps.values() for tag, value in one._local_entrypoints.items()})
    yield {name: value for one in apps.values() for name, value in _callable(one).items()}


def _callable(one: apps_module.App) -> dict[str, Any]:
    """What an app has to call: its functions, and the methods of its classes."""
    functions = {tag: value for tag, value in one._functions.items() if value._anatomy is None}
    return {**_distinct(functions), **_methods(one._classes)}


def _methods(classes: dict[str, cls.Cls]) -> dict[str, Method]:
    found = {}
    for name, value in classes.items():
        for method in value._anatomy.methods if value._anatomy is not None else ():
            found[f"{name}.{method}"] = Method(value, method)
    return found


def _distinct(found: dict[str, Any]) -> dict[str, Any]:
    """Without second names of the same object."""
    kept: dict[int, str] = {}
    for name, value in found.items():
        kept.setdefault(id(value), name)
    return {name: found[name] for name in kept.values()}


def _first_non_empty(levels: Iterator[dict[str, Target]]) -> dict[str, Target]:
    return next((level for level in levels if level), {})


def _named(module: types.ModuleType, reference: Reference) -> Target:
    """The object of that name: an attribute path in the module, or the tag of something registered with an app."""
    from windlass import app, cls, function

    found: Any = module
    try:
        for part in reference.name.split("."):
            found = _member(found, part)
    except AttributeError:
        found = _registered(module, reference.name)
    if isinstance(found, app.App):
        inside: dict[str, Any] = {**found._local_entrypoints} or _callable(found)
        if len(inside) == 1:
            (found,) = inside.values()
    if isinstance(found, cls.Cls):
        methods = _methods({reference.name: found})
        if len(methods) != 1:
            raise exception.InvalidError(
                f"{reference.name!r} is a class with {len(methods)} methods.",
                hint=f"Say which one: {', '.join(methods)}." if methods else "Decorate one with `@method()`.",
            )
        (found,) = methods.values()
    if isinstance(found, (app.LocalEntrypoint, function.Function, Method)):
        return found
    known = sorted({name for level in _levels(module) for name in level})
    if found is not None and not isinstance(found, app.App):
        raise exception.InvalidError(
            f"{reference.name!r} in {reference.source} is {_article(found)}, neither a function or method of an app "
            "nor a local entrypoint.",
            hint=f"What can be run: {', '.join(known)}." if known else "Decorate it with `@app.function()`.",
        )
    close = difflib.get_close_matches(reference.name, known, n=1)
    raise exception.NotFoundError(
        f"{reference.source} has no function or local entrypoint {reference.name!r}.",
        hint=f"Did you mean {close[0]}?" if close else f"What can be run: {', '.join(known) or 'nothing'}.",
    )


def _member(owner: Any, name: str) -> Any:
    """``owner.name``; below an app its registered functions, classes and entrypoints; below a class its methods."""
    from windlass import app, cls

    if isinstance(owner, app.App):
        for registered in (owner._local_entrypoints, owner._functions, owner._classes):
            if name in registered:
                return registered[name]
        raise AttributeError(name)
    if isinstance(owner, cls.Cls):
        if owner._anatomy is None or name not in owner._anatomy.methods:
            raise AttributeError(name)
        return Method(owner, name)
    return inspect.getattr_static(owner, name) if isinstance(owner, types.ModuleType) else getattr(owner, name)


def _registered(module: types.ModuleType, tag: str) -> Any:
    for one in _apps(module).values():
        for registered in (one._local_entrypoints, _callable(one), one._classes):
            if tag in registered:
                return registered[tag]
    return None


def _article(value: Any) -> str:
    kind = type(value).__name__
    return f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}"

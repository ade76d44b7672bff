"""The file of profiles: one table of settings each, ``active = true`` in the one that counts.

Never read inside containers. It may hold secrets: it is written whole or not at all, and readable by its owner alone.
Lines are edited in place, so comments stay.
"""
from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from windlass import exception

_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
Tables = dict[str, dict[str, Any]]


class Place(NamedTuple):
    """Where settings are read from. ``foreign``: it is Modal's own file."""

    path: Path
    foreign: bool


def place() -> Place:
    """``$WINDLASS_CONFIG_PATH``, else ``~/.windlass.toml``; where neither exists, Modal's own, if that does."""
    if chosen := os.environ.get("WINDLASS_CONFIG_PATH"):
        return Place(Path(chosen).expanduser(), False)
    ours = Path("~/.windlass.toml").expanduser()
    foreign = Path(os.environ.get("MODAL_CONFIG_PATH") or "~/.modal.toml").expanduser()
    return Place(foreign, True) if not ours.exists() and foreign.exists() else Place(ours, False)


def ours() -> Path:
    """The file that is written to."""
    where = place()
    return Path("~/.windlass.toml").expanduser() if where.foreign else where.path


_read: tuple[tuple[Any, ...], Tables] | None = None


def tables(path: Path) -> Tables:
    """Profiles by name; none where there is no file.

    Raises:
        InvalidError: it is no such file. The message names it and the line.
    """
    global _read
    try:
        found = path.stat()
    except OSError:
        return {}
    seen = (path, found.st_mtime_ns, found.st_size, found.st_ino)
    if _read is None or _read[0] != seen:
        _read = seen, _parsed(path)
    return _read[1]


def _parsed(path: Path) -> Tables:
    return checked(path, _text(path))


def checked(path: Path, text: str) -> Tables:
    """The tables in ``text``, which is, or is about to be, in ``path``."""
    toml = _toml()
    try:
        found: Tables = toml.loads(text)
    except toml.TOMLDecodeError as exc:
        raise exception.InvalidError(
            f"the configuration file {path} is malformed: {exc}", hint="Mend that line, or move the file away."
        ) from None
    for name, table in found.items():
        if not isinstance(table, dict):
            raise exception.InvalidError(
                f"the configuration file {path} has {name!r} outside of a profile, in line {_line(text, name)}",
                hint="Each setting belongs below the name of its profile, such as [default].",
            )
    return found


def _line(text: str, key: str) -> int:
    lines = text.splitlines()
    return next((n for n, line in enumerate(lines, 1) if line.split("=")[0].strip().strip("\"'") == key), 1)


def _toml() -> Any:
    """Of the standard library; on Python 3.10 tomli, on which Windlass depends there."""
    import importlib
    import sys

    return importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")


def is_active(table: dict[str, Any]) -> bool:
    return table.get("active") is True or str(table.get("active", "")).lower() in ("true", "1")


def chosen(path: Path, known: Tables, wanted: str) -> str:
    """The profile that counts. ``wanted``: the one that was asked for, if any.

    Raises:
        InvalidError: it cannot be told which one is meant.
    """
    if wanted:
        return wanted
    active = [name for name, table in known.items() if is_active(table)]
    if len(active) > 1:
        raise exception.InvalidError(
            f"several profiles are active in {path}: {', '.join(active)}",
            hint="`windlass profile activate NAME` leaves one.",
        )
    if active:
        return active[0]
    if len(known) > 1:
        raise exception.InvalidError(
            f"none of the profiles in {path} is active: {', '.join(known)}",
            hint="`windlass profile activate NAME`, or set WINDLASS_PROFILE.",
        )
    return next(iter(known)) if len(known) == 1 else "default"


def current() -> str:
    """The profile that counts.

    Raises:
        InvalidError: it cannot be told which one is meant.
    """
    where = place()
    return chosen(where.path, tables(where.path), asked_for())


def asked_for() -> str:
    """The profile that the environment names."""
    return os.environ.get("WINDLASS_PROFILE") or os.environ.get("MODAL_PROFILE") or ""


# -- writing


def check_name(name: str) -> str:
    if not _NAME.match(name):
        raise exception.InvalidError(
            f"{name[:80]!r} is no name for a profile", hint="Use 1-64 letters, digits, '-', '_' and '.'."
        )
    return name


def store(profile: str, values: dict[str, str | bool | None], *, activate: bool) -> Path:
    """Set, or with None remove, keys of a profile, which is made where there is none; the first one is active."""
    path = ours()
    with _alone(path):
        text = _text(path)
        known = checked(path, text)
        text = _set(text, check_name(profile), values)
        if activate or not known:
            for name in [*known, profile]:
                text = _set(text, name, {"active": True if name == profile else None})
        write(path, text)
    return path


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """No other program changes the file between the look at it and the write. The folder is what is locked: the file is
    replaced, and a third one would be left lying. Where folders cannot be locked (Windows, some network file systems)
    the last writer wins."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            folder = path.resolve().parent
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def activate(profile: str) -> None:
    path = ours()
    known = tables(path)
    if profile not in known:
        raise exception.NotFoundError(
            f"no profile {profile[:80]!r} in {path}",
            hint=f"There is {', '.join(known)}." if known else "`windlass token set --profile NAME` makes one.",
        )
    store(profile, {}, activate=True)


def _text(path: Path) -> str:
    """What is in the file. Editors of Windows put a mark before UTF-8, which TOML does not know."""
    try:
        return path.read_text("utf-8-sig")
    except FileNotFoundError:
        return ""
    except OSError as exc:
        raise exception.InvalidError(
            f"the configuration file {path} cannot be read: {exc.strerror}",
            hint="It must be a file of yours; WINDLASS_CONFIG_PATH names another.",
        ) from None
    except UnicodeDecodeError as exc:
        raise exception.InvalidError(
            f"the configuration file {path} is no UTF-8: byte {exc.start}", hint="Save it as UTF-8, or move it away."
        ) from None


def _set(text: str, profile: str, values: dict[str, str | bool | None]) -> str:
    """The file's text with other values in one table."""
    lines = text.splitlines()
    begin, end = _section(lines, profile)
    if begin < 0:
        if lines and lines[-1].strip():
            lines.append("")
        begin, end = len(lines), len(lines) + 1
        lines.append(f"[{_key(profile)}]")
    for key, value in values.items():
        old = [at for at in range(begin + 1, end) if lines[at].split("=")[0].strip().strip("\"'") == key]
        new = [] if value is None else [f"{key} = {_value(value)}"]
        if old:
            lines[old[0] : old[0] + 1] = new
        else:
            while end - 1 > begin and not lines[end - 1].strip():
                end -= 1  # before the empty lines in front of the next table
            lines[end:end] = new
        end += len(new) - len(old[:1])
    return "\n".join(lines) + "\n"


def _section(lines: list[str], profile: str) -> tuple[int, int]:
    """From the line of a table's name to behind its last line; (-1, -1) where there is none."""
    heads = [at for at, line in enumerate(lines) if line.lstrip().startswith("[")]
    for n, at in enumerate(heads):
        name = lines[at].strip().split("#")[0].strip().strip("[]").strip().strip("\"'")
        if name == profile:
            return at, heads[n + 1] if n + 1 < len(heads) else len(lines)
    return -1, -1


def _key(name: str) -> str:
    return name if _BARE.match(name) else _value(name)


def _value(value: str | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    import json

    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # whose strings TOML reads likewise


def write(path: Path, text: str) -> None:
    """Whole or not at all, and for nobody else to read."""
    checked(path, text)
    target = path.resolve()  # somebody's link to where they keep such files stays one
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(target)
    except OSError as exc:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise exception.InvalidError(f"the configuration file {path} cannot be written: {exc.strerror}") from None

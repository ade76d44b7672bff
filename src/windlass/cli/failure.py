"""How the command line says that something went wrong, and with which exit code.

| what | shown on stderr | exit code |
|---|---|---|
| an error of Windlass | message in a red box, hint, notes | 1 |
| an exception in the user's code | its traceback, only the user's own frames | 1 |
| an error without a message, or ``WINDLASS_TRACEBACK=1`` | the whole traceback | 1 |
| wrong options or arguments | usage and message | 2 |
| Ctrl-C | nothing more | 130 |

Without the terminal library: an error must not first wait for an import.
"""
from __future__ import annotations

import os
import shutil
import sys
import textwrap
import traceback
from pathlib import Path

from windlass import exception

_PACKAGE = str(Path(__file__).resolve().parent.parent) + os.sep
_OWN_MODULES = ("/click/", "/importlib/", "<frozen ", "/runpy.py", "/asyncio/", "/concurrent/futures/")
_RED, _YELLOW, _PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[0m"


class UserCodeError(Exception):
    """The user's program raised ``__cause__`` while it was imported or ran on this machine."""


def show(exc: BaseException) -> None:
    """Write ``exc`` to stderr as the table above says."""
    try:
        sys.stdout.flush()
    except OSError:  # full or closed, which may be what is to be told; keep the interpreter from complaining at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if _full_traceback_wanted():
        traceback.print_exception(type(exc), exc, exc.__traceback__)
        return
    place = ""
    if isinstance(exc, UserCodeError) and exc.__cause__ is not None:
        exc = exc.__cause__
        if not isinstance(exc, exception.Error):
            show_user_traceback(exc)
            return
        place = _user_place(exc)
    if isinstance(exc, PermissionError) and exc.filename:
        exc = _refused(exc)
    if not str(exc):
        traceback.print_exception(type(exc), exc, exc.__traceback__)
        return
    hint = getattr(exc, "hint", "")
    notes = [note for note in getattr(exc, "__notes__", []) if note != f"Hint: {hint}"]
    _show_box("Error", _describe(exc) + place, hint, notes)


def show_user_traceback(exc: BaseException) -> None:
    """The traceback of the user's program without the frames of Windlass, with a next step where one is known."""
    sys.stderr.write(user_traceback(exc))
    if isinstance(exc, ModuleNotFoundError):
        _say_hint(_missing_there(exc.name) if hasattr(exc, "__windlass_remote__") else _missing_here(exc.name))
    elif isinstance(exc, ImportError) and "attempted relative import" in str(exc):
        _say_hint("A file that belongs to a package is run as its module: `windlass run -m package.module`.")
    sys.stderr.flush()


def _missing_here(module: str | None) -> str:
    return (
        f"'{module}' is not installed on this machine. If only the containers need it, import it inside the "
        "function, or below `with image.imports():`."
    )


def _missing_there(module: str | None) -> str:
    return (
        f"'{module}' is not in the container. Add a module of your own with "
        f'`image.add_local_python_source("{module}")`, a package with `image.pip_install(...)`.'
    )


def user_traceback(exc: BaseException) -> str:
    """Text of the traceback cut to the user's frames, causes and contexts included."""
    summary = traceback.TracebackException.from_exception(exc)
    _cut(summary)
    return "".join(summary.format())


def _cut(summary: traceback.TracebackException | None, seen: frozenset[int] = frozenset()) -> None:
    if summary is None or id(summary) in seen:
        return
    kept = [frame for frame in summary.stack if not _is_own(frame.filename)]
    # Without frames (a syntax error in the file itself) there is no "Traceback" line either.
    summary.stack = traceback.StackSummary.from_list(kept) if kept else None  # type: ignore[assignment]
    for other in (summary.__cause__, summary.__context__):
        _cut(other, seen | {id(summary)})


def _is_own(filename: str) -> bool:
    return filename.startswith(_PACKAGE) or any(piece in filename for piece in _OWN_MODULES)


def _user_place(exc: BaseException) -> str:
    """Where in the user's own code an error of Windlass was caused."""
    frames = [frame for frame in traceback.extract_tb(exc.__traceback__) if not _is_own(frame.filename)]
    return f"\n({frames[-1].filename}, line {frames[-1].lineno}, in {frames[-1].name})" if frames else ""


def _refused(exc: PermissionError) -> exception.Error:
    """A file of this machine that this user may not have: no command of ours gives that right."""
    what = os.fsdecode(exc.filename) if isinstance(exc.filename, (str, bytes)) else str(exc.filename)
    return exception.PermissionDeniedError(
        f"no permission for {what}", hint="Run the command as whoever owns that, or choose another place."
    )


def _describe(exc: BaseException) -> str:
    """The message, led by the kind of error where the message alone would not tell it."""
    if isinstance(exc, exception.Error):
        return str(exc)
    return f"{type(exc).__name__}: {exc}"


def _show_box(title: str, message: str, hint: str, notes: list[str]) -> None:
    text = "\n".join([message, *notes]).strip("\n")
    if sys.stderr.isatty():
        _write_box(title, text)
    else:
        sys.stderr.write(f"{title}: {text}\n")
    if hint:
        _say_hint(hint)
    sys.stderr.flush()


def _write_box(title: str, text: str) -> None:
    width = max(40, min(shutil.get_terminal_size().columns, 120))
    inner = width - 4
    lines = [piece for line in text.splitlines() for piece in textwrap.wrap(line, inner, drop_whitespace=False) or [""]]
    red, plain = (_RED, _PLAIN) if _colours() else ("", "")
    head = f"╭─ {title} " + "─" * (width - len(title) - 5) + "╮"
    body = [f"{red}│{plain} {line:<{inner}} {red}│{plain}" for line in lines]
    foot = "╰" + "─" * (width - 2) + "╯"
    sys.stderr.write("\n".join([f"{red}{head}{plain}", *body, f"{red}{foot}{plain}", ""]))


def _say_hint(hint: str) -> None:
    yellow, plain = (_YELLOW, _PLAIN) if sys.stderr.isatty() and _colours() else ("", "")
    sys.stderr.write(f"{yellow}Hint:{plain} {hint}\n")


def _colours() -> bool:
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _full_traceback_wanted() -> bool:
    from windlass import config

    try:
        return bool(config.config["traceback"])
    except exception.Error:  # what cannot be read may be the very error to show
        return False

"""An exception of user code as data: what the caller needs to raise it again and to show where it came from.

Frames of Windlass and of the import machinery are hidden. ``traceback`` is imported on the first failure only.
"""
from __future__ import annotations

import os

from windlass import exception
from windlass.wire import payload

TYPE_CHECKING = False
if TYPE_CHECKING:
    import traceback

    from windlass.wire.messages import calls

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep  # noqa: PTH100, PTH120 - pathlib costs 3 ms

_MOST_FRAMES = 100
_MOST_TEXT, _MOST_TRACEBACK = 20_000, 200_000  # characters; failures travel in headers, not as attachments


def of(exc: BaseException, *, reason: str = "") -> tuple[calls.Failure, bytes | None]:
    """The failure, and the pickled exception if it can be pickled."""
    import traceback

    shown = traceback.TracebackException(type(exc), exc, exc.__traceback__, compact=True)
    _hide(shown, set())
    lines = shown.format() if shown.stack else shown.format_exception_only()
    failure: calls.Failure = {
        "kind": _kind(type(exc)),
        "repr": _cut(_text(exc), _MOST_TEXT),
        "traceback": _cut("".join(lines), _MOST_TRACEBACK),
        "frames": [
            {"file": frame.filename, "line": frame.lineno or 0, "name": frame.name, "text": _cut(frame.line or "", 999)}
            for frame in _ends(shown.stack)
        ],
    }
    if reason:
        failure["reason"] = reason
    return failure, _pickled(exc)


def show(failure: calls.Failure) -> None:
    """Print it to the container's log."""
    import sys

    print(failure.get("traceback", "").rstrip(), file=sys.stderr, flush=True)


def _hide(shown: traceback.TracebackException, seen: set[int]) -> None:
    if id(shown) in seen:
        return
    seen.add(id(shown))
    shown.stack[:] = [frame for frame in shown.stack if not _hidden(frame.filename)]
    for other in (shown.__cause__, shown.__context__, *(getattr(shown, "exceptions", None) or ())):
        if other is not None:
            _hide(other, seen)


def _hidden(file: str) -> bool:
    return file.startswith((_OURS, "<frozen importlib")) or file.endswith("/importlib/__init__.py")


def _ends(stack: traceback.StackSummary) -> list[traceback.FrameSummary]:
    """A recursion without end shows its beginning and its end."""
    if len(stack) <= _MOST_FRAMES:
        return list(stack)
    return stack[: _MOST_FRAMES // 2] + stack[-_MOST_FRAMES // 2 :]


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]} … {len(text) - most:,} characters … {text[-half:]}"


def _kind(cls: type[BaseException]) -> str:
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _text(exc: BaseException) -> str:
    try:
        return repr(exc)
    except Exception:  # noqa: BLE001 - the user's __repr__
        return f"<{type(exc).__qualname__} whose repr failed>"


def _pickled(exc: BaseException) -> bytes | None:
    # One that came from another container holds its remote frames, which cannot travel: here they are text already.
    remote = exc.__dict__.pop("__windlass_remote__", None)
    try:
        return payload.dumps(exc)
    except (exception.SerializationError, exception.RequestSizeError):
        return None
    finally:
        if remote is not None:
            exc.__dict__["__windlass_remote__"] = remote

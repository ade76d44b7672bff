"""Remote failures become local exceptions: their own type, with the remote frames in the traceback.

    own type        where the exception can be unpickled here; remote frames follow the local ones
    ExecutionError  where it cannot; the remote traceback is in the message
    others          FunctionTimeoutError, InternalFailure and RemoteError for what no user code raised
"""
from __future__ import annotations

import linecache
import sys
import traceback
import types
from typing import NoReturn

from windlass import exception
from windlass.client import unpickle
from windlass.wire.messages import calls


def rebuild(output: calls.Output, error: bytes | bytearray | None) -> BaseException:
    """The exception for an output that is no success. ``error`` is the pickled exception where there is one."""
    status = output.get("status", "")
    failure: calls.Failure = output.get("failure") or {}
    reason = failure.get("reason") or failure.get("repr") or ""
    if status == "timeout":
        return exception.FunctionTimeoutError(
            reason or "the function ran longer than its timeout",
            hint="Where it needs longer, `timeout=` gives it more seconds.",
        )
    if status == "terminated":
        why = f": {reason}" if reason and reason != "cancelled" else ""
        return exception.RemoteError(f"the input was cancelled before it ended{why}")
    if error is not None or failure.get("kind"):
        return _raised(failure, error)
    if status == "internal":
        return exception.InternalFailure(reason or "the platform lost this input too often")
    unknown = "the function's containers could not start" if status == "init_failure" else "the container died under it"
    exit = failure.get("exit", {})
    died = exception.RemoteError(
        reason or unknown, hint="`memory=` gives it more MiB." if exit.get("reason") == "oom" else ""
    )
    if exit:
        died.exit = dict(exit)
    return died


def _raised(failure: calls.Failure, error: bytes | bytearray | None) -> BaseException:
    trouble = ""
    if error is not None:
        try:
            value = unpickle.loads(error, "remote exception")
        except exception.DeserializationError as exc:
            trouble = f" ({exc})"
        else:
            if isinstance(value, BaseException):
                return splice(value, failure)
            trouble = f" (the remote side sent {type(value).__qualname__}, which is no exception)"
    text = failure.get("traceback", "").rstrip()
    kind, shown = failure.get("kind", "an exception"), failure.get("repr", "")
    message = f"the function raised {kind}, which cannot be rebuilt here{trouble}: {shown}"
    return exception.ExecutionError(f"{message}\n\nRemote traceback:\n{text}" if text else message)


def splice(error: BaseException, failure: calls.Failure) -> BaseException:
    """Give ``error`` the remote frames as its traceback; frames of whoever raises it come before them."""
    error.__traceback__ = None
    frames = failure.get("frames") or []
    tail: types.TracebackType | None = None
    for frame in reversed(frames):
        shown = _frame(frame)
        tail = types.TracebackType(tail, shown, shown.f_lasti, max(frame["line"], 1))
    error.__windlass_remote__ = tail  # type: ignore[attr-defined]
    text = failure.get("traceback", "")
    causes = max((text.rpartition(link)[0] for link in _LINKS), key=len)
    if tail is None and text.strip() != "".join(traceback.format_exception_only(error)).strip():
        causes = text
    if causes and error.__cause__ is None:  # causes do not survive pickling; their text does
        error.__cause__ = _Chained(causes)
    return error.with_traceback(tail)


_LINKS = (
    "\nThe above exception was the direct cause of the following exception:\n",
    "\nDuring handling of the above exception, another exception occurred:\n",
)


class _Chained(Exception):
    """The remote traceback as text, shown above an exception whose causes could not travel."""

    def __str__(self) -> str:
        return "\n" + str(self.args[0]).rstrip()


_Chained.__name__ = _Chained.__qualname__ = "RemoteTraceback"
_Chained.__module__ = "builtins"


def _frame(frame: calls.Frame) -> types.FrameType:
    """A frame object that shows as that remote one. The only way to get one is to run code of that name."""
    code = compile("raise _stop", frame["file"], "exec")
    line = max(frame["line"], 1)
    if sys.version_info >= (3, 11):
        # A table of locations without columns: else marks would be drawn under the wrong part of the line.
        table = b"".join(
            bytes((0x80 | 13 << 3 | min(8, units) - 1, 0)) for units in range(len(code.co_code) // 2, 0, -8)
        )
        code = code.replace(
            co_name=frame["name"], co_qualname=frame["name"], co_firstlineno=line, co_linetable=table
        )
    else:
        code = code.replace(co_name=frame["name"], co_firstlineno=line)
    _remember(frame)
    try:
        exec(code, {"_stop": _Stop(), "__name__": "__remote__"})
    except _Stop as stop:
        tb = stop.__traceback__
        assert tb is not None and tb.tb_next is not None
        return tb.tb_next.tb_frame
    return _never()


class _Stop(Exception):
    pass


def _never() -> NoReturn:
    raise AssertionError("unreachable")


def _remember(frame: calls.Frame) -> None:
    """Let tracebacks show the remote source line even where the file does not exist here."""
    file, line, text = frame["file"], frame["line"], frame.get("text") or ""
    if not text or line < 1 or line > 1_000_000:
        return
    entry = linecache.cache.get(file)
    known = list(entry[2]) if isinstance(entry, tuple) and len(entry) == 4 else linecache.getlines(file)
    if len(known) >= line and known[line - 1].strip() == text.strip():
        return
    known = [*known, *([""] * (line - len(known)))]
    known[line - 1] = text + "\n"
    linecache.cache[file] = (0, None, known, file)

"""Python values on the wire: pickled, inline up to a limit, as blobs above it.

Plain built-in values are pickled by the standard library; everything else by our own cloudpickle (``pickling``),
imported on first need because it costs 40 ms at a container's start. Unpickling happens only in the caller's process
and in containers, never in the server.
"""
from __future__ import annotations

import io
import pickle

from windlass import exception

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

INLINE_LIMIT = 1024 * 1024
"""Bytes up to which a payload travels inside its message."""

MAX_SIZE = 4 * 1024 * 1024 * 1024
"""Bytes above which a value is refused."""

CHUNK = 1024 * 1024
"""Bytes of a blob that travel in one message."""

_PLAIN = frozenset({type(None), bool, int, float, str, bytes})


NO_ARGUMENTS = pickle.dumps(((), {}), 4)
"""The payload of a call without arguments."""


def _is_plain(value: Any, depth: int = 3) -> bool:
    kind = type(value)
    if kind in _PLAIN:
        return True
    if depth and kind in (tuple, list):
        return len(value) <= 64 and all(_is_plain(v, depth - 1) for v in value)
    if depth and kind is dict:
        return len(value) <= 64 and all(_is_plain(k, 0) and _is_plain(v, depth - 1) for k, v in value.items())
    return False


def dumps(value: Any) -> bytes:
    """Pickle ``value`` (protocol 4).

    Raises ``SerializationError`` with the reason, ``RequestSizeError`` for what is larger than ``MAX_SIZE``.
    """
    data = pickle.dumps(value, 4) if _is_plain(value) else _cloudpickle(value)
    if len(data) > MAX_SIZE:
        raise exception.RequestSizeError(
            f"a value of {len(data):,} bytes is larger than the limit of {MAX_SIZE:,} bytes",
            hint="Put large data into the image, or a place that containers can read from, and pass where it is.",
        )
    return data


def key(value: Any) -> bytes:
    """Pickle ``value`` so that equal plain values give equal bytes: it stands for what it is equal to."""
    if type(value) in _PLAIN:
        return pickle.dumps(value, 4)
    if not _is_plain(value):
        return dumps(value)
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, 4)
    pickler.fast = True  # no references: whether two equal parts are one object makes no difference
    pickler.dump(value)
    return buffer.getvalue()


def _cloudpickle(value: Any) -> bytes:
    from windlass.wire import pickling

    buffer = io.BytesIO()
    try:
        pickling.library().Pickler(buffer, protocol=4).dump(value)
    except exception.Error:
        raise
    except Exception as exc:  # user-defined __reduce__ may raise anything
        raise exception.SerializationError(
            f"cannot pickle a value of type {type(value).__qualname__}: {exc}",
            hint="Pass plain data, or objects that can be pickled, to and from functions.",
        ) from exc
    return buffer.getvalue()


def loads(data: Any, what: str = "value", unpickle: Callable[[Any], Any] = pickle.loads) -> Any:
    """Unpickle bytes. Raises ``DeserializationError`` that says what is missing on this side."""
    try:
        return unpickle(data)
    except (ImportError, AttributeError) as exc:
        raise exception.DeserializationError(
            f"cannot unpickle the {what} here: {exc}",
            hint="Install the same package version on both sides, or return plain data.",
        ) from exc
    except Exception as exc:  # user-defined __setstate__ may raise anything
        raise exception.DeserializationError(f"cannot unpickle the {what}: {type(exc).__name__}: {exc}") from exc


def damaged(digest: str) -> exception.DataLossError:
    """Of a blob that is no longer what its digest says."""
    return exception.DataLossError(
        f"a large value is damaged: it is no longer what was stored ({digest})",
        hint="Store it again: what is sent anew takes the place of what is damaged.",
    )


def digest(data: bytes | bytearray) -> str:
    """The blob digest of ``data``."""
    import hashlib  # loads OpenSSL: 3 ms that most containers never need

    return "sha256:" + hashlib.sha256(data).hexdigest()

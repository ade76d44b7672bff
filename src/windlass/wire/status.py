"""The one border between exceptions and what travels: a status, a message, a hint."""
from __future__ import annotations

from windlass import exception

TYPE_CHECKING = False
if TYPE_CHECKING:
    from windlass.wire.messages import common


_TABLE: list[tuple[str, type[exception.Error]]] = [
    # The most special class first: an exception travels as the first entry it is an instance of.
    ("image_build", exception.ImageBuildError),
    ("conflict", exception.ConflictError),
    ("request_size", exception.RequestSizeError),
    ("invalid", exception.InvalidError),
    ("not_found", exception.NotFoundError),
    ("already_exists", exception.AlreadyExistsError),
    ("permission_denied", exception.PermissionDeniedError),
    ("throttled", exception.ThrottledError),
    ("exhausted", exception.ResourceExhaustedError),
    ("unauthenticated", exception.AuthError),
    ("unimplemented", exception.UnimplementedError),
    ("version", exception.VersionError),
    ("data_loss", exception.DataLossError),
    ("expired", exception.OutputExpiredError),
    ("interactive_timeout", exception.InteractiveTimeoutError),
    ("timeout", exception.TimeoutError),
    ("infrastructure", exception.InternalFailure),
    ("file_not_found", exception.SandboxFilesystemNotFoundError),
    ("file_not_empty", exception.SandboxFilesystemDirectoryNotEmptyError),
    ("file_is_directory", exception.SandboxFilesystemIsADirectoryError),
    ("file_not_directory", exception.SandboxFilesystemNotADirectoryError),
    ("file_permission", exception.SandboxFilesystemPermissionError),
    ("file_too_large", exception.SandboxFilesystemFileTooLargeError),
    ("file_exists", exception.SandboxFilesystemPathAlreadyExistsError),
    ("file", exception.SandboxFilesystemError),
    ("execution", exception.ExecutionError),
    ("remote", exception.RemoteError),
    ("unavailable", exception.ServiceError),
    ("unavailable", exception.ConnectionError),
]
_CLASSES = dict(reversed(_TABLE))

TRANSIENT = frozenset({"unavailable"})
"""Statuses after which repeating the same request may help."""


def to_wire(exc: BaseException) -> common.ErrorBody:
    """What an error frame carries for ``exc``. A class outside the tree is a defect: "internal"."""
    for status, cls in _TABLE:
        if isinstance(exc, cls):
            body: common.ErrorBody = {"status": status, "message": str(exc), "hint": getattr(exc, "hint", "")}
            if isinstance(exc, exception.ThrottledError):
                body["retry_after"] = exc.retry_after
            return body
    return {"status": "internal", "message": f"{type(exc).__name__}: {exc}"}


def from_wire(body: common.ErrorBody) -> exception.Error:
    """The exception for an error frame."""
    cls = _CLASSES.get(body.get("status", ""), exception.InternalError)
    made = cls(body.get("message", ""), hint=body.get("hint", ""))
    if isinstance(made, exception.ThrottledError):
        made.retry_after = body.get("retry_after", made.retry_after)
    return made

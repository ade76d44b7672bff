"""Every error that Windlass raises on purpose, in one tree.

    Error
    ├── AlreadyExistsError          ├── InvalidError
    ├── AuthError                   │   └── ConflictError, ParameterError
    ├── ClientClosed                ├── LogsFetchError
    ├── ConnectionError             ├── NotFoundError
    ├── DataLossError               ├── PermissionDeniedError
    ├── DeserializationError        ├── RemoteError
    ├── ExecutionError              │   └── ImageBuildError
    ├── InternalError               ├── RequestSizeError
    ├── InternalFailure             ├── ResourceExhaustedError
    │                               │   └── ThrottledError
    ├── SandboxTerminatedError      ├── SerializationError
    ├── ServiceError                ├── SnapshotCreationError
    ├── UnimplementedError          ├── VersionError
    ├── WorkspaceManagementError
    ├── SandboxFilesystemError      (NotFound, DirectoryNotEmpty, IsADirectory, NotADirectory, Permission,
    │                                FileTooLarge, PathAlreadyExists)
    └── TimeoutError                (FunctionTimeoutError, SandboxTimeoutError, ExecTimeoutError,
                                     MountUploadTimeoutError, VolumeUploadTimeoutError,
                                     InteractiveTimeoutError, OutputExpiredError)
    InputCancellation (BaseException)      ModuleNotMountable (Exception)
    Of old: FilesystemExecutionError, UserCodeException (Exception)

An error may carry a ``hint``: one sentence on what to do next, shown by the command line.
"""
from __future__ import annotations

import builtins


class Error(Exception):
    """Root of all errors that Windlass raises."""

    hint: str = ""

    def __init__(self, *args: object, hint: str = "") -> None:
        super().__init__(*args)
        if hint:
            self.hint = hint
            if hasattr(self, "add_note"):  # Python 3.11: plain tracebacks show it, too
                self.add_note(f"Hint: {hint}")


class AlreadyExistsError(Error):
    """Something of that name exists already."""


class AuthError(Error):
    """Credentials are missing, invalid or expired."""


class ClientClosed(Error):
    """The client, or the object behind a handle, was closed."""


class ConnectionError(Error):
    """The server cannot be reached."""


class DataLossError(Error):
    """Data was lost or corrupted."""


class DeserializationError(Error):
    """A value cannot be unpickled on this side."""


class SerializationError(Error):
    """A value cannot be pickled."""


class ExecutionError(Error):
    """Something unexpected at run time, such as using an object that is not running."""


class InternalError(Error):
    """A defect in the server."""


class InternalFailure(Error):
    """A retriable failure of the infrastructure that outlived its retries."""


class InvalidError(Error):
    """A wrong argument or a misuse."""


class ConflictError(InvalidError):
    """The request does not fit the current state."""


class ParameterError(InvalidError, TypeError):
    """A class was instantiated with parameters that are missing, unknown or of the wrong type."""


class LogsFetchError(Error):
    """Too many logs were asked for at once."""


class NotFoundError(Error):
    """No such object."""


class PermissionDeniedError(Error):
    """This identity may not do that."""


class RemoteError(Error):
    """A failure on the remote side that has no type of its own here.

    Where the death of a container was the reason, ``exit`` says how it died: ``exit["reason"]`` is "oom" (with
    "memory_peak" and "memory_limit" in bytes), "exited" ("exit_code"), "signal" ("signal"), "start_failed" or "lost".
    """

    exit: dict[str, object] | None = None


class ImageBuildError(RemoteError):
    """A step of an image failed, timed out or was stopped."""

    image_id: str | None = None


class RequestSizeError(Error):
    """The request is too large."""


class ResourceExhaustedError(Error):
    """A quota, rate or capacity is used up."""


class ThrottledError(ResourceExhaustedError):
    """Too many requests of one principal. ``retry_after``: seconds after which another one is taken."""

    retry_after: float = 1.0


class ServiceError(Error):
    """The transport failed, also after retries."""


class SnapshotCreationError(Error):
    """A snapshot could not be made."""


class TimeoutError(Error, builtins.TimeoutError):
    """Something took longer than allowed. Also a built-in ``TimeoutError``."""


class FunctionTimeoutError(TimeoutError):
    """A function ran longer than its ``timeout``."""


class SandboxTimeoutError(TimeoutError):
    """A sandbox lived longer than its ``timeout``."""


class ExecTimeoutError(TimeoutError):
    """A command in a container ran longer than allowed."""


class MountUploadTimeoutError(TimeoutError):
    """Uploading local files took too long."""


class VolumeUploadTimeoutError(TimeoutError):
    """Uploading to a volume took too long."""


class InteractiveTimeoutError(TimeoutError):
    """A terminal could not be attached in time."""


class OutputExpiredError(TimeoutError):
    """The result is no longer stored."""


class SandboxTerminatedError(Error):
    """The sandbox was terminated."""


class SandboxFilesystemError(Error):
    """Root of the errors of a sandbox's file API."""


class SandboxFilesystemNotFoundError(SandboxFilesystemError):
    """No such path in the sandbox."""


class SandboxFilesystemDirectoryNotEmptyError(SandboxFilesystemError):
    """The directory is not empty."""


class SandboxFilesystemIsADirectoryError(SandboxFilesystemError):
    """A directory stands where a file is expected."""


class SandboxFilesystemNotADirectoryError(SandboxFilesystemError):
    """A file stands where a directory is expected."""


class SandboxFilesystemPermissionError(SandboxFilesystemError):
    """The sandbox's file permissions do not allow it."""


class SandboxFilesystemFileTooLargeError(SandboxFilesystemError):
    """The file is larger than the file API allows."""


class SandboxFilesystemPathAlreadyExistsError(SandboxFilesystemError):
    """The path exists already."""


class FilesystemExecutionError(Error):
    """Never raised any more; programs still name it in ``except``."""


class UserCodeException(Exception):
    """Never raised any more: failed inputs of a map give their own exceptions. Programs still name it in ``except``."""


class UnimplementedError(Error):
    """The server does not support this operation."""


class VersionError(Error):
    """Client and server do not fit together."""


class WorkspaceManagementError(Error):
    """Administration of a workspace failed."""


class InputCancellation(BaseException):
    """Raised inside user code when its input is cancelled. Not caught by ``except Exception``."""


class ModuleNotMountable(Exception):
    """A local module cannot be packaged."""


class DeprecationError(UserWarning):
    """Category of deprecation warnings; raised as an error for what was removed."""


class PendingDeprecationError(UserWarning):
    """Category of warnings about what will be deprecated."""


class ServerWarning(UserWarning):
    """A warning that the server sent."""


class AsyncUsageWarning(UserWarning):
    """A blocking method was called while an event loop runs in this thread."""


class InternalAPIWarning(UserWarning):
    """An internal name was used."""


def simulate_preemption(wait_seconds: int, jitter_seconds: int = 0) -> None:
    """Interrupt this process as a preemption would: KeyboardInterrupt after the delay, a hard kill 30 s later.

    In a container the input that runs begins anew in another one, without counting as a retry; exit hooks run.

    Args:
        wait_seconds: delay in seconds, greater than 0.
        jitter_seconds: up to so many seconds are added at random.

    Raises:
        ValueError: ``wait_seconds`` is not positive.
    """
    import random
    import signal
    import threading

    if wait_seconds <= 0:
        raise ValueError("wait_seconds must be greater than 0")

    def interrupt(signum: int, frame: object) -> None:
        killer = threading.Timer(30, signal.raise_signal, [signal.SIGKILL])
        killer.daemon = True
        killer.start()
        signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, wait_seconds + random.random() * jitter_seconds)

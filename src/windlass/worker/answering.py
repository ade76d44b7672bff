"""What the server asks of a worker, by the name of the method; each exchange ends with an answer, whatever happens."""
from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Collection, Mapping

from windlass import exception
from windlass.kit import tasks
from windlass.wire import peer as peers

Answer = Callable[[peers.Incoming], Awaitable[None]]
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Answering:
    """Runs the answers of one room.

    Args:
        owner: has their tasks.
        what: is not reached where the disk fails ("the store of images").
        answers: by method.
        finished: methods of streams that go on when nobody listens any more.
    """

    def __init__(
        self, owner: tasks.Tasks, what: str, answers: Mapping[str, Answer], *, finished: Collection[str] = ()
    ) -> None:
        self._owner = owner
        self._what = what
        self._answers = answers
        self._finished = finished

    def serve(self, incoming: peers.Incoming) -> bool:
        """Take on an exchange; False where it is not about this."""
        answer = self._answers.get(incoming.method)
        if answer is None:
            return False
        task = self._owner.start(self._answer(answer, incoming), incoming.method)
        if incoming.kind == "s" and incoming.method not in self._finished:
            incoming.on_cancel = task.cancel  # type: ignore[assignment]
        return True

    async def _answer(self, answer: Answer, incoming: peers.Incoming) -> None:
        try:
            await answer(incoming)
        except exception.Error as exc:
            incoming.fail(exc)
        except OSError as exc:
            incoming.fail(unreached(self._what, exc))
        finally:  # nobody waits for ever for the answer of a defect; what was answered stays so
            incoming.fail(exception.InternalError(f"{incoming.method} ended without an answer"))


def unreached(what: str, exc: OSError) -> exception.Error:
    """The typed error for one of the disk."""
    if exc.errno in _FULL:
        return exception.ResourceExhaustedError(
            f"{what}: the disk is full ({exc})", hint="Free space on the disk of Windlass' home, and try again."
        )
    if exc.errno == errno.EIO:
        return exception.DataLossError(
            f"{what}: the disk cannot give what is stored ({exc})", hint="`windlass volume check` names it."
        )
    if exc.errno == errno.EOPNOTSUPP:
        return exception.ExecutionError(
            f"{what} could not be opened: {exc}", hint="Files that fs-verity seals need a kernel with CONFIG_FS_VERITY."
        )
    return exception.ExecutionError(f"{what} could not be reached: {exc}")

"""Changes of the rules while containers come and go: those that wait together are made together.

``nft`` reads all there is before each change, so a hundred containers that start at once must not be a hundred runs.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent import futures

from windlass import exception


class Changes:
    """Scripts on their way to the kernel, in order.

    Args:
        thread: does the work; one thread, so that order means something.
        change: runs a script in one step, or raises ``ExecutionError`` and has changed nothing.
    """

    def __init__(self, thread: futures.Executor, change: Callable[[str], None]) -> None:
        self._thread = thread
        self._change = change
        self._waiting: deque[tuple[str, futures.Future[None]]] = deque()

    def make(self, script: str) -> futures.Future[None]:
        """Done when the change is in force. It has the exception of this script only, not of others."""
        done: futures.Future[None] = futures.Future()
        self._waiting.append((script, done))
        self._thread.submit(self._make)
        return done

    def _make(self) -> None:
        batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not batch:
            return  # an earlier turn took it along
        for _, done in batch:
            done.set_running_or_notify_cancel()  # who waits no more gets it all the same; it is taken back later
        try:
            self._change("\n".join(script for script, _ in batch))
        except exception.ExecutionError as exc:
            self._singly(batch, exc)
            return
        for _, done in batch:
            _end(done)

    def _singly(self, batch: list[tuple[str, futures.Future[None]]], failed: exception.ExecutionError) -> None:
        """One of them is wrong: the others must not pay for it."""
        for script, done in batch:
            try:
                if len(batch) == 1:
                    raise failed
                self._change(script)
            except exception.ExecutionError as exc:
                _end(done, exc)
            else:
                _end(done)


def _end(done: futures.Future[None], exc: exception.ExecutionError | None = None) -> None:
    if done.cancelled():
        return
    if exc is None:
        done.set_result(None)
    else:
        done.set_exception(exc)

"""``FunctionCall``: a call that was spawned, and its results."""
from __future__ import annotations

from windlass import exception
from windlass.client import faces
from windlass.client import object as objects
from windlass.kit import ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine
    from typing import Any, Generic, TypeVar

    from windlass.call_graph import InputInfo
    from windlass.client import logs
    from windlass.wire.messages import apps, calls

    R = TypeVar("R", covariant=True)

    class _Base(objects.Object, Generic[R]): ...

else:
    R = None

    class _Base(objects.Object):
        def __class_getitem__(cls, _: object) -> type:
            return cls


def _gather(*function_calls: FunctionCall[Any]) -> Coroutine[Any, Any, Callable[[], list[Any]]]:
    """Wait for several calls; returns their results in order, or raises the first failure.

    Example:
        >>> windlass.FunctionCall.gather(f.spawn(1), g.spawn(2))
    """
    from windlass.client import invoke

    for call in function_calls:
        if not isinstance(call, FunctionCall):
            raise exception.InvalidError(f"gather takes calls, not {type(call).__name__}")
    return invoke.gather([call.object_id for call in function_calls])


class FunctionCall(_Base[R]):
    """A call that runs without its caller. Made by ``Function.spawn``, or from its id.

    Example:
        >>> call = f.spawn(1)
        >>> windlass.FunctionCall.from_id(call.object_id).get(timeout=60)
    """

    _prefix = "fc"

    gather = faces.opened_function(_gather)

    @faces.pure
    def from_id(function_call_id: str, client: object = None) -> FunctionCall[Any]:
        """The call with that id. Asks nobody.

        Raises:
            InvalidError: that is no id of a call.
        """
        if not isinstance(function_call_id, str) or not ids.is_id(function_call_id, "fc"):
            raise exception.InvalidError(f"{function_call_id!r} is no id of a call", hint="They look like fc-….")
        return _of(function_call_id)

    @faces.opened
    def get(
        self, timeout: float | None = None, *, index: int = 0
    ) -> Coroutine[Any, Any, Callable[[], R]]:
        """Wait for the result and return it, or raise what the function raised. May be repeated.

        Args:
            timeout: seconds to wait at most; 0 looks once.
            index: which input, where the call has several.

        Raises:
            TimeoutError: not ready in time (also a built-in ``TimeoutError``).
            OutputExpiredError: the result is no longer stored.
        """
        from windlass.client import invoke

        return invoke.result(self.object_id, index, timeout)

    @faces.stream
    def iter(self, *, start: int = 0, end: int | None = None) -> AsyncGenerator[Callable[[], R], None]:
        """Results of the inputs ``start`` to ``end`` in order, as they come."""
        from windlass.client import invoke

        if start < 0 or (end is not None and end < start):
            raise ValueError(f"start={start}, end={end} is no range of inputs")
        return invoke.in_order(self.object_id, start, end)

    @faces.method
    async def num_inputs(self) -> int:
        """How many inputs the call has."""
        return (await self._info())["num_inputs"]

    @faces.method
    async def cancel(self, terminate_containers: bool = False) -> None:
        """Stop all inputs of the call that have not ended; they are not tried again.

        Args:
            terminate_containers: also kill the containers that run them; other inputs in there run again elsewhere.
        """
        from windlass.client import session

        body: calls.CallCancel = {"call_id": self.object_id, "terminate_containers": terminate_containers}
        await session.current().request("call.cancel", body)

    @faces.method
    async def get_call_graph(self) -> list[InputInfo]:
        """The inputs of the call, each with the inputs that it started in turn."""
        from windlass import call_graph
        from windlass.client import session

        reply = await session.current().request("call.graph", {"call_id": self.object_id})
        return call_graph.tree(reply.body["nodes"])

    @property
    def logs(self) -> logs.Logs:
        """What was printed while its inputs ran: ``fetch``, ``tail`` and ``stream``."""
        from windlass.client import logs

        return logs.Logs(self._own_logs)

    async def _own_logs(self) -> apps.LogQuery:
        return {"call_id": self.object_id}

    async def _info(self) -> calls.CallInfo:
        from windlass.client import session

        info: calls.CallInfo = (await session.current().request("call.get", {"call_id": self.object_id})).body
        return info

    def _describe(self) -> str:
        return "FunctionCall"


async def spawned(call_id: Coroutine[Any, Any, str]) -> Callable[[], FunctionCall[Any]]:
    """The handle of a call that is being created."""
    handle = _of(await call_id)
    return lambda: handle


def of_inputs(call_id: str | None) -> FunctionCall[Any]:
    """The handle of a call with many inputs."""
    if call_id is None:
        raise exception.InvalidError("there were no inputs, so there is no call")
    return _of(call_id)


def _of(call_id: str) -> FunctionCall[Any]:
    call: FunctionCall[Any] = FunctionCall._new()
    call._hydrate(call_id)
    return call

"""One life of a runner: prepare, enter, then serve."""
from __future__ import annotations

import json
import sys

from windlass import exception
from windlass.runner import blobs, failure, link, marks, prepare, service, work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from windlass.runner import served as served_module
    from windlass.wire.messages import containers

_FAREWELL = 10.0  # seconds for the server to hear why the user's code did not start


def main(plan_path: str) -> int:
    """The exit code. ``SystemExit`` of user code passes through."""
    with open(plan_path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs 3 ms
        plan: containers.RunnerPlan = json.load(file)
    prepare.environment(plan)
    prepare.place(plan)
    marks.install()
    ready: served_module.Served | None = None
    if plan.get("template"):
        from windlass.runner import template

        plan, ready = template.reach(plan)
    connection = link.Link(plan)
    try:
        served = ready or _warmed(plan, connection)
        # The fork point: up to here a container is like all others with this code and these parameters.
        served.enter(snap=False)
        _settle_memory()
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as exc:  # noqa: BLE001 - the edge of user code; sys.exit() at import is a failed start, too
        return _failed(connection, exc)
    try:
        service.Service(plan["spec"], served, link=connection, work=work.Work(connection)).run()
    except exception.Error as exc:
        print(f"the runner ends: {exc}", file=sys.stderr, flush=True)
        return 1
    return 0


def _warmed(plan: containers.RunnerPlan, connection: link.Link) -> served_module.Served:
    served = prepare.served(plan, lambda digest: _fetch(connection, digest))
    served.enter(snap=True)
    _settle_memory()
    return served


def _fetch(connection: link.Link, digest: str) -> bytes:
    return bytes(blobs.fetch(connection, digest, 1))


def _failed(connection: link.Link, exc: BaseException) -> int:
    import time

    why, pickled = failure.of(exc)
    failure.show(why)
    answered: list[object] = []
    attachments = []
    if pickled is not None:
        why["error"] = {"at": 0, "size": len(pickled)}
        attachments.append(pickled)

    def tell() -> None:
        body = {"failure": why}
        connection.request("runner.failed", body, attachments, answer=lambda header, _: answered.append(header))

    if connection.up:
        tell()
    connection.connected = tell
    try:
        connection.wait(lambda: answered, time.monotonic() + _FAREWELL)
    except exception.Error as refused:
        print(f"the server did not listen: {refused}", file=sys.stderr, flush=True)
    return 1


def _settle_memory() -> None:
    """What was imported and made stays for good: the collector need not look at it again."""
    import gc

    gc.freeze()

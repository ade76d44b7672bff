"""One life of a runner: prepare, enter, then serve."""
from __future__ import annotations

import json
import sys
import time

from windlass import exception
from windlass.runner import blobs, failure, link, marks, prepare, service, work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from windlass.runner import served as served_module
    from windlass.wire.messages import containers, functions

_FAREWELL = 10.0  # seconds for the server to hear why the user's code did not start


def main(plan_path: str) -> int:
    """The exit code. ``SystemExit`` of user code passes through."""
    with open(plan_path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs 3 ms
        plan: containers.RunnerPlan = json.load(file)
    began = time.monotonic()
    prepare.environment(plan)
    prepare.place(plan)
    _install_output(plan["spec"])
    if plan["spec"].get("volumes"):
        from windlass.runner import renaming

        renaming.install()
    ready: served_module.Served | None = None
    if plan.get("template"):
        from windlass.runner import template

        plan, ready = template.reach(plan)
    connection = link.Link(plan)
    try:
        served = prepare.served(plan, lambda digest: _fetch(connection, digest)) if ready is None else ready
        imported = time.monotonic()
        if ready is None:
            served.enter(snap=True)
            _settle_memory()
        # The fork point: up to here a container is like all others with this code and these parameters.
        served.enter(snap=False)
        _settle_memory()
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as exc:  # noqa: BLE001 - the edge of user code; sys.exit() at import is a failed start, too
        return _failed(connection, exc)
    try:
        held = work.Work(connection)
        import_time = imported - began if ready is None else 0.0  # a fork has it from its template
        held.phases = {"import": import_time, "enter": time.monotonic() - imported}
        code = 1
        try:
            engine(plan["spec"])(plan["spec"], served, link=connection, work=held).run()
            code = 0
        finally:
            if "threading" in sys.modules:  # else nobody has any
                from windlass.runner import lingering

                lingering.watch(code)
    except exception.Error as exc:
        print(f"the runner ends: {exc}", file=sys.stderr, flush=True)
    return code


def engine(spec: functions.FunctionSpec) -> type[service.Service]:
    """What runs the inputs: most programs need, and import, the plain one only."""
    concurrency = spec.get("concurrency")
    if concurrency is not None and concurrency["max_inputs"] > 1 and not spec["single_use"]:
        from windlass.runner import crowd

        return crowd.Crowd
    if spec.get("batching"):
        from windlass.runner import batching

        return batching.Batches
    return service.Service


def _install_output(spec: functions.FunctionSpec) -> None:
    if engine(spec) is service.Service:
        marks.install()
    else:
        from windlass.runner import lines

        lines.install(batched="batching" in spec)


def _fetch(connection: link.Link, digest: str) -> bytes:
    return bytes(blobs.fetch(connection, digest, 1))


def _failed(connection: link.Link, exc: BaseException) -> int:
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

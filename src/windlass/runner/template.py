"""A container that others are forked from: it imports, runs the hooks of before the fork point, then waits.

    process 1 ── template: prepare ─► enter(snap=True) ─► checks ─► fork point: wait ─┬─► wait …
                    └── (a request)  child ─ held and moved by the keeper ─ grandchild: renewed, waits ─► enter ─► serve

The child is outside its cell when it is born and inside when it goes on, but for the pid namespace, in which only its
next child is; so that one stays. Nothing of this runs in containers that were started cold.
"""
from __future__ import annotations

import _socket
import json
import os
import sys

from windlass import exception
from windlass.client import here
from windlass.runner import forkable, marks, prepare, renewal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from windlass.runner import served as served_module
    from windlass.wire.messages import containers

_PLAN = "/__windlass/plan.json"


class Refused(Exception):
    """This cannot be forked; the containers start cold."""


def reach(plan: containers.RunnerPlan) -> tuple[containers.RunnerPlan, served_module.Served]:
    """Become a template. Returns in each fork, with its own plan, when it may go on; never in the template."""
    door = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    door.connect(plan["template"])
    before = forkable.descriptors()
    try:
        served = prepare.served(plan, _no_connection)
        served.enter(snap=True)
        files = forkable.check(served, ours=before)
    except Refused as exc:
        _leave(door, {"refused": str(exc)})
    except forkable.Cannot as exc:
        _leave(door, {"refused": str(exc)})
    except BaseException as exc:  # noqa: BLE001 - the edge of user code; a cold start tells the user
        _leave(door, {"failed": f"{type(exc).__name__}: {exc}"})
    return _wait(door, files), served


def _no_connection(_: str) -> bytes:
    raise Refused("the function was sent serialized, and fetching it needs a connection")


def _leave(door: _socket.socket, words: dict[str, Any]) -> None:
    marks.flush()
    door.send(json.dumps(words)[:8000].encode())
    os._exit(0)


def _wait(door: _socket.socket, files: list[forkable.OpenFile]) -> containers.RunnerPlan:
    import gc

    renewal.prepare()
    gc.collect()
    gc.freeze()
    marks.flush()
    door.send(b'{"ready": true}')
    cwd = os.getcwd()  # noqa: PTH109
    while True:
        data, descriptors = _receive(door)
        if not data:
            os._exit(0)
        if renewal.copy() == 0:
            door.close()
            return _come(descriptors, cwd, files)
        for descriptor in descriptors:
            os.close(descriptor)


def _receive(door: _socket.socket) -> tuple[bytes, list[int]]:
    data, extra, _, _ = door.recvmsg(64, _socket.CMSG_SPACE(4 * 3))
    numbers: list[int] = []
    for _, kind, body in extra:
        if kind == _socket.SCM_RIGHTS:
            numbers += [int.from_bytes(body[at : at + 4], sys.byteorder) for at in range(0, len(body), 4)]
    return data, numbers


def _come(descriptors: list[int], cwd: str, files: list[forkable.OpenFile]) -> containers.RunnerPlan:
    """The child: be moved, and go on as a child of the cell, when it is known which container it is."""
    talk = _socket.socket(fileno=descriptors[0])
    talk.send(str(talk.fileno()).encode())
    if talk.recv(16) != b"moved" or os.fork() != 0:
        os._exit(0)
    talk.send(b"born")
    renewal.streams(*descriptors[1:])
    try:
        os.chdir(cwd)
        forkable.reopen(files)
        renewal.randomness()
        renewal.bounds()
        if talk.recv(16) != b"go":
            os._exit(1)
        talk.close()
        plan: containers.RunnerPlan = json.loads(str(renewal.read(_PLAN), "utf-8"))
        prepare.environment(plan)
        here.plan, here.pid = plan, os.getpid()
    except (OSError, exception.Error) as exc:
        print(f"the fork of a memory snapshot could not be made right: {exc}", file=sys.stderr, flush=True)
        os._exit(1)
    return plan

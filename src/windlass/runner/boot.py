"""First file of a container: makes the process look as if the user's script had been started, then serves.

Run as a script, so its first job is to undo what that did: the folder of this file on ``sys.path``, itself as
``__main__``.
"""
from __future__ import annotations

import os
import signal
import sys
import types

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

_PLAN = "/__windlass/plan.json"
_CODE = "/root"  # where sources are mounted


def _library() -> str:
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120 - pathlib costs 3 ms


def leave_process_1() -> None:
    """Go on as a child. Process 1 of a namespace is immune to signals it does not handle, even ``SIGKILL`` from
    inside, and inherits all orphans; user code expects neither. What stays behind passes signals on and waits."""
    door = os.environ.pop("WINDLASS_TEMPLATE", "")
    keeper = _keeper(door) if door else None
    child = os.fork()
    if child == 0:
        if keeper is not None:
            keeper.close()
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os.kill(child, number))
    if keeper is not None:
        _bury(keeper)
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def _keeper(door: str) -> _socket.socket:
    """Of a family of forks: whoever wants to know how they end."""
    import _socket

    keeper = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    keeper.connect(door)
    return keeper


def _bury(keeper: _socket.socket) -> None:
    """Forks become our children, and outlive the template: stay until the last has ended."""
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            os._exit(0)
        try:
            keeper.send(b'{"pid": %d, "status": %d}' % (pid, status))
        except OSError:
            os._exit(1)  # nobody could tell how they end


def main() -> int:
    if os.getpid() == 1:
        leave_process_1()
    # Before anything else is set up, the end is asked for as by Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    plan_path = os.environ.pop("WINDLASS_PLAN", _PLAN)
    library = _library()
    forget_script()
    # Our own modules come from the library even if the image holds another Windlass; all else from the user first.
    sys.path.insert(0, library)
    from windlass.runner import life

    sys.path.remove(library)
    put_user_first(in_container=plan_path == _PLAN)
    if library not in sys.path:
        sys.path.append(library)
    if plan_path == _PLAN:
        hand_down(library)
    return life.main(plan_path)


def forget_script() -> None:
    folder = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != folder]  # noqa: PTH100
    sys.modules["__windlass_boot__"] = sys.modules["__main__"]  # keeps our globals alive
    sys.modules["__main__"] = types.ModuleType("__main__")
    sys.argv[:] = [""]


def put_user_first(*, in_container: bool) -> None:
    front = [_CODE] if in_container else []
    cwd = os.getcwd()  # noqa: PTH109
    if cwd not in (*front, "/"):
        front.append(cwd)
    sys.path[:] = front + [path for path in sys.path if path not in ("", *front)]


def hand_down(library: str) -> None:
    """Have Python programs that user code starts find its modules, and ``modal``, too."""
    own = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path not in ("", _CODE, library)]
    os.environ["PYTHONPATH"] = os.pathsep.join([_CODE, *own, library])


if __name__ == "__main__":
    try:
        _code = main()
    except KeyboardInterrupt:
        _code = 128 + signal.SIGINT
    sys.exit(_code)

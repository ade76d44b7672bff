"""A command in a fork, with the walls of the fork: the runtime knows only the containers that it has made.

    python -m windlass.worker.snapshots.enter FIRST PROCESS GROUP… -- ARGV…

FIRST: process 1 of the cell. PROCESS: whose environment and folder the command gets. GROUPs: files to write one's pid
to. Ends as the command ends, and the command ends with it.
"""
from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import struct
import sys
from pathlib import Path
from typing import NoReturn

from windlass.worker import linux, seccomp, spec
from windlass.worker.snapshots import filter as filters
from windlass.worker.snapshots import keeper

_PDEATHSIG, _NO_NEW_PRIVILEGES, _CAPBSET_READ, _CAPBSET_DROP = 1, 38, 23, 24
_CAP_VERSION = 0x20080522
_OURS = ("WINDLASS_TEMPLATE", "WINDLASS_PLAN")
_libc = ctypes.CDLL(None, use_errno=True)


def main(arguments: list[str]) -> int:
    first, process = int(arguments[0]), int(arguments[1])
    end = arguments.index("--")
    environment = dict(
        line.split("=", 1)
        for line in os.fsdecode(Path(f"/proc/{process}/environ").read_bytes()).split("\0")
        if "=" in line and line.split("=")[0] not in _OURS
    )
    environment["PYTHONPATH"] = spec.search_path(environment.get("PYTHONPATH", ""))
    folder = os.readlink(f"/proc/{process}/cwd")  # noqa: PTH115
    walls = filters.Filter(profile) if (profile := seccomp.profile()) else None
    for group in arguments[2:end]:
        Path(group).write_text("0")
    namespaces = [os.open(f"/proc/{first}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in keeper.KINDS]
    for descriptor in namespaces:
        linux.setns(descriptor, 0)
    child = os.fork()
    if child == 0:
        _become(arguments[end + 1 :], environment, folder, walls)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code >= 0 else 128 - code


def _become(argv: list[str], environment: dict[str, str], folder: str, walls: filters.Filter | None) -> NoReturn:
    try:
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        with contextlib.suppress(OSError):
            os.chdir(folder)
        _reduce(sum(1 << linux.CAPABILITIES[name] for name in spec.CAPABILITIES))
        _libc.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if walls is not None:
            walls.load()
        os.environ.clear()
        os.environ.update(environment)
        os.execvp(argv[0], argv)
    except OSError as exc:
        os.write(2, f"{argv[0]}: {exc.strerror or exc}\n".encode())
    os._exit(127)


def _reduce(capabilities: int) -> None:
    """Keep what containers have, for good."""
    number = 0
    while _libc.prctl(_CAPBSET_READ, number, 0, 0, 0) >= 0:
        if not capabilities >> number & 1:
            _libc.prctl(_CAPBSET_DROP, number, 0, 0, 0)
        number += 1
    low, high = capabilities & 0xFFFFFFFF, capabilities >> 32
    data = struct.pack("=II6I", _CAP_VERSION, 0, low, low, 0, high, high, 0)
    buffer = ctypes.create_string_buffer(data)
    if _libc.capset(buffer, ctypes.byref(buffer, 8)) or _libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "capabilities could not be given up")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""An ordinary user of this machine, for tests that run as root. Who it is, and what it may read, stands only in a mount
namespace of its own: nothing of it remains on the machine.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from windlass.worker import linux

TESTS = Path(__file__).parent
NAME, UID = "ordinary", 61_234
FIRST, COUNT = 1_700_000_000, 65_536
"""Its subordinate ids."""
ROOTS_FIRST = 1_900_000_000
"""Where those of root's platforms begin."""
_MOUNT_SETATTR, _EMPTY_PATH, _IDMAP, _READ_ONLY = 442, 0x1000, 0x00100000, 0x00000001
_libc = ctypes.CDLL(None, use_errno=True)
_ROOM = Path("/var/tmp")  # all may pass through it, and files of devices work there

_INTO = r"""
room=$1; shift
for name in passwd group subuid subgid; do mount --bind "$room/$name" "/etc/$name"; done
[ ! -e "$room/tun" ] || mount --bind "$room/tun" /dev/net/tun
n=0
while [ "$1" != -- ]; do mkdir -p "$room/kept/$n"; mount --rbind "$1" "$room/kept/$n"; echo "$1" > "$room/kept.$n"
    n=$((n+1)); shift; done
shift
while [ "$1" != -- ]; do mount -t tmpfs -o mode=755 tmpfs "$1"; shift; done
shift
while [ $n -gt 0 ]; do n=$((n-1)); at=$(cat "$room/kept.$n"); mkdir -p "$at"; mount --rbind "$room/kept/$n" "$at"; done
exec setpriv --reuid "$1" --regid "$1" --clear-groups --inh-caps=-all -- env -i "${@:2}"
"""


class User:
    """``home``: of its platform."""

    def __init__(self, room: Path) -> None:
        self._room = room
        self.home = room / "home" / "platform"

    def run(self, program: Path, *words: str, layers: Path, timeout: float) -> str:
        """What a Python program writes that the user runs. ``layers``: of a platform of root; the user's own has them,
        too, so that nothing has to be built."""
        needed = _needed()
        line = [
            "unshare", "--mount", "--propagation", "private", sys.executable, __file__, str(layers),
            str(self.home / "layers"), "bash", "-ec", _INTO, "bash", str(self._room),
            *map(str, needed), "--", *map(str, _closed(needed)), "--", str(UID),
            f"HOME={self.home.parent}", f"USER={NAME}", f"PATH={os.defpath}:/usr/sbin:/sbin", "LANG=C.UTF-8",
            f"WINDLASS_HOME={self.home}", f"PYTHONPATH={TESTS.parent / 'src'}:{TESTS}",
            sys.executable, str(program), *words,
        ]  # fmt: skip
        done = subprocess.run(line, cwd="/", text=True, capture_output=True, timeout=timeout, stdin=subprocess.DEVNULL)
        for place in (self.home / "layers").iterdir():
            place.rmdir()  # what was mounted there is in the user's namespace only
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def _lend(layers: Path, target: Path) -> None:
    """Show layers whose files belong to root's platforms as if they belonged to the user's. Nobody can change them."""
    identities = _identities()
    for layer in [entry for entry in layers.iterdir() if not entry.name.startswith(".")]:  # those are coming or going
        (target / layer.name).mkdir()
        tree = linux.open_tree(layer)
        wish = struct.pack("=QQQQ", _IDMAP | _READ_ONLY, 0, 0, identities)
        if _libc.syscall(_MOUNT_SETATTR, tree, b"", _EMPTY_PATH, wish, len(wish)):
            raise OSError(ctypes.get_errno(), "mount_setattr")
        linux.move_mount(tree, target / layer.name)


def _identities() -> int:
    """A user namespace that says whose is whose."""
    unshared, over = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        linux.unshare(linux.NEWUSER)
        os.write(unshared[1], b"u")
        os.close(over[1])
        os.read(over[0], 1)
        os._exit(0)
    os.read(unshared[0], 1)
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{child}/{name}").write_text(f"0 {UID} 1\n{ROOTS_FIRST} {FIRST} {COUNT}\n")
    found = os.open(f"/proc/{child}/ns/user", os.O_RDONLY)
    os.close(over[1])
    os.waitpid(child, 0)
    return found


def _needed() -> list[Path]:
    """What must be readable: this Python, its packages, and the code under test."""
    found = {Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve(), TESTS.parent.resolve(), *map(Path, sys.path)}
    there = sorted({path.resolve() for path in found if path.is_dir()})
    return [path for path in there if not any(other in path.parents for other in there)]


def _closed(needed: list[Path]) -> list[Path]:
    """Folders above these that others may not pass through, but for those that lie in another one of them."""
    above = {folder for path in needed for folder in path.parents if not folder.stat().st_mode & 0o001}
    return sorted(path for path in above if not any(other in path.parents for other in above))


@contextlib.contextmanager
def user() -> Iterator[User]:
    """A user with a folder of its own, taken away at the end."""
    room = Path(tempfile.mkdtemp(prefix="windlass-user-", dir=_ROOM))
    try:
        room.chmod(0o755)
        line = f"{NAME}:x:{UID}:{UID}::{room / 'home'}:/bin/sh\n"
        (room / "passwd").write_text(Path("/etc/passwd").read_text() + line)
        (room / "group").write_text(Path("/etc/group").read_text() + f"{NAME}:x:{UID}:\n")
        for name in ("subuid", "subgid"):
            (room / name).write_text(f"{NAME}:{FIRST}:{COUNT}\n")
        if Path("/dev/net/tun").exists():  # on most machines it is everybody's
            os.mknod(room / "tun", 0o020666, Path("/dev/net/tun").stat().st_rdev)
            (room / "tun").chmod(0o666)
        made = User(room)
        (made.home / "layers").mkdir(parents=True)
        for path in (made.home.parent, made.home, made.home / "layers"):
            path.chmod(0o755)
            os.chown(path, UID, UID)
        yield made
    finally:
        shutil.rmtree(room)


if __name__ == "__main__":  # in the user's mount namespace, still as root
    _lend(Path(sys.argv[1]), Path(sys.argv[2]))
    os.execvp(sys.argv[3], sys.argv[3:])

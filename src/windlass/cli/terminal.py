"""Our terminal in somebody else's hands: raw, every key handed on, and put back in order in any case."""
from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from windlass import exception

if TYPE_CHECKING:
    from windlass.client import output
    from windlass.wire.messages import terminals

_CHUNK = 32 * 1024
_LOOK = 0.25  # seconds between looks at the window's size; signals are the main thread's, and that is the user's
_FULL = 0.02  # the same while the other end takes no more
_ESCAPE = b"\x1c"  # Ctrl-\


def window() -> os.terminal_size:
    """Of the terminal itself: COLUMNS and LINES in the environment may be from another time."""
    for descriptor in (1, 0, 2):
        with contextlib.suppress(OSError):
            size = os.get_terminal_size(descriptor)
            if size.lines and size.columns:
                return size
    return shutil.get_terminal_size()


def about() -> terminals.TerminalAttach:
    """The terminal that could be lent."""
    size = window()
    return {"rows": size.lines, "cols": size.columns, "term": os.environ.get("TERM", "")}


@contextlib.contextmanager
def raw() -> Iterator[None]:
    """Our terminal, if we have one, hands every key on inside the block."""
    if not os.isatty(0):
        yield
        return
    try:
        import termios
        import tty
    except ImportError:  # Windows: its console hands whole lines on
        yield
        return
    before = termios.tcgetattr(0)
    tty.setraw(0, termios.TCSADRAIN)  # by default it would throw away what was typed already
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def write(descriptor: int, data: bytes) -> None:
    """All of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def check_lendable() -> None:
    """Raise ``UnimplementedError`` where a keyboard cannot be watched while something else is waited for, too."""
    if sys.platform == "win32":
        raise exception.UnimplementedError(
            "a terminal of Windows cannot be lent to containers",
            hint="Run this in WSL, or use `windlass shell` and `windlass container exec`, which work here.",
        )


class Lent:
    """Our stdin and stdout while a container has them; a thread reads what is typed."""

    def __init__(self, keys: output.Keys) -> None:
        self._keys = keys
        self._stop, self._stopping = os.pipe()
        self._column = False
        self._stack = contextlib.ExitStack()
        sys.stdout.flush()
        sys.stderr.flush()
        self._stack.enter_context(raw())
        self._thread = threading.Thread(target=self._read, name="keyboard", daemon=True)
        self._thread.start()

    def show(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            write(1, data)
            self._column = not data.endswith(b"\n")

    def close(self) -> None:
        """Ours again; what was typed but not read stays for whoever reads next."""
        os.close(self._stopping)
        self._thread.join()
        os.close(self._stop)
        if self._column:
            self.show(b"\r\n")
        self._stack.close()

    def _read(self) -> None:
        typing, size = True, (0, 0)
        while True:
            room = self._keys({})
            if room and size != (size := window()):
                self._keys({"rows": size[1], "cols": size[0]})
            watched = [self._stop, 0] if typing and room else [self._stop]
            ready, _, _ = select.select(watched, [], [], _LOOK if room else _FULL)
            if self._stop in ready:
                return
            if 0 in ready:
                typing = self._hand_on(_typed())

    def _hand_on(self, data: bytes) -> bool:
        """Whether more may follow."""
        if not data:
            self._keys({"eof": True})
            return False
        if _ESCAPE in data and os.isatty(0):
            os.kill(os.getpid(), signal.SIGINT)
        self._keys({}, data)
        return True


def _typed() -> bytes:
    try:
        return os.read(0, _CHUNK)
    except OSError:
        return b""

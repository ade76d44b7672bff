"""Progress and logs where no terminal looks: whole lines, no colours, nothing that moves.

Output of containers keeps its stream: what they print to stdout goes to stdout; their stderr, system messages and
our own progress go to stderr. So ``windlass run job.py > result.txt`` holds what the program printed.
"""
from __future__ import annotations

import collections
import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from windlass.cli import terminal
from windlass.client import output

if TYPE_CHECKING:
    from windlass.wire.messages import apps, terminals

_MOST_HELD = 10_000  # lines that wait while a container has the terminal


class Line(NamedTuple):
    """Whole lines of one source, newline included."""

    source: str
    text: str


Prefix = Callable[["apps.LogEntry"], str]
"""What to write before the lines of an entry."""


class Assembler:
    """Puts log entries together to whole lines, so that two containers never share one.

    A piece without a newline waits for the rest of its line; ``flush`` gives up what still waits at the end.
    ``forgets``: of a line that is written over and over, only how it stands is kept.
    """

    def __init__(self, *, timestamps: bool = False, prefix: Prefix | None = None, forgets: bool = False) -> None:
        self._timestamps = timestamps
        self._prefix = prefix
        self._forgets = forgets
        self._waiting: dict[tuple[str, str], tuple[str, str]] = {}
        """What stands before the line, and what is there of it."""

    def feed(self, entries: Sequence[apps.LogEntry]) -> Iterator[Line]:
        for entry in entries:
            key = (entry["container_id"], entry["source"])
            head, text = self._waiting.pop(key, (self._head(entry), ""))
            text += entry["text"]
            whole, newline, rest = text.rpartition("\n")
            if self._forgets and "\r" in rest:
                body = rest.rstrip("\r")
                rest = "\r" + body.rpartition("\r")[2] + rest[len(body) :]
            if rest:
                self._waiting[key] = (self._head(entry) if newline else head, rest)
            if newline:
                yield Line(entry["source"], _headed(head, whole + newline))

    def flush(self) -> Iterator[Line]:
        waiting, self._waiting = self._waiting, {}
        for (_, source), (head, text) in waiting.items():
            yield Line(source, _headed(head, text + "\n"))

    def moving(self) -> list[str]:
        """What lines look like now that are written over and over, such as the bars of ``tqdm``."""
        return [last_frame(head + text) for head, text in self._waiting.values() if "\r" in text]

    def _head(self, entry: apps.LogEntry) -> str:
        head = f"{stamp(entry['time'])} " if self._timestamps else ""
        return head + self._prefix(entry) if self._prefix is not None else head


def last_frame(line: str) -> str:
    """What is left of a line that returned to its beginning to be written anew."""
    return line.rstrip("\r\n").rpartition("\r")[2]


def _headed(head: str, text: str) -> str:
    return "".join(f"{head}{line}\n" for line in text.split("\n")[:-1]) if head else text


def stamp(when: float) -> str:
    """Local time with milliseconds, ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(when)) + f".{int(when % 1 * 1000):03d}"


def joined(lines: Iterator[Line]) -> Iterator[Line]:
    """Neighbours of the same source as one, so that a flood of lines costs few writes."""
    source = ""
    pieces: list[str] = []
    for line in lines:
        if line.source != source and pieces:
            yield Line(source, "".join(pieces))
            pieces = []
        source = line.source
        pieces.append(line.text)
    if pieces:
        yield Line(source, "".join(pieces))


class PlainOutput(output.Output):
    """Shows all as lines. ``show_progress`` False leaves only the logs of containers."""

    enabled = True

    def __init__(
        self, *, show_progress: bool = True, timestamps: bool = False, prefix: Prefix | None = None
    ) -> None:
        self._show_progress = show_progress
        self._lines = Assembler(timestamps=timestamps, prefix=prefix)
        self._lock = threading.RLock()
        self._gone = False
        self._app_id = ""
        self._lent: terminal.Lent | None = None
        self._held: collections.deque[Line] = collections.deque(maxlen=_MOST_HELD)
        """What is to be shown when the terminal is ours again."""

    # -- what the SDK calls -------------------------------------------------------------------------

    def status(self, text: str) -> None:
        if text:
            self._say(text[:1].upper() + text[1:] + " …")

    def notice(self, text: str) -> None:
        self._write(Line("notice", text[:1].upper() + text[1:] + "\n"))

    def app_started(self, app_id: str, description: str) -> None:
        self._app_id = app_id
        self._say(f"Initialized app {description} ({app_id}).")

    def app_ended(self, app_id: str, reason: str) -> None:
        self.flush()
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()  # where it is a file or a pipe, what the program printed still waits in it
        self._say(ending(app_id, reason))

    def image_step(self, image: str, step: int, steps: int, command: str) -> None:
        self._say(f"Building image {image}, step {step}/{steps}: {command}")

    def image_log(self, image: str, text: str) -> None:
        self._say(text.rstrip("\n"))

    def function_created(self, tag: str, function_id: str) -> None:
        self._say(f"Created function {tag}.")

    def web_created(self, name: str, url: str) -> None:
        self._say(f"Created web function {name} => {url}")

    def mount_created(self, description: str) -> None:
        self._say(f"Created mount {description}.")

    def logs(self, entries: Sequence[apps.LogEntry]) -> None:
        with self._lock:
            for line in joined(self._lines.feed(entries)):
                self._write(line)

    def terminal_about(self) -> terminals.TerminalAttach:
        return terminal.about()

    def terminal_opened(self, container_id: str, keys: output.Keys) -> None:
        with self._lock:
            if sys.stdin.isatty():
                self.notice(f"Container {container_id} has the terminal now; Ctrl-\\ ends the run.")
            self._lent = terminal.Lent(keys)

    def terminal_data(self, data: bytes) -> None:
        lent = self._lent
        if lent is not None:
            lent.show(data)

    def terminal_closed(self) -> None:
        with self._lock:
            lent, self._lent = self._lent, None
            if lent is None:
                return
            lent.close()
            while self._held:
                self._write(self._held.popleft())

    # -- what the command line calls -----------------------------------------------------------------

    def flush(self) -> None:
        """Show partial lines that nobody will complete."""
        with self._lock:
            for line in self._lines.flush():
                self._write(line)

    def close(self) -> None:
        self.terminal_closed()
        self.flush()

    # -- inside --------------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        if self._show_progress:
            self._write(Line("progress", text + "\n"))

    def _write(self, line: Line) -> None:
        """Hooks must not raise: when nobody reads us any more, later lines are dropped."""
        with self._lock:
            if self._lent is not None:
                self._held.append(line)
            elif not self._gone:
                try:
                    self._put(line)
                except (OSError, ValueError):
                    self._gone = True

    def _put(self, line: Line) -> None:
        stream = sys.stdout if line.source == "stdout" else sys.stderr
        stream.write(line.text)
        stream.flush()


def ending(app_id: str, reason: str) -> str:
    """What is said when an app ends."""
    if reason == "detached":
        return (
            f"App {app_id} goes on until its last input has ended. "
            f"Follow it with `windlass app logs -f {app_id}`, end it with `windlass app stop {app_id}`."
        )
    known = {"done": "App completed.", "interrupted": "App stopped: interrupted."}
    return known.get(reason, f"App stopped ({reason}).")

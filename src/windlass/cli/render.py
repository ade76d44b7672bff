"""Progress and logs on a terminal. The only module that knows the terminal library.

Creating objects and building images is a live tree; a map is a live bar; all else are lines above them. Between
these moments nothing is live, so that a program may use the terminal as it likes: ``input``, a debugger, its own bars.
Where the output is no terminal ``plain`` takes over, and the library is not even imported.
"""
from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from windlass.cli import plain, tables
from windlass.client import output

if TYPE_CHECKING:
    import rich.console
    import rich.live
    import rich.progress

    from windlass.wire.messages import apps

_COLOURS = {"stderr": "\x1b[34m", "system": "\x1b[2m", "build": "\x1b[2m", "notice": "\x1b[33m"}
_STYLES = {"stderr": "blue", "system": "dim", "build": "dim", "notice": "yellow"}
_PLAIN = "\x1b[0m"
_REFRESH = 10
_MOST_MOVING = 8


@contextlib.contextmanager
def open_output(
    *, show_progress: bool = True, timestamps: bool = False, prefix: plain.Prefix | None = None
) -> Iterator[output.Output]:
    """Whoever fits to where our output goes; inside the block it may draw."""
    kind = TerminalOutput if tables.is_terminal() else plain.PlainOutput
    shown = kind(show_progress=show_progress, timestamps=timestamps, prefix=prefix)
    try:
        yield shown
    finally:
        shown.close()


class TerminalOutput(plain.PlainOutput):
    """Draws while something is being made or mapped."""

    def __init__(
        self, *, show_progress: bool = True, timestamps: bool = False, prefix: plain.Prefix | None = None
    ) -> None:
        super().__init__(show_progress=show_progress, timestamps=timestamps, prefix=prefix)
        self._lines = plain.Assembler(timestamps=timestamps, prefix=prefix, forgets=True)
        import rich.console

        self._console: rich.console.Console = rich.console.Console(highlight=False, soft_wrap=True)
        self._live: rich.live.Live | None = None
        self._tree: dict[str, str] = {}
        """What is being made: key → text; a text that ends in an ellipsis is still in work."""
        self._status = ""
        self._moving: list[str] = []
        """Lines of containers that are written over and over: shown as they stand."""
        self._creating = False
        self._lending = False
        """A container has the terminal: nothing of ours may move on it."""
        self._bars: rich.progress.Progress | None = None
        self._tasks: dict[str, rich.progress.TaskID] = {}

    # -- what the SDK calls -------------------------------------------------------------------------

    def status(self, text: str) -> None:
        with self._lock:
            self._status = text
            self._update()

    def app_started(self, app_id: str, description: str) -> None:
        with self._lock:
            self._say(f"{self._tick()} Initialized app {description} ({app_id}).")
            self._creating = True
            self._update()

    def app_ready(self, app_id: str) -> None:
        with self._lock:
            self._end_creation("Created objects.")

    def app_ended(self, app_id: str, reason: str) -> None:
        with self._lock:
            self._end_creation("Objects were not all created.")
            self._status, self._moving = "", []
            self._update()
            self.flush()
            mark = self._tick() if reason in ("done", "detached") else "\x1b[31m✗\x1b[0m"
            self._say(f"{mark} {plain.ending(app_id, reason)}")

    def creation_started(self) -> None:
        with self._lock:
            self._creating = True
            self._update()

    def creation_ended(self, whole: bool) -> None:
        with self._lock:
            self._end_creation("Created objects." if whole else "Objects were not all created.")

    def image_step(self, image: str, step: int, steps: int, command: str) -> None:
        with self._lock:
            self._set(f"image {image}", f"Building image {image} ({step}/{steps}): {_short(command)} …")
            self._write(plain.Line("build", f"{image} {step}/{steps}: {command}\n"))

    def image_log(self, image: str, text: str) -> None:
        if self._show_progress:
            self._write(plain.Line("build", text if text.endswith("\n") else text + "\n"))

    def image_done(self, image: str, image_id: str) -> None:
        with self._lock:
            if f"image {image}" in self._tree:
                self._set(f"image {image}", f"Built image {image} ({image_id}).")

    def mount_created(self, description: str) -> None:
        self._set(f"mount {description}", f"Created mount {description}.")

    def function_creating(self, tag: str) -> None:
        self._set(f"function {tag}", f"Creating function {tag} …")

    def function_created(self, tag: str, function_id: str) -> None:
        self._set(f"function {tag}", f"Created function {tag}.")

    def web_created(self, name: str, url: str) -> None:
        self._set(f"web {name}", f"Created web function {name} => {url}")

    def logs(self, entries: Sequence[apps.LogEntry]) -> None:
        with self._lock:
            super().logs(entries)
            self._moving = self._lines.moving()[-_MOST_MOVING:]
            self._update()

    def map_started(self, map_id: str, name: str) -> None:
        if not self._show_progress:
            return
        import rich.progress as bars

        with self._lock:
            if self._bars is None:
                self._bars = bars.Progress(
                    bars.SpinnerColumn(), bars.TextColumn("{task.description}"), bars.BarColumn(),
                    bars.MofNCompleteColumn(), bars.TimeElapsedColumn(), console=self._console, auto_refresh=False,
                )
            self._tasks[map_id] = self._bars.add_task(name, total=None)
            self._update()

    def map_progress(self, map_id: str, done: int, created: int, final: bool) -> None:
        bars, task = self._bars, self._tasks.get(map_id)
        if bars is not None and task is not None:
            bars.update(task, completed=done, total=created)

    def map_ended(self, map_id: str) -> None:
        with self._lock:
            if self._bars is None or (task := self._tasks.pop(map_id, None)) is None:
                return
            self._bars.remove_task(task)
            if not self._tasks:
                self._bars = None
            self._update()

    def terminal_opened(self, container_id: str, keys: output.Keys) -> None:
        with self._lock:
            self._lending = True
            self._update()
            super().terminal_opened(container_id, keys)

    def terminal_closed(self) -> None:
        with self._lock:
            super().terminal_closed()
            self._lending = False
            self._update()

    def close(self) -> None:
        with self._lock:
            self._status, self._creating, self._bars, self._moving = "", False, None, []
            self._tree.clear()
            self._update()
            super().close()

    # -- the live part ---------------------------------------------------------------------------------

    def _set(self, key: str, text: str) -> None:
        with self._lock:
            self._tree[key] = text
            self._update()

    def _end_creation(self, title: str) -> None:
        if not self._creating:
            return
        self._creating = False
        lines, self._tree = [*self._tree.values()], {}
        self._update()
        if not lines:
            return
        done = all(not line.endswith("…") for line in lines)
        self._say(f"{self._tick() if done else ' '} {title}")
        for number, line in enumerate(lines, 1):
            self._say(f"{'└──' if number == len(lines) else '├──'} {line}")

    def _update(self) -> None:
        """Begin, redraw or end the live region, as what is going on demands."""
        wanted = self._show_progress and not self._lending and bool(
            self._creating or self._status or self._bars or self._moving
        )
        if wanted and self._live is None:
            import rich.live

            self._live = rich.live.Live(
                get_renderable=self._draw, console=self._console, refresh_per_second=_REFRESH, transient=True
            )
            self._live.start()
        elif not wanted and self._live is not None:
            live, self._live = self._live, None
            live.stop()

    def _draw(self) -> rich.console.RenderableType:
        # Called by the library's own thread without our lock: reads only, and copies what may change.
        import rich.console
        import rich.spinner
        import rich.text
        import rich.tree

        parts: list[rich.console.RenderableType] = []
        if self._creating or self._status:
            head = self._status[:1].upper() + self._status[1:] + " …" if self._status else "Creating objects …"
            tree = rich.tree.Tree(rich.spinner.Spinner("dots", rich.text.Text(head)))
            for line in list(self._tree.values()):
                style = "" if line.endswith("…") else "green"
                tree.add(rich.text.Text(line, style=style, overflow="ellipsis", no_wrap=True))
            parts.append(tree)
        for frame in self._moving:
            text = rich.text.Text.from_ansi(frame)
            text.no_wrap, text.overflow = True, "ellipsis"
            parts.append(text)
        if (bars := self._bars) is not None:
            parts.append(bars.get_renderable())
        return rich.console.Group(*parts)

    # -- lines -----------------------------------------------------------------------------------------

    def _put(self, line: plain.Line) -> None:
        if "\r" in line.text:
            line = line._replace(text="\n".join(map(plain.last_frame, line.text.split("\n"))))
        if self._live is None:
            colour = "" if os.environ.get("NO_COLOR") else _COLOURS.get(line.source, "")
            body, newline = (line.text[:-1], "\n") if line.text.endswith("\n") else (line.text, "")
            sys.stdout.write(f"{colour}{body}{_PLAIN if colour else ''}{newline}")
            sys.stdout.flush()
            return
        import rich.text

        text = rich.text.Text.from_ansi(line.text.rstrip("\n"), style=_STYLES.get(line.source, ""))
        self._console.print(text)

    def _tick(self) -> str:
        return "✓" if os.environ.get("NO_COLOR") else "\x1b[32m✓\x1b[0m"


def _short(command: str) -> str:
    first = command.strip().splitlines()[0] if command.strip() else ""
    return first if len(first) <= 80 else first[:79] + "…"


@contextlib.contextmanager
def progress(title: str) -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each file that is told of: its name, bytes done, all of them."""
    import rich.progress

    columns = (
        rich.progress.TextColumn("{task.description}"), rich.progress.BarColumn(), rich.progress.DownloadColumn(),
        rich.progress.TransferSpeedColumn(),
    )  # fmt: skip
    with rich.progress.Progress(*columns, transient=True) as bars:
        shown: dict[str, rich.progress.TaskID] = {}
        bars.add_task(title, total=None)

        def tell(name: str, done: int, total: int) -> None:
            if name not in shown and done >= total:
                return
            if name not in shown:
                shown[name] = bars.add_task(name, total=total)
            bars.update(shown[name], completed=done)
            if done >= total:
                bars.remove_task(shown.pop(name))

        yield tell

"""What the SDK tells whoever shows progress to people. The default shows nothing.

``windlass.cli.render`` implements ``Output`` for terminals; ``enable_output()`` and the command line switch it
on. All hooks are called on the library's thread (``map_*`` also from the user's), never block long, and must
not raise. Nothing here knows a terminal.
"""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import Protocol

    from windlass.wire.messages import apps, terminals

    class Keys(Protocol):
        """Where typed keys and new sizes of the terminal go, from any thread. False: the keyboard shall wait;
        ask again with nothing."""

        def __call__(self, body: terminals.TerminalInput, data: bytes = b"") -> bool: ...


class Output:
    """Shows nothing. Subclass and override."""

    enabled = False
    """Whether anybody looks: container logs are streamed only then."""

    def status(self, text: str) -> None:
        """One line about what is going on now, such as "starting the local platform". "" clears it."""

    def notice(self, text: str) -> None:
        """A lasting line for the person, such as "stopping the app"."""

    def app_started(self, app_id: str, description: str) -> None:
        """The app exists; functions and images are about to be made."""

    def app_ready(self, app_id: str) -> None:
        """All functions exist; user code may run."""

    def app_ended(self, app_id: str, reason: str) -> None:
        """The app was stopped ("done", "interrupted", "error", "detached") and its last logs are shown."""

    def creation_started(self) -> None:
        """Functions and images of an app that lives already, or will only then, are about to be made."""

    def creation_ended(self, whole: bool) -> None:
        """They are made, or not all of them."""

    def image_step(self, image: str, step: int, steps: int, command: str) -> None:
        """A build step began. ``image`` names the image within this run."""

    def image_log(self, image: str, text: str) -> None:
        """Output of the build step that runs."""

    def image_done(self, image: str, image_id: str) -> None:
        """The image is ready (also when it was in the cache)."""

    def mount_created(self, description: str) -> None:
        """Local files were made available to containers."""

    def function_creating(self, tag: str) -> None:
        """A function is about to be created."""

    def function_created(self, tag: str, function_id: str) -> None:
        """A function exists."""

    def web_created(self, name: str, url: str) -> None:
        """A web function answers at ``url``."""

    def map_started(self, map_id: str, name: str) -> None:
        """A map over the function ``name`` began."""

    def map_progress(self, map_id: str, done: int, created: int, final: bool) -> None:
        """``done`` of ``created`` inputs have ended; with ``final`` no more inputs will be created."""

    def map_ended(self, map_id: str) -> None:
        """The map is over or was given up."""

    def logs(self, entries: Sequence[apps.LogEntry]) -> None:
        """Output of containers, in order."""

    def terminal_about(self) -> terminals.TerminalAttach:
        """``rows``, ``cols`` and ``term`` of the terminal that containers may borrow."""
        return {}

    def terminal_opened(self, container_id: str, keys: Keys) -> None:
        """A container has the terminal until ``terminal_closed``: what is typed goes to ``keys``."""

    def terminal_data(self, data: bytes) -> None:
        """Output for the terminal that a container has."""

    def terminal_closed(self) -> None:
        """The terminal is ours again. May be called when it was all along."""


_SILENT = Output()
_current: Output = _SILENT


def current() -> Output:
    """Who shows progress now."""
    return _current


class _Using:
    def __init__(self, show: Output) -> None:
        self._show = show

    def __enter__(self) -> Output:
        global _current
        self._previous, _current = _current, self._show
        return self._show

    def __exit__(self, *exc: object) -> None:
        global _current
        _current = self._previous


def using(show: Output) -> AbstractContextManager[Output]:
    """Show through ``show`` inside the block, then through whoever showed before."""
    return _Using(show)


class _Enabled:
    """``enable_output()``: made when entered, because the renderer imports the terminal library."""

    def __init__(self, show_progress: bool) -> None:
        self._show_progress = show_progress

    def __enter__(self) -> None:
        import importlib

        render = importlib.import_module("windlass.cli.render")  # by name: the SDK does not depend on the command line
        self._output = render.open_output(show_progress=self._show_progress)
        self._show = self._output.__enter__()
        self._using = using(self._show)
        self._using.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._using.__exit__(kind, exc, tb)
        self._output.__exit__(kind, exc, tb)


def enable_output(show_progress: bool = True) -> AbstractContextManager[None]:
    """Show logs of containers, image builds and progress on the terminal inside the block.

    Args:
        show_progress: False shows only logs, no spinners and bars.

    Example:
        >>> with windlass.enable_output(), app.run():
        ...     f.remote()
    """
    return _Enabled(show_progress)


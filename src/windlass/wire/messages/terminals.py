"""A container's terminal: what `windlass run -i` and ``interact()`` say to each other. The server only passes on.

    client ── terminal.attach ──► server ◄── terminal.open ── container
       ◄── open, data, close ──      ── size, keys ──►
       ── terminal.input ──►         ◄── terminal.output ──
"""
from __future__ import annotations

from typing import TypedDict


class TerminalAttach(TypedDict, total=False):
    """A stream, held open while the app runs: its containers may have this client's terminal."""

    app_id: str
    rows: int
    cols: int
    term: str


class TerminalEvent(TypedDict, total=False):
    """``event``: "attached" (first), "open" (a container has the terminal now), "data" (attachment 0), "close"."""

    event: str
    terminal_id: str
    container_id: str


class TerminalInput(TypedDict, total=False):
    """Attachment 0, if any, was typed; ``eof``: nothing more will be; rows/cols resize."""

    terminal_id: str
    rows: int
    cols: int
    eof: bool


class TerminalOpen(TypedDict):
    """A stream: cancelling it gives the terminal back."""

    input_id: str


class TerminalKeys(TypedDict, total=False):
    """The first item says that the terminal is attached, and what it is; later ones are ``TerminalInput``."""

    terminal_id: str
    rows: int
    cols: int
    term: str
    eof: bool


class TerminalOutput(TypedDict):
    """Attachment 0 is shown."""

    terminal_id: str

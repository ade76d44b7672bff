"""Commands that an earlier worker had under way, as their starter has kept them: taken over by the next one.

    worker ── exec: and its own ends of the streams, what it must know ──► starter
      ✗                                                              │ commands go on, and wait where nobody reads
    next worker ◄── take ─────────────────────────────────────────────┘
"""
from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, cast

from windlass.worker import packets

_log = logging.getLogger(__name__)
_TIME = 2.0  # seconds for a starter to answer: it is beside us, and has nothing else to do
_MOST = 8  # descriptors of one command


class Note(TypedDict):
    """``sources``: its streams, and whether what they give is kept. ``deadline``: by the clock, 0 for none."""

    container_id: str
    sources: dict[str, bool]
    pty: bool
    deadline: float


class Kept(NamedTuple):
    """One command. ``code``: None while it runs. ``input``: -1 where it was closed. ``outputs``: of each source the
    pipe and the spool. The descriptors are the taker's."""

    name: str
    note: Note
    code: int | None
    input: int
    outputs: list[int]

    def close(self) -> None:
        """Of one that is not taken over."""
        _close(self.outputs if self.input < 0 else [self.input, *self.outputs])


class Earlier:
    """A starter of an earlier worker. It is let go of when nothing of it is under way or kept any more."""

    def __init__(self, talk: socket.socket) -> None:
        self._ends: dict[str, Callable[[int], None]] = {}
        """Of those that run."""
        self._kept: set[str] = set()
        self._talk = talk
        self._conversation: packets.Conversation | None = None
        self._early: dict[str, int] = {}

    def take(self) -> list[Kept]:
        """All that it keeps and that is whole. Blocks for as long as it takes to ask; raises ``OSError``, and then it
        keeps nothing any more: else each next worker would meet the same."""
        self._talk.settimeout(_TIME)
        found: list[Kept] = []
        names: list[str] = []
        try:
            names = _names(self._asked({"op": "names", "id": "names"})[0])
            for name in names:
                said, descriptors = self._asked({"op": "take", "id": name})
                if (kept := _whole(name, said, descriptors)) is not None:
                    found.append(kept)
                    self._kept.add(name)
                    continue
                _close(descriptors)
                if not said.get("gone"):
                    _log.warning("command %s of an earlier worker is lost: not all of it came", name)
                    self.forget(name)
        except OSError:
            for kept in found:
                kept.close()
            with contextlib.suppress(OSError):  # the first that it does not hear is the last: each may take its time
                for name in names:
                    self._talk.send(json.dumps({"op": "forget", "id": name}).encode())
            raise
        return found

    def _asked(self, body: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        self._talk.send(json.dumps(body).encode())
        while True:
            data, descriptors, _, _ = socket.recv_fds(self._talk, packets.PACKET, _MOST)
            if not data:
                raise OSError("it has ended")
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)
            try:
                said: dict[str, Any] = json.loads(data)
                if not isinstance(said, dict):
                    raise ValueError
                if "exit" not in said:
                    return said, descriptors
                self._early[said["id"]] = said["exit"]
            except (ValueError, KeyError):
                _close(descriptors)
                raise OSError("what it says cannot be understood") from None

    def listen(self, ends: Mapping[str, Callable[[int], None]]) -> None:
        """From now on tell of the ends of these, and of those that came meanwhile."""
        self._ends = dict(ends)
        self._conversation = packets.Conversation(self._talk, told=self._heard, over=self._lost)
        self._conversation.listen()
        for name, code in self._early.items():
            self._heard({"id": name, "exit": code})
        self._close_if_over()

    def kill(self, name: str) -> None:
        self._say({"op": "kill", "id": name})

    def end_input(self, name: str) -> None:
        self._say({"op": "eof", "id": name})

    def emptied(self, name: str, stream: int) -> None:
        self._say({"op": "emptied", "id": name, "stream": stream})

    def forget(self, name: str) -> None:
        """Let nobody take it over any more. Of one that runs, the end is told all the same."""
        self._say({"op": "forget", "id": name})
        self._kept.discard(name)
        self._close_if_over()

    def _close_if_over(self) -> None:
        if self._conversation is not None and not self._ends and not self._kept:
            self.close()

    def close(self) -> None:
        if self._conversation is not None:
            self._conversation.close()
        else:
            self._talk.close()

    def _say(self, body: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            if self._conversation is not None:
                self._conversation.say(body)
            else:
                self._talk.send(json.dumps(body).encode())

    def _heard(self, said: dict[str, Any]) -> bool:
        if "exit" in said and (ended := self._ends.pop(said["id"], None)) is not None:
            ended(said["exit"])
            self._close_if_over()
        return True

    def _lost(self) -> None:
        ends, self._ends = self._ends, {}
        for ended in ends.values():
            ended(137)


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _names(said: Mapping[str, Any]) -> list[str]:
    if not isinstance(names := said.get("names"), list):
        raise OSError("it does not say what it keeps")
    return names


def _whole(name: str, said: Mapping[str, Any], descriptors: Sequence[int]) -> Kept | None:
    """The command, if it can be taken over. Descriptors are missing where we have room for no more."""
    note = said.get("note")
    if not isinstance(note, dict) or not note.keys() >= Note.__required_keys__ or "code" not in said:
        return None
    first = int(bool(said.get("input")))
    if not isinstance(note["sources"], dict) or len(descriptors) != first + 2 * len(note["sources"]):
        return None
    given = descriptors[0] if first else -1
    return Kept(name, cast(Note, note), said["code"], given, list(descriptors[first:]))


def earlier(folder: Path, own: int) -> Iterator[Earlier]:
    """Those that live, by their sockets in ``folder``, but for our own."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if not path.name.isdigit() or int(path.name) in (0, own):
            continue
        try:
            talk = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        except OSError as exc:
            _log.warning("commands of an earlier worker are lost: %s", exc)
            continue
        try:
            talk.connect(str(path))
        except OSError:  # it has ended without taking it away
            talk.close()
            continue
        yield Earlier(talk)

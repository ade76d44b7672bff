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
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

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


class Earlier:
    """A starter of an earlier worker. It is let go of when nothing of it is under way any more."""

    def __init__(self, talk: socket.socket) -> None:
        self._ends: dict[str, Callable[[int], None]] = {}
        self._talk = talk
        self._conversation: packets.Conversation | None = None
        self._early: dict[str, int] = {}

    def take(self) -> Iterator[Kept]:
        """All that it keeps. Blocks for as long as it takes to ask; raises ``OSError``."""
        self._talk.settimeout(_TIME)
        said, _ = self._asked({"op": "names", "id": "names"})
        for name in said["names"]:
            said, descriptors = self._asked({"op": "take", "id": name})
            given = descriptors.pop(0) if said["input"] else -1
            yield Kept(name, said["note"], said["code"], given, descriptors)

    def _asked(self, body: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        self._talk.send(json.dumps(body).encode())
        while True:
            data, descriptors, _, _ = socket.recv_fds(self._talk, packets.PACKET, _MOST)
            if not data:
                raise OSError("it has ended")
            said: dict[str, Any] = json.loads(data)
            if "exit" not in said:
                for descriptor in descriptors:
                    os.set_inheritable(descriptor, False)
                return said, descriptors
            self._early[said["id"]] = said["exit"]

    def listen(self, ends: Mapping[str, Callable[[int], None]]) -> None:
        """From now on tell of the ends of these, and of those that came meanwhile."""
        self._ends = dict(ends)
        self._conversation = packets.Conversation(self._talk, told=self._heard, over=self._lost)
        for name, code in self._early.items():
            self._heard({"id": name, "exit": code})
        self._conversation.listen()

    def kill(self, name: str) -> None:
        self._say({"op": "kill", "id": name})

    def end_input(self, name: str) -> None:
        self._say({"op": "eof", "id": name})

    def forget(self, name: str) -> None:
        self._say({"op": "forget", "id": name})
        self._ends.pop(name, None)
        if not self._ends:
            self.close()

    def close(self) -> None:
        if self._conversation is not None:
            self._conversation.close()
        else:
            self._talk.close()

    def _say(self, body: dict[str, Any]) -> None:
        if self._conversation is not None:
            with contextlib.suppress(OSError):
                self._conversation.say(body)

    def _heard(self, said: dict[str, Any]) -> bool:
        if "exit" in said and (ended := self._ends.get(said["id"])) is not None:
            ended(said["exit"])
        return True

    def _lost(self) -> None:
        ends, self._ends = self._ends, {}
        for ended in ends.values():
            ended(137)


def earlier(folder: Path, own: int) -> Iterator[Earlier]:
    """Those that live, by their sockets in ``folder``, but for our own."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if not path.name.isdigit() or int(path.name) in (0, own):
            continue
        talk = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            talk.connect(str(path))
        except OSError:  # it has ended without taking it away
            talk.close()
            continue
        yield Earlier(talk)

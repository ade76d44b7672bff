"""What build steps print: stored as it comes, told to those who follow, kept within bounds.

    build.log ─► pieces ─► rows (head and tail of it) ─► commit ─► pump(): whoever follows reads on from its position

Nobody is sent more than it takes: a slow reader is a position, not a queue.
"""

from __future__ import annotations

from windlass import exception
from windlass.kit import lines
from windlass.server.apply import core as core_module
from windlass.server.bus import link
from windlass.server.decide import excerpt
from windlass.server.decide import images as decisions
from windlass.server.state import machines
from windlass.server.store import builds, images
from windlass.wire import peer
from windlass.wire.messages import built

Core = core_module.Core

_END = 2 * 1024 * 1024  # bytes kept of the beginning, and of the end
_PIECE = 32 * 1024  # characters in one row
_BATCH = 16
_TOO_FAST = "\n[output is missing here: it came faster than it could be sent]\n"
_RESTARTED = "the server was restarted while it was built"


def begin(core: Core, build: machines.Build) -> None:
    core.turn.begin()
    build.kept = excerpt.Excerpt(head=_END, tail=_END)
    command = decisions.command(build.recipe)
    builds.begin(core.db, image_id=build.image_id, parent=build.parent, command=command, now=core.clock.now())


def store(core: Core, build: machines.Build, text: str) -> None:
    """Some output has come."""
    core.turn.begin()
    now = core.clock.now()
    clean = text.encode("utf-8", "replace").decode()
    pieces = [builds.Piece(core.counters.build_log + i, now, part) for i, part in enumerate(lines.parts(clean, _PIECE))]
    core.counters.build_log += len(pieces)
    builds.insert(core.db, build.image_id, pieces)
    dropped = [n for piece in pieces for n in build.kept.add(piece.n, len(piece.text.encode()))]
    if dropped and build.kept.gap is not None:
        left_out = build.kept.left_out
        note = f"\n[{left_out:,} bytes of output are not kept]\n"
        builds.leave_out(core.db, build.image_id, pieces=dropped, gap=build.kept.gap, note=note, total=left_out)
    tell_later(core, build)


def finish(core: Core, build: machines.Build, error: str | None) -> None:
    """The build has ended, or was given up."""
    core.turn.begin()
    builds.finish(core.db, build.image_id, error=error, now=core.clock.now())
    tell_later(core, build)


def running(core: Core, image_id: str) -> machines.Build | None:
    return next((build for build in core.world.builds.values() if build.image_id == image_id), None)


def interrupted(core: Core) -> None:
    """At the start: what was being built is not any more. Whoever needs it asks again, and it begins anew."""
    if builds.any_running(core.db):
        core.turn.begin()
        builds.interrupt(core.db, error=_RESTARTED, now=core.clock.now())


def tell_later(core: Core, build: machines.Build) -> None:
    """After the commit, once a turn: there is something to read."""
    if build.id not in core.dirty_builds:
        core.dirty_builds.add(build.id)
        core.turn.after.append(lambda: _tell(core, build))


def _tell(core: Core, build: machines.Build) -> None:
    core.dirty_builds.discard(build.id)
    for reader in [*build.waiters, *core.build_readers.get(build.image_id, ())]:
        reader.pump()


def last(core: Core, image_id: str, characters: int) -> str:
    """The end of what the step printed."""
    return builds.last(core.db, image_id, 8 + characters // 1024)[-characters:]


class Reading:
    """A position in the output of one build, read in batches as long as the other end takes more."""

    def __init__(self, core: Core, image_id: str) -> None:
        self._core = core
        self._image_id = image_id
        self._position = 0
        build = running(core, image_id)
        self._kept: excerpt.Excerpt | None = build.kept if build is not None else None

    def more(self) -> list[builds.Piece]:
        kept = self._kept
        if kept is not None and kept.missed(self._position):
            self._position = kept.given_up
            return [builds.Piece(kept.given_up, self._core.clock.now(), _TOO_FAST)]
        pieces = builds.after(self._core.db, self._image_id, self._position, _BATCH)
        if pieces:
            self._position = pieces[-1].n
        return pieces


class Pump:
    """Calls ``step`` while it returns True and the connection takes more; goes on by itself when it does again."""

    def __init__(self, incoming: peer.Incoming) -> None:
        self.incoming = incoming
        self._link: link.Link = incoming.peer  # type: ignore[assignment]
        self._waits = False

    def step(self) -> bool:
        """Send some. False: there is nothing now, or nothing any more."""
        raise NotImplementedError

    def pump(self) -> None:
        while self.incoming.open and not self._waits:
            if not self._link.writable:
                self._waits = True
                self._link.waiting.append(self._again)
                return
            if not self.step():
                return
            self._link.flush()

    def _again(self) -> None:
        self._waits = False
        self.pump()


class Follower(Pump):
    """One open ``image.logs``: layer after layer."""

    def __init__(self, core: Core, query: built.ImageLogs, incoming: peer.Incoming) -> None:
        super().__init__(incoming)
        self._core = core
        self._follow = query.get("follow", False)
        chain = _chain(core, query["image_id"])
        self._steps = len(chain)
        self._left = _chosen(list(enumerate(chain, 1)), query.get("layer", ""))
        self._reading: Reading | None = None
        self._registered = ""

    def start(self) -> None:
        self.incoming.on_cancel = self._leave
        self.pump()

    def step(self) -> bool:
        if not self._left:
            self.incoming.end()
            return False
        number, layer = self._left[0]
        if self._reading is None:
            self._reading = Reading(self._core, layer)
            self._enter(layer)
            self.incoming.item(self._head(number, layer))
            return True
        if pieces := self._reading.more():
            for piece in pieces:
                self.incoming.item({"kind": "log", "text": piece.text, "time": piece.time})
            return True
        if self._follow and running(self._core, layer) is not None:
            return False
        self.incoming.item(self._foot(layer))
        self._leave()
        self._reading = None
        del self._left[0]
        return True

    def _enter(self, layer: str) -> None:
        if self._follow:
            self._registered = layer
            self._core.build_readers.setdefault(layer, []).append(self)

    def _leave(self) -> None:
        readers = self._core.build_readers.get(self._registered, [])
        if self in readers:
            readers.remove(self)
            if not readers:
                del self._core.build_readers[self._registered]

    def _head(self, number: int, layer: str) -> built.ImageLogEvent:
        build, image = builds.by_image(self._core.db, layer), images.by_id(self._core.db, layer)
        command = build.command if build else decisions.command(image.recipe) if image else ""
        return {
            "kind": "layer", "image_id": layer, "command": command, "step": number, "steps": self._steps,
            "started_at": build.started_at if build else None,
        }  # fmt: skip

    def _foot(self, layer: str) -> built.ImageLogEvent:
        build, image = builds.by_image(self._core.db, layer), images.by_id(self._core.db, layer)
        if build is None:
            ended = image.built_at if image else None
            return {"kind": "end", "ended_at": ended, "error": None, "left_out": 0}
        return {"kind": "end", "ended_at": build.ended_at, "error": build.error, "left_out": build.left_out}


def _chain(core: Core, image_id: str) -> list[str]:
    """The steps from the base to this one, which need not have been built."""
    chain: list[str] = []
    step: str | None = image_id
    while step is not None and step not in chain:
        image, build = images.by_id(core.db, step), builds.by_image(core.db, step)
        if image is None and build is None:
            break
        chain.append(step)
        step = image.parent if image is not None else build.parent if build is not None else None
    if not chain:
        raise exception.NotFoundError(
            f"nothing is known of image {image_id}", hint="`windlass image list` shows what there is."
        )
    return chain[::-1]


def _chosen(numbered: list[tuple[int, str]], layer: str) -> list[tuple[int, str]]:
    if not layer:
        return numbered
    steps = len(numbered)
    wanted = int(layer) if layer.lstrip("-").isdecimal() else None
    found = [
        (number, image_id)
        for number, image_id in numbered
        if image_id == layer or (wanted is not None and wanted in (number, number - steps - 1))
    ]
    if not found:
        raise exception.NotFoundError(f"the image has no layer {layer[:60]!r}, only {steps} steps")
    return found

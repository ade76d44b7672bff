"""Log entries: stored in the order in which they arrive, then told to those who follow."""

from __future__ import annotations

from windlass.kit import ids
from windlass.server.apply import core as core_module
from windlass.server.bus import link
from windlass.server.state import machines, work
from windlass.server.store import calls, containers, logs
from windlass.wire import peer
from windlass.wire.messages import apps, workers

Core = core_module.Core
_BATCH = 500
_NO_CONTAINER = 0


class Follower:
    """One open stream of log entries: a position in the app's log."""

    __slots__ = ("app_id", "app_n", "core", "follow", "incoming", "link", "over", "position", "query")

    def __init__(self, core: Core, app_n: int, app_id: str, query: apps.LogQuery, incoming: peer.Incoming) -> None:
        self.core = core
        self.app_n = app_n
        self.app_id = app_id
        self.query = query
        self.incoming = incoming
        self.link: link.Link = incoming.peer  # type: ignore[assignment]
        self.follow = query.get("follow", False)
        tail = query.get("tail")
        self.position = query.get("after", 0) if tail is None else logs.tail_begin(core.db, app_n, query, tail)
        self.over = False

    def start(self) -> None:
        self.core.followers.setdefault(self.app_n, []).append(self)
        self.incoming.on_cancel = self.stop
        self.pump()

    def stop(self) -> None:
        if not self.over:
            self.over = True
            followers = self.core.followers.get(self.app_n, [])
            if self in followers:
                followers.remove(self)
            if not followers:
                self.core.followers.pop(self.app_n, None)

    def pump(self) -> None:
        """Send what is there; end when nothing more can come."""
        while not self.over:
            if not self.link.writable:
                self.link.waiting.append(self.pump)
                return
            entries, self.position = logs.after(
                self.core.db, self.app_n, self.app_id, self.query, self.position, _BATCH
            )
            if entries:
                self.incoming.item({"entries": entries, "position": self.position})
            if len(entries) < _BATCH:
                break
        if not self.over and not self.goes_on():
            self.incoming.end()
            self.stop()

    def goes_on(self) -> bool:
        """Whether more may come."""
        return self.follow and self.app_id in self.core.world.apps


def tell(core: Core, app_n: int) -> None:
    """After a commit: the app has new entries, or has stopped."""
    for follower in list(core.followers.get(app_n, ())):
        follower.pump()


def tell_later(core: Core, app_n: int) -> None:
    core.turn.begin()
    if app_n not in core.dirty_logs:
        core.dirty_logs.add(app_n)
        core.turn.after.append(lambda: _tell(core, app_n))


def _tell(core: Core, app_n: int) -> None:
    core.dirty_logs.discard(app_n)
    tell(core, app_n)


def store(core: Core, message: workers.WorkerLogs) -> None:
    """Entries of one container; a repeated piece is ignored."""
    past = containers.by_id(core.db, message["container_id"])
    if past is None or message["offset"] <= past.log_offset:
        return
    core.turn.begin()
    entries = [
        logs.New(
            past.app,
            past.function,
            past.n,
            _call(core, piece["input_id"]),
            piece["input_id"],
            piece["time"],
            piece["source"],
            _clean(piece["text"]),
        )
        for piece in message["entries"]
    ]
    _insert(core, entries)
    containers.set_log_offset(core.db, past.n, message["offset"])
    if (container := core.world.containers.get(message["container_id"])) is not None:
        container.log_offset = message["offset"]
    tell_later(core, past.app)


def _insert(core: Core, entries: list[logs.New]) -> None:
    logs.insert(core.db, core.counters.log, entries)
    core.counters.log += len(entries)


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _call(core: Core, input_id: str | None) -> str | None:
    if input_id is None or not ids.is_id(input_id, "in"):
        return None
    part = input_id[3:19]
    call = core.world.calls.get(part)
    if call is not None:
        return call.id
    row = calls.by_part(core.db, part)
    return row.id if row is not None else None


def system(core: Core, container: machines.Container, text: str) -> None:
    """The platform says something about a container."""
    _said(core, container, f"{container.function.spec['tag']}: {text}", None, None)


def function(core: Core, function: machines.Function, text: str) -> None:
    """The platform says something about a function, of which no container need be there."""
    core.turn.begin()
    said = f"{function.tag}: {_clean(text)}\n"
    _insert(core, [logs.New(function.app.n, function.n, _NO_CONTAINER, None, None, core.clock.now(), "system", said)])
    tell_later(core, function.app.n)


def attempt(core: Core, item: work.Input, text: str) -> None:
    """The platform says something about an attempt, while it is still its container's."""
    if item.container is not None:
        _said(core, item.container, text, item.call.id, item.id)


def _said(core: Core, container: machines.Container, text: str, call: str | None, input_id: str | None) -> None:
    core.turn.begin()
    function = container.function
    now = core.clock.now()
    entry = logs.New(function.app.n, function.n, container.n, call, input_id, now, "system", _clean(text) + "\n")
    _insert(core, [entry])
    tell_later(core, function.app.n)

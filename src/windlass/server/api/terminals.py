"""``terminal.*``: users lend their terminal, containers borrow it."""

from __future__ import annotations

from windlass import exception
from windlass.server.api import apps, door
from windlass.server.apply import terminals as actions
from windlass.server.state import terminals
from windlass.wire import peer
from windlass.wire.messages import terminals as messages

Core = door.Core


@door.handler("terminal.attach", "app_id")
def attach(core: Core, who: door.Who, body: messages.TerminalAttach, incoming: peer.Incoming) -> None:
    actions.attach(core, apps.living(core, body["app_id"]), body, incoming)


@door.handler("terminal.input", "terminal_id")
def feed(core: Core, who: door.Who, body: messages.TerminalInput, incoming: peer.Incoming) -> None:
    actions.feed(_current(core, body["terminal_id"]), body, incoming)


@door.handler("terminal.open")
def open(core: Core, who: door.Who, body: messages.TerminalOpen, incoming: peer.Incoming) -> None:
    assert who.container is not None
    if body["input_id"] not in who.container.held:
        raise exception.ConflictError("the input that asks for a terminal does not run here any more")
    actions.open(core, who.container, body["input_id"], incoming)


@door.handler("terminal.output")
def show(core: Core, who: door.Who, body: messages.TerminalOutput, incoming: peer.Incoming) -> None:
    terminal = _current(core, body["terminal_id"])
    if who.container is None or who.container.id != terminal.container_id:
        raise exception.PermissionDeniedError("another container has this terminal")
    actions.show(terminal, incoming)


def _current(core: Core, identity: str) -> terminals.Terminal:
    terminal = core.terminals.by_id.get(identity)
    if terminal is None or terminal.desk.current is not terminal:
        raise exception.NotFoundError("this terminal is not attached any more")
    return terminal

"""Lending a client's terminal to its app's containers: one has it, the others wait for their turn.

    opened ─► waiting ─ turn ─► current ─► closed
                 └── too long ─► InteractiveTimeoutError
"""

from __future__ import annotations

from windlass import exception
from windlass.kit import ids
from windlass.server.apply import core as core_module
from windlass.server.bus import link
from windlass.server.state import machines, terminals
from windlass.wire import peer
from windlass.wire.messages import terminals as messages

Core = core_module.Core


def attach(core: Core, app: machines.App, about: messages.TerminalAttach, incoming: peer.Incoming) -> None:
    """From now on ``incoming`` hears of what the app's containers want of its terminal."""
    desk = terminals.Desk(about, incoming)
    before = core.terminals.desks.get(app.id)
    core.terminals.desks[app.id] = desk
    if before is not None:  # the same client, whose earlier connection is not known to be lost yet
        _abandon(core, before)
        before.incoming.end()
    incoming.on_cancel = lambda: leave(core, app.id, desk)
    incoming.item({"event": "attached"})


def leave(core: Core, app_id: str, desk: terminals.Desk) -> None:
    """The client lends its terminal no more."""
    if core.terminals.desks.get(app_id) is desk:
        del core.terminals.desks[app_id]
    _abandon(core, desk)


def _abandon(core: Core, desk: terminals.Desk) -> None:
    held = [*desk.waiting, *([desk.current] if desk.current is not None else [])]
    desk.current, desk.waiting = None, []
    for terminal in held:
        _forget(core, terminal)
        terminal.incoming.fail(exception.ServiceError("the user's terminal is gone"))


def open(core: Core, container: machines.Container, input_id: str, incoming: peer.Incoming) -> None:
    """Lend the terminal to ``container`` for one of its inputs, as soon as it is free."""
    desk = core.terminals.desks.get(container.function.app.id)
    if desk is None:
        raise exception.InvalidError(
            "there is no terminal to attach: this app does not run interactively",
            hint="Start it with `windlass run -i`.",
        )
    terminal = terminals.Terminal(ids.new("tt"), container.id, input_id, desk, incoming)
    core.terminals.by_id[terminal.id] = terminal
    incoming.on_cancel = lambda: close(core, terminal)
    if desk.current is None:
        _lend(terminal)
    else:
        desk.waiting.append(terminal)
        terminal.timer = core.tasks.start(_expire(core, terminal), f"wait for terminal {terminal.id}")


def _lend(terminal: terminals.Terminal) -> None:
    desk = terminal.desk
    desk.current = terminal
    size: messages.TerminalKeys = {
        "terminal_id": terminal.id,
        "rows": desk.about.get("rows", 24),
        "cols": desk.about.get("cols", 80),
        "term": desk.about.get("term", ""),
    }
    terminal.incoming.item(size)
    desk.incoming.item({"event": "open", "terminal_id": terminal.id, "container_id": terminal.container_id})


async def _expire(core: Core, terminal: terminals.Terminal) -> None:
    await core.clock.sleep(core.settings.terminal_patience)
    terminal.timer = None
    close(core, terminal)
    terminal.incoming.fail(
        exception.InteractiveTimeoutError(
            f"another container had the terminal for {core.settings.terminal_patience:g} s",
            hint="One terminal serves one container at a time.",
        )
    )


def close(core: Core, terminal: terminals.Terminal) -> None:
    """The container gives it back; the next one has it."""
    _forget(core, terminal)
    desk = terminal.desk
    if desk.current is not terminal:
        if terminal in desk.waiting:
            desk.waiting.remove(terminal)
        return
    desk.current = None
    desk.incoming.item({"event": "close", "terminal_id": terminal.id})
    if desk.waiting:
        following = desk.waiting.pop(0)
        _stop_timer(following)
        _lend(following)


def returned(core: Core, input_id: str) -> None:
    """The input has ended. The container gives the terminal back by itself, but on another connection than that of its
    results: the caller hears of it before he has the result, and his program may ask something there at once."""
    for terminal in [one for one in core.terminals.by_id.values() if one.input_id == input_id]:
        waits = terminal is not terminal.desk.current
        close(core, terminal)
        if waits:
            terminal.incoming.fail(exception.ConflictError("the input that asks for a terminal has ended"))


def _forget(core: Core, terminal: terminals.Terminal) -> None:
    core.terminals.by_id.pop(terminal.id, None)
    _stop_timer(terminal)


def _stop_timer(terminal: terminals.Terminal) -> None:
    timer, terminal.timer = terminal.timer, None
    if timer is not None:
        timer.cancel()


def show(terminal: terminals.Terminal, incoming: peer.Incoming) -> None:
    """Output of the container that has it. Answered when the client has room for more."""
    desk = terminal.desk
    desk.incoming.item({"event": "data", "terminal_id": terminal.id}, incoming.attachments)
    _answer_when_sent(desk.incoming, incoming)


def feed(terminal: terminals.Terminal, body: messages.TerminalInput, incoming: peer.Incoming) -> None:
    """Keys for the container that has it."""
    if "rows" in body and "cols" in body:
        terminal.desk.about.update({"rows": body["rows"], "cols": body["cols"]})
    terminal.incoming.item(body, incoming.attachments)
    _answer_when_sent(terminal.incoming, incoming)


def _answer_when_sent(target: peer.Incoming, incoming: peer.Incoming) -> None:
    connection = target.peer
    assert isinstance(connection, link.Link)
    connection.flush()
    if connection.writable or not target.open:
        incoming.reply({})
    else:
        connection.waiting.append(lambda: incoming.reply({}))

"""Ports of sandboxes: opened when somebody asks for them, there again after a restart, closed with the sandbox."""

from __future__ import annotations

import asyncio
import functools
import secrets
from typing import NamedTuple

from windlass import exception
from windlass.kit import tasks
from windlass.server.apply import core as core_module
from windlass.server.apply import sandboxes as actions
from windlass.server.apply import web
from windlass.server.decide import ports
from windlass.server.ingress import inside, tunnels
from windlass.server.state import sandboxes as state
from windlass.server.store import sandboxes


class _Opened(NamedTuple):
    told: sandboxes.Port
    listeners: list[tunnels.Tunnel]


class Ports:
    """Those of all sandboxes, by sandbox."""

    def __init__(self, core: core_module.Core, table: tunnels.Tunnels, owner: tasks.Tasks) -> None:
        self._core = core
        self._tunnels = table
        self._owner = owner
        self._opened: dict[str, list[_Opened]] = {}

    def resume(self) -> None:
        """Those that were open before this server began."""
        for one in list(self._core.world.sandboxes.values()):
            if one.spec.get("ports") and sandboxes.ports(self._core.db, one.n):
                self.of(one)

    def of(self, one: state.Sandbox) -> list[sandboxes.Port]:
        """Where the ports of a sandbox are. Raises ``ResourceExhaustedError``, ``ConflictError`` for one that has ended
        while somebody waited: nobody would close them."""
        if not one.alive:
            raise exception.ConflictError(f"sandbox {one.id} has finished")
        opened = self._opened.get(one.id)
        if opened is None:
            before = {kept.port: kept for kept in sandboxes.ports(self._core.db, one.n)}
            opened = []
            try:
                for asked in one.spec.get("ports", []):
                    opened.append(self._open(one, asked["port"], asked["kind"], before.get(asked["port"])))
            except exception.Error:
                self._close(opened)
                raise
            self._opened[one.id] = opened
            self._note(one, opened)
        return [each.told for each in opened]

    def _note(self, one: state.Sandbox, opened: list[_Opened]) -> None:
        if opened:
            self._core.turn.begin()
        for each in opened:
            sandboxes.put_port(self._core.db, one.n, each.told)

    def _open(self, one: state.Sandbox, port: int, kind: str, before: sandboxes.Port | None) -> _Opened:
        if domain := one.spec.get("custom_domain", ""):
            host = before.host if before else f"{secrets.token_hex(8)}.{domain}"
        else:
            host, _ = web.front(self._core)
        first = self._listen(one, port, ports.TLS if kind == ports.TCP else kind, before.number if before else 0)
        if kind != ports.TCP:
            return _Opened(sandboxes.Port(port, host, first.port, 0), [first])
        try:
            second = self._listen(one, port, ports.TCP, before.raw if before else 0)
        except exception.Error:
            self._tunnels.close(first)
            raise
        return _Opened(sandboxes.Port(port, host, first.port, second.port), [first, second])

    def _listen(self, one: state.Sandbox, port: int, kind: str, wanted: int) -> tunnels.Tunnel:
        made: list[tunnels.Tunnel] = []

        def visit(number: int, ticket: str) -> None:
            self._owner.start(self._fetch(one.id, port, made[0], number, ticket), "visitor of a sandbox")

        busy = functools.partial(actions.visited, self._core, one.id)
        made.append(self._tunnels.open(
            one.id, visit, kind, allowed=one.spec.get("inbound_cidrs"), busy=busy, wanted=wanted
        ))  # fmt: skip
        return made[0]

    async def _fetch(self, sandbox_id: str, port: int, tunnel: tunnels.Tunnel, number: int, ticket: str) -> None:
        try:
            await inside.call(self._core, sandbox_id, port, ticket)
        except (exception.Error, asyncio.TimeoutError):
            tunnel.refuse(number)  # a connection that ends at once is all that TCP can say

    def forget(self, one: state.Sandbox) -> None:
        """It has ended: its ports with all that is connected to them."""
        opened = self._opened.pop(one.id, None)
        if opened is not None:
            self._close(opened)

    def _close(self, opened: list[_Opened]) -> None:
        for each in opened:
            for listener in each.listeners:
                self._tunnels.close(listener, all_of_them=True)

"""Who asks: the peer of the connection, or whom a trusted proxy names."""

from __future__ import annotations

from aiohttp import web as http

from windlass.server.decide import fronts


class Fronts:
    """``trusted``: networks whose word counts."""

    def __init__(self, trusted: str) -> None:
        self._trusted = fronts.networks(trusted)
        self._known: dict[str, bool] = {}

    @property
    def believes(self) -> bool:
        """Whether there is anybody whose word counts: then each request may be of somebody else."""
        return bool(self._trusted)

    def client(self, request: http.BaseRequest, hosts: list[str]) -> fronts.Client:
        transport = request.transport
        peer = transport.get_extra_info("peername") if transport is not None else None
        address, port = (peer[0], peer[1]) if isinstance(peer, tuple) and len(peer) >= 2 else ("", 0)
        found = fronts.Client(address, port, request.scheme, hosts[0] if hosts else "")
        if not self._trusted or not self._trusts(address):
            return found
        headers = request.headers
        return fronts.client(
            self._trusted, found, forwarded=headers.getall("X-Forwarded-For", []),
            scheme=headers.get("X-Forwarded-Proto"), host=headers.get("X-Forwarded-Host"),
        )  # fmt: skip

    def _trusts(self, address: str) -> bool:
        known = self._known.get(address)
        if known is None:
            if len(self._known) > 10_000:
                self._known.clear()
            known = self._known[address] = fronts.trusts(self._trusted, address)
        return known

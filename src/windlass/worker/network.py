"""Networks of containers: some are kept ready, because making one takes longer than a container may take to start.

    container ── eth0 198.19.x.y ═══ wc<slot> ── node (rules of ``egress.py``) ── uplink

There is no bridge: each container has its own link to the node, with single addresses and host routes at both ends, so
there is no neighbour to listen to. Who has a network stands in a file beside it (``<slot>.owner``), and what its plan
says of it in another one (``<slot>.plan``): by these the next worker finds the networks of living containers and what
they may reach. Until then the kernel keeps to the rules, and nothing passes the relay.
"""
from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, cast

from windlass import exception
from windlass.kit import clock, files, tasks
from windlass.wire.messages import network as messages
from windlass.wire.messages import proxies as proxy_messages
from windlass.worker import changes, denials, domains, egress, limits, netns, node, release, sources, uplink

_log = logging.getLogger(__name__)
_FIRST, _LAST = 2, 65_000  # slots; slot 1 would be the gateway
_TOLD = 30  # refusals of one container in a minute
_RETRY = 1.0  # seconds after a failed attempt to fill up
_LOOK = 10.0  # seconds between two looks at the machine's own addresses and name servers
_HOSTS = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"
_PRIVATE_NAME = "i6pn.modal.local"  # as programs look their own address up
_RESOLV_CONF = Path("/etc/resolv.conf")
_PART = "+"  # in the name of an owner, after the container's


class Network(NamedTuple):
    """What one container gets. ``path``: the namespace. ``sys``: what to show as /sys. ``address`` is "" where there is
    only loopback."""

    path: Path
    sys: Path
    address: str
    resolv_conf: str
    hosts: str


class NetworkPool:
    """All networks of containers in this node. Inside the node.

    Example:
        async with NetworkPool(node.load(home)) as pool:
            async with pool.lease("ta-...", block_network=False) as net:
                ...
    """

    def __init__(
        self, place: node.Node, *, size: int = 8, time: clock.Clock | None = None,
        resolve: Callable[[str], Awaitable[list[str]]] = domains.addresses,
        outside: Callable[[int], socket.socket] = socket.socket,
    ) -> None:  # fmt: skip
        """``outside``: gives a socket in the machine's network."""
        self._node = place
        self._size = size if place.uplink.kind != "none" else 0
        self._time = time or clock.SystemClock()
        self._maker = netns.Maker(mtu=place.uplink.mtu)
        self._thread = ThreadPoolExecutor(1, "network")  # one after the other: the kernel does no two at once
        self._outside = outside
        self._changes = changes.Changes(self._thread, egress.change)
        self._ready: list[int] = []
        self._owned: dict[str, Path] = {}
        self._plans: dict[Path, limits.Plan] = {}
        self.say: Callable[[str, str], None] = lambda container_id, text: None
        """Tells a container's log what it was refused."""
        self._domains = domains.Domains(self._guest, closed=self._closed, say=self._told, resolve=resolve)
        self._denials = denials.Denials(self._denied)
        self._minute, self._said = 0, Counter[str]()
        self._parts = contextlib.AsyncExitStack()
        self._next = _FIRST
        self._wanted = asyncio.Event()
        self._tasks = tasks.Tasks()
        self._resolvers = place.uplink.resolvers
        self._host_addresses = frozenset(place.host_addresses)
        self._look_at = 0.0
        self._resolv_changed = _changed(_RESOLV_CONF)

    async def __aenter__(self) -> NetworkPool:
        self._maker.__enter__()
        self._find()
        if self._size:
            self._maker.open_gateway()
            await self._run(self._establish)
            self._parts.enter_context(self._denials)
            await self._parts.enter_async_context(self._domains)
        self._tasks.start(self._fill(), "networks kept ready")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Networks stay, for containers that go on and for the next worker."""
        await self._tasks.close()
        await self._parts.aclose()
        await asyncio.to_thread(self._thread.shutdown)
        self._maker.__exit__(kind, exc, tb)

    @contextlib.asynccontextmanager
    async def lease(
        self, container_id: str, *, block_network: bool, plan: messages.NetworkPlan | None = None
    ) -> AsyncIterator[Network]:
        """A network for this container alone; the one it has already where an earlier worker gave it one.

        Given back on leaving, except by cancellation (see ``release.on_end``).

        Raises:
            ExecutionError: what ``plan`` says cannot be had here.
        """
        file = self._owned.get(container_id)
        found = file is not None
        if file is None:
            file = await self._take(container_id, block_network=block_network)
        with release.on_end(lambda: self._give_back(container_id)):
            if plan and not found:
                await self._restrict(file, plan)
            yield self._describe(file)

    @contextlib.asynccontextmanager
    async def place(
        self, container_id: str, *, block_network: bool, plan: messages.NetworkPlan | None = None
    ) -> AsyncIterator[Network]:
        """An address for a namespace that is still to be made, and then to be linked (``link``). Given back as by
        ``lease``."""
        linked = not block_network and self._size
        file = self._node.netns / f"{'' if linked else 'b'}{self._slot()}"
        files.create(str(file), b"", 0o600)
        files.create(f"{file}.owner", container_id.encode())
        self._owned[container_id] = file
        with release.on_end(lambda: self._give_back(self._holder(file))):
            if plan:
                await self._restrict(file, plan)
            yield self._describe(file)

    def rename(self, before: str, container_id: str) -> None:
        """Whose a place is from now on."""
        file = self._owned.pop(before)
        _owner(file).write_text(container_id)
        self._owned[container_id] = file

    async def link(self, container_id: str, namespace: Path) -> None:
        """Connect the namespace of a container that has its place."""
        file = self._owned[container_id]
        slot = int(file.name) if file.name.isdigit() else None
        await self._run(lambda: self._maker.link(file, slot, namespace))

    def retain(self, living: Iterable[str]) -> None:
        """Give back the networks of all containers but ``living``."""
        known = set(living)
        for name in [name for name in self._owned if name.partition(_PART)[0] not in known]:
            self._give_back(name)

    async def _take(self, container_id: str, *, block_network: bool) -> Path:
        if block_network or not self._size:
            file = self._node.netns / f"b{self._slot()}"
            await self._run(lambda: self._maker.make(file, None))
        else:
            slot = self._ready.pop(0) if self._ready else await self._open()
            file = self._node.netns / str(slot)
            self._wanted.set()
        _owner(file).write_text(container_id)
        self._owned[container_id] = file
        return file

    def _give_back(self, container_id: str) -> None:
        """In the background: the kernel takes its time, and nobody waits for it."""
        file = self._owned.pop(container_id)
        self._thread.submit(netns.drop, file)
        if (plan := self._plans.pop(file, None)) is not None:
            self._changes.make(limits.closed(int(file.name), plan)).add_done_callback(lambda done: _forget(file, done))
        _owner(file).unlink(missing_ok=True)

    def _holder(self, file: Path) -> str:
        """Whose it is now."""
        return next(name for name, own in self._owned.items() if own == file)

    # -- lists of single containers ------------------------------------------------------------------------

    async def _restrict(self, file: Path, plan: messages.NetworkPlan) -> None:
        """Before anything runs in it. The file comes first: rules without one would stay for ever."""
        if not file.name.isdigit():
            if "source" in plan or "address" in plan:
                raise exception.UnimplementedError("neither proxies nor i6pn: containers have no network here")
            return  # with loopback only, nothing is left to forbid
        if plan.get("domains") and not self._domains.serves:
            raise exception.ExecutionError("lists of domains cannot be served here now; see the worker's log")
        own = cast("limits.Plan", dict(plan))
        if "source" in plan:
            own["source"] = self._source(plan["source"])
        if "address" in plan:
            own["mark"] = self._mark(plan["group"])
        _plan(file).write_text(json.dumps(own))
        self._plans[file] = own
        await asyncio.wrap_future(self._changes.make(limits.opened(int(file.name), own)))
        if "address" in own:
            await self._run(lambda: self._maker.privately(file, int(file.name), own["address"]))

    def _mark(self, group: str) -> int:
        """The number of a group: that of a member, or the first that nobody has."""
        taken = {plan["mark"]: plan["group"] for plan in self._plans.values() if "mark" in plan}
        same = [mark for mark, other in taken.items() if other == group]
        return same[0] if same else next(mark for mark in range(1, len(taken) + 2) if mark not in taken)

    def _source(self, address: str) -> str:
        if self._node.uplink.kind != "veth":
            raise exception.UnimplementedError(f"no proxies: {sources.WHY[self._node.uplink.kind]}")
        return sources.inner(self._node.home, address, self._is_there)

    def _is_there(self, address: str) -> bool:
        """Whether the machine has an address at this moment: only then can a socket be bound to it."""
        with self._outside(socket.AF_INET) as probe:
            try:
                probe.bind((address, 0))
            except OSError:
                return False
        return True

    @property
    def kind(self) -> str:
        """How the node is connected: "veth", "slirp" or "none"."""
        return self._node.uplink.kind

    def addresses(self) -> proxy_messages.NetworkAddresses:
        """Those of the machine by which containers may leave."""
        known = sources.load(self._node.home)["there"] if self._node.uplink.kind == "veth" else []
        found = sorted(filter(self._is_there, known))
        return {"addresses": found, "why": "" if found else sources.WHY[self._node.uplink.kind]}

    def _guest(self, address: str) -> domains.Guest | None:
        file = self._node.netns / str(netns.slot(address))
        plan = self._plans.get(file, {})
        if not plan.get("domains"):
            return None
        return domains.Guest(self._holder(file), plan["domains"], plan.get("source", ""))

    def _closed(self, address: str) -> bool:
        return egress.closed(address, self._host_addresses)

    def _denied(self, link: str, what: str) -> None:
        file = self._node.netns / link.removeprefix("wc")
        if file in self._plans:
            self._told(self._holder(file), f"refused by its lists of what it may reach: {what}")

    def _told(self, container_id: str, text: str) -> None:
        """A container that tries and tries fills no logs."""
        minute = int(self._time.monotonic() // 60)
        if minute != self._minute:
            self._minute, self._said = minute, Counter()
        self._said[container_id] += 1
        if self._said[container_id] <= _TOLD:
            self.say(container_id, text)
        elif self._said[container_id] == _TOLD + 1:
            self.say(container_id, "more refusals of this minute are not told")

    async def _fill(self) -> None:
        while True:
            self._wanted.clear()
            try:
                while len(self._ready) < self._size:
                    self._ready.append(await self._open())
                if self._size and self._time.monotonic() >= self._look_at:  # not for each container that starts
                    await self._follow_machine()
                    self._look_at = self._time.monotonic() + _LOOK
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._wanted.wait(), _LOOK)
            except OSError as exc:
                _log.warning("no network could be made: %s", exc)
                await self._time.sleep(_RETRY)

    async def _open(self) -> int:
        """Make a network with a way out. Where the caller is cancelled meanwhile, it is there for the next one."""
        slot = self._slot()
        making = asyncio.wrap_future(self._thread.submit(self._maker.make, self._node.netns / str(slot), slot))
        try:
            await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(lambda made: None if made.exception() else self._ready.append(slot))
            raise
        return slot

    def _slot(self) -> int:
        """Slots go round: an address is not given again while connections of its last owner are remembered."""
        while True:
            slot = self._next
            self._next = slot + 1 if slot < _LAST else _FIRST
            taken = any(os.path.exists(f"{self._node.netns}/{name}{slot}") for name in ("", "b"))  # noqa: PTH110
            if slot % 256 not in (0, 255) and not taken:
                return slot

    def _find(self) -> None:
        """What an earlier worker left: ready networks and those of its containers; half-made ones are removed."""
        for file in [file for file in self._node.netns.iterdir() if not file.suffix]:
            owner = _owner(file)
            if not netns.whole(file):
                netns.drop(file)
                owner.unlink(missing_ok=True)
                _plan(file).unlink(missing_ok=True)
            elif owner.exists():
                self._owned[owner.read_text()] = file
                if _plan(file).exists():
                    self._plans[file] = json.loads(_plan(file).read_text())
            elif file.name.isdigit():
                self._ready.append(int(file.name))
            else:
                netns.drop(file)
            self._next = max(self._next, int(file.name.lstrip("b")) + 1)
        self._ready.sort()

    async def _follow_machine(self) -> None:
        """A machine that moves gets other name servers and addresses. What is open on port 53 moves along; an address
        is closed from then on, and those that it had stay so."""
        found = self._host_addresses | {*uplink.host_addresses(self._outside)}
        names = self._resolvers
        if self._node.uplink.kind == "veth" and self._resolv_changed != _changed(_RESOLV_CONF):
            self._resolv_changed = _changed(_RESOLV_CONF)
            names = tuple(uplink.reachable_resolvers()) or names
        if (found, names) != (self._host_addresses, self._resolvers):
            self._host_addresses, self._resolvers = found, names
            await self._run(self._establish)

    def _establish(self) -> None:
        own = [limits.opened(int(file.name), plan) for file, plan in list(self._plans.items())]
        egress.establish(resolvers=self._resolvers, host_addresses=sorted(self._host_addresses), own=own)

    def _describe(self, file: Path) -> Network:
        own = netns.address(int(file.name)) if file.name.isdigit() else ""
        names = "".join(f"nameserver {name}\n" for name in self._resolvers) if own else ""
        private = self._plans.get(file, {}).get("address")
        hosts = f"{_HOSTS}{private} {_PRIVATE_NAME}\n" if private else _HOSTS
        return Network(file, netns.sysfs(file), own, resolv_conf=names, hosts=hosts)

    async def _run(self, function: Callable[[], None]) -> None:
        await asyncio.wrap_future(self._thread.submit(function))


def of_part(container_id: str, number: int) -> str:
    """The owner of a network that belongs to something that a container has, and goes with the container."""
    return f"{container_id}{_PART}{number}"


def _owner(file: Path) -> Path:
    return file.with_name(f"{file.name}.owner")


def _plan(file: Path) -> Path:
    return file.with_name(f"{file.name}.plan")


def _forget(file: Path, done: futures.Future[None]) -> None:
    """The rules of a container that is gone were taken away."""
    if not done.cancelled() and (exc := done.exception()) is not None:  # the next table is made without them
        _log.warning("rules of %s stay for now: %s", file.name, exc)
    _plan(file).unlink(missing_ok=True)


def _changed(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return 0.0

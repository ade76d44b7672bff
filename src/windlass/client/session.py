"""The connection to the platform: made on first need, made again when lost, shared by everything in the process.

Every request of the SDK may be repeated (identities are chosen by the client), so a lost connection costs
time, not correctness: ``request`` repeats until the server answers, ``stream`` lets its reader resume.
Lives on the library's loop.
"""
from __future__ import annotations

import asyncio
import contextlib
import math
import os
import time
from collections.abc import AsyncGenerator, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

import windlass
from windlass import config, exception, wire
from windlass.client import address, diary, lane, listener, numbers, output
from windlass.kit import tasks
from windlass.wire import buffered, codec, peer, versions
from windlass.wire.messages import common

if TYPE_CHECKING:
    pass

START_PATIENCE = 60.0
"""Seconds to wait for a platform that is being started or restarted, before anything was ever reached."""

RESTART_PATIENCE = 120.0
"""Seconds for which a request survives a lost connection."""

_WELL = 5.0  # seconds that a connection lives: its loss is another outage than the one before
_START = 500.0  # seconds; longer than `windlass server start` waits, which then says more
_SILENCE = 3.0  # seconds that a server may take to be started again before anybody is told
_DELAYS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0)


class Session:
    """One process's connection. ``request``, ``stream`` and ``post`` connect by themselves."""

    def __init__(self, where: address.Address) -> None:
        self._address = where
        self._peer: peer.Peer | None = None
        self._connecting = asyncio.Lock()
        self._started = False
        self._closed = False
        self._absent: exception.ConnectionError | None = None  # why nothing was reached at last
        self._absent_at = 0.0
        self.tasks = tasks.Tasks(on_failure=lambda name, exc: None)
        """Owner of what runs beside the user's calls; each reports its own failures."""
        self.hello: common.HelloReply | None = None
        self.numbers = numbers.Numbers()
        self.lane = lane.Lane(where)

    # -- exchanges ------------------------------------------------------------------------------------

    async def request(self, method: str, body: Any, attachments: Sequence[codec.Bytes] = ()) -> peer.Reply:
        """Ask; repeat while the platform is unreachable, or says that this comes too fast."""
        patience, pace = Patience(), Pace()
        diary.note(diary.DEBUG, "asking %s", method)
        while True:
            try:
                return await (await self.link()).request(method, body, attachments)
            except exception.ServiceError as exc:
                diary.note(diary.INFO, "asking %s again: %s", method, exc)
                await patience.wait(exc)
            except exception.ThrottledError as exc:
                await pace.wait(exc)

    async def stream(
        self, method: str, body: Any, attachments: Sequence[codec.Bytes] = ()
    ) -> AsyncGenerator[peer.Reply, None]:
        """Items of one stream on one connection. Raises ``ServiceError`` when it is lost: the caller resumes."""
        pace, begun = Pace(), False
        diary.note(diary.DEBUG, "following %s", method)
        while True:
            link = await self.link()
            try:
                async with contextlib.aclosing(link.stream(method, body, attachments)) as items:
                    async for item in items:
                        begun = True
                        yield item
                return
            except exception.ThrottledError as exc:
                if begun:
                    raise
                await pace.wait(exc)

    async def link(self) -> peer.Peer:
        """The connection, made if need be."""
        return self.at_hand or await self.connect()

    @property
    def at_hand(self) -> peer.Peer | None:
        """The connection, if there is one now."""
        link = self._peer
        return link if link is not None and link.connected else None

    def post(self, coro: Coroutine[Any, Any, object], name: str) -> None:
        """Run something beside the user's calls, without waiting for it."""
        self.tasks.start(coro, name)

    def post_request(self, method: str, body: Any) -> None:
        """Send a request whose answer matters to nobody, such as a cancellation."""
        self.post(self.request(method, body), method)

    # -- connection -----------------------------------------------------------------------------------

    @property
    def is_beside(self) -> bool:
        """Whether the platform is on this machine, and sees its files."""
        return self._address.remote is None

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def connected(self) -> bool:
        return self._peer is not None and self._peer.connected

    async def connect(self) -> peer.Peer:
        """A connection that has said hello. Starts the platform where that is allowed and nobody listens."""
        began = time.monotonic()
        async with self._connecting:
            if self._closed:
                raise exception.ClientClosed("the client was closed")
            if self._peer is not None and self._peer.connected:
                return self._peer
            if self._absent is not None and began < self._absent_at:
                # All who waited meanwhile have waited as long: one after the other they would wait for minutes.
                raise exception.ConnectionError(str(self._absent), hint=self._absent.hint) from self._absent
            link = await self._reach_or_note()
            try:
                await self._greet(link)
            except BaseException:
                link.close()
                raise
            self._peer = link
            return link

    async def close(self) -> None:
        self._closed = True
        self.lane.close()
        await self.tasks.close()
        if self._peer is not None:
            self._peer.close()

    async def _reach_or_note(self) -> peer.Peer:
        try:
            return await self._reach()
        except exception.ConnectionError as exc:
            self._absent, self._absent_at = exc, time.monotonic()
            raise

    async def _reach(self) -> peer.Peer:
        patience, told = Patience(START_PATIENCE, calm=math.inf), False
        while True:
            try:
                link = await self._connected()
                if self._started or told:
                    output.current().status("")
                return link
            except PermissionError as exc:
                raise exception.ConnectionError(
                    f"no permission to use the platform's socket {self._address.socket}",
                    hint="The platform was started by another user. Set WINDLASS_HOME to a folder of your own.",
                ) from exc
            except OSError as exc:
                await self._start_platform()
                if self.hello is not None and not told and patience.waited > _SILENCE:
                    told = True
                    output.current().status("The platform has stopped answering; waiting for it to come back")
                await patience.wait(
                    exception.ConnectionError(
                        f"the platform does not answer at {self._address.shown}: {exc.strerror or exc}",
                        hint="`windlass server status` and `windlass server logs` say why."
                        if self.is_beside
                        else "Is it running, and is server_url right? `windlass server status` on its machine says.",
                    )
                )

    async def _connected(self) -> peer.Peer:
        if self._address.remote is not None:
            return await self._connected_elsewhere()
        loop = asyncio.get_running_loop()
        transport, link = await loop.create_unix_connection(_Beside, self._address.socket)
        if self._address.home is not None:
            with contextlib.ExitStack() as refused:
                refused.callback(transport.abort)
                listener.check(transport.get_extra_info("socket"), self._address.socket, self._address.home)
                refused.pop_all()
        return link

    async def _connected_elsewhere(self) -> peer.Peer:
        """At the first of the platform's addresses that answers. Raises what the first of them had to say."""
        from windlass.client.remote import keeper

        failed: Exception | None = None
        for where in self._address.places:
            try:
                return await keeper.connect(where, self.tasks, lambda text: output.current().status(text))
            except (OSError, exception.ConnectionError) as exc:
                diary.note(diary.INFO, "nobody at %s: %s", where.origin, exc)
                failed = failed or exc
        assert failed is not None
        raise failed

    async def _greet(self, link: peer.Peer) -> None:
        reply: common.HelloReply = (await link.request("hello", dict(self._address.hello))).body
        if versions.spoken(wire.PROTOCOL, reply["protocol"]) is None:
            raise versions.refused((reply["version"], reply["protocol"]), (windlass.__version__, wire.PROTOCOL))
        self.hello = reply
        diary.note(diary.INFO, "connected to %s, which runs Windlass %s", self._address.shown, reply["version"])

    async def _start_platform(self) -> None:
        # Once reached, it is the supervisor's business to bring it back.
        if self._started or self.hello is not None or not self._address.autostart:
            return
        self._started = True
        output.current().status("Starting the local platform")
        for line in (await asyncio.get_running_loop().run_in_executor(None, start_platform)).splitlines():
            output.current().notice(line)


class _Beside(peer.Peer, buffered.Buffered):
    """The end of a connection to the platform of this machine."""


class Patience:
    """Growing waits up to a limit, after which the error is raised.

    What went on for ``calm`` seconds after a wait was well again, and so was a connection that had lived: an error
    after that begins another limit, so that a call of hours outlives any number of restarts of the platform. The making
    of a connection knows no such thing.
    """

    def __init__(self, limit: float = RESTART_PATIENCE, *, calm: float = START_PATIENCE) -> None:
        self._limit = limit
        self._calm = calm
        self._deadline = 0.0
        self._waited_at = 0.0
        self._turn = 0

    @property
    def waited(self) -> float:
        """Seconds since the first failure."""
        return time.monotonic() - self._deadline + self._limit if self._deadline else 0.0

    async def wait(self, error: exception.Error) -> None:
        now = time.monotonic()
        was_well = isinstance(error, peer.ConnectionLost) and error.lived > _WELL and self._calm < math.inf
        if not self._deadline or was_well or now - self._waited_at > self._calm:
            self._deadline, self._turn = now + self._limit, 0
        elif now > self._deadline:
            raise error
        delay = _DELAYS[min(self._turn, len(_DELAYS) - 1)]
        self._turn += 1
        await asyncio.sleep(delay)
        self._waited_at = time.monotonic()


class Pace:
    """Waits as long as the platform says, up to ``max_throttle_wait`` seconds in all."""

    def __init__(self) -> None:
        self._waited = 0.0

    async def wait(self, error: exception.ThrottledError) -> None:
        most: float | None = config.config["max_throttle_wait"]
        if most is not None and self._waited + error.retry_after > most:
            raise error
        self._waited += error.retry_after
        diary.note(diary.INFO, "waiting for %.1f s: %s", error.retry_after, error)
        await asyncio.sleep(error.retry_after)


def start_platform() -> str:
    """Run ``windlass server start``: it returns when the platform is up, or says why not.

    Gives what it says of things that this machine lacks.
    """
    import subprocess
    import sys

    command = [sys.executable, "-m", "windlass.cli", "server", "start"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_START)
    except subprocess.TimeoutExpired:
        raise exception.ConnectionError(
            f"the local platform did not start within {_START:.0f} s", hint="See `windlass server logs`."
        ) from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise exception.ConnectionError(
            f"the local platform could not be started:\n{said}" if said else "the local platform could not be started",
            hint="`windlass doctor` says what this machine lacks; `windlass server logs` what happened.",
        )
    return done.stderr


_current: Session | None = None


def current() -> Session:
    """The session of this process. Call on the library's loop."""
    global _current
    if _current is None or _current.closed:
        _current = Session(address.of_process())
    return _current


def at_hand() -> Session | None:
    """The session of this process while it is connected. May be called from any thread."""
    home = _current
    return home if home is not None and home.connected else None


def _forked() -> None:
    global _current
    if _current is not None:
        _left_behind.append(_current)
        _current = None


_left_behind: list[Session] = []  # of the parent: its socket must not be used, nor shut down by a destructor
if hasattr(os, "register_at_fork"):  # there are systems without forks
    os.register_at_fork(after_in_child=_forked)


"""A WebSocket to a platform: the handshake, after which ``wire.carriers.Socket`` has the connection."""
from __future__ import annotations

import asyncio

from windlass import exception
from windlass.client.remote import dial, place, replies
from windlass.wire import buffered, carriers, tether, websocket

_LARGEST_BODY = 64 * 1024


class _Handshake(asyncio.Protocol):
    """Collects the answer's head, and the body of one that refuses."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._whole: asyncio.Future[tuple[replies.Head, bytes]] = asyncio.get_running_loop().create_future()

    async def answer(self) -> tuple[replies.Head, bytes]:
        """The head, and the body of one that refuses."""
        return await asyncio.wait_for(self._whole, dial.PATIENCE)

    def behind(self) -> bytes:
        """All that has come behind the head by now, also since the answer was whole."""
        return bytes(self._data).partition(b"\r\n\r\n")[2]

    def data_received(self, data: bytes) -> None:
        self._data += data
        text, found, rest = bytes(self._data).partition(b"\r\n\r\n")
        if self._whole.done():
            return
        try:
            if not found:
                if len(text) > replies.LARGEST_HEAD:
                    raise replies.NotPassed("an endless answer")
                return
            head = replies.read_head(text)
            size = head.fields.get("content-length", "0")
            wanted = min(int(size), _LARGEST_BODY) if head.code != 101 and size.isdigit() else 0
            if len(rest) >= wanted:
                self._whole.set_result((head, rest))
        except replies.NotPassed as exc:
            self._whole.set_exception(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._whole.done():
            self._whole.set_exception(replies.NotPassed("the connection was closed without an answer"))
            self._whole.exception()  # perhaps nobody waits for it


class _Socket(carriers.Socket, buffered.Buffered):
    pass


class Made:
    """A WebSocket that carries ``line``. ``ended`` is set when it is gone."""

    def __init__(self, line: tether.Tether) -> None:
        self._line = line
        self.ended = asyncio.Event()

    async def open(self, where: place.Place, key: str, *, is_fresh: bool) -> None:
        """Connect and let the line go on.

        Raises:
            OSError: nobody is reached.
            NotPassed: WebSockets do not get through.
            Gone: the platform does not know this line.
            Error: what the platform answered.
        """
        transport, shaking = await dial.connect(where, _Handshake)
        try:
            nonce = websocket.new_key()
            transport.write(request(where, key, nonce, got=self._line.got, is_fresh=is_fresh))
            head, body = await _answered(shaking)
            check(head, body, nonce)
            got = head.fields.get(carriers.GOT.lower(), "")
            if not got.isdigit() or not self._line.reaches(int(got)):
                raise replies.Gone("it lacks what is not kept any more")
        except BaseException:
            transport.abort()
            raise
        self._socket = _Socket(
            self._line, sent=int(got), is_client=True, lost=lambda exc: self.ended.set()
        )
        transport.set_protocol(self._socket)
        self._socket.connection_made(transport)
        if transport.is_closing():
            self.ended.set()
            raise OSError("the connection was lost")
        self._line.attach(self._socket, int(got))
        if early := shaking.behind():
            self._socket.data_received(early)

    async def works(self) -> bool:
        """Whether the other end's first word comes through; it has one at once."""
        deadline = asyncio.get_running_loop().time() + dial.PATIENCE
        while not self._socket.heard and not self.ended.is_set():
            if asyncio.get_running_loop().time() > deadline:
                break
            await asyncio.sleep(0.002)
        return bool(self._socket.heard)

    async def close(self) -> None:
        self._socket.drop()


async def _answered(shaking: _Handshake) -> tuple[replies.Head, bytes]:
    try:
        return await shaking.answer()
    except asyncio.TimeoutError:
        raise replies.NotPassed(f"no answer within {dial.PATIENCE:.0f} s") from None


def check(head: replies.Head, body: bytes, nonce: str) -> None:
    """Raise what an answer means that is not one to the handshake with ``nonce``."""
    replies.check(head, body)
    if head.fields.get("sec-websocket-accept") != websocket.accept_of(nonce):
        raise replies.NotPassed("the answer to another handshake")


def request(where: place.Place, key: str, nonce: str, *, got: int, is_fresh: bool) -> bytes:
    """A handshake for the stream ``key``, of which ``got`` bytes have arrived here."""
    host = where.origin.split("//")[1].partition("/")[0]
    fields = {
        "Host": host,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": nonce,
        carriers.STREAM: key,
        carriers.GOT: str(got),
        carriers.FRESH: "1" if is_fresh else "0",
    }
    lines = [f"GET {where.prefix}{carriers.SOCKET} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    text = "\r\n".join(lines)
    if "\r\n" in where.prefix + host + key:
        raise exception.InvalidError("a line break in server_url")
    return f"{text}\r\n\r\n".encode("latin-1")

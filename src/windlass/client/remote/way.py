"""A WebSocket to a platform, as what waits without an event loop uses it: like a socket that carries a stream.

The stream is one that lives as long as its connection: who loses it asks again in another way.
"""
from __future__ import annotations

import secrets
import socket

from windlass.client.remote import dial, keeper, place, proxies, replies, sockets
from windlass.wire import tether, websocket

_PIECE = 64 * 1024


def connect(where: place.Place) -> Way:
    """A connection on which nothing was said yet.

    Raises:
        OSError: nobody is reached, or the session needs another carrier, or a proxy.
        AuthError: it shows a certificate that it must not have.
        Error: what the platform answered.
    """
    if keeper.carrier_to(where) != place.SOCKET or proxies.before(where.host, is_secure=where.is_secure) is not None:
        raise OSError("there is something in between")
    end = dial.connect_and_wait(where)
    try:
        nonce = websocket.new_key()
        end.sendall(sockets.request(where, secrets.token_urlsafe(24), nonce, got=0, is_fresh=True))
        return Way(end, _answered(end, nonce))
    except (replies.Gone, replies.NotPassed) as exc:
        end.close()
        raise OSError(str(exc)) from None
    except BaseException:
        end.close()
        raise


def _answered(end: socket.socket, nonce: str) -> bytes:
    """What came behind the answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = end.recv(_PIECE)
        if not more or len(data) > replies.LARGEST_HEAD:
            raise replies.NotPassed("no whole answer")
        data += more
    text, _, behind = data.partition(b"\r\n\r\n")
    sockets.check(replies.read_head(text), behind, nonce)
    return behind


class Way:
    """``sendall``, ``recv``, ``settimeout`` and ``close`` of a socket, for what travels in the messages."""

    def __init__(self, end: socket.socket, early: bytes) -> None:
        self._end = end
        self._sent = self._got = 0
        self._decoder = websocket.Decoder(limit=tether.PIECE + tether.HEAD.size, expect_mask=False)
        self._come = self._taken(early)
        self.settimeout = end.settimeout
        self.close = end.close

    def sendall(self, data: bytes | bytearray | memoryview) -> None:
        for at in range(0, len(data), tether.PIECE):
            piece = bytes(data[at : at + tether.PIECE])
            head = tether.HEAD.pack(tether.DATA, self._sent, self._got)
            self._end.sendall(websocket.encode(head + piece, mask=True))
            self._sent += len(piece)

    def recv(self, size: int) -> bytes:
        """All that has come, however much; b"" at the end."""
        while not self._come:
            data = self._end.recv(size)
            if not data:
                return b""
            self._come = self._taken(data)
        come, self._come = self._come, b""
        return come

    def _taken(self, data: bytes) -> bytes:
        come = b""
        for message in self._decoder.feed(data):
            if message.kind == websocket.BINARY:
                piece = tether.Piece(message.data)
                if piece.start != self._got or piece.kind == tether.OVER:
                    raise ConnectionResetError("the stream has ended")
                come += piece.data
                self._got += len(piece.data)
            elif message.kind == websocket.PING:
                self._end.sendall(websocket.encode(message.data, websocket.PONG, mask=True))
            elif message.kind == websocket.CLOSE:
                raise ConnectionResetError("the platform has closed the connection")
        return come

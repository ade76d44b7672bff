"""``StreamReader`` and ``StreamWriter``: the ends of a sandbox's commands."""
from __future__ import annotations

import functools

from windlass import exception
from windlass.client import faces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from typing import Any, Generic, Protocol, TypeVar

    T = TypeVar("T", str, bytes)

    class _Source(Protocol):
        def pieces(self, offset: int) -> AsyncGenerator[bytes, None]: ...

    class _Reader(Generic[T]): ...

else:

    class _Reader:
        def __class_getitem__(cls, _):
            return cls


class StreamReader(_Reader["T"]):
    """Output of a command: read it whole, or iterate over it. Iterators share one position.

    Example:
        >>> process = sandbox.exec("bash", "-c", "echo one; echo two")
        >>> for line in process.stdout:
        ...     print(line, end="")
    """

    def __init__(
        self, source: _Source, file_descriptor: int, *, text: bool, by_line: bool, whole: bool = False,
        closed: str = "",
    ) -> None:  # fmt: skip
        import codecs

        if by_line and not text:
            raise ValueError("output can be read line by line only as text")
        self._source = source
        self._number = file_descriptor
        self._text = text
        self._by_line = by_line
        self._whole = whole
        self._closed = closed
        self._offset = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._line = ""
        self._over = False
        self._feed: AsyncGenerator[bytes, None] | None = None
        self._iterator: Any = None

    @property
    def file_descriptor(self) -> int:
        """1 for stdout, 2 for stderr."""
        return self._number

    @faces.method
    async def read(self) -> T:
        """Everything until its end, which may be waited for. Of a sandbox's own command: from its beginning.

        Raises:
            UnicodeDecodeError: text is wanted, but that is no UTF-8.
        """
        self._check()
        if self._whole:
            data = b"".join([piece async for piece in self._source.pieces(0)])
            return data.decode("utf-8") if self._text else data  # type: ignore[return-value]
        pieces = [part async for part in self._parts()]
        return ("" if self._text else b"").join(pieces)  # type: ignore[return-value]

    @faces.stream
    def __iter__(self) -> AsyncGenerator[Callable[[], T], None]:
        self._check()
        return self._items()

    def __aiter__(self) -> AsyncIterator[T]:
        self._check()
        self._iterator = faces.hop_stream(self._items())
        return self

    async def __anext__(self) -> T:
        if self._iterator is None:
            self._iterator = faces.hop_stream(self._items())
        item: T = await self._iterator.__anext__()
        return item

    @faces.method
    async def close(self) -> None:
        """Read no more."""
        await self._end()

    async def aclose(self) -> None:
        """The same, in asynchronous programs."""
        await self.close.aio()

    def _check(self) -> None:
        if self._closed == "stdout":
            raise exception.InvalidError(
                "this output is printed, so it cannot be read", hint="Pass stdout=StreamType.PIPE to read it."
            )
        if self._closed:
            raise ValueError("this output is dropped, so it cannot be read")

    async def _items(self) -> AsyncGenerator[Callable[[], T], None]:
        async for part in self._parts():
            yield functools.partial(_same, part)

    async def _parts(self) -> AsyncGenerator[Any, None]:
        """Pieces or lines, from the shared position on."""
        while self._by_line and "\n" in self._line:
            yield self._cut()
        while (data := await self._piece()) is not None:
            if not self._text:
                yield data
                continue
            text = self._decoder.decode(data)
            if not self._by_line:
                if text:
                    yield text
                continue
            self._line += text
            while "\n" in self._line:
                yield self._cut()
        if self._text:
            self._line += self._decoder.decode(b"", True)
        if self._line:
            rest, self._line = self._line, ""
            yield rest

    def _cut(self) -> str:
        line, end, self._line = self._line.partition("\n")
        return line + end

    async def _piece(self) -> bytes | None:
        if self._over:
            return None
        if self._feed is None:
            self._feed = self._source.pieces(self._offset)
        try:
            data = await self._feed.__anext__()
        except StopAsyncIteration:
            self._over = True
            return None
        except BaseException:
            self._feed = None  # the next one begins where this one stopped
            raise
        self._offset += len(data)
        return data

    async def _end(self) -> None:
        self._over = True
        if self._feed is not None:
            feed, self._feed = self._feed, None
            await feed.aclose()


def _same(value: T) -> T:
    return value


class StreamWriter:
    """Input of a command: ``write`` gathers, ``drain`` sends.

    Example:
        >>> process = sandbox.exec("cat")
        >>> process.stdin.write("hello")
        >>> process.stdin.write_eof()
        >>> process.stdin.drain()
    """

    def __init__(self, target: Any, most: int) -> None:
        self._target = target
        self._most = most
        self._buffer = bytearray()
        self._closed = False
        self._told = False

    def write(self, data: bytes | bytearray | memoryview | str) -> None:
        """Add to what will be sent.

        Raises:
            BufferError: it is too much: call ``drain`` in between.
            TypeError: it is neither bytes nor text.
            ValueError: the end was written already.
        """
        if self._closed:
            raise ValueError("the end of this input was written already")
        if not isinstance(data, (bytes, bytearray, memoryview, str)):
            raise TypeError(f"data must be bytes or a string, not {type(data).__name__}")
        raw = data.encode("utf-8") if isinstance(data, str) else bytes(data)
        if len(self._buffer) + len(raw) > self._most:
            raise BufferError(f"more than {self._most:,} bytes wait to be sent; call drain() in between")
        self._buffer += raw

    def write_eof(self) -> None:
        """Nothing will follow. It is sent by the next ``drain``."""
        self._closed = True

    @faces.method
    async def drain(self) -> None:
        """Send what was written, and wait until the command's input has taken it."""
        data, self._buffer = bytes(self._buffer), bytearray()
        eof = self._closed and not self._told
        if data or eof:
            await self._target.send(data, eof=eof)
            self._told = self._told or eof

"""``StreamReader`` and ``StreamWriter``: the ends of a sandbox's commands."""
from __future__ import annotations

from windlass import exception
from windlass.client import bridge, faces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator
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
        from collections import deque

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
        self._ready: deque[Any] = deque()  # items that came together: most need no trip to the library's loop
        self._line: list[str] = []  # the beginning of a line, as it came
        self._over = False
        self._feed: AsyncGenerator[bytes, None] | None = None
        self._turn: Any = None

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
        while await self._fill():
            pass
        items = [*self._ready]
        self._ready.clear()
        return ("" if self._text else b"").join(items)  # type: ignore[return-value]

    @faces.own
    def __iter__(self) -> Iterator[T]:
        self._check()
        return self

    def __next__(self) -> T:
        self._check()
        while True:
            try:
                item: T = self._ready.popleft()
            except IndexError:
                if not bridge.run(self._fill()):
                    raise StopIteration from None
            else:
                return item

    def __aiter__(self) -> AsyncIterator[T]:
        self._check()
        return self

    async def __anext__(self) -> T:
        self._check()
        while not self._ready:
            if not await bridge.hop(self._fill()):
                raise StopAsyncIteration
        item: T = self._ready.popleft()
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

    async def _fill(self) -> bool:
        """Have more items ready; False at the end. One at a time: all iterators share one position."""
        import asyncio

        if self._turn is None:
            self._turn = asyncio.Lock()
        async with self._turn:
            data = await self._piece()
            if data is None:
                return self._finish()
            if not self._text:
                self._ready.append(data)
            elif (text := self._decoder.decode(data)) and not self._by_line:
                self._ready.append(text)
            else:
                self._split(text)
            return True

    def _split(self, text: str) -> None:
        first, *more = text.split("\n")
        self._line.append(first)
        if more:
            self._ready.append("".join(self._line) + "\n")
            self._ready.extend([f"{line}\n" for line in more[:-1]])
            self._line = [more[-1]]

    def _finish(self) -> bool:
        """The last line needs no end; half a character is an error. Whether there was one."""
        if self._text:
            self._line.append(self._decoder.decode(b"", True))
        rest, self._line = "".join(self._line), []
        if rest:
            self._ready.append(rest)
        return bool(rest)

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

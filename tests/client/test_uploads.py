"""What an upload sends: files whose bytes are wanted more than once, and what is no file."""

from __future__ import annotations

import contextlib
import io
import os
import threading

import pytest

from windlass import exception
from windlass.client import sending


class _Once(io.RawIOBase):
    """Bytes that can be read only once, as those of a socket."""

    def __init__(self, data: bytes) -> None:
        self._left = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._left.read(size)


def test_what_can_be_read_only_once_is_kept_for_all_who_read_it():
    data = os.urandom(1_000_000)  # more than travels with others: it is looked at, then sent
    with contextlib.ExitStack() as copies:
        file = sending.seekable(sending.File("x", _Once(data), None), copies)
        for _ in range(3):
            with sending._opened(file) as source:
                assert source.read() == data
        assert file.mode == 0o644, "not the mode of the copy"
    plain = sending.File("x", io.BytesIO(data), None)
    assert sending.seekable(plain, copies) is plain


def test_a_pipe_is_refused_at_once_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "file").write_text("content")
    refused: list[exception.InvalidError] = []

    def open_it() -> None:
        try:
            with sending._opened(sending.File("x", tmp_path / "pipe", None)):
                pass
        except exception.InvalidError as exc:
            refused.append(exc)

    opening = threading.Thread(target=open_it, daemon=True)
    opening.start()
    opening.join(10)
    assert refused and "no plain file" in str(refused[0])
    with sending._opened(sending.File("x", tmp_path / "link", None)) as source:
        assert source.read() == b"content"
    with pytest.raises(FileNotFoundError), sending._opened(sending.File("x", tmp_path / "missing", None)):
        pass

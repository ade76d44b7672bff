"""Places of sockets."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from windlass import exception
from windlass.kit import sockets


def test_a_socket_that_somebody_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(tmp_path / "s"))
    sockets.vacate(tmp_path / "s")
    sockets.vacate(tmp_path / "s")
    (tmp_path / "s").write_text("precious")
    with pytest.raises(exception.ConflictError, match="in the way"):
        sockets.vacate(tmp_path / "s")
    sockets.leave(tmp_path / "s")
    assert (tmp_path / "s").read_text() == "precious"
    (tmp_path / "link").symlink_to(tmp_path / "s")
    with pytest.raises(exception.ConflictError):
        sockets.vacate(tmp_path / "link")

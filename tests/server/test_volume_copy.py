"""Large files are read where a program beside the server has them open; whatever is not that very file is refused."""

from __future__ import annotations

import errno
import fcntl
import os
from concurrent import futures

import blake3
import pytest

from windlass import exception
from windlass.kit import digests
from windlass.server.objects import copying
from windlass.wire.messages import methods
from windlass.wire.messages import volumes as messages

SIZE = 40 * 2**20 + 17  # several steps, and a piece at the end


@pytest.fixture
def file(tmp_path):
    place = tmp_path / "large"
    place.write_bytes(os.urandom(SIZE))
    with place.open("rb") as opened:
        yield opened


def asked(file, **changes) -> messages.VolumeCopy:
    which = messages.identity(os.fstat(file.fileno()))
    return {"descriptor": file.fileno(), "identity": which, "size": SIZE, **changes}


async def copied(client, body) -> tuple[int, str]:
    replies = [reply.body async for reply in client.peer.stream("volume.copy", body)]
    return replies[-1]["done"], replies[-1]["digest"]


def digest(data: bytes) -> str:
    pieces = (data[at : at + digests.PIECE] for at in range(0, len(data), digests.PIECE))
    return digests.of_pieces(blake3.blake3(piece).digest() for piece in pieces)


def kept(platform, found: str) -> bytes:
    name = digests.name(found)
    return (platform.home / "uploads" / name[:2] / name).read_bytes()


def test_an_open_file_becomes_an_upload_of_its_digest_wherever_its_reader_stands(play, file):
    file.seek(1000)

    async def scene(platform):
        client = await platform.client()
        whole = os.pread(file.fileno(), SIZE, 0)
        assert await copied(client, asked(file)) == (SIZE, digest(whole))
        assert kept(platform, digest(whole)) == whole
        assert await copied(client, asked(file, size=5)) == (5, digest(whole[:5]))  # it grew since it was looked at
        assert await copied(client, asked(file, size=SIZE + 1)) == (SIZE, "")  # it shrank: the asker sees it
        assert file.tell() == 1000

    play(scene)


def test_where_the_file_system_shares_bytes_between_files_they_are_only_hashed(play, file, monkeypatch):
    def cloned(target: int, request: int, source: int) -> int:  # this machine's cannot
        os.pwrite(target, os.pread(source, SIZE, 0), 0)
        return 0

    async def scene(platform):
        client, whole = await platform.client(), os.pread(file.fileno(), SIZE, 0)
        monkeypatch.setattr(fcntl, "ioctl", cloned)
        assert await copied(client, asked(file)) == (SIZE, digest(whole))
        assert kept(platform, digest(whole)) == whole
        assert await copied(client, asked(file, size=5)) == (5, digest(whole[:5]))  # it grew since it was looked at
        assert kept(platform, digest(whole[:5])) == whole[:5]

    play(scene)


def test_another_file_than_is_meant_is_not_taken_and_leaves_nothing(play, file, tmp_path):
    reader, writer = os.pipe()

    async def scene(platform):
        client = await platform.client()
        (tmp_path / "other").write_bytes(b"x" * 100)
        elsewhere = messages.identity((tmp_path / "other").stat())
        pipe = {"descriptor": reader, "identity": messages.identity(os.fstat(reader))}
        for changes in ({"identity": elsewhere}, {"identity": ""}, {"descriptor": 10**6}, {"descriptor": -1}, pipe):
            with pytest.raises(exception.NotFoundError):
                await copied(client, asked(file, **changes))
        for size in (-1, 2**40):
            with pytest.raises(exception.RequestSizeError):
                await copied(client, asked(file, size=size))
        assert not list((platform.home / "uploads").rglob("*copy*"))
        assert not list((platform.home / "uploads").glob("??/*"))

    play(scene)
    os.close(reader)
    os.close(writer)


def test_containers_cannot_have_the_server_read_files():
    assert methods.METHODS["volume.copy"].roles == {"user"}


def test_a_copy_that_nobody_waits_for_ends_and_leaves_no_file(play, file):
    async def scene(platform):
        uploads, how_far = platform.core.uploads, copying.Copying()
        how_far.over.set()
        assert uploads.copy(os.getpid(), asked(file), how_far) == ""
        assert not list((platform.home / "uploads").rglob("*copy*"))
        assert not list((platform.home / "uploads").glob("??/*"))

    play(scene)


def test_where_one_piece_fails_the_others_are_not_copied(file, tmp_path, monkeypatch):
    written = os.pwrite

    def full(target, data, at) -> int:
        if at == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return written(target, data, at)

    monkeypatch.setattr(os, "pwrite", full)
    how_far = copying.Copying()
    with (
        futures.ThreadPoolExecutor(1) as threads,  # which copies one lane after the other
        (tmp_path / "target").open("w+b") as target,
        pytest.raises(OSError, match="No space left"),
    ):
        copying.copy(file, target, SIZE, how_far, threads)
    assert how_far.done == 0

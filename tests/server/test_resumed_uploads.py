"""A large upload goes on where it broke off: after its sender, its connection or the server was killed."""

from __future__ import annotations

import asyncio
import os
import threading
import time

import blake3
import pytest

from windlass import exception
from windlass.kit import digests
from windlass.server.apply import sweep
from windlass.server.objects import uploads
from windlass.wire import payload

PIECE = 2 * payload.CHUNK
DATA = os.urandom(3 * PIECE + 12_345)
SIZE = len(DATA)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(digests, "PIECE", PIECE)


def digest(data: bytes) -> str:
    pieces = (data[at : at + PIECE] for at in range(0, len(data), PIECE))
    return digests.of_pieces(blake3.blake3(piece).digest() for piece in pieces)


async def begin(client, size: int = SIZE, name: str = "up-x") -> int:
    return (await client.request("volume.resume", upload_id=name, size=size))["offset"]


async def send(client, begin: int, end: int = SIZE, data: bytes = DATA, name: str = "up-x") -> str:
    """The pieces from ``begin`` to ``end``; the digest where these are the last."""
    found = ""
    for at in range(begin, end, payload.CHUNK):
        body = {"upload_id": name, "digest": "", "offset": at, "last": at + payload.CHUNK >= len(data)}
        found = (await client.peer.request("volume.upload", body, [data[at : at + payload.CHUNK]])).body["digest"]
    return found


async def gone(platform, client) -> None:
    client.peer.close()
    while any(one.owner is not None for one in platform.core.uploads._streams.values()):
        await asyncio.sleep(0.01)


def kept(platform) -> bytes:
    name = digests.name(digest(DATA))
    return (platform.home / "uploads" / name[:2] / name).read_bytes()


def test_a_file_that_is_stored_while_what_is_unfinished_is_looked_for_harms_nobody(tmp_path):
    """A thread gives a copied file its name at any moment. One that leads nowhere is like one that has just gone."""
    kept = uploads.Uploads(tmp_path, lambda work, name: asyncio.ensure_future(work), synchronous=False)
    (tmp_path / "incoming/stays").write_bytes(b"123")
    (tmp_path / "incoming/gone").symlink_to("nowhere")
    assert [(one.digest, one.size) for one in kept.unfinished(time.time() + 1)] == [("stays", 3)]


def test_the_next_sender_goes_on_behind_the_last_whole_piece(play):
    async def scene(platform):
        first = await platform.client()
        assert await begin(first) == 0
        await send(first, 0, PIECE + payload.CHUNK)
        await gone(platform, first)
        second = await platform.client()
        assert await begin(second) == PIECE
        await send(second, PIECE, 3 * PIECE)
        assert await begin(second) == 3 * PIECE, "its own sender may ask again"
        await gone(platform, second)
        third = await platform.client()
        assert await begin(third) == 3 * PIECE
        assert await send(third, 3 * PIECE) == digest(DATA) and kept(platform) == DATA
        assert await begin(third) == 0, "it has arrived: the same again is another upload"

    play(scene)


def test_one_that_was_killed_before_its_last_answer_sends_the_last_piece_again(play):
    async def scene(platform):
        data = DATA[: 2 * PIECE]
        first = await platform.client()
        assert await begin(first, len(data)) == 0
        await send(first, 0, 2 * PIECE, DATA)
        await gone(platform, first)
        second = await platform.client()
        assert await begin(second, len(data)) == PIECE
        assert await send(second, PIECE, len(data), data) == digest(data)

    play(scene)


def test_a_server_that_starts_anew_goes_on_and_one_after_a_start_of_the_machine_does_not(play, monkeypatch):
    async def scene(platform):
        client = await platform.client()
        assert await begin(client) == 0
        await send(client, 0, 2 * PIECE + 1)
        for boot, offset in (("another", 0), (uploads._boot(), 2 * PIECE)):
            monkeypatch.setattr(uploads, "_boot", lambda name=boot: name)
            anew = uploads.Uploads(platform.home / "uploads", platform.core.tasks.start, synchronous=False)
            assert await anew.resume("  up-x", SIZE, object()) == offset

    play(scene)


def test_what_was_begun_without_asking_is_dropped_with_its_connection(play):
    async def scene(platform):
        first = await platform.client()
        await send(first, 0, 2 * PIECE)
        await gone(platform, first)
        assert not list((platform.home / "uploads/incoming").iterdir())
        assert await begin(await platform.client()) == 0

    play(scene)


def test_two_who_send_the_same_at_once_do_not_mix(play, monkeypatch):
    monkeypatch.setattr(uploads, "_QUIET", 2.0)

    async def scene(platform):
        first, second = await platform.client(), await platform.client()
        assert await begin(first) == 0
        await send(first, 0, PIECE)
        asking = asyncio.ensure_future(begin(second))
        await asyncio.sleep(0.2)
        await send(first, PIECE, PIECE + payload.CHUNK)
        with pytest.raises(exception.ConflictError, match="another program sends"):
            await asking
        assert await begin(second) == PIECE, "nothing came for a while: whoever it was has left"
        with pytest.raises(exception.ConflictError, match="byte 0"):
            await send(first, PIECE + payload.CHUNK)
        assert await send(second, PIECE) == digest(DATA) and kept(platform) == DATA

    play(scene)


def test_nothing_is_taken_while_what_is_there_is_hashed(play, monkeypatch):
    """Or the digest could be of the same bytes in another order."""
    hashing, go_on = threading.Event(), threading.Event()
    real = uploads._Stream.catch_up

    def slowly(upload, size: int) -> None:
        hashing.set()
        assert go_on.wait(10)
        real(upload, size)

    async def scene(platform):
        client = await platform.client()
        await begin(client)
        await send(client, 0, PIECE)
        monkeypatch.setattr(uploads._Stream, "catch_up", slowly)
        resuming = asyncio.ensure_future(begin(client))
        await asyncio.to_thread(hashing.wait, 10)
        with pytest.raises(exception.ConflictError, match="byte 0"):
            await send(client, PIECE)
        found = await send(client, 0, SIZE)  # another one, under that name
        go_on.set()
        with pytest.raises(exception.Error):
            await resuming
        assert found == digest(DATA) and kept(platform) == DATA

    play(scene)


def test_nobody_goes_on_with_what_somebody_else_sent(play):
    async def scene(platform):
        client = await platform.client()
        assert await begin(client) == 0
        await send(client, 0, PIECE)
        await gone(platform, client)
        assert await platform.core.uploads.resume("pr-other  up-x", SIZE, object()) == 0

    play(scene)


@pytest.mark.parametrize("size", [0, -1, payload.MAX_SIZE + 1])
def test_sizes_that_are_none_are_refused(play, size):
    async def scene(platform):
        with pytest.raises(exception.RequestSizeError):
            await begin(await platform.client(), size)

    play(scene)


def test_what_nobody_goes_on_with_is_swept(play):
    async def scene(platform):
        client = await platform.client()
        assert await begin(client) == 0
        await send(client, 0, PIECE)
        await gone(platform, client)
        assert len(list((platform.home / "uploads/incoming").iterdir())) == 1
        await sweep.uploads(platform.core, time.time() - 60)
        assert len(list((platform.home / "uploads/incoming").iterdir())) == 1
        await sweep.uploads(platform.core, time.time() + 60)
        assert not list((platform.home / "uploads/incoming").iterdir())

    play(scene)

"""What came of a large file stays when a download breaks off, and is used only for the very same file."""

from __future__ import annotations

import asyncio
import errno
import os

import pytest

from windlass import exception
from windlass.cli import unfinished
from windlass.client import downloads

DATA = bytes(range(200)) * 2
ENTRY = ("folder/large", "f", 1_700_000_000, len(DATA))


class Broken(Exception):
    pass


@pytest.fixture
def served(monkeypatch):
    """Versions of a file, and what was asked for. ``until``: the byte at which the next download breaks off."""
    monkeypatch.setattr(unfinished, "_SAFE", 50)

    class Served:
        versions = {7: DATA}
        until: int | None = None
        asked: list[tuple[int | None, int]] = []

        async def pieces(self, identity, path, *, at=None, offset=0, told):
            self.asked.append((at, offset))
            at = max(self.versions) if at is None else at
            if at not in self.versions:
                raise exception.NotFoundError(f"volume v has no version {at} any more")
            data = self.versions[at]
            told(len(data), at)
            for begin in range(offset, len(data), 30):
                if self.until is not None and begin >= self.until:
                    self.until = None
                    raise Broken
                yield data[begin : begin + 30]

    made = Served()
    made.asked = []
    monkeypatch.setattr(downloads, "pieces", made.pieces)
    return made


def get(place, entry=ENTRY, at=None) -> list[int]:
    seen: list[int] = []
    asyncio.run(unfinished.download("vo-x", entry, place, at, lambda name, done, of: seen.append(done)))
    return seen


def broken(served, place, until: int, **more) -> None:
    served.until = until
    with pytest.raises(Broken):
        get(place, **more)


def test_the_next_download_goes_on_in_the_same_version(served, tmp_path, capsys):
    place = tmp_path / "large"
    broken(served, place, 180)
    assert not place.exists() and "behind the first 50 B" in capsys.readouterr().err
    served.versions[8] = b"?" * len(DATA)  # written in the same second: one file is of one version all the same
    broken(served, place, 310)
    assert get(place)[-1] == len(DATA)
    assert place.read_bytes() == DATA and os.listdir(tmp_path) == ["large"]
    assert served.asked == [(None, 0), (7, 50), (7, 200)]


def test_what_came_of_another_file_is_not_used(served, tmp_path):
    place = tmp_path / "large"
    broken(served, place, 180)
    served.versions = {9: DATA[::-1]}
    get(place, (*ENTRY[:2], ENTRY[2] + 5, ENTRY[3]))
    assert place.read_bytes() == DATA[::-1] and os.listdir(tmp_path) == ["large"]
    assert served.asked[-1] == (None, 0)


def test_a_version_that_was_asked_for_is_that_one(served, tmp_path):
    served.versions[8] = DATA[::-1]
    place = tmp_path / "large"
    broken(served, place, 180)
    get(place, at=7)
    assert place.read_bytes() == DATA and os.listdir(tmp_path) == ["large"]
    assert served.asked == [(None, 0), (7, 0)]


def test_a_version_that_is_forgotten_is_fetched_anew(served, tmp_path):
    place = tmp_path / "large"
    broken(served, place, 180)
    served.versions = {20: DATA}
    get(place)
    assert place.read_bytes() == DATA and served.asked == [(None, 0), (7, 50), (None, 0)]
    with pytest.raises(exception.NotFoundError):
        get(place, at=7)


def test_all_of_it_was_there(served, tmp_path):
    place = tmp_path / "large"
    broken(served, place, 390)
    (part,) = tmp_path.iterdir()
    part.write_bytes(DATA)
    get(place)
    assert place.read_bytes() == DATA and served.asked[-1] == (7, 300)


def test_hardly_anything_and_a_full_disk_leave_nothing(served, tmp_path, monkeypatch):
    place = tmp_path / "large"
    broken(served, place, 100)
    assert os.listdir(tmp_path) == []

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="space"):
        get(place)
    assert os.listdir(tmp_path) == []


def test_two_at_once_write_the_same(served, tmp_path):
    place = tmp_path / "large"
    broken(served, place, 180)

    async def both() -> None:
        tell = lambda *_: None  # noqa: E731
        first = unfinished.download("vo-x", ENTRY, place, None, tell)
        second = unfinished.download("vo-x", ENTRY, place, None, tell)
        await asyncio.gather(first, second)

    asyncio.run(both())
    assert place.read_bytes() == DATA and os.listdir(tmp_path) == ["large"]

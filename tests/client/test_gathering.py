"""A folder of small files on its way out of a volume: many at once, and whatever happens, each whole or not there."""

from __future__ import annotations

import pytest

from windlass import exception
from windlass.cli import transfers

VOLUME = "vo-0123456789012345678901"
FILES = {b"d/%d" % number: b"content %d" % number for number in range(5)}


@pytest.fixture
def served(platform):
    one = platform(lambda x: x)
    listed = {"kinds": ["d", *"ffffl"], "mtimes": [7] * 6, "sizes": [0, *map(len, FILES.values())]}

    def stream(incoming, *items):
        for body, attachments in items:
            incoming.item(body, attachments)
        incoming.end()

    def fetch(incoming, body):
        content = FILES[incoming.attachments[0]]
        stream(incoming, ({"size": len(content)}, [content]))

    one.on_volume_entries = lambda incoming, body: stream(incoming, (listed, [b"d", *FILES]))
    one.on_volume_fetch = fetch
    return one


def got(target) -> dict[bytes, bytes]:
    assert not list(target.rglob("*windlass-part"))
    return {b"d/" + path.name.encode(): path.read_bytes() for path in target.iterdir()}


def gathered(*numbers, left=()):
    return {"files": list(numbers), "left": list(left)}, [list(FILES.values())[number] for number in numbers]


def test_one_question_brings_them_all_and_what_it_does_not_bring_is_asked_for_by_itself(served, tmp_path):
    def gather(incoming, body):
        assert incoming.attachments == list(FILES) and body["most"] >= 256 * 1024
        incoming.item(*gathered(3, 0))
        incoming.item(*gathered(1, left=[2]))
        incoming.item(*gathered(4))
        incoming.end()

    served.on_volume_gather = gather
    target = transfers.get(VOLUME, "d", f"{tmp_path}/", force=False)
    assert got(target) == FILES
    assert {path.stat().st_mtime == 7 for path in target.iterdir() if path.name != "4"} == {True}
    assert (target / "4").stat().st_mtime > 7 and not (target / "4").is_symlink(), "what a link leads to, as of now"
    assert served.methods().count("volume.gather") == served.methods().count("volume.fetch") == 1


def test_a_platform_that_does_not_know_the_question_is_asked_for_each(served, tmp_path):
    served.on_volume_gather = lambda incoming, body: incoming.fail(exception.UnimplementedError("no such method"))
    assert got(transfers.get(VOLUME, "d", f"{tmp_path}/", force=False)) == FILES
    assert served.methods().count("volume.fetch") == len(FILES)


def test_where_the_connection_is_lost_the_others_are_asked_for_by_themselves(served, tmp_path):
    def gather(incoming, body):
        incoming.item(*gathered(0, 1))
        incoming.fail(exception.ServiceError("gone"))

    served.on_volume_gather = gather
    assert got(transfers.get(VOLUME, "d", f"{tmp_path}/", force=False)) == FILES
    assert served.methods().count("volume.fetch") == 3


def test_damage_ends_it_with_what_came_before_it_and_only_what_lacks_is_fetched_again(served, tmp_path):
    def damaged(incoming, body):
        incoming.item(*gathered(0, 1))
        incoming.fail(exception.DataLossError("the content of 'd/2' is damaged"))

    served.on_volume_gather = damaged
    with pytest.raises(exception.DataLossError, match="d/2"):
        transfers.get(VOLUME, "d", f"{tmp_path}/", force=False)
    assert set(got(tmp_path / "d")) == {b"d/0", b"d/1"}
    asked = []

    def rest(incoming, body):
        asked.extend(incoming.attachments)
        incoming.item({"files": [0, 1, 2], "left": []}, [FILES[path] for path in incoming.attachments])
        incoming.end()

    served.on_volume_gather = rest
    assert got(transfers.get(VOLUME, "d", f"{tmp_path}/", force=True)) == FILES
    assert asked == [b"d/2", b"d/3", b"d/4"]

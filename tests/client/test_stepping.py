"""Files without an event loop."""
from __future__ import annotations

import subprocess
import sys

import pytest

from windlass import exception
from windlass.client import stepping, uploads, volumes

VOLUME = "vo-0123456789012345678901"
HEAVY = {
    "asyncio", "ssl", "rich", "subprocess", "shutil", "tempfile", "logging", "concurrent.futures",
    "windlass.client.session", "windlass.client.object", "windlass.wire.messages.volumes",
}  # fmt: skip


@pytest.fixture
def files(platform):
    """A platform with a volume that takes all and has one file."""
    served = platform(lambda x: x)
    served.on_node_list = lambda incoming, body: incoming.reply({"nodes": [{}]})
    served.on_volume_get = lambda incoming, body: incoming.reply({"volume_id": VOLUME})
    served.on_volume_missing = lambda incoming, body: incoming.reply({"missing": body["digests"]})
    served.on_volume_upload = lambda incoming, body: incoming.reply({"digest": body["digest"] or "sha256:of-all"})

    def stream(incoming, *items):
        for body, attachments in items:
            incoming.item(body, attachments)
        incoming.end()

    listed = {"kinds": ["f"], "mtimes": [1], "sizes": [5]}
    served.on_volume_entries = lambda incoming, body: stream(incoming, (listed, [b"there"]))
    served.on_volume_fetch = lambda incoming, body: stream(incoming, ({"size": 5}, [b"he"]), ({"size": 5}, [b"llo"]))
    served.on_volume_copy = lambda incoming, body: stream(
        incoming, ({"done": 1, "digest": ""}, []), ({"done": body["size"], "digest": "pieces:of-all"}, [])
    )
    return served


@pytest.mark.parametrize(
    ("command", "asked"),
    [
        (["put", "v", "small", "/x"], ["volume.room", "volume.missing", "volume.upload", "volume.edit"]),
        (["put", "v", "large", "/x"], ["volume.room", "volume.copy", "volume.edit"]),
        (["ls", "v"], ["volume.entries"]),
        (["get", "v", "/there", "got"], ["volume.entries", "volume.fetch"]),
        (["rm", "v", "/there"], ["volume.edit"]),
    ],
    ids=["put", "put of a large file", "ls", "get", "rm"],
)
def test_commands_that_move_a_file_import_no_event_loop_and_ask_no_more_than_they_must(files, tmp_path, command, asked):
    (tmp_path / "small").write_bytes(b"hello")
    with (tmp_path / "large").open("wb") as large:
        large.truncate(64 * 1024 * 1024)
    heavy = HEAVY - {"windlass.wire.messages.volumes"} if "large" in command else HEAVY
    code = (
        "import sys\nfrom windlass.cli import __main__ as cli\n"
        f"assert cli.execute(['volume', *{command!r}]) == 0\n"
        f"heavy = {heavy!r} & {{*sys.modules}}\nassert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    assert [one for one in files.methods() if one != "hello"] == ["node.list", "volume.get", *asked]
    if command[0] == "get":
        assert (tmp_path / "got").read_bytes() == b"hello"


def test_an_edit_whose_answer_was_lost_is_asked_again_in_a_session_as_the_same_edit(files, tmp_path):
    edits = []

    def edit(incoming, body):
        edits.append(body["edit_id"])
        if len(edits) == 1:
            files.drop()
        else:
            incoming.reply({"version": 1})

    files.on_volume_edit = edit
    (tmp_path / "small").write_bytes(b"hello")
    batch = uploads.Upload(False)
    batch.put_file(tmp_path / "small", "/x")
    assert stepping.run(lambda: batch.send(VOLUME)) == 5
    assert len(edits) == 2 and len({*edits}) == 1


def test_who_asks_too_fast_is_patient_in_a_session(files):
    tries = []

    def edit(incoming, body):
        tries.append(body)
        error = exception.ThrottledError("slower")
        error.retry_after = 0.01
        incoming.fail(error) if len(tries) == 1 else incoming.reply({"version": 1})

    files.on_volume_edit = edit
    stepping.run(lambda: volumes.edit(VOLUME, [{"op": "remove", "path": "/x", "recursive": False}], "ed-1"))
    assert len(tries) == 2


def test_more_pieces_than_should_wait_for_each_other_are_sent_by_a_session(files, tmp_path, monkeypatch):
    monkeypatch.setattr(stepping, "_MOST", 2)
    (tmp_path / "file").write_bytes(bytes(3 * 1024 * 1024))
    batch = uploads.Upload(False)
    batch.put_file(tmp_path / "file", "/x")
    assert stepping.run(lambda: batch.send(VOLUME)) == 3 * 1024 * 1024
    assert files.methods().count("hello") == 2 and files.methods().count("volume.edit") == 1


def test_errors_about_files_are_the_callers_and_nothing_is_asked_again(files, tmp_path):
    files.on_volume_entries = lambda incoming, body: incoming.fail(exception.NotFoundError("no such file"))

    async def listed():
        from windlass.client import downloads

        return [one async for one in downloads.entries(VOLUME, "/gone", recursive=False)]

    with pytest.raises(FileNotFoundError, match="no such file"):
        stepping.run(listed)
    batch = uploads.Upload(False)
    batch.put_file(tmp_path / "nowhere", "/x")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        stepping.run(lambda: batch.send(VOLUME))
    assert [one for one in files.methods() if one != "hello"] == ["volume.entries", "volume.room"]


def test_a_limit_ends_the_wait_for_an_answer(files):
    files.on_volume_edit = lambda incoming, body: None  # never answered

    async def limited():
        await stepping.within(0.05, volumes.edit(VOLUME, [], "ed-1"))

    with pytest.raises(TimeoutError):
        stepping.run(limited)
    assert files.methods().count("hello") == 1

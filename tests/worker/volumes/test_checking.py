"""A bit that flips in a stored file is found, named, and refused wherever the file would be seen."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from pathlib import Path
from typing import Any

import pytest

from windlass import exception
from windlass.kit import tasks
from windlass.worker.volumes import answers, checking, layers, merging, mounted, service


def layer(store: layers.Layers, **files: str) -> str:
    with store.draft() as draft:
        index = {}
        for name, text in files.items():
            path = draft / "files" / name.replace("__", "/")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            index[name.replace("__", "/")] = (f"sha256:{hashlib.sha256(text.encode()).hexdigest()}", len(text))
        return store.publish(draft, index, puts=list(index), clears=[]).layer_id


def flip(file: Path) -> None:
    """One bit, without a trace in the file's own times."""
    before = file.stat()
    with file.open("r+b") as target:
        byte = target.read(1)[0]
        target.seek(0)
        target.write(bytes([byte ^ 1]))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def plan(*stack: str) -> Any:
    return {"path": "/d", "volume_id": "vo-x", "read_only": False, "sub_path": "", "base": 1, "layers": list(stack)}


async def _scrubbed(store: layers.Layers, *expected: str) -> None:
    """Let the background run until it knows of that damage."""
    async with tasks.Tasks() as owner:
        owner.start(checking.Scrub(store, calm=0.05).run(), "scrub")
        deadline = time.monotonic() + 20
        while [one.path for one in checking.visible(store, store.known())] != list(expected):
            assert time.monotonic() < deadline, "never found"
            await asyncio.sleep(0.02)


def _found(root: Path) -> Any:
    store = layers.Layers(root)
    good = layer(store, other="fine")
    bad = layer(store, a="text", folder__b="more")
    flip(store.files(bad) / "folder/b")
    asyncio.run(_scrubbed(store, "folder/b"))
    said = []
    for use in (
        lambda: mounted.new(root / "m", plan(good, bad), store).begin(),
        lambda: checking.refuse(checking.visible(store, [bad]), only="folder/b"),
    ):
        with pytest.raises(exception.DataLossError, match="'folder/b'") as caught:
            use()
        said.append(str(caught.value))
    for below in ("folder", "folder/"):
        with pytest.raises(exception.DataLossError, match="'folder/b'"):
            checking.refuse(checking.visible(store, [bad]), below=below)
    checking.refuse(checking.visible(store, [bad]), below="fold")  # where it would not be seen
    mounted.new(root / "o", plan(good, bad) | {"sub_path": "elsewhere"}, store).begin()
    checking.refuse(checking.visible(store, [bad]), only="a")  # what is whole may be read
    mounted.new(root / "n", plan(good), store).begin()
    return said


def test_the_background_finds_a_flipped_bit_and_no_container_gets_the_volume_any_more(apart, tmp_path):
    assert len(apart(_found, tmp_path)) == 2


def _hidden(root: Path) -> None:
    store = layers.Layers(root)
    bad = layer(store, a="text", folder__b="more")
    above = layer(store, folder__b="anew")
    beside = layer(store, folder__c="c")
    opaque = layer(store, folder__c="c")
    os.setxattr(store.files(opaque) / "folder", "user.overlay.opaque", b"y")
    with store.draft() as draft:
        os.mknod(draft / "files" / "folder", 0o20000, 0)
        gone = store.publish(draft, {}, puts=[], clears=["folder"]).layer_id
    flip(store.files(bad) / "folder/b")
    checking.look(store, bad, lambda size: None)
    seen = {
        name: [one.path for one in checking.visible(store, [bad, top])]
        for name, top in (("above", above), ("beside", beside), ("opaque", opaque), ("gone", gone))
    }
    assert seen == {"above": [], "beside": ["folder/b"], "opaque": [], "gone": []}
    merged = merging.merge(store, [bad, beside], bottom=True).layer_id
    assert checking.marked(store, merged) == ["folder/b"], "the mark goes with the file"
    assert checking.marked(store, merging.merge(store, [bad, above], bottom=True).layer_id) == []
    unread = layer(store, z="z")
    (store.root / unread / "index.json").write_text("{")
    assert checking.look(store, unread, lambda size: None) == [""]
    with pytest.raises(exception.DataLossError, match="the index of layer"):
        checking.refuse(checking.visible(store, [unread, above]))
    flip(store.files(bad) / "folder/b")  # as from a backup
    assert checking.look(store, bad, lambda size: None) == [] == checking.marked(store, bad)


def test_damage_that_a_later_commit_hides_harms_nobody_and_marks_move_with_files(apart, tmp_path):
    apart(_hidden, tmp_path)


def _asked(root: Path) -> Any:
    volumes = service.Volumes(root)
    one, two = layer(volumes.layers, a="text"), layer(volumes.layers, b="x" * 100)
    flip(volumes.layers.files(two) / "b")

    class Streamed:
        """A request of the server, and its connection."""

        kind, method, attachments, said = "s", "layers.check", (), ""

        def __init__(self, *names: str) -> None:
            self.body, self.peer = {"layers": names}, self

        async def drain(self) -> None: ...

        def item(self, body: Any, attachments: Any = ()) -> None:
            items.append(body)

        def end(self) -> None:
            self.said = self.said or "end"

        def fail(self, exc: BaseException) -> None:
            self.said = self.said or str(exc)

    items: list[Any] = []

    async def ask() -> None:
        async with tasks.Tasks() as owner:
            request = Streamed(one, two)
            assert answers.Answers(volumes, owner).serve(request)  # type: ignore[arg-type]
            while not request.said:
                await asyncio.sleep(0.01)
            assert request.said == "end", request.said

    asyncio.run(asyncio.wait_for(ask(), 20))
    return items, two


def test_whoever_asks_hears_how_far_it_is_and_which_files_are_damaged(apart, tmp_path):
    items, two = apart(_asked, tmp_path)
    assert items[-2]["of"] == 104 and items[-1] == {"path": "b", "layer_id": two}


def test_the_background_reads_no_faster_than_it_may_and_ends_at_once(tmp_path):
    pace = checking.Pace(1000.0)
    began = time.monotonic()
    for _ in range(4):
        pace(100)
    assert 0.3 <= time.monotonic() - began < 5 and pace.done == 400
    pace.over.set()
    with pytest.raises(checking.Stopped):
        pace(1)


def test_a_layer_is_looked_at_again_only_after_some_days(tmp_path):
    store = layers.Layers.__new__(layers.Layers)
    store.home, store.root, store._indexes = tmp_path, tmp_path / "volumes", {}
    names = ["vl-" + letter * 22 for letter in "abc"]
    for age, name in zip((10, 3, 20), names, strict=True):
        (store.root / name).mkdir(parents=True)
        for file in ("index.json", "checked"):
            (store.root / name / file).touch()
            os.utime(store.root / name / file, (time.time() - age * 86400,) * 2)
    scrub = checking.Scrub(store)
    assert scrub._due() == names[2]
    (store.root / names[1] / "checked").unlink()
    assert scrub._due() == names[1]
    for name in names:
        (store.root / name / "checked").touch()
    assert scrub._due() == ""

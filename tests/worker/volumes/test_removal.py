"""Layers go when nothing names and nothing uses them; what is damaged is never served."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from windlass import exception
from windlass.kit import tasks
from windlass.worker.volumes import answers, layers, mounted, reading, service


class Asked:
    """A request of the server."""

    kind = "q"
    attachments: list[bytes] = []

    def __init__(self, method: str, body: Any) -> None:
        self.method, self.body = method, body
        self.said: Any = None

    def reply(self, body: Any, attachments: Any = ()) -> None:
        self.said = self.said or body

    def fail(self, exc: BaseException) -> None:
        self.said = self.said or exc


def layer(store: layers.Layers, text: str) -> str:
    with store.draft() as draft:
        (draft / "files" / "file").write_text(text)
        return store.publish(draft, {"file": ("sha256:0", len(text))}, puts=["file"], clears=[]).layer_id


def _swept(root: Path) -> bool:
    volumes = service.Volumes(root)
    store = volumes.layers
    named, shown, unnamed, read, fresh = (layer(store, name) for name in "abcde")
    plan: Any = {"path": "/d", "volume_id": "vo-x", "read_only": False, "sub_path": "", "base": 1, "layers": [shown]}
    mounted.new(root / "containers" / "ta-1" / "volumes" / "0", plan, store).begin()

    async def keep(young: float, **more: Any) -> Any:
        async with tasks.Tasks() as owner:
            asked: Any = Asked("layers.keep", {"layers": [named], "young": young, **more})
            assert answers.Answers(volumes, owner).serve(asked)
            while asked.said is None:
                await asyncio.sleep(0)
            return asked.said

    assert asyncio.run(keep(600)) == {"removed": 0, "size": 0}
    with store.hold([read, fresh]):
        assert asyncio.run(keep(-1, dry_run=True))["removed"] == 1
        assert unnamed in store.known()
        gone = asyncio.run(keep(-1))
        assert gone["removed"] == 1 and gone["size"] > 0
    assert sorted(store.known()) == sorted([named, shown, read, fresh])
    assert unnamed not in store.known()
    return True


def test_layers_that_nothing_names_shows_or_reads_are_removed(apart, tmp_path):
    assert apart(_swept, tmp_path)


def test_a_file_is_compared_with_its_digest_again_whenever_it_was_touched(tmp_path):
    file = tmp_path / "file"
    file.write_text("content")
    good = ("sha256:ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73", 7)
    reading.compare([file.read_bytes()], good, "shown")
    file.write_text("cantent")
    with pytest.raises(exception.DataLossError, match="'shown'"):
        reading.compare([file.read_bytes()], good, "shown")
    with pytest.raises(exception.DataLossError):
        reading.compare([file.read_bytes()], None, "shown")

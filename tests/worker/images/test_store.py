"""The store as a whole: what leaves it, what stays whatever is asked, and what a check of it finds."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from windlass.worker import folder as folders
from windlass.worker.images import cache, fsck, holds, seal, store

BASE, ENV, PIP, OTHER, MORE = ("im-" + letter * 22 for letter in "abcde")
SHARED = "sha-" + "1" * 64


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cache, "CONTAINER_ROOT", os.getuid())
    return tmp_path


def publish(home: Path, name: str, layers: list[str], *, files: bool = True) -> None:
    """A layer as builds make it."""

    async def make() -> None:
        known = cache.Layers(home)
        async with known.draft() as draft:
            if files:
                (draft.tree() / "file").write_text(name)
                (draft.files / "folder").mkdir()
                (draft.files / "folder/link").symlink_to("../file")
            record = {"layers": layers, "env": {}, "workdir": "", "entrypoint": [], "python": "", "size": 0}
            await known.publish(name, draft, record)

    asyncio.run(make())


@pytest.fixture
def stocked(home: Path) -> Path:
    publish(home, BASE, [BASE])
    publish(home, ENV, [BASE], files=False)
    publish(home, PIP, [BASE, PIP])
    publish(home, SHARED, [])
    publish(home, OTHER, [SHARED], files=False)
    return home


def left(home: Path) -> set[str]:
    return {entry.name for entry in (home / "layers").iterdir()}


def take(home: Path, *wanted: str, held: holds.Holds | None = None, mounts: tuple[str, ...] = ()) -> list[str]:
    async def run() -> list[str]:
        here = store.Store(home, held or holds.Holds())
        taken = here.take(wanted, mounts)
        await here.delete(taken)
        return taken.names

    return asyncio.run(run())


def found(home: Path) -> list[tuple[str, str]]:
    events = list(fsck.check(home / "layers"))
    return [(event["finding"]["name"], event["finding"]["kind"]) for event in events if "finding" in event]


# -- removal --


def test_an_image_leaves_with_all_its_files_and_the_space_is_told(stocked: Path) -> None:
    size = cache.Layers(stocked).read(PIP)["size"]
    here = store.Store(stocked, holds.Holds())

    async def run() -> None:
        taken = here.take([PIP])
        assert (taken.names, taken.freed) == ([PIP], size) and size > 0
        assert PIP not in left(stocked), "it is gone for everybody before it is deleted"
        assert any(name.startswith(".gone-") for name in left(stocked))
        await here.delete(taken)

    asyncio.run(run())
    assert left(stocked) == {BASE, ENV, SHARED, OTHER}


def test_a_layer_that_another_image_lists_stays_whatever_is_asked(stocked: Path) -> None:
    assert take(stocked, BASE) == []
    assert take(stocked, BASE, PIP, ENV) == [PIP, BASE, ENV], "what stands on others goes before them"


def test_what_is_held_stays_with_what_it_stands_on(stocked: Path) -> None:
    held = holds.Holds()
    with held.of(PIP):
        assert take(stocked, BASE, ENV, PIP, held=held) == [ENV]
    assert take(stocked, BASE, PIP, held=held) == [PIP, BASE]


def test_the_image_and_the_mounts_of_a_container_stay_also_for_the_next_worker(stocked: Path) -> None:
    digest = "f" * 64
    (stocked / "mounts" / digest).mkdir(parents=True)
    folder = folders.Folder(stocked, "ta-1")
    folder.path.mkdir(parents=True)
    folder.write({"container_id": "ta-1", "uses": [PIP, digest]})
    assert take(stocked, PIP, mounts=(digest,)) == [] and (stocked / "mounts" / digest).exists()
    folder._record.unlink()
    assert take(stocked, PIP, mounts=(digest,)) == [PIP] and not (stocked / "mounts" / digest).exists()


def test_a_build_holds_its_parent_and_every_image_and_mount_that_its_recipe_names(stocked: Path) -> None:
    held = holds.Holds()
    recipe = {"op": "copy", "mount": "sha256:" + "f" * 64, "from": {"stage": OTHER}}
    with held.of_build({"build_id": "", "image_id": PIP, "parent": BASE, "recipe": recipe, "secrets": {}}):  # type: ignore[typeddict-item,typeddict-unknown-key]
        assert held.held() == {BASE, OTHER, "f" * 64}
    assert held.held() == set() and held.building == 0


def test_a_shared_layer_vanishes_with_the_last_image_that_lists_it(stocked: Path) -> None:
    publish(stocked, MORE, [SHARED, MORE])
    assert take(stocked, OTHER) == [OTHER] and SHARED in left(stocked)
    assert take(stocked, MORE) == [MORE, SHARED]


def test_layers_of_a_registry_count_once_although_its_image_tells_their_sum(stocked: Path) -> None:
    path = stocked / "layers" / OTHER / "meta.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "size": 12345}))
    here, shared = store.Store(stocked, holds.Holds()), store.read(stocked / "layers" / SHARED)
    assert asyncio.run(here.inventory())["sizes"][OTHER] == 0
    assert shared and here.take([OTHER]).freed == shared["size"] > 0


def test_shared_layers_are_left_alone_while_something_is_built(stocked: Path) -> None:
    """A pull may count on a layer that is here, and list it only at its end."""
    held = holds.Holds()
    with held.of_build({"build_id": "", "image_id": PIP, "parent": None, "recipe": {}, "secrets": {}}):
        assert take(stocked, OTHER, held=held) == [OTHER] and SHARED in left(stocked)
    assert take(stocked, held=held) == [SHARED]


def test_mounts_fitted_to_a_removed_image_go_with_it(stocked: Path) -> None:
    for name in ("a" * 64, f"{'a' * 64}.{PIP}", f"{'a' * 64}.{OTHER}"):
        (stocked / "mounts" / name).mkdir(parents=True)
    take(stocked, PIP)
    assert {entry.name for entry in (stocked / "mounts").iterdir()} == {"a" * 64, f"{'a' * 64}.{OTHER}"}


def test_a_name_that_is_no_layer_is_refused_by_being_unknown(stocked: Path) -> None:
    (stocked / "precious").mkdir()
    assert take(stocked, "../precious", "..", ".", "", "/etc") == [] and (stocked / "precious").exists()


def test_a_removal_that_was_killed_is_finished_by_the_next_worker(stocked: Path) -> None:
    async def run() -> None:
        store.Store(stocked, holds.Holds()).take([PIP])
        cache.Layers.at_work.clear()  # the worker is dead
        await cache.Layers(stocked).sweep()

    asyncio.run(run())
    assert left(stocked) == {BASE, ENV, SHARED, OTHER}


def test_the_inventory_says_what_is_here_without_measuring(stocked: Path) -> None:
    inventory = asyncio.run(store.Store(stocked, holds.Holds()).inventory())
    assert {one["image_id"]: one["layers"] for one in inventory["images"]} == {
        BASE: [BASE], ENV: [BASE], PIP: [BASE, PIP], OTHER: [SHARED]
    }  # fmt: skip
    assert inventory["sizes"][ENV] == 0 and inventory["sizes"][SHARED] > 0 and set(inventory["sizes"]) == left(stocked)


# -- seals --


def change(what: Callable[[Path], object], tree: Path) -> bool:
    before = seal.look(tree).text
    what(tree)
    return seal.look(tree).text != before


@pytest.mark.parametrize("what", [
    lambda tree: (tree / "file").unlink(),
    lambda tree: os.truncate(tree / "file", 1),
    lambda tree: (tree / "file").write_text("x" * 25),
    lambda tree: (tree / "file").chmod(0o600),
    lambda tree: (tree / "file").rename(tree / "elif"),
    lambda tree: (tree / "folder/new").touch(),
    lambda tree: os.setxattr(tree / "file", "user.more", b""),
    lambda tree: ((tree / "folder/link").unlink(), (tree / "folder/link").symlink_to("elsewhere")),
    lambda tree: os.utime(tree / "file", ns=(0, 1)),
], ids=["deleted", "truncated", "written", "mode", "renamed", "added", "attribute", "link", "time"])  # fmt: skip
def test_a_seal_notices(stocked: Path, what: Callable[[Path], object]) -> None:
    assert change(what, stocked / "layers" / BASE / "files")


def test_a_seal_does_not_mind_a_copy_of_the_store(stocked: Path) -> None:
    """Times of folders are not kept by everything that copies."""
    assert not change(lambda tree: os.utime(tree / "folder", (0, 0)), stocked / "layers" / BASE / "files")


def test_files_with_several_names_take_space_once(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"x" * 100_000)
    before = seal.look(tmp_path).size
    os.link(tmp_path / "one", tmp_path / "two")
    assert seal.look(tmp_path).size == before >= 100_000


# -- the check --


def test_a_healthy_store_is_clean(stocked: Path) -> None:
    events = list(fsck.check(stocked / "layers"))
    assert [event for event in events if "finding" in event] == [] and events[-1] == {"checked": 5}


def damage_record(home: Path, change: Callable[[dict], object]) -> None:
    path = home / "layers" / PIP / "meta.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


@pytest.mark.parametrize("what,expected", [
    (lambda home: (home / "layers" / BASE / "files/file").unlink(), [(BASE, "changed")]),
    (lambda home: os.truncate(home / "layers" / SHARED / "files/file", 3), [(SHARED, "changed")]),
    (lambda home: (home / "layers" / PIP / "meta.json").unlink(), [(PIP, "no record")]),
    (lambda home: os.truncate(home / "layers" / PIP / "meta.json", 20), [(PIP, "no record")]),
    (lambda home: damage_record(home, lambda record: record.pop("layers")), [(PIP, "no record")]),
    (lambda home: damage_record(home, lambda record: record.update(layers=[5])), [(PIP, "no record")]),
    (lambda home: damage_record(home, lambda r: r["layers"].append("im-" + "z" * 22)), [(PIP, "missing layer")]),
    (lambda home: (home / "layers" / ".draft-x").mkdir(), [(".draft-x", "draft")]),
    (lambda home: (home / "layers" / ".gone-x").mkdir(), [(".gone-x", "draft")]),
    (lambda home: (home / "layers" / "letters").mkdir(), [("letters", "stray")]),
    (lambda home: take_quietly(home / "layers" / OTHER), [(SHARED, "orphan")]),
    (lambda home: (home / "layers" / SHARED).rename(home / "away"), [(OTHER, "missing layer")]),
    (lambda home: (home / "layers" / "lost+found").mkdir(), []),
])  # fmt: skip
def test_damage_is_found(stocked: Path, what: Callable[[Path], object], expected: list[tuple[str, str]]) -> None:
    what(stocked)
    assert found(stocked) == expected


def take_quietly(layer: Path) -> None:
    (layer / "meta.json").unlink()
    layer.rmdir()


def test_a_layer_of_an_older_release_without_a_seal_is_no_damage(stocked: Path) -> None:
    damage_record(stocked, lambda record: record.pop("seal"))
    assert found(stocked) == []


def test_drafts_can_be_taken_away_unless_somebody_works_in_them(stocked: Path) -> None:
    (stocked / "layers/.draft-old").mkdir()
    working = stocked / "layers/.draft-new"
    working.mkdir()
    cache.Layers.at_work.add(working)
    try:
        assert take(stocked, ".draft-old", ".draft-new") == [".draft-old"]
    finally:
        cache.Layers.at_work.discard(working)

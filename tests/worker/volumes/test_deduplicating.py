"""What layers hold twice is stored once, where nobody can tell; and what differs in anything is not."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import blake3
import pytest

import disks
from windlass.kit import digests, tasks
from windlass.worker import overlay
from windlass.worker.volumes import checking, deduplicating, editing, layers, measuring, taking

BIG = os.urandom(deduplicating.LEAST)
THEN = 1_700_000_000_123_456_789


def whole(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def layer(store: layers.Layers, files: dict[str, bytes], *, mode: int = 0o644, mtime: int = THEN) -> str:
    with store.draft() as draft:
        index = {}
        for name, data in files.items():
            path = draft / "files" / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            path.chmod(mode)
            os.utime(path, ns=(mtime, mtime))
            index[name] = (whole(data), len(data))
        for folder in {(draft / "files" / name).parent for name in files}:
            os.utime(folder, ns=(THEN, THEN))
        return store.publish(draft, index, puts=list(index), clears=[]).layer_id


def freely(store: layers.Layers) -> int:
    return deduplicating.deduplicate(store, lambda size: None)


def are_one(store: layers.Layers, path: str, *names: str) -> bool:
    return len({(store.files(name) / path).stat().st_ino for name in names}) == 1


def test_files_that_nobody_can_tell_apart_are_one(tmp_path):
    store = layers.Layers(tmp_path)
    names = [layer(store, {"folder/data": BIG, f"own-{n}": BIG[: -n - 1]}) for n in range(3)]
    before = measuring.whole(store.root)
    assert freely(store) == 2 * len(BIG) and measuring.whole(store.root) == before - 2 * len(BIG)
    assert are_one(store, "folder/data", *names)
    for n, name in enumerate(names):
        tree = store.files(name)
        assert (tree / "folder").stat().st_mtime_ns == THEN
        assert (tree / "folder/data").read_bytes() == BIG and (tree / f"own-{n}").read_bytes() == BIG[: -n - 1]
        assert checking.look(store, name, lambda size: None) == []
    late = layer(store, {"folder/data": BIG})
    assert deduplicating.is_due(store, time.time() + 1) and freely(store) == len(BIG)
    assert are_one(store, "folder/data", names[0], late)
    assert not deduplicating.is_due(store, time.time() + 1) and freely(store) == 0
    assert not list(store.root.glob(f"{layers.DRAFT}*"))


@pytest.mark.parametrize(
    "other", [{"mode": 0o600}, {"mtime": THEN + 1}, {"attribute": b"x"}, {"path": "elsewhere"}, {"data": BIG[1:]}]
)
def test_what_differs_in_anything_stays_two(tmp_path, other):
    store = layers.Layers(tmp_path)
    first = layer(store, {"data": BIG})
    about: dict[str, Any] = {key: other[key] for key in ("mode", "mtime") if key in other}
    path = other.get("path", "data")
    second = layer(store, {path: other.get("data", BIG)}, **about)
    if "attribute" in other:
        os.setxattr(store.files(second) / path, "user.mark", other["attribute"])
    assert freely(store) == 0
    assert (store.files(first) / "data").stat().st_nlink == (store.files(second) / path).stat().st_nlink == 1


def test_names_that_somebody_gave_one_file_stay_its_names(tmp_path):
    store = layers.Layers(tmp_path)
    plain = layer(store, {"a": BIG})
    several = layer(store, {"a": BIG, "b": BIG})
    (store.files(several) / "b").unlink()
    os.link(store.files(several) / "a", store.files(several) / "b")
    later = layer(store, {"a": BIG})
    assert freely(store) == len(BIG)
    tree = store.files(several)
    assert (tree / "a").stat().st_ino == (tree / "b").stat().st_ino, "who wrote to one would write to both"
    assert are_one(store, "a", plain, later) and not are_one(store, "a", plain, several)


def test_files_of_their_own_do_not_become_names_of_one_in_a_mount(tmp_path):
    store = layers.Layers(tmp_path)
    below = layer(store, {"a": BIG, "b": BIG})
    (store.files(below) / "b").unlink()
    os.link(store.files(below) / "a", store.files(below) / "b")
    above = layer(store, {"a": BIG})  # somebody wrote "a" anew, and gave it the times that it had
    assert freely(store) == 0
    assert (store.files(above) / "a").stat().st_ino != (store.files(below) / "b").stat().st_ino


def test_many_copies_of_one_file_take_no_longer_than_as_many_files(tmp_path):
    store = layers.Layers(tmp_path)
    layer(store, {"first": BIG})
    with store.draft() as draft:
        for number in range(1500):
            (draft / "files" / str(number)).write_bytes(BIG)
        names = [str(number) for number in range(1500)]
        store.publish(draft, dict.fromkeys(names, (whole(BIG), len(BIG))), puts=names, clears=[])
    began = time.thread_time()
    assert freely(store) == 0
    assert time.thread_time() - began < 1.0, "each was compared with each"


def test_small_files_are_left_alone(tmp_path):
    store = layers.Layers(tmp_path)
    names = [layer(store, {"data": BIG[:-1]}) for _ in range(2)]
    assert freely(store) == 0 and not are_one(store, "data", *names)


@pytest.mark.parametrize("damaged", [0, 1])
def test_damage_is_not_spread(tmp_path, damaged):
    store = layers.Layers(tmp_path)
    names = [layer(store, {"data": BIG}) for _ in range(2)]
    file = store.files(names[damaged]) / "data"
    with file.open("r+b") as target:
        target.write(bytes([BIG[0] ^ 1]))
    os.utime(file, ns=(THEN, THEN))
    assert freely(store) == 0
    assert (store.files(names[1 - damaged]) / "data").read_bytes() == BIG


def test_what_the_kernel_guards_takes_the_place_of_what_it_does_not(tmp_path, monkeypatch):
    store = layers.Layers(tmp_path)
    guarded, bare, other = (layer(store, {"data": BIG}) for _ in range(3))
    inodes = {(store.files(one) / "data").stat().st_ino for one in (guarded, other)}
    monkeypatch.setattr(deduplicating.verity, "is_sealed", lambda file: os.fstat(file).st_ino in inodes)
    (store.root / bare / "deduplicated").touch()  # it comes first
    freely(store)
    assert are_one(store, "data", guarded, other) and not are_one(store, "data", guarded, bare)


def test_cut_short_it_goes_on_the_next_time(tmp_path):
    store = layers.Layers(tmp_path)
    names = [layer(store, {"a": BIG, "b": BIG[1:] * 2}) for _ in range(2)]
    told = []

    def pace(size: int) -> None:
        told.append(size)
        if len(told) == 2:
            raise checking.Stopped

    with pytest.raises(checking.Stopped):
        deduplicating.deduplicate(store, pace)
    assert sum(are_one(store, path, *names) for path in "ab") == 1 and deduplicating.is_due(store, time.time() + 1)
    freely(store)
    assert are_one(store, "a", *names) and are_one(store, "b", *names)
    assert not list(store.root.glob(f"{layers.DRAFT}*"))


@pytest.mark.parametrize("owner, name", [(os, "link"), (Path, "rename"), (os, "utime"), (Path, "touch")])
@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_step_it_leaves_whole_files(tmp_path, owner, name, after):
    store = layers.Layers(tmp_path)
    names = [layer(store, {"folder/data": BIG}) for _ in range(2)]
    real = getattr(owner, name)

    def deadly(*arguments: Any, **options: Any) -> None:
        if after:
            real(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        setattr(owner, name, deadly)
        freely(store)
        os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    store = layers.Layers(tmp_path)
    store.sweep()
    assert sorted(store.known()) == sorted(names)
    for one in names:
        assert checking.look(store, one, lambda size: None) == []
        assert [path.name for path in (store.files(one) / "folder").iterdir()] == ["data"]
    freely(store)
    assert are_one(store, "folder/data", *names) and not deduplicating.is_due(store, time.time() + 1)


def test_a_layer_that_is_damaged_or_gone_is_passed_over(tmp_path):
    store = layers.Layers(tmp_path)
    names = [layer(store, {"data": BIG}) for _ in range(4)]
    (store.root / names[0] / "index.json").write_text("{")
    (store.files(names[1]) / "data").unlink()
    freely(store)
    assert are_one(store, "data", *names[2:]) and not deduplicating.is_due(store, time.time() + 1)


def _full(root: Path) -> None:
    home = root / "small"
    home.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=40", "none", home], check=True)
    store = layers.Layers(home)
    names = [layer(store, {"data": BIG}) for _ in range(2)]
    fill = [home / f"fill-{number}" for number in range(40)]
    with contextlib.suppress(OSError):
        for one in fill:
            one.touch()
    with pytest.raises(OSError, match="No space"):
        freely(store)

    async def scrubbed() -> None:
        async with tasks.Tasks() as owner:
            running = owner.start(checking.Scrub(store, calm=0.02).run(), "scrub")
            await asyncio.sleep(0.5)
            assert not running.done(), "a full disk ends nothing"
            for one in fill:
                one.unlink(missing_ok=True)
            deadline = time.monotonic() + 20
            while not are_one(store, "data", *names):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.02)

    asyncio.run(scrubbed())
    subprocess.run(["umount", home], check=True)


def test_on_a_full_disk_it_waits_for_room(apart, tmp_path):
    apart(_full, tmp_path)


def _rotten(root: Path) -> None:
    """The disk has lost a bit, which memory still has."""
    with disks.disk(root, "ext4", "-q", "-O", "^metadata_csum") as place:
        store = layers.Layers(place)
        first, second = (layer(store, {"data": BIG}) for _ in range(2))
        keeper = store.files(first) / "data"
        disks.flip(keeper)
        assert keeper.read_bytes() == BIG
        assert freely(store) == 0
        assert (store.files(second) / "data").read_bytes() == BIG
        assert checking.look(store, first, lambda size: None, afresh=True) == ["data"]


def test_what_memory_has_kept_does_not_speak_for_the_disk(apart, tmp_path):
    disks.need("filefrag")
    apart(_rotten, tmp_path)


def _mounted(root: Path) -> None:
    store = layers.Layers(root)
    names = [layer(store, {"folder/data": BIG}) for _ in range(2)]
    with contextlib.ExitStack() as stack:
        views = [stack.enter_context(store.view([name])) for name in names]
        opened = [stack.enter_context((view / "folder/data").open("rb")) for view in views]
        assert freely(store) == len(BIG)
        for view, file in zip(views, opened, strict=True):
            assert file.read() == BIG and (view / "folder/data").read_bytes() == BIG
            assert os.listdir(view / "folder") == ["data"]
    (root / "upper").mkdir()
    (root / "work").mkdir()
    (root / "m").mkdir()
    overlay.mount(root / "m", lowers=store.lowers(names[:1]), upper=root / "upper", work=root / "work")
    with (root / "m/folder/data").open("r+b") as file:
        file.write(b"mine")
    overlay.unmount(root / "m")
    assert (store.files(names[1]) / "folder/data").read_bytes() == BIG, "who writes has a copy"


def test_who_has_the_volume_mounted_reads_on(apart, tmp_path):
    apart(_mounted, tmp_path)


def test_the_background_does_it(tmp_path):
    store = layers.Layers(tmp_path)
    names = [layer(store, {"data": BIG}) for _ in range(2)]

    async def wait() -> None:
        async with tasks.Tasks() as owner:
            owner.start(checking.Scrub(store, calm=0.05).run(), "scrub")
            deadline = time.monotonic() + 20
            while not are_one(store, "data", *names):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.02)

    asyncio.run(wait())


# -- file systems that share bytes -------------------------------------------------------------------------


def free(folder: Path) -> int:
    os.sync()
    state = os.statvfs(folder)
    return state.f_bfree * state.f_frsize


def _shared(root: Path, kind: str) -> None:
    data = os.urandom((40 << 20) + 5)
    with disks.disk(root, kind) as place:
        store = layers.Layers(place)
        first = layer(store, {"data": data})
        second = layer(store, {"elsewhere/copy": data}, mode=0o600, mtime=THEN + 5)
        third = layer(store, {"data": data[:-1] + b"?"}, mtime=THEN + 7)
        before = free(place)
        assert freely(store) >= len(data)
        assert free(place) - before > len(data) * 0.9
        copy = store.files(second) / "elsewhere/copy"
        state = copy.stat()
        assert copy.read_bytes() == data and (state.st_mode & 0o777, state.st_mtime_ns) == (0o600, THEN + 5)
        assert state.st_nlink == 1, "two files still"
        assert [checking.look(store, one, lambda size: None, afresh=True) for one in (first, second, third)] == [[]] * 3
        assert freely(store) == 0


@pytest.mark.parametrize("kind", ["btrfs", "xfs"])
def test_files_share_their_bytes_where_the_file_system_can(apart, tmp_path, kind):
    disks.need(f"mkfs.{kind}")
    apart(_shared, tmp_path, kind)


# -- what is put again -------------------------------------------------------------------------------------


def put(store: layers.Layers, stack: list[str], path: str, data: bytes, **more: Any) -> str:
    uploads = store.home / "uploads"
    target = editing.upload(uploads, whole(data))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    step = {"op": "put", "path": path, "blob": whole(data), "digest": whole(data), "size": len(data), "offset": 0}
    text = json.dumps([{**step, "force": True, **more}]).encode()
    return editing.edit(store, stack, text, uploads).layer_id


def _again(root: Path) -> None:
    store, data = layers.Layers(root), os.urandom(300_000)
    first = put(store, [], "folder/data", data)
    second = put(store, [first], "folder/data", data)
    assert are_one(store, "folder/data", first, second), "the same bytes at the same path"
    assert store.index(second) == store.index(first)
    assert not [one for one in (root / "uploads").rglob("*") if one.is_file()], "nobody needs what was sent"
    third = put(store, [first, second], "folder/data", data, mode=0o755)
    assert not are_one(store, "folder/data", second, third)
    other = put(store, [first, second, third], "folder/data", data[1:])
    assert (store.files(other) / "folder/data").read_bytes() == data[1:]
    remove = json.dumps([{"op": "remove", "path": "folder/data"}]).encode()
    removed = editing.edit(store, [first], remove, root / "uploads")
    os.utime(store.files(first) / "folder/data", ns=(THEN, THEN))
    anew = put(store, [first, removed.layer_id], "folder/data", data)
    assert (store.files(anew) / "folder/data").stat().st_mtime_ns > THEN, "what was removed is a new file"
    elsewhere = put(store, [first], "folder/other", data)
    assert (store.files(elsewhere) / "folder/other").stat().st_nlink == 1, "no mount shows one file under two names"
    with (store.files(first) / "folder/data").open("r+b") as file:
        file.write(bytes([data[0] ^ 1]))
    healed = put(store, [first], "folder/data", data)
    assert (store.files(healed) / "folder/data").read_bytes() == data, "what is damaged is replaced"
    (store.root / first / "index.json").write_text("{")
    assert put(layers.Layers(root), [first], "folder/data", data), "and nobody is stopped by a damaged index"


def test_what_is_put_again_takes_no_room_again(apart, tmp_path):
    apart(_again, tmp_path)


def _over_and_over(root: Path) -> None:
    store, one, other = layers.Layers(root), os.urandom(300_000), os.urandom(300_000)
    steps = []
    for path, data in (("a", one), ("a", other), ("b", one), ("c", other), ("c", one)):
        target = editing.upload(root / "uploads", whole(data))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        step = {"op": "put", "path": path, "blob": whole(data), "digest": whole(data), "size": len(data), "offset": 0}
        steps.append({**step, "force": True})
    made = editing.edit(store, [], json.dumps(steps).encode(), root / "uploads")
    tree = store.files(made.layer_id)
    assert {path: (tree / path).read_bytes() for path in "abc"} == {"a": other, "b": one, "c": one}
    assert checking.look(store, made.layer_id, lambda size: None) == [] and sorted(made.puts) == ["a", "b", "c"]


def test_of_two_uploads_to_one_path_the_later_counts_wherever_else_they_go(apart, tmp_path):
    apart(_over_and_over, tmp_path)


# -- digests tell --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frozen", [True, False])
def test_large_files_of_containers_have_the_digests_of_those_from_outside(tmp_path, monkeypatch, frozen):
    monkeypatch.setattr(digests, "LARGE", 100_000)
    data = os.urandom(100_000)
    (tmp_path / "upper").mkdir()
    (tmp_path / "upper/large").write_bytes(data)
    (tmp_path / "upper/small").write_bytes(data[1:])
    (tmp_path / "layer").mkdir()
    taken = taking.take(tmp_path / "upper", tmp_path / "layer", {}, frozen=frozen)
    from_outside = digests.Reading(digests.BLAKE3, blake3.blake3)
    from_outside.update(data)
    assert taken.files == {"large": (from_outside.digest(), 100_000), "small": (whole(data[1:]), 99_999)}

"""Layers made of what containers did, stacked, made anew where they hid too much, and merged: the kernel decides."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from windlass.server.decide import volumes as decisions
from windlass.worker import overlay
from windlass.worker.volumes import layers, merging, mounted


def tree(folder: Path) -> dict[str, str]:
    """The content of each file below, by path."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


class Author:
    """A container's mount, without a container."""

    def __init__(self, root: Path, name: str, store: layers.Layers, stack: list[str]) -> None:
        plan: Any = {
            "path": "/data", "volume_id": "vo-x", "read_only": False, "sub_path": "", "base": len(stack),
            "layers": stack,
        }  # fmt: skip
        self.name = name
        self.mount = mounted.new(root / name, plan, store)
        self.place = self.mount.begin()
        self.base = len(stack)
        self.before = tree(self.place)

    def commit(self, history: list[tuple[str, Any]], *, live: bool = False) -> None:
        """What ``service`` does, with the server's decision in between."""
        upper = self.mount.newest()
        pending = self.mount.make(upper, live=live, final=not live)
        if pending is not None:
            made = pending.made
            clears, seen = made.clears, []
            while paths := decisions.clash(
                [os.fsencode(path) for path in clears],
                [
                    decisions.Commit(by, frozenset(map(os.fsencode, one.puts)), frozenset(map(os.fsencode, one.clears)))
                    for by, one in history[self.base :]
                ],
                made_by=self.name,
                seen=seen,
            ):
                left, known = self.mount.spare(upper, made.layer_id, [os.fsdecode(path) for path in paths], clears)
                clears, seen = left, [*seen, *map(os.fsencode, known)]
            history.append((self.name, made._replace(clears=clears)))
            self.mount.committed(upper, pending)

    def close(self) -> None:
        self.after = tree(self.place)
        overlay.unmount(self.place)


def play(place: Path, chance: random.Random) -> None:
    """Some changes, as programs make them. Names of files and of folders are different ones."""
    for _ in range(chance.randint(1, 8)):
        folder = place.joinpath(*(chance.choice(("d", "e")) for _ in range(chance.randint(0, 2))))
        file = folder / chance.choice("xyz")
        deed = chance.choice(("write", "write", "append", "unlink", "rmtree", "renew", "rename"))
        if deed in ("write", "append"):
            folder.mkdir(parents=True, exist_ok=True)
            with file.open("w" if deed == "write" else "a") as opened:
                opened.write(str(chance.random()))
        elif deed == "unlink":
            file.unlink(missing_ok=True)
        elif deed in ("rmtree", "renew") and folder != place:
            shutil.rmtree(folder, ignore_errors=True)
            if deed == "renew":
                folder.mkdir(parents=True)
                (folder / "x").write_text(str(chance.random()))
        elif deed == "rename" and file.exists():
            target = file.rename(folder / chance.choice([name for name in "xyz" if name != file.name]))
            target.write_text(str(chance.random()))  # else it might be what was there before, and yet be written anew


def merged(base: dict[str, str], authors: list[Author]) -> dict[str, str]:
    """The model: each file by itself, later commits over earlier ones."""
    now = dict(base)
    for author in authors:
        for path in author.before.keys() - author.after.keys():
            now.pop(path, None)
        now.update({path: text for path, text in author.after.items() if author.before.get(path) != text})
    return now


def one_history(root: Path, seed: int) -> None:
    chance = random.Random(seed)
    store = layers.Layers(root)
    history: list[tuple[str, Any]] = []
    expected: dict[str, str] = {}
    for turn in range(4):
        stack = [one.layer_id for _, one in history]
        authors = [Author(root / "containers", f"{turn}-{n}", store, stack) for n in range(3)]
        for author in authors:
            assert author.before == expected
            play(author.place, chance)
            if chance.random() < 0.4:  # some commit while they work
                author.commit(history, live=True)
                author.between = tree(author.place)  # type: ignore[attr-defined]
                play(author.place, chance)
        steps: list[Any] = []
        for author in authors:
            if (between := getattr(author, "between", None)) is not None:
                steps.append(_Step(author.before, between))
        for author in authors:
            author.close()
            author.commit(history)
            steps.append(_Step(getattr(author, "between", author.before), author.after))
        expected = merged(expected, steps)
        with store.view([one.layer_id for _, one in history]) as view:
            assert tree(view) == expected
        check_merge(store, history, chance, expected)


class _Step:
    def __init__(self, before: dict[str, str], after: dict[str, str]) -> None:
        self.before = before
        self.after = after


def check_merge(store: layers.Layers, history: list[Any], chance: random.Random, expected: dict[str, str]) -> None:
    stack = [one.layer_id for _, one in history]
    if len(stack) < 2:
        return
    start = chance.randrange(len(stack) - 1)
    end = chance.randint(start + 2, len(stack))
    made = merging.merge(store, stack[start:end], bottom=start == 0)
    with store.view([*stack[:start], made.layer_id, *stack[end:]]) as view:
        assert tree(view) == expected


@pytest.mark.parametrize("seed", range(25))
def test_whatever_containers_do_at_once_each_file_is_as_its_last_commit_left_it(apart, tmp_path, seed):
    apart(one_history, tmp_path, seed)


def _special(root: Path) -> list[str]:
    store = layers.Layers(root)
    author = Author(root / "containers", "a", store, [])
    os.mkfifo(author.place / "pipe")
    (author.place / "link").symlink_to("/etc/passwd")
    (author.place / "file").write_text("x")
    os.link(author.place / "file", author.place / "second")
    author.close()
    history: list[Any] = []
    author.commit(history)
    return sorted(entry.name for entry in store.files(history[0][1].layer_id).iterdir())


def test_only_files_folders_and_links_become_part_of_a_layer(apart, tmp_path):
    assert apart(_special, tmp_path) == ["file", "link", "second"]


def _unchanged(root: Path) -> list[int]:
    store = layers.Layers(root)
    history: list[Any] = []
    author = Author(root / "containers", "a", store, [])
    (author.place / "file").write_text("x")
    (author.place / "d").mkdir()
    counts = []
    for _ in range(3):
        author.commit(history, live=True)
        counts.append(len(history))
    (author.place / "file").write_text("y")
    author.commit(history, live=True)
    author.close()
    author.commit(history)
    return [*counts, len(history)]


def test_what_was_committed_and_did_not_change_is_not_committed_again(apart, tmp_path):
    assert apart(_unchanged, tmp_path) == [1, 1, 1, 2]


def _names_and_holes(root: Path) -> tuple[bool, int, list[bytes]]:
    """A commit while files are open copies them: what it made of two names of a file, of a hole and of a folder's
    attribute, also after a merge."""
    store = layers.Layers(root)
    history: list[Any] = []
    author = Author(root / "containers", "a", store, [])
    (author.place / "d").mkdir()
    os.setxattr(author.place / "d", "user.note", b"kept")
    (author.place / "one").write_text("x")
    os.link(author.place / "one", author.place / "d/two")
    with (author.place / "hole").open("wb") as file:
        file.seek(50_000_000)
        file.write(b"end")
    author.commit(history, live=True)
    files = store.files(history[0][1].layer_id)
    hole = files / "hole"
    assert hole.read_bytes() == (author.place / "hole").read_bytes()
    (author.place / "d/three").write_text("y")
    author.commit(history, live=True)
    author.close()
    merged = merging.merge(store, [made.layer_id for _, made in history], bottom=True)
    trees = [files, store.files(history[1][1].layer_id), store.files(merged.layer_id)]
    same = (files / "one").stat().st_ino == (files / "d/two").stat().st_ino
    return same, hole.stat().st_blocks * 512, [os.getxattr(tree / "d", "user.note") for tree in trees]


def test_a_copy_of_files_that_are_in_use_keeps_their_links_holes_and_notes(apart, tmp_path):
    same, size, notes = apart(_names_and_holes, tmp_path)
    assert same and size < 5_000_000 and notes == [b"kept"] * 3

"""What a container may have written becomes a layer, or is refused with a word about why."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from windlass import exception
from windlass.worker.volumes import checking, deduplicating, editing, layers, merging, packing, taking


def deep(root: Path, length: int) -> Path:
    """Folders in each other with a file, whose path has that many bytes: made step by step, as it may be too long."""
    root.mkdir()
    here, left = os.open(root, os.O_RDONLY), length
    while left > 210:
        os.mkdir("d" * 199, dir_fd=here)
        inner = os.open("d" * 199, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here, left = inner, left - 200
    file = os.open("f" * left, os.O_WRONLY | os.O_CREAT, dir_fd=here)
    os.write(file, bytes(deduplicating.LEAST))
    os.close(file)
    os.close(here)
    return root


@pytest.mark.parametrize("frozen", [False, True])
def test_the_longest_path_can_be_compared_merged_and_packed(tmp_path, frozen):
    store = layers.Layers(tmp_path)
    names = []
    for number in range(2):
        with store.draft() as draft:
            upper = deep(tmp_path / f"upper-{number}", taking.LENGTH)
            taken = taking.take(upper, draft / "files", {}, frozen=frozen)
            names.append(store.publish(draft, taken.files, puts=taken.puts, clears=taken.clears).layer_id)
    assert [len(path) for path in taken.files] == [taking.LENGTH]
    names.append(merging.merge(store, names, bottom=True).layer_id)
    assert [checking.look(store, name, lambda size: None) for name in names] == [[], [], []]
    assert packing.pack(store, names[0])["size"] > deduplicating.LEAST


@pytest.mark.parametrize("frozen", [False, True])
def test_a_path_that_no_call_could_name_is_refused_and_not_taken_for_damage(tmp_path, frozen):
    upper = deep(tmp_path / "upper", 8000)
    (tmp_path / "layer").mkdir()
    with pytest.raises(exception.InvalidError, match=r"may have 3,584 bytes; 'ddd.*… has more"):
        taking.take(upper, tmp_path / "layer", {}, frozen=frozen)


def test_what_comes_from_outside_has_the_same_limit():
    at_limit = ("d" * 127 + "/") * 28
    assert len(editing.parts(at_limit)) == 28
    with pytest.raises(exception.InvalidError, match="3,584 bytes"):
        editing.parts(at_limit + "x")

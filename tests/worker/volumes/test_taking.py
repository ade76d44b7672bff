"""What a container may have written becomes a layer, or is refused with a word about why."""

from __future__ import annotations

import json
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


@pytest.mark.parametrize("last", [False, True])
def test_a_file_that_gets_another_name_after_its_commit_is_one_file_still(tmp_path, last):
    upper, seen = tmp_path / "upper", {}
    upper.mkdir()
    (upper / "m").write_text("same")
    (upper / "alone").write_text("own")

    def take(number: int, *, frozen: bool = False) -> tuple[list[str], Path]:
        nonlocal seen
        layer = tmp_path / f"layer-{number}"
        layer.mkdir()
        if frozen:  # as the last commit does
            seen = {path: one._replace(ctime=0) for path, one in seen.items()}
        taken = taking.take(upper, layer, seen, frozen=frozen)
        seen = {path: taking.Seen(*one) for path, one in json.loads(json.dumps(taken.seen)).items()}
        return sorted(taken.puts), layer

    assert take(0)[0] == ["alone", "m"]
    (upper / "folder").mkdir()
    for name in ("a", "folder/z"):
        os.link(upper / "m", upper / name)
    puts, layer = take(1, frozen=last)
    assert puts == ["a", "folder", "folder/z", "m"], "all names of it, and nothing else"
    assert len({(layer / name).stat().st_ino for name in ("a", "m", "folder/z")}) == 1
    if not last:
        (upper / "a").unlink()
        puts, layer = take(2)
        assert puts == [] and sorted(os.listdir(layer)) == ["a"], "what others made of the other names meanwhile stays"
        assert take(3, frozen=True)[0] == []

"""The same recipe on the same parent gives the same key; a layer that is not whole is never mounted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

import windlass
from stage import until
from windlass.server.decide import images
from windlass.worker.images import cache

texts = st.text(max_size=8)
recipes = st.fixed_dictionaries(
    {"op": st.sampled_from(["run", "apt", "pip", "env"])},
    optional={
        "commands": st.lists(texts, max_size=3),
        "packages": st.lists(texts, max_size=3),
        "env": st.dictionaries(texts, texts, max_size=3),
        "timeout": st.floats(1, 100),
        "force": st.booleans(),
    },
)


@given(recipes, st.none() | texts, st.randoms())
def test_a_key_depends_on_what_is_made_and_on_nothing_else(recipe, parent, rng):
    key = images.key(parent, recipe, [])
    shuffled = list(recipe.items())
    rng.shuffle(shuffled)
    assert images.key(parent, dict(shuffled), []) == key
    assert images.key(parent, {**recipe, "timeout": 12345.0, "force": True}, []) == key
    assert images.image_id(key) == images.image_id(key)


@given(recipes, recipes, st.none() | texts)
def test_different_recipes_or_parents_have_different_keys(one, other, parent):
    def content(recipe):
        return {k: v for k, v in recipe.items() if k not in ("timeout", "force") and v not in ([], {}, "")}

    assert (images.key(parent, one, []) == images.key(parent, other, [])) == (content(one) == content(other))
    assert images.key(parent, one, []) != images.key(f"{parent}x", one, [])
    assert images.key(parent, one, []) != images.key(parent, one, ["SECRET"])


def test_a_draft_is_no_layer_until_it_is_published(tmp_path):
    async def make() -> None:
        layers = cache.Layers(tmp_path)
        name = "im-" + "a" * 22
        with pytest.raises(RuntimeError):
            async with layers.draft() as draft:
                (draft.folder / "files").mkdir()
                raise RuntimeError("the step failed")
        assert layers.known() == [] and os.listdir(layers.root) == []
        async with layers.draft() as draft:
            (draft.folder / "files").mkdir()
            assert layers.known() == []
            await layers.publish(
                name, draft, {"layers": [name], "env": {}, "workdir": "", "entrypoint": [], "python": "", "size": 0}
            )
        assert layers.known() == [name]
        (layers.root / name / "meta.json").unlink()
        assert layers.known() == []
        with pytest.raises(windlass.exception.NotFoundError):
            layers.read(name)

    asyncio.run(make())


SLOW = """
import modal
step = "echo begun-{mark}; echo half > /made; sleep {seconds}; echo whole > /made"
image = modal.Image.debian_slim().run_commands(step)
app = modal.App("test-half-built", image=image)

@app.function()
def f(): return open("/made").read()

@app.local_entrypoint()
def main(): print("MADE", f.remote())
"""


def test_a_step_whose_worker_is_killed_in_the_middle_is_made_anew(stage, program):
    path = program("slow.py", SLOW.format(mark=uuid.uuid4().hex, seconds=4))
    with stage.background("run", path) as process:
        for line in process.stdout:
            if "begun-" in line:
                break
        os.kill(stage.pid("worker"), signal.SIGKILL)
        out = process.communicate(timeout=120)[0]
        assert process.returncode == 0 and "MADE whole" in out, out
    until(lambda: not list((stage.home / "layers").glob(".draft-*")), 20, "no half-made layer")


def test_a_build_that_is_interrupted_by_the_user_leaves_no_layer(stage, program):
    mark = uuid.uuid4().hex
    path = program("slow.py", SLOW.format(mark=mark, seconds=100))
    before = set(cache.Layers(stage.home).known())
    with stage.background("run", path) as process:
        for line in process.stdout:
            if "begun-" in line:
                break
        os.kill(process.pid, signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 130
    until(lambda: not list((stage.home / "layers").glob(".draft-*")), 30, "no half-made layer")
    assert set(cache.Layers(stage.home).known()) == before


def test_a_layer_that_lost_its_record_is_not_used(stage, program):
    """Someone deletes the record of a layer, the platform restarts: the step is made again."""
    source = SLOW.format(mark=uuid.uuid4().hex, seconds=0)
    path = program("again.py", source)
    known = set(cache.Layers(stage.home).known())
    stage.cli("run", path, check=0)
    (fresh,) = set(cache.Layers(stage.home).known()) - known
    record = stage.home / "layers" / fresh / "meta.json"
    assert json.loads(record.read_text())["layers"][-1] == fresh
    record.unlink()
    stage.stop()
    stage.start()
    stage.cli("run", program("other.py", SLOW.format(mark=uuid.uuid4().hex, seconds=0)), check=0)  # the worker is there
    ran = stage.cli("run", path, check=0)
    assert "MADE whole" in ran.out and record.exists()

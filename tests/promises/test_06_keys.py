"""A key depends on parent, recipe, builder version and content of copied files; on nothing else."""
from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys

import fakes
from hypothesis import given
from hypothesis import strategies as st

from windlass import exception
from windlass.client import mount
from windlass.kit import ids
from windlass.server.decide import images

BASE = {"op": "base", "base": "debian_slim", "python": "3.11"}

texts = st.text(max_size=8)
recipes = st.dictionaries(
    st.sampled_from(["op", "base", "python", "uv", "path", "mount", "image"]), texts, max_size=4
) | st.fixed_dictionaries({"op": texts, "env": st.dictionaries(texts, texts, max_size=4), "packages": st.lists(texts)})


def reordered(value, rng):
    """The same, with the keys of all dicts in another order."""
    if isinstance(value, dict):
        items = [(key, reordered(one, rng)) for key, one in value.items()]
        rng.shuffle(items)
        return dict(items)
    return value


@given(recipes, texts, st.randoms())
def test_the_order_of_keys_at_any_depth_does_not_matter(recipe, parent, rng):
    assert images.key(parent, recipe, ["A"]) == images.key(parent, reordered(recipe, rng), ["A"])


@given(recipes, texts)
def test_each_builder_version_has_keys_of_its_own(recipe, parent):
    keys = {images.key(parent, recipe, [], version) for version in images.KNOWN_VERSIONS}
    assert len(keys) == len(images.KNOWN_VERSIONS)
    assert images.key(parent, recipe, []) in keys


def test_another_process_on_another_day_in_another_place_computes_the_same_key(tmp_path):
    recipe = {"op": "pip", "packages": ["b", "a"], "env": {"X": "1", "A": "ü"}, "options": ["--pre"]}
    program = (
        "import json, sys; from windlass.server.decide import images; r = json.loads(sys.argv[1]); "
        "k = images.key('im-p', r, ['S']); print(k, images.image_id(k))"
    )
    key = images.key("im-p", recipe, ["S"])
    for seed, zone, language in (("1", "Asia/Tokyo", "C"), ("2", "America/Lima", "de_DE.UTF-8")):
        home = tmp_path / seed
        home.mkdir()
        environment = {
            "PYTHONPATH": os.environ.get("PYTHONPATH", "src"), "PYTHONHASHSEED": seed, "TZ": zone, "LANG": language,
            "HOME": str(home), "WINDLASS_HOME": str(home), "HOSTNAME": f"host{seed}", "USER": f"user{seed}",
        }  # fmt: skip
        line = [sys.executable, "-c", program, json.dumps(recipe)]
        done = subprocess.run(line, cwd=home, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.split() == [key, images.image_id(key)]


class _Stored:
    """A server that has every blob."""

    def __init__(self, body):
        self.body = body

    @staticmethod
    async def request(method, body, attachments=()):
        return _Stored({"missing": []})


def test_copied_files_count_by_place_content_and_mode_and_not_by_where_or_when_they_lay_here(tmp_path):
    def copied(folder, *, text="same", mode=0o644, when=0, name="f.txt", order=("f.txt", "g.txt")):
        (tmp_path / folder).mkdir()
        for one in order:
            path = tmp_path / folder / (name if one == "f.txt" else one)
            path.write_text(text if one == "f.txt" else "g")
            path.chmod(mode if one == "f.txt" else 0o600)
            os.utime(path, (when, when))
        made = mount.Mount(mount.Tree(tmp_path / folder, "srv", ignore=lambda path: False))
        digest = asyncio.run(made.upload(_Stored))
        return images.key("im-p", {"op": "copy", "mount": digest}, [])

    first = copied("a")
    assert copied("elsewhere", when=1_700_000_000, order=("g.txt", "f.txt")) == first
    assert len({first, copied("b", text="Same"), copied("c", mode=0o755), copied("d", name="h.txt")}) == 4


def test_a_secret_counts_by_the_names_of_its_variables_and_never_by_its_values(act):
    async def scene(server):
        await fakes.Worker(server.home, lambda args, kwargs, lease: None).start()
        client = await fakes.Client(server.home).start()

        async def built(**env):
            secret = ids.new("st")
            await client.request("secret.create", secret_id=secret, env=env)
            step = {"op": "run", "commands": ["true"], "secrets": [secret]}
            chain = {"recipes": [BASE, step], "app_id": None}
            return [item.body async for item in client.peer.stream("image.build", chain)][-1]["image_id"]

        one = await built(TOKEN="first", USER="u")
        assert await built(USER="v", TOKEN="second") == one
        assert await built(TOKEN="first") != one
        try:
            chain = {"recipes": [BASE, {"op": "run", "commands": ["x"], "secrets": ["st-none"]}], "app_id": None}
            [item async for item in client.peer.stream("image.build", chain)]
            raise AssertionError("a secret that does not exist was accepted")
        except exception.NotFoundError:
            pass

    act(scene)

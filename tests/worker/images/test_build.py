"""Layers are whole or absent. The runner of steps is played; everything else is real."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from windlass import exception
from windlass.wire.messages import images, workers
from windlass.worker.images import build, cache, relay

BASE, LAYER, OTHER = ("im-" + letter * 22 for letter in "abc")


class Steps:
    """Plays ``worker.step.Steps``: writes a file and says something."""

    def __init__(self, code: int = 0) -> None:
        self.code = code
        self.seen: list[dict[str, Any]] = []

    async def run(self, argv: list[str], *, upper: Path, log: Callable[[str], None], **given: Any) -> int:
        self.seen.append({"argv": argv, **given})
        (upper / "file").write_text(argv[-1])
        log(f"ran {argv[-1]}\n")
        if argv[-1] == "hang":
            await asyncio.Event().wait()
        if argv[-1] == "slow":
            raise exception.TimeoutError("did not end within 1 s")
        return self.code


class Trees:
    async def tree(self, digest: str) -> Path:
        return Path("/tree") / digest


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cache, "CONTAINER_ROOT", os.getuid())
    folder = tmp_path / "layers" / BASE
    (folder / "files/bin").mkdir(parents=True)
    (folder / "files/bin/sh").touch()
    meta = (
        f'{{"layers": ["{BASE}"], "env": {{"A": "1"}}, "workdir": "", "entrypoint": [], "python": "3.11", "size": 1}}'
    )
    (folder / "meta.json").write_text(meta)
    return tmp_path


def builder(home: Path, steps: Steps) -> build.Builder:
    return build.Builder(
        home,
        steps=steps,  # type: ignore[arg-type]
        mounts=Trees(),
        namespace=Path("/none"),
        outer=None,  # type: ignore[arg-type]
        relays=relay.Relays(socket.socket),
        own=home / "build.env",
        environ={},
    )


def plan(recipe: images.Recipe, image_id: str = LAYER, parent: str | None = BASE) -> workers.BuildPlan:
    return {"build_id": "bu-1", "image_id": image_id, "parent": parent, "recipe": recipe, "secrets": {"S": "secret"}}


def made(home: Path, steps: Steps, *plans: workers.BuildPlan, log: Callable[[str], None] = print) -> workers.ImageMeta:
    async def run() -> workers.ImageMeta:
        for one in plans:
            meta = await builder(home, steps).build(one, log)
        return meta

    return asyncio.run(run())


def left(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "layers").iterdir())


def test_a_step_becomes_a_layer_on_its_parent(home: Path) -> None:
    steps, said = Steps(), []
    meta = made(home, steps, plan({"op": "run", "commands": ["true"], "env": {"B": "2"}}), log=said.append)
    assert meta["layers"] == [BASE, LAYER] and meta["python"] == "3.11" and meta["size"] > 0
    assert (home / "layers" / LAYER / "files/file").read_text() == "true"
    assert said == ["ran true\n"]
    env = steps.seen[0]["env"]
    assert (env["A"], env["B"], env["S"]) == ("1", "2", "secret")
    assert steps.seen[0]["lowers"] == [home / "layers" / BASE / "files"]


def test_settings_make_no_container_and_no_layer(home: Path) -> None:
    steps = Steps()
    meta = made(
        home,
        steps,
        plan({"op": "env", "env": {"B": "2"}}),
        plan({"op": "workdir", "path": "srv"}, OTHER, LAYER),
    )
    assert steps.seen == []
    assert (meta["layers"], meta["env"], meta["workdir"]) == ([BASE], {"A": "1", "B": "2"}, "/srv")


def test_a_chosen_shell_holds_for_later_steps(home: Path) -> None:
    steps = Steps()
    made(
        home,
        steps,
        plan({"op": "shell", "commands": ["bash", "-c"]}),
        plan({"op": "run", "commands": ["x"]}, OTHER, LAYER),
    )
    assert steps.seen[0]["argv"] == ["bash", "-c", "x"]


def test_a_failing_step_tells_its_code_and_leaves_nothing(home: Path) -> None:
    with pytest.raises(exception.ImageBuildError, match=r"exit code 3, of `echo x`") as caught:
        made(home, Steps(code=3), plan({"op": "run", "commands": ["echo x", "echo y"]}))
    assert "secret" not in str(caught.value)
    assert left(home) == [BASE]


def test_a_step_that_takes_too_long_fails_with_the_limit(home: Path) -> None:
    with pytest.raises(exception.ImageBuildError, match="did not end within 1 s"):
        made(home, Steps(), plan({"op": "run", "commands": ["slow"]}))
    assert left(home) == [BASE]


def test_a_stopped_build_leaves_nothing(home: Path) -> None:
    async def run() -> None:
        work = asyncio.create_task(builder(home, Steps()).build(plan({"op": "run", "commands": ["hang"]}), print))
        while len(left(home)) < 2:
            await asyncio.sleep(0.001)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    asyncio.run(run())
    assert left(home) == [BASE]


def test_a_layer_that_is_here_is_not_made_again(home: Path) -> None:
    steps = Steps()
    made(home, steps, plan({"op": "run", "commands": ["a"]}), plan({"op": "run", "commands": ["a"]}))
    assert len(steps.seen) == 1


def test_a_missing_parent_is_said(home: Path) -> None:
    with pytest.raises(exception.ImageBuildError, match="not on this machine"):
        made(home, Steps(), plan({"op": "run", "commands": ["a"]}, parent=OTHER))


def test_local_files_are_copied_from_their_tree(home: Path) -> None:
    steps = Steps()
    made(home, steps, plan({"op": "copy", "mount": "sha256:1"}))
    assert (Path("/tree/sha256:1"), "/__windlass/copy") in steps.seen[0]["binds"]


def test_drafts_of_a_killed_worker_are_swept_and_not_known(home: Path) -> None:
    (home / "layers/.draft-x/files").mkdir(parents=True)
    assert cache.Layers(home).known() == [BASE]
    asyncio.run(builder(home, Steps()).sweep())
    assert left(home) == [BASE]

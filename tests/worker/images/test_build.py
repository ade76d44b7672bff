"""Layers are whole or absent. The runner of steps is played; everything else is real."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from windlass import exception
from windlass.wire.messages import images, workers
from windlass.worker import gpus
from windlass.worker.images import build, cache, python, relay, standalone

BASE, LAYER, OTHER, THIRD = ("im-" + letter * 22 for letter in "abcd")


class Steps:
    """Plays ``worker.step.Steps``: writes a file and says something."""

    def __init__(self, code: int = 0) -> None:
        self.code = code
        self.seen: list[dict[str, Any]] = []

    async def run(self, argv: list[str], *, upper: Path, log: Callable[[str], None], **given: Any) -> int:
        self.seen.append({"argv": argv, **given})
        (upper / "file").write_text(argv[-1])
        if argv[-1].startswith("install "):
            install(upper, argv[-1].split()[1], "usr/local/bin")
        if argv[-1] == python.ASK:
            log("Python 3.12")
        log(f"ran {argv[-1]}\n")
        if argv[-1] == "hang":
            await asyncio.Event().wait()
        if argv[-1] == "slow":
            raise exception.TimeoutError("did not end within 1 s")
        return self.code


class Trees:
    async def tree(self, digest: str) -> Path:
        return Path("/tree") / digest


def install(files: Path, version: str, folder: str = "usr/bin") -> None:
    """What a stack of layers shows of an installed Python."""
    (files / folder).mkdir(parents=True, exist_ok=True)
    (files / folder / f"python{version}").write_bytes(b"\x7fELF")
    (files / folder / f"python{version}").chmod(0o755)
    (files / folder / "python3").symlink_to(f"python{version}")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cache, "CONTAINER_ROOT", os.getuid())
    folder = tmp_path / "layers" / BASE
    install(folder / "files", "3.11")
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
        mounted=lambda plan: contextlib.nullcontext([]),
        devices=gpus.Gpus(Path("/none")),
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


def test_commands_run_as_the_images_user_and_installations_as_root(home: Path) -> None:
    etc = home / "layers" / BASE / "files/etc"
    etc.mkdir()
    (etc / "passwd").write_text("app:x:1000:1000::/home/app:/bin/sh\n")
    steps = Steps()
    made(
        home,
        steps,
        plan({"op": "user", "user": "app"}),
        plan({"op": "run", "commands": ["x"]}, OTHER, LAYER),
        plan({"op": "apt", "packages": ["x"]}, "im-" + "d" * 22, OTHER),
    )
    assert [(seen["user"].uid, seen["env"]["HOME"]) for seen in steps.seen] == [(1000, "/home/app"), (0, "/root")]


def test_a_user_that_the_image_does_not_have_is_said(home: Path) -> None:
    with pytest.raises(exception.ImageBuildError, match="no user 'app'"):
        made(
            home,
            Steps(),
            plan({"op": "user", "user": "app"}),
            plan({"op": "run", "commands": ["x"]}, OTHER, LAYER),
        )


def test_a_script_and_scratch_folders_are_seen_and_not_kept(home: Path) -> None:
    steps = Steps()
    made(home, steps, plan({"op": "run", "script": "#!/bin/sh\ntrue\n", "scratch": ["cache", "/t/"]}))
    assert steps.seen[0]["argv"] == ["/__windlass/program"]
    targets = {bind.target: bind.writable for bind in steps.seen[0]["binds"]}
    assert targets["/cache"] and targets["/t"] and not targets["/__windlass/program"]
    assert not (home / "layers" / LAYER / "aside").exists()


def test_drafts_of_a_killed_worker_are_swept_and_not_known(home: Path) -> None:
    (home / "layers/.draft-x/files").mkdir(parents=True)
    assert cache.Layers(home).known() == [BASE]
    asyncio.run(builder(home, Steps()).sweep())
    assert left(home) == [BASE]


def test_the_python_of_an_image_is_looked_for_after_each_step(home: Path) -> None:
    steps = Steps()
    run, env = plan({"op": "run", "commands": ["install 3.12"]}), {"PATH": "/usr/bin"}
    assert made(home, steps, run)["python"] == "3.12"
    meta = made(home, steps, run, plan({"op": "env", "env": env}, OTHER, LAYER))
    assert meta["python"] == "3.11", "the PATH leads to the other one"


def test_a_python_whose_version_no_file_tells_is_asked_once(home: Path) -> None:
    wrapper = home / "layers" / BASE / "files/usr/bin/python3"
    wrapper.unlink()
    wrapper.write_text("#!/bin/sh\n")
    wrapper.chmod(0o755)
    steps = Steps()
    assert made(home, steps, plan({"op": "run", "commands": ["true"]}))["python"] == "3.12"
    assert [seen["argv"][0] for seen in steps.seen] == ["/bin/sh", "python3"]
    assert not list((home / "layers" / LAYER).glob("aside*"))


def test_an_added_python_comes_before_any_other(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = home / "tree"
    install(files, "3.14t", "usr/local/bin")
    (files / "usr/local/lib/python3.14t").mkdir(parents=True)

    async def tree(*_: Any, **given: Any) -> standalone.Tree:
        return standalone.Tree(files, "here", (2, 17))

    monkeypatch.setattr(standalone.Pythons, "tree", tree)
    monkeypatch.setattr(standalone, "check", lambda *_: None)
    add, env = plan({"op": "python", "python": "3.14t"}), {"PATH": "/usr/bin:/bin"}
    assert made(home, Steps(), add)["env"] == {"A": "1"}
    meta = made(home, Steps(), plan({"op": "env", "env": env}, OTHER), plan(add["recipe"], THIRD, OTHER))
    assert meta["python"] == "3.14t" and meta["env"]["PATH"] == "/usr/local/bin:/usr/bin:/bin"

"""A lock says what a program's images hold; keeping it means exactly that, or an error with the difference."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from windlass import exception
from windlass.client import imaging, lock

BASE: Any = {"op": "base", "base": "debian_slim", "python": "3.11"}
SIX: Any = {"op": "pip", "packages": ["six"]}


def step(recipe: Any, image_id: str, *, digest: str = "", **python: str) -> lock.Step:
    return lock.Step(lock.definition(recipe), image_id, {"debian": {"base-files": "12"}, "python": python}, digest)


LOCKED = [step(BASE, "im-1", pip="23.0"), step(SIX, "im-2", pip="23.0", six="1.16.0")]


class Platform:
    """Plays the server: images by id, and what a build of some recipes gives."""

    def __init__(self, here: dict[str, dict[str, str]], builds: list[str]) -> None:
        self.here = here
        self.builds = builds
        self.asked: list[Any] = []

    async def plain(self, chain: list[Any]) -> imaging.Built:
        self.asked.append(chain)
        return imaging.Built(self.builds[-1], "3.11", {}, "", self.builds)

    async def request(self, method: str, body: Any) -> Any:
        found = {
            name: {"installed": {"debian": {"base-files": "12"}, "python": self.here[name]}, "digest": ""}
            for name in body["image_ids"]
            if name in self.here
        }
        return SimpleNamespace(body={"images": found})


def keep(platform: Platform, chain: list[Any], locked: list[lock.Step] = LOCKED) -> imaging.Built:
    session: Any = platform
    return asyncio.run(lock.Keeping([locked], "x.images.lock").build(chain, platform.plain, session))


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "x.images.lock"
    path.write_text(lock.dump([LOCKED]))
    assert lock.load(path) == [LOCKED]
    assert '"six": "1.16.0"' in path.read_text() and path.read_text().count("base-files") == 1


def test_an_image_that_holds_what_is_locked_is_taken_as_it_is() -> None:
    platform = Platform({"im-1": {"pip": "23.0"}, "im-2": {"pip": "23.0", "six": "1.16.0"}}, ["im-1", "im-2"])
    assert keep(platform, [BASE, SIX]).image_id == "im-2"
    assert platform.asked == [[BASE, SIX]]


def test_elsewhere_steps_are_built_with_the_versions_of_the_lock() -> None:
    platform = Platform({"im-8": {"pip": "23.0"}, "im-9": {"pip": "23.0", "six": "1.16.0"}}, ["im-8", "im-9"])
    assert keep(platform, [BASE, SIX]).image_id == "im-9"
    (asked,) = platform.asked
    assert asked[0] == BASE and asked[1]["pins"]["python"] == {"pip": "23.0", "six": "1.16.0"}


def test_a_build_that_gives_other_versions_fails_and_names_them() -> None:
    platform = Platform({"im-8": {"pip": "23.0"}, "im-9": {"pip": "23.0", "six": "1.17.0"}}, ["im-8", "im-9"])
    with pytest.raises(exception.ImageBuildError, match=r"step 2, `pip six`: six 1\.17\.0 \(locked 1\.16\.0\)"):
        keep(platform, [BASE, SIX])


@pytest.mark.parametrize(
    ("chain", "said"),
    [
        ([BASE, {"op": "pip", "packages": ["six", "idna"]}], r"step 2 is `pip six idna`, in the lock `pip six`"),
        ([BASE, SIX, {"op": "run", "commands": ["true"]}], r"step 3 is `run true`, in the lock nothing more"),
        ([BASE, {**SIX, "options": ["--pre"]}], r"they differ in options"),
        ([{**BASE, "python": "3.13"}], r"they differ in python"),
    ],
)
def test_a_program_that_changed_since_is_refused_with_the_first_step_that_differs(chain: list[Any], said: str) -> None:
    with pytest.raises(exception.InvalidError, match=said) as caught:
        keep(Platform({}, []), chain)
    assert "image lock" in caught.value.hint


def test_the_first_steps_of_a_locked_image_are_locked_as_well() -> None:
    platform = Platform({"im-1": {"pip": "23.0"}}, ["im-1"])
    assert keep(platform, [BASE]).image_id == "im-1"


def test_a_tag_is_replaced_by_the_digest_that_it_meant() -> None:
    base: Any = {"op": "base", "base": "registry", "tag": "localhost:5000/team/tool:1.2"}
    changed = lock.pinned(base, step(base, "im-1", digest="sha256:ab"))
    assert changed["tag"] == "localhost:5000/team/tool@sha256:ab"


def test_what_differs_from_run_to_run_is_no_part_of_a_definition() -> None:
    again: Any = {**SIX, "secrets": ["st-1"], "force": True, "timeout": 5.0}
    assert lock.definition(again) == lock.definition(SIX)


def test_images_built_twice_or_in_part_are_recorded_once() -> None:
    platform = Platform({"im-1": {}, "im-2": {"six": "1"}}, ["im-1", "im-2"])
    session: Any = platform
    recorder = lock.Recorder()

    async def record() -> list[lock.Image]:
        for chain, builds in (([BASE], ["im-1"]), ([BASE, SIX], ["im-1", "im-2"]), ([BASE, SIX], ["im-1", "im-2"])):
            platform.builds = builds
            await recorder.build(chain, platform.plain, session)
        return await recorder.finished(session)

    (image,) = asyncio.run(record())
    assert [one.image_id for one in image] == ["im-1", "im-2"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 99, "images": []}'])
def test_a_file_that_is_no_lock_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.images.lock"
    path.write_text(text)
    with pytest.raises(exception.InvalidError):
        lock.load(path)


def test_a_missing_lock_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(exception.NotFoundError) as caught:
        lock.load(tmp_path / "x.images.lock")
    assert "windlass image lock" in caught.value.hint

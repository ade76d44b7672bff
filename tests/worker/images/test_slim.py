"""``debian_slim`` through a registry: which one is asked, and what happens when none answers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from windlass import exception
from windlass.worker.images import cache, registry, settings, skopeo, slim


class Outer:
    """Plays what is outside: skopeo's answers, one after the other."""

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)
        self.asked: list[list[str]] = []

    async def run(self, argv: list[str], *, log: Any, **given: Any) -> int:
        self.asked.append(argv)
        code = self.codes.pop(0)
        if code == -1:
            raise exception.TimeoutError("did not end within 6 s")
        if code:
            log('time="now" level=fatal msg="dial tcp: lookup docker.io: no such host"\n')
        return code


@pytest.fixture
def pulled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []

    async def pull(name: str, **given: Any) -> cache.Record:
        names.append(name)
        return {"layers": ["sha-1"], "env": {}, "workdir": "", "entrypoint": [], "python": "", "size": 1}

    monkeypatch.setattr(registry, "pull", pull)
    return names


def ask(tmp_path: Path, outer: Outer, *series: str, **environ: str) -> tuple[slim.Slim, list[cache.Record | None]]:
    asked = slim.Slim()
    access = skopeo.Access(outer, environ, settings.Settings({}, [], [], None), tmp_path)  # type: ignore[arg-type]

    async def run() -> list[cache.Record | None]:
        draft, layers = cache.Draft(tmp_path), cache.Layers(tmp_path)
        return [
            await asked.pulled(one, layers=layers, draft=draft, access=access, log=lambda _: None) for one in series
        ]

    return asked, asyncio.run(run())


def test_the_official_image_is_taken_where_a_registry_answers(tmp_path: Path, pulled: list[str]) -> None:
    outer = Outer(0)
    _, (record,) = ask(tmp_path, outer, "3.12")
    assert pulled == ["docker.io/library/python:3.12-slim-bookworm"]
    assert record is not None and record["cmd"] == ["sleep", "172800"]


def test_a_mirror_is_asked_first_and_another_place_may_be_named(tmp_path: Path, pulled: list[str]) -> None:
    outer = Outer(1, 0)
    ask(tmp_path, outer, "3.12", WINDLASS_REGISTRY_MIRRORS="docker.io=mirror.example:5000")
    assert [argv[-1] for argv in outer.asked] == [
        "docker://mirror.example:5000/library/python:3.12-slim-bookworm",
        "docker://docker.io/library/python:3.12-slim-bookworm",
    ]
    ask(tmp_path, Outer(0), "3.12", WINDLASS_BASE_REGISTRY="registry.example/bases/")
    assert pulled[-1] == "registry.example/bases/python:3.12-slim-bookworm"


@pytest.mark.parametrize("code", [1, -1], ids=["refuses", "is silent"])
def test_a_registry_that_does_not_answer_is_asked_once_in_a_while(tmp_path: Path, pulled: list[str], code: int) -> None:
    outer = Outer(code)
    asked, records = ask(tmp_path, outer, "3.12", "3.12")
    assert records == [None, None] and len(outer.asked) == 1 and pulled == []
    assert "docker.io" in asked.why_not("3.12", {})


def test_the_way_can_be_closed(tmp_path: Path, pulled: list[str]) -> None:
    outer = Outer()
    asked, records = ask(tmp_path, outer, "3.12", WINDLASS_BASE_REGISTRY="off")
    assert records == [None] and "off" in asked.why_not("3.12", {"WINDLASS_BASE_REGISTRY": "off"}) and not outer.asked


def test_where_no_way_leads_to_a_python_the_error_names_both() -> None:
    made = exception.ImageBuildError("its mirrors have 3.11 (bookworm)", hint="Choose one of these.")
    found = slim.impossible("3.12", "no such host", made)
    assert "bookworm" in str(found) and "no such host" in str(found) and "WINDLASS_REGISTRY_MIRRORS" in found.hint


def test_a_mirror_with_the_wrong_image_under_the_name_is_found_out() -> None:
    record: cache.Record = {**slim.empty(), "python": "3.9"}
    with pytest.raises(exception.ImageBuildError, match=r"3\.12 has Python 3\.9"):
        slim.check(record, "3.12")

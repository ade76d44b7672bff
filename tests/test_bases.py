"""Images that begin with a base of a registry, or with nothing: described, checked early."""

from __future__ import annotations

from typing import Any

import pytest

from windlass import exception
from windlass.image import Image
from windlass.secret import Secret

LOGIN = Secret.from_dict({"REGISTRY_USERNAME": "me", "REGISTRY_PASSWORD": "pw"})
FACTORIES = [Image.from_registry, Image.from_aws_ecr, Image.from_gcp_artifact_registry]


def recipes(image: Image) -> list[Any]:
    return [step.recipe for step in image._steps]


@pytest.mark.parametrize("factory", FACTORIES)
def test_an_image_of_a_registry_is_its_name_with_an_optional_secret_and_python(factory: Any) -> None:
    image = factory("localhost:5000/app:1", LOGIN, force_build=True, add_python="3.14t")
    assert recipes(image) == [
        {"op": "base", "base": "registry", "tag": "localhost:5000/app:1", "force": True},
        {"op": "python", "python": "3.14t"},
    ]
    assert image._deps() == [LOGIN]
    assert factory("app")._deps() == []


@pytest.mark.parametrize(
    "names",
    [{}, {"TOKEN": "x"}, {"SERVICE_ACCOUNT_JSON": "{}", "REGISTRY_USERNAME": "a", "REGISTRY_PASSWORD": "b"}],
)
def test_a_secret_that_opens_no_registry_is_refused_at_once(names: dict[str, str | None]) -> None:
    with pytest.raises(exception.InvalidError, match="registry secret"):
        Image.from_registry("app", Secret.from_dict(names))


def test_a_stored_secret_is_checked_when_it_is_used() -> None:
    assert len(Image.from_registry("app", Secret.from_name("login"))._deps()) == 1


@pytest.mark.parametrize("python", ["3.9", "3.12.1", "3", "", "3.12t", "t", "x", 3.12])
def test_a_python_to_add_is_a_series(python: Any) -> None:
    with pytest.raises(exception.InvalidError, match="add_python"):
        Image.from_registry("app", add_python=python)


def test_other_nonsense_is_refused() -> None:
    for tag in ("", " ", None, 3):
        with pytest.raises(exception.InvalidError, match="name of an image"):
            Image.from_registry(tag)  # type: ignore[arg-type]
    with pytest.raises(exception.InvalidError, match="list of Secret"):
        Image.from_registry("app", "login")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="has no argument colour"):
        Image.from_registry("app", colour="blue")


def test_files_and_settings_are_all_that_nothing_takes() -> None:
    image = Image.from_scratch().env({"A": "1"}).workdir("/x").cmd(["x"]).add_local_file(__file__, "/x/", copy=True)
    assert [recipe["op"] for recipe in recipes(image)] == ["base", "env", "workdir", "cmd", "copy"]
    for step in (image.run_commands, image.pip_install, image.apt_install):
        with pytest.raises(exception.InvalidError, match="from_scratch"):
            step("six")

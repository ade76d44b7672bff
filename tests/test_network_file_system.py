"""Handles of network file systems: the warning, what is refused at once, globs, and places that go together."""

from __future__ import annotations

import pytest

import windlass
from windlass import exception, options
from windlass.client import globs
from windlass.server.decide import mounts

ID = "sv-0123456789012345678901"


def shared(name: str = "scratch") -> windlass.NetworkFileSystem:
    with pytest.warns(exception.DeprecationError, match="Volume"):
        return windlass.NetworkFileSystem.from_name(name)


def test_it_works_and_says_that_it_is_deprecated() -> None:
    assert shared().name == "scratch"
    with pytest.warns(exception.DeprecationError):
        assert windlass.NetworkFileSystem.from_id(ID).name is None


def test_the_warning_is_about_the_line_that_uses_it() -> None:
    with pytest.warns(exception.DeprecationError) as caught:
        windlass.NetworkFileSystem.from_name("scratch")
        windlass.NetworkFileSystem.from_id(ID)
        windlass.NetworkFileSystem.ephemeral()
    assert [one.filename for one in caught] == [__file__] * 3


@pytest.mark.filterwarnings("ignore:NetworkFileSystem is deprecated")
def test_names_and_ids_are_checked_at_once() -> None:
    for name in ("", "a b", "x" * 65, None):
        with pytest.raises(exception.InvalidError):
            windlass.NetworkFileSystem.from_name(name)  # type: ignore[arg-type]
    for identity in ("", "vo-0123456789012345678901", None):
        with pytest.raises(exception.InvalidError):
            windlass.NetworkFileSystem.from_id(identity)  # type: ignore[arg-type]


def test_a_function_has_each_at_one_path_that_nothing_else_has() -> None:
    one, two, volume = shared(), shared("other"), windlass.Volume.from_name("v")
    asked = {"network_file_systems": {"/a/": one, "/b": two}, "volumes": {"/c": volume}}
    assert list(options.Options(asked, is_generator=False).network_file_systems) == ["/a", "/b"]
    for wrong, why in (
        ({"network_file_systems": {"/a": one, "/b": one}}, "twice"),
        ({"network_file_systems": {"/a": one}, "volumes": {"/a/": volume}}, "both"),
        ({"network_file_systems": {"a": one}}, "mounted at 'a'"),
        ({"network_file_systems": {"/a": volume}}, "NetworkFileSystem"),
        ({"volumes": {"/a": one}}, "Volume"),
        ({"network_file_systems": [one]}, "dict"),
    ):
        with pytest.raises(exception.InvalidError, match=why):
            options.Options(wrong, is_generator=False)


def test_a_class_has_them_as_a_function_has() -> None:
    app, one = windlass.App("classes"), shared()

    @app.cls(serialized=True, network_file_systems={"/a": one})
    class Model:
        @windlass.method()
        def path(self) -> str:
            return "/a"

    assert one in Model._service._deps()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("shared", "volumes"),
    [
        ([("sv-1", "/a"), ("sv-1", "/b")], []),
        ([("sv-1", "/a"), ("sv-2", "/a/")], []),
        ([("sv-1", "/a/b")], ["/a"]),
        ([("sv-1", "/a")], ["/a/b"]),
    ],
)
def test_places_inside_each_other_are_refused(shared: list[tuple[str, str]], volumes: list[str]) -> None:
    with pytest.raises(exception.InvalidError):
        mounts.check_apart(shared, volumes)


def test_places_beside_each_other_are_fine() -> None:
    mounts.check_apart([("sv-1", "/a"), ("sv-2", "/ab")], ["/b", "/b/inside"])


@pytest.mark.parametrize(
    ("path", "folder", "recursive", "yes", "no"),
    [
        ("*.txt", "", False, ["a.txt"], ["a.py", "d/a.txt"]),
        ("d/[ab]?*", "d", False, ["d/bxx"], ["d/b", "d/cxx"]),
        ("d/*/f", "d", True, ["d/e/f"], ["d/f", "d/e/e/f"]),
        ("**/f", "", True, ["f", "d/f", "d/e/f"], ["d/g"]),
        ("d/**", "d", True, ["d/e", "d/e/f"], []),
    ],
)
def test_a_glob_says_what_to_list_and_what_of_it_counts(
    path: str, folder: str, recursive: bool, yes: list[str], no: list[str]
) -> None:
    found = globs.search(path)
    assert (found.folder, found.recursive) == (folder, recursive)
    assert all(found.matches(one) for one in yes) and not any(found.matches(one) for one in no)


def test_what_is_no_glob_is_a_name_and_a_malformed_one_is_said_so() -> None:
    assert not globs.is_glob("data[1]?") and globs.is_glob("a/*")
    with pytest.raises(exception.InvalidError, match="class"):
        globs.search("*/[a")

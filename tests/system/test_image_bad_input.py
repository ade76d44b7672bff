"""What cannot be installed or is not there: a clear error with the end of the log, soon, and nothing is left."""

from __future__ import annotations

import contextlib
import os
import socket
import time
import uuid
from collections.abc import Iterator

import pytest

import index
import windlass

SLIM = windlass.Image.debian_slim
Failed = windlass.exception.ImageBuildError
NOWHERE = "windlass-no-such-package"


def build(image: windlass.Image) -> None:
    app = windlass.App("test-bad-input", image=image)
    app.function(serialized=True)(len)
    with app.run():
        pass


@contextlib.contextmanager
def whole_store(stage, seconds: float = 120.0) -> Iterator[None]:
    """What happens inside leaves no layer and no draft, takes not too long, and does not spoil the next build."""
    layers = stage.home / "layers"
    before, began = set(os.listdir(layers)), time.monotonic()
    yield
    assert time.monotonic() - began < seconds
    assert set(os.listdir(layers)) == before
    build(SLIM())


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize(
    "image",
    [
        SLIM().pip_install(NOWHERE),
        SLIM().pip_install(NOWHERE, extra_options="--prefer-binary"),  # pip itself
        SLIM().uv_pip_install(NOWHERE),
        SLIM().apt_install(NOWHERE),
    ],
    ids=["pip by uv", "pip", "uv", "apt"],
)
def test_an_unknown_package_is_named(stage, image):
    with whole_store(stage), pytest.raises(Failed, match=NOWHERE) as caught:
        build(image)
    assert "failed at step 2 of 2" in str(caught.value) and "exit code" in str(caught.value)


@pytest.mark.parametrize("options", ["", "--prefer-binary"], ids=["uv", "pip"])
def test_an_index_that_cannot_be_reached_fails_soon_and_is_named(stage, options):
    port = closed_port()
    (stage.home / "build.env").write_text(
        f"PIP_INDEX_URL=http://me:hidden-word@127.0.0.1:{port}/simple\nPIP_RETRIES=1\n"
    )
    try:
        with whole_store(stage, 60), pytest.raises(Failed, match=f"127.0.0.1:{port}") as caught:
            build(SLIM().pip_install(index.PACKAGE, extra_options=options))
    finally:
        (stage.home / "build.env").unlink()
    assert "hidden-word" not in str(caught.value)


@pytest.mark.parametrize("options", ["", "--prefer-binary"], ids=["uv", "pip"])
def test_a_wrong_password_for_an_index_says_so(stage, options):
    with index.serving("right") as company:
        (stage.home / "build.env").write_text(f"PIP_INDEX_URL={company.url(password='wrong-word')}\nPIP_RETRIES=0\n")
        try:
            with whole_store(stage, 60), pytest.raises(Failed, match=r"401|[Uu]nauthorized|[Cc]redential") as caught:
                build(SLIM().pip_install(index.PACKAGE, extra_options=options))
        finally:
            (stage.home / "build.env").unlink()
    assert company.index and "wrong-word" not in str(caught.value)


def test_missing_local_files_are_named_before_anything_is_built(stage, tmp_path):
    for image in (
        SLIM().pip_install_from_requirements(tmp_path / "gone.txt"),
        SLIM().uv_pip_install(requirements=[str(tmp_path / "gone.txt")]),
        SLIM().add_local_file(tmp_path / "gone.txt", "/srv/x", copy=True),
        SLIM().add_local_dir(tmp_path / "gone.txt", "/srv/x", copy=True),
    ):
        with whole_store(stage, 20), pytest.raises(FileNotFoundError, match=r"gone\.txt"):
            build(image)


@pytest.mark.parametrize(
    "text, found",
    [
        (b"six==not.a.version\n", "not.a.version|requirement"),
        (b"===\n", "===|requirement"),
        (b"-r elsewhere.txt\n", "elsewhere"),
        (b"six==1.16.0 --hash=sha256:0000\n", "[Hh]ash"),
        (b"\xef\xbb\xbfsix\n-e .\n", "setup.py|pyproject|\\."),
        (b"caf\xe9\n", "UTF-8|utf-8|codec|decode"),
        (b"six\0\n", "."),
    ],
    ids=["version", "operator", "nested", "hash", "editable", "latin", "nul"],
)
def test_odd_requirements_are_a_clear_error(stage, tmp_path, text, found):
    file = tmp_path / "requirements.txt"
    file.write_bytes(text)
    expected = (Failed, windlass.exception.InvalidError, FileNotFoundError)
    with whole_store(stage), pytest.raises(expected, match=found):
        build(SLIM().pip_install_from_requirements(file))


def test_requirements_with_remarks_markers_and_windows_line_ends_are_fine(stage, tmp_path):
    file = tmp_path / "requirements.txt"
    mark = uuid.uuid4().hex
    file.write_bytes(f"# {mark}\r\n\r\niniconfig==2.0.0 ; python_version > '3'  # inline\r\n".encode())
    build(SLIM().pip_install_from_requirements(file).run_commands("python -c 'import iniconfig'"))


def test_a_command_with_a_nul_is_refused_clearly(stage):
    with whole_store(stage, 20), pytest.raises(Failed, match="invalid argument"):
        build(SLIM().run_commands("echo a\0b"))

"""Images with whatever Python: found, added, too old, or none."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import oci
import registries
import windlass
from windlass import exception

SLIM = windlass.Image.debian_slim


def added(python: str):
    return {"op": "python", "python": python}


def facts():
    import ctypes
    import sqlite3
    import ssl
    import sys

    import numpy

    return sys.executable, sys.version_info[:2], int(numpy.arange(4).sum()), bool(ctypes and ssl and sqlite3)


def called(image: windlass.Image, function=facts):
    app = windlass.App("test-python", image=image)
    handle = app.function(serialized=True)(function)
    with app.run():
        return handle.remote()


def name():
    import sys

    return sys.executable


def bare(stage, *more: str) -> bytes:
    """A layer with a C library (and ``more`` libraries) and nothing else: no Python, no shell."""
    called(SLIM("3.11"), name)  # its files are taken
    found: Path = next((stage.home / "layers").glob("im-*/files/usr/lib/*-linux-gnu/libc.so.6"))
    place = found.parent.relative_to(found.parents[3])
    libraries = ("libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libutil.so.1", *more)
    loader = next(found.parent.glob("ld-linux*"))
    return oci.archive(
        *(oci.entry(f"{place}/{one.name}", one.read_bytes(), mode=0o755)
          for one in (loader, *(found.with_name(library) for library in libraries))),
        oci.link("lib", "usr/lib"), oci.link("lib64", str(place)), oci.entry("tmp", mode=0o1777), oci.entry("root"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[registries.Registry]:
    with registries.running(tmp_path_factory.mktemp("registry")) as running:
        yield running


def test_a_python_is_added_to_an_image_that_has_none_not_even_a_shell(stage, registry):
    registry.push("bare:1", [bare(stage, "libgcc_s.so.1", "libstdc++.so.6", "libz.so.1")])
    image = windlass.Image.from_registry(f"{registry.host}/bare:1", add_python="3.11").pip_install("numpy")
    executable, version, total, whole = called(image)
    assert executable == "/usr/local/bin/python3" and version == (3, 11) and total == 6 and whole
    with pytest.raises(exception.InvalidError, match="no Python"):
        called(windlass.Image.from_registry(f"{registry.host}/bare:1"), name)


def test_where_uv_lacks_a_library_pip_installs(stage, registry):
    registry.push("bare:2", [bare(stage)])
    image = windlass.Image.from_registry(f"{registry.host}/bare:2", add_python="3.11").pip_install("markupsafe")

    def escaped():
        from markupsafe import _speedups, escape  # the first is an extension module

        return str(escape("<")) if _speedups else ""

    assert called(image, escaped) == "&lt;"


@pytest.mark.timeout(420)
def test_the_base_of_another_release_runs_functions_with_its_own_python(stage, program):
    path = program("other.py", """
import modal
app = modal.App("test-other-python", image=modal.Image.debian_slim("3.13"))

@app.function()
def version(one):
    import sys
    return one + 1, sys.version_info[:2], sys.modules["windlass.runner.life"].__cached__

@app.local_entrypoint()
def main(): print("GOT", version.remote(1))
""")  # fmt: skip
    ran = stage.cli("run", path, check=0, timeout=400)
    assert "GOT (2, (3, 13)," in ran.out and "cpython-313.pyc" in ran.out


def test_an_added_python_runs_functions_with_extension_modules(stage):
    image = SLIM("3.11")._step(added("3.11")).pip_install("numpy")
    executable, version, total, whole = called(image)
    assert executable.startswith("/usr/local/bin/python3") and version == (3, 11) and total == 6 and whole


def test_an_added_python_that_needs_a_newer_system_is_refused_with_both_versions(stage):
    with pytest.raises(exception.ImageBuildError, match=r"3\.13 of .* needs glibc 2\.\d+ .* the image has 2\.36"):
        called(SLIM("3.11")._step(added("3.13")))


def test_a_python_that_nobody_here_has_says_what_there_is(stage):
    with pytest.raises(exception.ImageBuildError, match=r"3\.15.*cannot be added.*3\.11 \(bookworm\)"):
        called(SLIM("3.11")._step(added("3.15")))


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("rm /usr/bin/python3 /usr/local/bin/python", "no Python"),
        ("rm /usr/bin/python3 /usr/local/bin/python; printf '#!/bin/sh\\necho Python 3.9\\n' > /usr/bin/python; "
         "chmod 755 /usr/bin/python", "Python 3.9"),
    ],
)  # fmt: skip
def test_a_function_on_an_image_without_a_python_that_fits_is_refused_at_once(stage, command, said):
    with pytest.raises(exception.InvalidError, match=said) as caught:
        called(SLIM("3.11").run_commands(command))
    assert "add_python" in caught.value.hint


def test_an_image_whose_python_has_only_the_short_name_runs_functions(stage):
    move = "rm /usr/bin/python3 /usr/local/bin/python && mv /usr/bin/python3.11 /usr/local/bin/python"
    image = SLIM("3.11").run_commands(f"{move} # {uuid.uuid4().hex}")

    assert called(image, name) == "/usr/local/bin/python"

"""Images with whatever Python: found, added, too old, or none."""

from __future__ import annotations

import uuid

import pytest

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

    def name():
        import sys

        return sys.executable

    assert called(image, name) == "/usr/local/bin/python"

"""Pythons to add: uv's download from a mirror of our own, and what an image must have for them."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from windlass import exception
from windlass.worker import outside, userns
from windlass.worker.images import cache, glibc, machine, settings, sources, standalone

HOST = settings.Settings({}, [], [], None)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cache, "CONTAINER_ROOT", os.getuid())
    uv = settings.uv_binary()
    assert uv is not None, "uv comes with Windlass"
    (tmp_path / "home/build").mkdir(parents=True)
    (tmp_path / "home/build/uv").symlink_to(uv)

    async def outside(line: Any, *, namespace: Path, **given: Any) -> int:
        return await userns.supervise(line, **given)

    monkeypatch.setattr(userns, "run", outside)
    return tmp_path / "home"


def mirror(folder: Path) -> dict[str, str]:
    """A mirror of one download that has the shape of uv's, and the settings that lead there."""
    python = folder / "python"
    (python / "bin").mkdir(parents=True)
    (python / "bin/python3.12").write_text("#!/bin/sh\necho \"$@\" > \"${0%/*}/../asked\"\n")
    (python / "bin/python3.12").chmod(0o755)
    (python / "bin/python3").symlink_to("python3.12")
    (python / "bin/pip3").write_text("#!/bin/sh\n")
    (python / "lib/python3.12").mkdir(parents=True)
    (python / "lib/python3.12/EXTERNALLY-MANAGED").touch()
    data = python / "lib/python3.12/_sysconfigdata__linux_x86_64-linux-gnu.py"
    data.write_text("# system configuration generated and used by the sysconfig module\n"
                    "build_time_vars = {'prefix': '/install', 'LIBDIR': '/install/lib'}\n")  # fmt: skip
    with tarfile.open(folder / "python.tar.gz", "w:gz") as archive:
        archive.add(python, "python")
    entry = {
        "name": "cpython", "arch": {"family": platform.machine(), "variant": None}, "os": "linux", "libc": "gnu",
        "major": 3, "minor": 12, "patch": 9, "prerelease": "", "url": f"file://{folder}/python.tar.gz",
        "sha256": None, "variant": None, "build": "20260101",
    }  # fmt: skip
    listed = {f"cpython-3.12.9-linux-{platform.machine()}-gnu": entry}
    (folder / "list.json").write_text(json.dumps(listed))
    return {"UV_PYTHON_DOWNLOADS_JSON_URL": f"file://{folder}/list.json"}


def tree(home: Path, environ: dict[str, str], series: str = "3.12", log: Any = print) -> standalone.Tree:
    made = standalone.Pythons(home, namespace=Path("/none"), outer=outside.Outside())
    host = machine.Host(environ, HOST, sources.mirrors([]))
    return asyncio.run(made.tree(series, host=host, log=log))


def test_uvs_download_becomes_a_tree_below_usr_local_and_is_kept(home: Path, tmp_path: Path) -> None:
    environ = mirror(tmp_path)
    made = tree(home, environ)
    prefix = made.files / "usr/local"
    assert made.origin == "python-build-standalone" and made.glibc == (2, 17)
    assert (prefix / "bin/python").resolve().name == "python3.12" and (prefix / "bin/pip").exists()
    assert not (prefix / "lib/python3.12/EXTERNALLY-MANAGED").exists()
    said = next((prefix / "lib/python3.12").glob("_sysconfigdata*")).read_text()
    assert "/usr/local/lib" in said and str(home) not in said
    assert "compileall" in (prefix / "asked").read_text()
    shutil.rmtree(tmp_path / "python")
    (tmp_path / "list.json").unlink()
    assert tree(home, environ) == made
    assert [entry.name for entry in (home / "pythons").iterdir()] == ["3.12-standalone"]


def test_where_neither_way_leads_to_it_the_error_says_what_there_is(home: Path, tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("{}")
    environ = {"UV_PYTHON_DOWNLOADS_JSON_URL": f"file://{tmp_path}/list.json"}
    with pytest.raises(exception.ImageBuildError, match=r"3\.12 cannot be added.*3\.11 \(bookworm\)") as caught:
        tree(home, environ)
    assert "UV_PYTHON_INSTALL_MIRROR" in caught.value.hint
    assert list((home / "pythons").iterdir()) == []


def image(folder: Path, release: str) -> list[Path]:
    library = folder / f"usr/lib/{platform.machine()}-linux-gnu"
    library.mkdir(parents=True)
    (folder / "lib").symlink_to("usr/lib")
    said = f"GNU C Library (Some GLIBC 2.36-9) stable release version {release}"
    (library / "libc.so.6").write_bytes(b"\x7fELF\0" + said.encode())
    return [folder]


def test_an_image_with_an_older_c_library_is_refused(tmp_path: Path) -> None:
    layers = image(tmp_path, "2.36.\n")
    assert glibc.of(layers) == (2, 36)
    standalone.check(standalone.Tree(tmp_path, "Debian bookworm", (2, 36)), "3.11", layers)
    with pytest.raises(exception.ImageBuildError, match=r"needs glibc 2\.38 or newer, but the image has 2\.36"):
        standalone.check(standalone.Tree(tmp_path, "Debian trixie", (2, 38)), "3.13", layers)


def test_an_image_with_another_c_library_or_none_is_refused(tmp_path: Path) -> None:
    added = standalone.Tree(tmp_path, "Debian bookworm", (2, 36))
    with pytest.raises(exception.ImageBuildError, match="no C library"):
        standalone.check(added, "3.11", [tmp_path])
    (tmp_path / "lib").mkdir()
    (tmp_path / f"lib/ld-musl-{platform.machine()}.so.1").touch()
    with pytest.raises(exception.ImageBuildError, match="musl instead"):
        standalone.check(added, "3.11", [tmp_path])


def test_the_newest_version_that_programs_ask_for_counts(tmp_path: Path) -> None:
    (tmp_path / "a.so").write_bytes(b"\x7fELF..\0GLIBC_2.9\0GLIBC_2.33\0GLIBC_2.2.5\0")
    (tmp_path / "text").write_bytes(b"GLIBC_2.99\0")
    assert glibc.asked(tmp_path) == (2, 33)


def test_a_placed_python_hides_modules_of_an_earlier_build_of_it(tmp_path: Path) -> None:
    from windlass.worker.images import stack

    layers, draft, files = [tmp_path / "image"], tmp_path / "draft", tmp_path / "files"
    for path in ("image/usr/local/lib/python3.12/old.py", "files/usr/local/lib/python3.12/new.py"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).touch()
    (files / "usr/local/lib/python3.12/dist-packages").symlink_to("site-packages")
    draft.mkdir()
    standalone.place(standalone.Tree(files, "", (2, 17)), "3.12", layers, draft)
    seen = stack.names([*layers, draft], Path("usr/local/lib/python3.12"))
    assert seen == {"new.py", "dist-packages"}

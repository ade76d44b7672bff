"""A program: makes of the Python that a Debian release packages one that runs from ``/usr/local`` of any other image.

Run by that Python itself, inside the unpacked release, with the series ("3.13") and an empty folder for the result.
What Debian changed for its own packages (where modules are installed and searched) is changed back, and the libraries
that extension modules need come along under names of their own, so that they never meet those of the image.

Imports only the standard library: nothing of Windlass is there.
"""
from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "usr/local"
_C_LIBRARY = re.compile(r"(ld-linux.*|lib(c|m|pthread|dl|rt|util|resolv|anl|nsl)\.so\.(1|2|6|0))")
_LEFT_OUT = shutil.ignore_patterns(
    "__pycache__", "*.a", "*.o", "libpython*.so", "sitecustomize.py", "EXTERNALLY-MANAGED", "_distutils_system_mod.py",
    "test",
)  # fmt: skip
_COMMAND = """#!{python}
import sys

from pip._internal.cli.main import main

sys.exit(main())
"""
_OPENSSL = b"/usr/lib/ssl"  # where only Debian's own packages put a link to /etc/ssl


def main(series: str, result: Path) -> None:
    """Fill ``result`` with ``usr/local/…``."""
    prefix = result / PREFIX
    library = prefix / "lib" / f"python{series}"
    _copy(series, prefix, library)
    _bundle(prefix, library / "lib-private", mark=f"py{series.replace('.', '')}-")
    _as_upstream(library)
    _settings(series, library)
    _pip(series, prefix, library)
    _compile(series, result, prefix, library)


def _copy(series: str, prefix: Path, library: Path) -> None:
    (prefix / "bin").mkdir(parents=True)
    shutil.copy2(f"/usr/bin/python{series}", prefix / "bin")
    for name in ("python3", "python"):
        (prefix / "bin" / name).symlink_to(f"python{series}")
    shutil.copytree(f"/usr/lib/python{series}", library, ignore=_LEFT_OUT, symlinks=True)
    shutil.copytree("/usr/share/python-wheels", library / "wheels")
    headers = prefix / "include" / f"python{series}"
    shutil.copytree(f"/usr/include/python{series}", headers)
    for config in Path("/usr/include").glob(f"*-linux-gnu*/python{series}/pyconfig.h"):
        shutil.copy2(config, headers / "pyconfig.h")


def _bundle(prefix: Path, private: Path, *, mark: str) -> None:
    """Copy needed libraries into ``private`` and let everything find them there, wherever the tree is."""
    private.mkdir()
    waiting = list(_programs(prefix))
    while waiting:
        program = waiting.pop()
        for name in _patchelf("--print-needed", program).split():
            if _C_LIBRARY.fullmatch(name):
                continue
            _patchelf("--replace-needed", name, mark + name, program)
            if not (private / (mark + name)).exists():
                waiting.append(_library(name, private / (mark + name)))
        # One change at a time: told several, patchelf mixes up their texts.
        _patchelf("--set-rpath", f"$ORIGIN/{os.path.relpath(private, program.parent)}", program)
        if program.parent == private:
            _patchelf("--set-soname", program.name, program)


def _programs(prefix: Path) -> Iterator[Path]:
    for path in prefix.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                if file.read(4) == b"\x7fELF":
                    yield path


def _library(name: str, target: Path) -> Path:
    found = next(path for root in ("/usr/lib", "/lib") for path in Path(root).glob(f"*-linux-gnu*/{name}"))
    data = found.read_bytes()
    if name.startswith("libcrypto."):
        data = re.sub(_OPENSSL + rb"(/(?:certs|cert\.pem|private))?\0", _etc, data)
    target.write_bytes(data)
    target.chmod(0o644)
    return target


def _etc(match: re.Match[bytes]) -> bytes:
    """The same text for all distributions, of the same length."""
    return (b"/etc/ssl" + (match[1] or b"")).ljust(len(match[0]), b"\0")


def _patchelf(*arguments: str | Path) -> str:
    return subprocess.run(["patchelf", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def _as_upstream(library: Path) -> None:
    """Modules are installed into ``site-packages``, as by every Python but Debian's. What searches for them is part of
    the program and cannot be edited: so the folder has both names."""
    (library / "site-packages").mkdir()
    (library / "dist-packages").symlink_to("site-packages")
    sysconfig = library / "sysconfig/__init__.py"
    _edit(sysconfig if sysconfig.exists() else library / "sysconfig.py", (r"'posix_local'$", "'posix_prefix'"))
    for path in (library / "distutils").rglob("*.py"):
        _edit(path, (r"(?<!def )is_virtual_environment\(\)", "True"))


def _settings(series: str, library: Path) -> None:
    """What builds of extension modules read: the new places, and compilers by the names that every system has."""
    places = [
        (r"/usr/share/python-wheels/?", f"/{PREFIX}/lib/python{series}/wheels"),
        (r"/usr/include\b", f"/{PREFIX}/include"),
        (rf"/usr/(lib|bin)/(?=python{series}|[\w-]+-linux-gnu)", rf"/{PREFIX}/\1/"),
        (r"'/usr(/bin|/lib)?'", rf"'/{PREFIX}\1'"),
        (r"\b[\w]+-linux-gnu\w*-(?=gcc|g\+\+|ar\b)", ""),
    ]
    for path in (*library.glob("_sysconfigdata_*.py"), *library.glob("config-*/Makefile")):
        if not path.is_symlink():
            _edit(path, *places)


def _edit(path: Path, *changes: tuple[str, str]) -> None:
    text = path.read_text()
    for pattern, new in changes:
        text = re.sub(pattern, new, text, flags=re.MULTILINE)
    path.write_text(text)


def _pip(series: str, prefix: Path, library: Path) -> None:
    """pip, as a module and as a command. Its wheel is unpacked, which is all that an installer would do."""
    modules = library / "site-packages"
    wanted = ["pip-*.whl", "setuptools-*.whl"][: 2 if int(series.split(".")[1]) < 12 else 1]
    for pattern in wanted:
        for wheel in (library / "wheels").glob(pattern):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(modules)
    for name in ("pip", "pip3", f"pip{series}"):
        script = prefix / "bin" / name
        script.write_text(_COMMAND.format(python=f"/{PREFIX}/bin/python{series}"))
        script.chmod(0o755)


def _compile(series: str, result: Path, prefix: Path, library: Path) -> None:
    """Byte code of all modules, because a container could not keep what it compiles."""
    python = str(prefix / "bin" / f"python{series}")
    env = {"LD_LIBRARY_PATH": str(library / "lib-private")}  # $ORIGIN takes a /proc
    compiling = [python, "-I", "-m", "compileall", "-q", "-s", str(result), "-p", "/", str(library)]
    subprocess.run(compiling, check=False, env=env)  # some files are broken on purpose


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

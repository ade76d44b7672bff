"""Pythons that can be put into an image: trees below ``/usr/local`` that need nothing of it but a C library.

    pythons/<series>-<origin>/
        files/usr/local/…    linked into layers
        made.json            where it is from, and the C library it needs

Made on first need and kept. From uv, which downloads one that is built for any Linux; where that cannot be reached,
from the release of Debian or Ubuntu that ships it (``relocate``).
"""
from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypedDict

from windlass import exception
from windlass.worker import outside, spec, userns
from windlass.worker.images import base, cache, glibc, machine, relocate, sources, stack

Log = Callable[[str], None]

PREFIX = PurePosixPath("/usr/local")

_DOWNLOAD = 300.0  # seconds
_RELOCATION = 900.0
_REMEMBERED = 600.0  # seconds that an unreachable download is not tried again
_UV = (
    "UV_PYTHON_INSTALL_MIRROR", "UV_PYTHON_DOWNLOADS_JSON_URL", "UV_INSECURE_HOST", "UV_NATIVE_TLS", "UV_SYSTEM_CERTS",
)  # fmt: skip


class Made(TypedDict):
    """``made.json``. ``glibc``: the oldest it runs with."""

    origin: str
    glibc: list[int]


class Tree(NamedTuple):
    """A finished one."""

    files: Path
    origin: str
    glibc: glibc.Version


class Pythons:
    """The folder ``pythons/`` below ``home``; arguments as of ``build.Builder``."""

    def __init__(
        self, home: Path, *, namespace: Path, outer: outside.Outside
    ) -> None:
        self._root = home / "pythons"
        self._tools = home / "build"
        self._namespace = namespace
        self._outer = outer
        self._making = asyncio.Lock()
        self._failed: dict[str, tuple[float, str]] = {}  # why a download did not work, and when

    async def sweep(self) -> None:
        """Remove what a killed worker left half-made."""
        for draft in self._root.glob(".draft-*"):
            await cache.remove(draft)

    async def tree(
        self, series: str, *, host: machine.Host, log: Log
    ) -> Tree:
        """The Python of that series.

        Raises ``ImageBuildError`` that says what is possible on this machine.
        """
        async with self._making:
            if found := self._known(f"{series}-standalone"):
                return found
            try:
                return await self._download(series, host, log)
            except exception.ImageBuildError as exc:
                reason = str(exc)
                log(f"uv could not get Python {series}: {reason}\n")
            release = _release(series, host.mirrors, reason)
            return self._known(f"{series}-{release.suite}") or await self._relocate(series, release, host, log)

    def _known(self, name: str) -> Tree | None:
        try:
            made: Made = json.loads((self._root / name / "made.json").read_text())
        except FileNotFoundError:
            return None
        return Tree(self._root / name / "files", made["origin"], (made["glibc"][0], made["glibc"][1]))

    async def _download(self, series: str, host: machine.Host, log: Log) -> Tree:
        since, reason = self._failed.get(series, (-_REMEMBERED, ""))
        if time.monotonic() - since < _REMEMBERED:
            raise exception.ImageBuildError(reason)
        async with self._draft() as draft:
            said: list[str] = []
            uv = str(self._tools / "uv")
            line = [uv, "python", "install", "--no-config", "--no-progress", "--no-bin", "--install-dir"]
            try:
                code = await self._outer.run(
                    [*line, str(draft / "uv"), f"cpython-{series}"], env=self._uv_environment(draft, host),
                    log=said.append, timeout=_DOWNLOAD,
                )  # fmt: skip
            except (exception.TimeoutError, exception.ExecutionError) as exc:
                code, said = 1, [str(exc)]
            if code:
                reason = said[-1].strip().removeprefix("cause: ") if said else f"exit code {code}"
                self._failed[series] = (time.monotonic(), reason)
                raise exception.ImageBuildError(reason)
            log(f"Python {series} from python-build-standalone\n")
            await asyncio.to_thread(_adopt, draft / "uv", draft / "tree", series)
            await self._compile(draft / "tree")
            return await self._publish(draft / "tree", f"{series}-standalone", "python-build-standalone")

    def _uv_environment(self, draft: Path, host: machine.Host) -> dict[str, str]:
        env = {name: value for name, value in host.settings.env.items() if name.lower().endswith("_proxy")}
        env.update({name: host.environ[name] for name in _UV if name in host.environ})
        if host.settings.bundle is not None:
            env["SSL_CERT_FILE"] = str(host.settings.bundle)
        quick = {"UV_HTTP_RETRIES": "1", "UV_HTTP_CONNECT_TIMEOUT": "10"}
        return {**quick, **env, "PATH": os.defpath, "HOME": str(draft), "UV_CACHE_DIR": str(draft / "cache")}

    async def _compile(self, tree: Path) -> None:
        """Byte code of all modules, because a container could not keep what it compiles."""
        prefix = tree / PREFIX.relative_to("/")
        line = [str(prefix / "bin/python3"), "-I", "-m", "compileall", "-q", "-s", str(tree), "-p", "/"]
        folders = [str(folder) for folder in prefix.glob("lib/python3*")]
        await userns.run(
            [*line, *folders], namespace=self._namespace, env={"PATH": os.defpath}, log=lambda _: None, timeout=300
        )

    async def _relocate(self, series: str, release: base.Release, host: machine.Host, log: Log) -> Tree:
        origin = f"{release.mirror.distribution.name.capitalize()} {release.suite}"
        log(f"Making Python {series} from {origin}\n")
        async with self._draft() as draft:
            target = draft / "release"
            target.mkdir()
            _give(target)
            options = draft / "apt.conf"
            options.write_text(base.apt_options(host.settings, folder=self._tools))
            extract = base.extraction(target, release, _packages(series), options=options)
            env = base.environment(host.settings, host.environ)
            await self._checked(extract, env=env, log=log, timeout=_RELOCATION)
            shutil.copyfile(relocate.__file__, target / "relocate.py")
            (target / "made").mkdir()
            _give(target / "made")
            program = ["chroot", str(target), f"/usr/bin/python{series}", "-I", "/relocate.py", series, "/made"]
            await self._checked(program, env={**env, "PATH": spec.PATH}, log=log, timeout=_RELOCATION)
            return await self._publish(target / "made", f"{series}-{release.suite}", origin)

    async def _checked(self, line: Sequence[str], *, env: Mapping[str, str], log: Log, timeout: float) -> None:
        code = await userns.run(line, namespace=self._namespace, env=env, log=log, timeout=timeout)
        if code:
            raise exception.ImageBuildError(f"{line[0]} failed with exit code {code}")

    async def _publish(self, tree: Path, name: str, origin: str) -> Tree:
        made: Made = {"origin": origin, "glibc": list(await asyncio.to_thread(glibc.asked, tree))}
        whole = tree.with_name("whole")
        whole.mkdir(mode=0o711)
        tree.rename(whole / "files")
        (whole / "made.json").write_text(json.dumps(made))
        whole.rename(self._root / name)
        found = self._known(name)
        assert found is not None
        return found

    @contextlib.asynccontextmanager
    async def _draft(self) -> AsyncIterator[Path]:
        self._root.mkdir(mode=0o711, parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".draft-", dir=self._root))
        folder.chmod(0o711)
        try:
            yield folder
        finally:
            await cache.remove(folder)


def check(tree: Tree, series: str, layers: Sequence[Path]) -> None:
    """Raise ``ImageBuildError`` where the C library of the image is not one that ``tree`` runs with."""
    needs = f"Python {series} of {tree.origin} needs glibc {tree.glibc[0]}.{tree.glibc[1]} or newer"
    found = glibc.of(layers)
    if found is None:
        raise exception.ImageBuildError(
            f"{needs}, but the image has {'musl instead' if glibc.is_musl(layers) else 'no C library'}",
            hint="Start from an image of Debian, Ubuntu, Fedora or their kin, or from one that has Python.",
        )
    if found < tree.glibc:
        raise exception.ImageBuildError(
            f"{needs}, but the image has {found[0]}.{found[1]}",
            hint="Start from a newer image, add an older Python, or let this machine reach the downloads of uv "
            "(UV_PYTHON_INSTALL_MIRROR), which run with any glibc since 2.17.",
        )


def place(tree: Tree, series: str, layers: Sequence[Path], draft: Path) -> None:
    """Fill the layer ``draft``. What the image had of the same series is hidden: modules of two builds do not mix."""
    stack.graft(layers, tree.files, draft)
    stack.hide_below(draft / stack.resolved(layers, PREFIX / "lib" / f"python{series}"))


def _packages(series: str) -> list[str]:
    """What ``relocate`` works with."""
    apart = ["python3-distutils"] * (int(series.split(".")[1]) < 12)
    return ["base-files", f"python{series}", f"python{series}-venv", f"python{series}-dev", "patchelf", *apart]


def _release(series: str, mirrors: Sequence[sources.Mirror], reason: str) -> base.Release:
    try:
        return base.release(series, mirrors)
    except exception.ImageBuildError as exc:
        raise exception.ImageBuildError(
            f"Python {series} cannot be added on this machine: uv could not get it ({reason}), and the releases of its "
            f"mirrors ship {base.possible(mirrors)}",
            hint="Let this machine reach the downloads of uv, or set UV_PYTHON_INSTALL_MIRROR to a mirror of them.",
        ) from exc


def _adopt(installed: Path, tree: Path, series: str) -> None:
    """Make what uv installed look as if it had always been below ``PREFIX``."""
    [folder] = [path for path in installed.glob("cpython-*") if path.is_dir() and not path.is_symlink()]
    prefix = tree / PREFIX.relative_to("/")
    prefix.parent.mkdir(parents=True)
    folder.rename(prefix)
    for name in ("python3", "python"):
        if not os.path.lexists(prefix / "bin" / name):
            (prefix / "bin" / name).symlink_to(f"python{series}")
    if not (prefix / "bin/pip").exists() and (prefix / "bin/pip3").exists():
        (prefix / "bin/pip").symlink_to("pip3")
    for marker in prefix.glob("lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()
    said = re.compile(re.escape(str(installed)).encode() + rb"/cpython-[^/'\"\s:]+")
    for pattern in ("bin/*", "lib/pkgconfig/*.pc", "lib/python3*/_sysconfigdata*.py", "lib/python3*/config-*/Makefile"):
        for path in prefix.glob(pattern):
            if path.is_file() and not path.is_symlink() and said.search(data := path.read_bytes()):
                path.write_bytes(said.sub(str(PREFIX).encode(), data))
    _give(tree)


def _give(tree: Path) -> None:
    for path in (tree, *tree.rglob("*")):
        os.chown(path, cache.CONTAINER_ROOT, cache.CONTAINER_ROOT, follow_symlinks=False)

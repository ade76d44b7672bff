"""Which OCI runtime works here: each is really asked to run a container once, with all the walls we want.

Versions and hosts do not get along in ways that no version number tells (crun 1.8 refuses hosts with hybrid control
groups, for example). A verdict is kept until the binary or the kernel changes.
"""
from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from windlass import exception
from windlass.worker import seccomp, spec
from windlass.worker.runtime import oci

NAMES = ("crun", "runc", "runsc")  # the quickest first
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TIME = 20.0
_HOST_FOLDERS = ("usr", "bin", "lib", "lib64", "lib32", "libx32", "sbin")


class Verdict(NamedTuple):
    """``why``: empty where it works."""

    name: str
    binary: str
    why: str


def choose(run: Path, *, exits: Path, scratch: Path, wanted: str = "") -> tuple[oci.Oci, list[Verdict]]:
    """The runtime to use, and what was found about all before it. ``scratch``: a folder
    that every user inside the node can reach. Raises ``ExecutionError`` where none works."""
    conmon = shutil.which("conmon", path=_PATH)
    if conmon is None:
        raise exception.ExecutionError("conmon is not installed", hint="Install the package conmon.")
    found = []
    for name in (wanted,) if wanted else NAMES:
        binary = shutil.which(name, path=_PATH)
        if binary is None:
            found.append(Verdict(name, "", "not installed"))
            continue
        runtime = oci.Oci(binary, conmon=conmon, run=run, exits=exits)
        found.append(Verdict(name, binary, _remembered(runtime, binary, run, scratch)))
        if not found[-1].why:
            return runtime, found
    words = "; ".join(f"{verdict.name}: {verdict.why}" for verdict in found)
    raise exception.ExecutionError(
        f"no OCI runtime can run containers here ({words})", hint="Install runc or crun; see `windlass doctor`."
    )


def _remembered(runtime: oci.Oci, binary: str, run: Path, scratch: Path) -> str:
    memory, stat = run / "runtimes.json", Path(binary).stat()
    key = f"{binary} {stat.st_mtime_ns} {stat.st_size} {platform.release()}"
    try:
        known: dict[str, str] = json.loads(memory.read_text())
    except (FileNotFoundError, ValueError):
        known = {}
    if key not in known:
        # A refusal may have had a cause that passes, so only success is kept for good.
        why = _try(runtime, scratch)
        if why:
            return why
        known[key] = why
        memory.write_text(json.dumps(known))
    return known[key]


def _try(runtime: oci.Oci, scratch: Path) -> str:
    with tempfile.TemporaryDirectory(prefix=".probe-", dir=scratch) as folder:
        bundle = Path(folder)
        bundle.chmod(0o755)
        name, rootfs = bundle.name[1:], bundle / "rootfs"
        box = spec.Box(
            name=name, argv=["/bin/true"], env={"PATH": spec.PATH}, cwd="/", rootfs=rootfs, binds=_host(rootfs),
            memory=0, open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
            seccomp=seccomp.profile(),
        )  # fmt: skip
        (bundle / "config.json").write_text(json.dumps(spec.document(box)))
        try:
            return _run(runtime.run_command(name, bundle, bundle / "pid"))
        finally:
            runtime.forget(name)


def _host(rootfs: Path) -> Sequence[spec.Bind]:
    """The host's own programs as a root file system; returns what is to be mounted into it."""
    rootfs.mkdir()
    binds = []
    for name in _HOST_FOLDERS:
        source = Path("/") / name
        if source.is_symlink():
            (rootfs / name).symlink_to(source.readlink())
        elif source.is_dir():
            (rootfs / name).mkdir()
            binds.append(spec.Bind(source, f"/{name}"))
    for path in (rootfs, *rootfs.iterdir()):
        os.chown(path, spec.OWNER, spec.OWNER, follow_symlinks=False)
    return binds


def _run(line: list[str]) -> str:
    try:
        result = subprocess.run(
            line, env={"PATH": _PATH}, capture_output=True, timeout=_TIME, check=False,
            input=b"",  # not /dev/null: runtimes give their standard streams to the container's root
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"did not run a container within {_TIME:g} s"
    return oci.reason(result.stderr) or f"exit code {result.returncode}" if result.returncode else ""

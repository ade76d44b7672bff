"""What virtual machines are made of here: qemu, virtiofsd, a kernel with its modules, and what it begins with.

``WINDLASS_VM_KERNEL`` names a kernel, else the machine's own in ``/boot`` are looked at; ``WINDLASS_VM_ACCEL=tcg`` has
qemu emulate the processor where there is no usable ``/dev/kvm``: the same in all else, and many times slower.
"""
from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from windlass import exception
from windlass.worker.sandboxes.vm import ramdisk, unpacking

LEVEL = "vm"
KVM, TCG = "kvm", "tcg"
KERNEL_SETTING, ACCEL_SETTING = "WINDLASS_VM_KERNEL", "WINDLASS_VM_ACCEL"
REMEDY = (
    "Install qemu, virtiofsd and a kernel for its guests (Debian: apt-get install qemu-system-x86 qemu-system-common "
    "linux-image-cloud-amd64, and virtiofsd from Debian 13 on; Ubuntu: qemu-system-x86 virtiofsd linux-image-kvm; "
    "Fedora: qemu-system-x86-core virtiofsd, and its own kernel serves), let everybody use /dev/kvm (a udev rule: "
    'KERNEL=="kvm", MODE="0666"), and restart the platform.'
)
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_QEMU, _NO_QEMU = "qemu-system-x86_64", "qemu is not installed"
_DAEMONS = ("/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd", "/usr/lib/virtiofsd", "/usr/bin/virtiofsd")
_NEEDED = ("virtio", "virtio_ring", "virtio_pci", "virtio_console", "fuse", "virtiofs")
_USEFUL = ("virtio_net", "virtio_rng", "virtio_balloon")
_DEPENDS = re.compile(rb"(?:^|\0)depends=([^\0]*)\0")
_SETUP_SECTORS, _MAGIC, _VERSION, _PAYLOAD, _SECTOR, _LONGEST_VERSION = 0x1F1, 0x202, 0x20E, 0x248, 512, 256
_PVH = tuple(struct.pack("<III", 4, size, 18) + b"Xen\0" for size in (4, 8))
_making = threading.Lock()


class Parts(NamedTuple):
    """``modern``: virtiofsd is the one in Rust; ``tells``: of mounts, unless it is told not to. ``modules``: of the
    kernel, as files. ``key``: changes with whatever what is made of them depends on; as they were found, so that an
    upgrade meanwhile takes nothing away."""

    qemu: Path
    virtiofsd: Path
    modern: bool
    kernel: Path
    modules: tuple[Path, ...]
    accel: str
    key: str = ""
    tells: bool = False


def _key(parts: Parts) -> str:
    words = [parts.accel, platform.release(), sys.version, sys.executable, *_stamps(parts.modules)]
    words += _stamps([parts.qemu, parts.virtiofsd, parts.kernel, *_CODE])
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]


def kernel_name(parts: Parts) -> str:
    return f"the kernel {parts.kernel.name}"


class Missing(Exception):
    """Why there are none."""


_CODE = [Path(__file__).with_name(f"{name}.py") for name in ("frames", "ground", "guest", "machine", "ramdisk")]


def _stamps(paths: object) -> list[str]:
    assert isinstance(paths, (list, tuple))
    return [f"{path} {path.stat().st_mtime_ns} {path.stat().st_size}" for path in paths]


def hope() -> str:
    """Why it is plain without a trial that there are none; "" where there may be."""
    return "" if shutil.which(_QEMU, path=_PATH) else _NO_QEMU


def find(environ: Mapping[str, str]) -> Parts:
    """Raises ``Missing``."""
    accel = environ.get(ACCEL_SETTING, "") or KVM
    if accel not in (KVM, TCG):
        raise Missing(f'{ACCEL_SETTING} is {accel!r}; it may be "{KVM}" or "{TCG}"')
    qemu = shutil.which(_QEMU, path=_PATH)
    if qemu is None:
        raise Missing(_NO_QEMU)
    daemon = next((path for path in map(Path, _DAEMONS) if os.access(path, os.X_OK)), None)
    if daemon is None:
        raise Missing("virtiofsd is not installed")
    if accel == KVM:
        _look_at_kvm()
    kernel, modules = _kernel(environ)
    try:
        said = subprocess.run([daemon, "--help"], capture_output=True, env={"PATH": _PATH}, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise Missing(f"virtiofsd cannot be run: {exc}") from None
    text = said.stdout + said.stderr
    found = Parts(Path(qemu), daemon, b"--shared-dir" in text, kernel, modules, accel)
    return found._replace(key=_key(found), tells=b"--no-announce-submounts" in text)


def _look_at_kvm() -> None:
    try:
        mode = Path("/dev/kvm").stat().st_mode
    except OSError:
        raise Missing("there is no /dev/kvm") from None
    if mode & 0o006 != 0o006:
        raise Missing("/dev/kvm is not open to everybody, and the root of a sandbox is nobody on this machine")


def _kernel(environ: Mapping[str, str]) -> tuple[Path, tuple[Path, ...]]:
    """A kernel that has what it takes. Raises ``Missing`` with what the first one lacks."""
    named = environ.get(KERNEL_SETTING, "")
    found = [Path(named)] if named else sorted(Path("/boot").glob("vmlinu[xz]-*"), key=_liking, reverse=True)
    why = "there is no kernel for it in /boot"
    for number, path in enumerate(found):
        try:
            return path, modules(path)
        except Missing as exc:
            why = str(exc) if not number else why
    raise Missing(why)


def _liking(path: Path) -> tuple[bool, float]:
    """Those made for guests first, newer ones before older."""
    return ("cloud" in path.name or path.name.endswith("-kvm"), path.stat().st_mtime)


def modules(kernel: Path) -> tuple[Path, ...]:
    """The modules that a kernel needs for the devices of its machine. Raises ``Missing``."""
    release = _release(kernel)
    beside = kernel.parent.parent / "lib/modules"
    usual = (beside, kernel.parent.parent / "usr/lib/modules", Path("/lib/modules"), Path("/usr/lib/modules"))
    places = [folder / release for folder in usual]
    home = next((place for place in places if (place / "kernel").is_dir()), None)
    if home is None:
        raise Missing(f"the modules of the kernel {release} are not installed")
    there = {_plain(path.name): path for path in (home / "kernel").rglob("*.ko*")}
    built = (home / "modules.builtin").read_text() if (home / "modules.builtin").exists() else ""
    inside = {_plain(Path(line).name) for line in built.split()}
    lacking = [name for name in _NEEDED if name not in there and name not in inside]
    if lacking:
        raise Missing(f"the kernel {release} has no {' and no '.join(lacking)}")
    wanted = [name for name in (*_NEEDED, *_USEFUL) if name in there]
    return tuple(there[name] for name in _with_what_they_need(wanted, there))


def _plain(file: str) -> str:
    return file.split(".ko")[0].replace("-", "_")


def _with_what_they_need(wanted: list[str], there: Mapping[str, Path]) -> list[str]:
    """Modules, and those that they name. What is no module is built in. Raises ``Missing``."""
    found = list(wanted)
    for name in found:
        found += [other for other in needs(module(there[name])) if other in there and other not in found]
    return found


def needs(body: bytes) -> Iterator[str]:
    """The modules that a module names."""
    if (said := _DEPENDS.search(body)) is not None:
        yield from (_plain(name) for name in said[1].decode(errors="replace").split(",") if name)


def module(path: Path) -> bytes:
    """What a kernel can load. Raises ``Missing``."""
    try:
        body = unpacking.unpacked(path.read_bytes())
    except (OSError, unpacking.Packed) as exc:
        raise Missing(f"the module {path} cannot be had: {exc}") from None
    if not body.startswith(unpacking.ELF):
        raise Missing(f"the module {path} is none, or damaged")
    return body


def _release(kernel: Path) -> str:
    try:
        with kernel.open("rb") as file:
            head = file.read(64 * 1024)
    except OSError as exc:
        raise Missing(f"the kernel {kernel} cannot be read: {exc.strerror}") from None
    if head[_MAGIC : _MAGIC + 4] != b"HdrS":
        raise Missing(f"{kernel} is no kernel for x86-64")
    start = int.from_bytes(head[_VERSION : _VERSION + 2], "little") + _SECTOR
    found = head[start : start + _LONGEST_VERSION].partition(b"\0")[0].decode(errors="replace").split()
    if not found:
        raise Missing(f"{kernel} does not say which version it is")
    return found[0]


def unpacked(kernel: bytes) -> bytes:
    """The kernel itself, so that no machine unpacks it again; or as it is, where it cannot be had."""
    offset, size = struct.unpack_from("<II", kernel, _PAYLOAD)
    start = ((kernel[_SETUP_SECTORS] or 4) + 1) * _SECTOR + offset
    payload = kernel[start : start + size]
    try:
        bare = unpacking.unpacked(payload)
    except unpacking.Packed:
        return kernel
    return bare if bare.startswith(unpacking.ELF) and any(note in bare for note in _PVH) else kernel


def made(parts: Parts, home: Path) -> Path:
    """The folder with what machines begin with, made where it is not there. Blocks. Raises ``ExecutionError``.

    ``kernel``, ``ram``, and ``code``: the package as the machine and its first process import it.
    """
    place = home / "lib" / LEVEL / parts.key
    with _making:
        if not place.is_dir():
            try:
                _make(parts, place)
            except (Missing, FileNotFoundError) as exc:
                raise exception.ExecutionError(f"what virtual machines begin with cannot be made: {exc}") from None
    return place


def _make(parts: Parts, place: Path) -> None:
    draft = place.with_name(f".{place.name}-{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    package = draft / "code/windlass/worker/sandboxes/vm"
    package.mkdir(parents=True)
    for folder in [package, *package.parents]:
        if folder == draft / "code":
            break
        (folder / "__init__.py").touch()
    for path in _CODE:
        shutil.copyfile(path, package / path.name)
    (draft / "kernel").write_bytes(unpacked(parts.kernel.read_bytes()))
    with (draft / "ram").open("wb") as file:
        bodies = {f"{_plain(path.name)}.ko": module(path) for path in parts.modules}
        for piece in ramdisk.archive(draft / "code", bodies):
            file.write(piece)
    for path in [draft, *draft.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    for older in place.parent.iterdir():
        if not older.name.startswith("."):
            shutil.rmtree(older, ignore_errors=True)  # machines that run have read it
    try:
        draft.rename(place)
    except OSError:  # another program of this home has made it meanwhile
        shutil.rmtree(draft, ignore_errors=True)

"""What virtual machines are made of here: qemu, virtiofsd, a kernel with its modules, and what it begins with.

``WINDLASS_VM_KERNEL`` names a kernel, else the machine's own in ``/boot`` are looked at; ``WINDLASS_VM_ACCEL=tcg`` has
qemu emulate the processor where there is no usable ``/dev/kvm``: the same in all else, and many times slower.
"""
from __future__ import annotations

import bz2
import hashlib
import lzma
import os
import platform
import shutil
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from windlass.worker.sandboxes.vm import ramdisk

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
_USEFUL = ("virtio_pci_legacy_dev", "virtio_pci_modern_dev", "failover", "net_failover", "virtio_net", "virtio_rng",
           "virtio_balloon")  # fmt: skip
_PLACES = ("drivers/virtio", "drivers/char", "drivers/net", "fs/fuse", "net/core")
_SETUP_SECTORS, _MAGIC, _VERSION, _PAYLOAD, _SECTOR, _LONGEST_VERSION = 0x1F1, 0x202, 0x20E, 0x248, 512, 256
_PVH = tuple(struct.pack("<III", 4, size, 18) + b"Xen\0" for size in (4, 8))
_UNPACKED: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": lambda data: zlib.decompressobj(31).decompress(data),
    b"\xfd7zXZ": lambda data: lzma.LZMADecompressor().decompress(data),
    b"BZh": lambda data: bz2.BZ2Decompressor().decompress(data),
    b"\x02\x21\x4c\x18": lambda data: _piped(["lz4", "-d", "-c"], data),
    b"\x28\xb5\x2f\xfd": lambda data: _piped(["zstd", "-d", "-c"], data),
}
_ELF = b"\x7fELF"
_making = threading.Lock()


class Parts(NamedTuple):
    """``modern``: virtiofsd is the one in Rust. ``modules``: of the kernel, as files."""

    qemu: Path
    virtiofsd: Path
    modern: bool
    kernel: Path
    modules: tuple[Path, ...]
    accel: str

    def key(self) -> str:
        """Changes with whatever what is made of them depends on."""
        words = [self.accel, platform.release(), sys.version, sys.executable, *_stamps(self.modules)]
        words += _stamps([self.qemu, self.virtiofsd, self.kernel, *_CODE])
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
    return Parts(Path(qemu), daemon, b"--shared-dir" in said.stdout + said.stderr, kernel, modules, accel)


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
    places = [folder / release for folder in (beside, Path("/lib/modules"), Path("/usr/lib/modules"))]
    home = next((place for place in places if (place / "kernel").is_dir()), None)
    if home is None:
        raise Missing(f"the modules of the kernel {release} are not installed")
    files: dict[str, Path] = {}
    for place in _PLACES:
        for path in (home / "kernel" / place).rglob("*.ko*"):
            files.setdefault(path.name.split(".ko")[0].replace("-", "_"), path)
    built = (home / "modules.builtin").read_text() if (home / "modules.builtin").exists() else ""
    inside = {Path(line).name.split(".ko")[0].replace("-", "_") for line in built.split()}
    lacking = [name for name in _NEEDED if name not in files and name not in inside]
    if lacking:
        raise Missing(f"the kernel {release} has no {' and no '.join(lacking)}")
    return tuple(files[name] for name in (*_NEEDED, *_USEFUL) if name in files)


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
    for magic, unpack in _UNPACKED.items():
        if payload.startswith(magic):
            try:
                made = unpack(payload)
            except (OSError, ValueError, EOFError, zlib.error, lzma.LZMAError):
                return kernel
            return made if made.startswith(_ELF) and any(note in made for note in _PVH) else kernel
    return kernel


def _piped(line: list[str], data: bytes) -> bytes:
    done = subprocess.run(line, input=data, capture_output=True, env={"PATH": _PATH}, timeout=60, check=False)
    return done.stdout  # what follows the data is an error to them


def made(parts: Parts, home: Path) -> Path:
    """The folder with what machines begin with, made where it is not there. Blocks.

    ``kernel``, ``ram``, and ``code``: the package as the machine and its first process import it.
    """
    place = home / "lib" / LEVEL / parts.key()
    with _making:
        if not place.is_dir():
            _make(parts, place)
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
        for piece in ramdisk.archive(draft / "code", parts.modules):
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

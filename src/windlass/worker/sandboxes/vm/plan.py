"""What is run for a virtual machine: its cell, qemu and virtiofsd, and what its first process is told. Pure."""
from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from windlass.worker import linux, spec
from windlass.worker.sandboxes import box, entering
from windlass.worker.sandboxes.vm import parts, ramdisk
from windlass.worker.snapshots import cell

ROOT, BUNDLE = "/rootfs", "/bundle"
_STAGED, _PYTHON, _KVM, _LIBRARIES = "/machine", "/python", "/dev/kvm", "/etc/ld.so.cache"
_FOLDERS = ("proc", "dev", "sys", "tmp", "rootfs", "bundle", "machine", "python", "etc")
_HOSTS = ("usr", "bin", "lib", "lib64", "lib32", "libx32", "sbin")
_MIB = 1024 * 1024
OVERHEAD = 256 * _MIB
"""What qemu and its helpers have beside the memory of the machine."""
_LEAST = 128 * _MIB  # a kernel and what it begins with
_USUAL = 2048 * _MIB  # of a sandbox that asked for no limit
_OUTWARD = {"address": "169.254.78.15", "mask": "255.255.255.0", "gateway": "169.254.78.2"}
"""Addresses between the machine and qemu, whose sockets are in the sandbox's network."""
_SAFE = ("nosuid", "noexec", "nodev")
_OVER = ("/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")
_FLAGS = {"nosuid": linux.MS_NOSUID, "nodev": linux.MS_NODEV, "noexec": linux.MS_NOEXEC, "ro": linux.MS_RDONLY}
_SELF = "import sys; sys.dont_write_bytecode = True; from windlass.worker.sandboxes.vm import machine; machine.main()"


class Asked(NamedTuple):
    """``own``: the sandbox's address in its network, "" where it has none. ``filter``: of its commands' system calls,
    as the kernel wants it."""

    memory: int
    cpus: float
    pids: int
    own: str
    filter: bytes = b""


def memory(limit: int, request: int, all_of_it: int) -> int:
    """Bytes of a machine, in whole MiB. ``limit``, ``request``: of the sandbox, 0 where it has none."""
    asked = limit or max(_USUAL, request)
    return max(_LEAST, min(asked, all_of_it) // _MIB * _MIB)


def stub(home: Path) -> Path:
    """The root of cells: folders that are covered, and links as the machine's own root has them."""
    root = home / "lib" / "vm-root"
    for name in _FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in _HOSTS:
        own = Path("/") / name
        if own.is_symlink() and not (root / name).is_symlink():
            (root / name).symlink_to(own.readlink())
        elif own.is_dir() and not own.is_symlink():
            (root / name).mkdir(exist_ok=True)
    for path in (root, *root.iterdir()):
        if not path.is_symlink():
            path.chmod(0o755)
    (root / _LIBRARIES[1:]).touch()
    return root


def cell_of(walls: spec.Box, made: parts.Parts, staged: Path, root: Path, bundle: Path) -> cell.Plan:
    """``staged``: the folder that ``parts.made`` gives; ``root``: that of ``stub``."""
    own = [mount for mount in spec.mounts(walls) if mount["destination"] in ("/proc", "/dev", "/dev/pts")]
    scratch = {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777"]}
    hosts = [Path("/") / name for name in _HOSTS]
    binds = [
        *(spec.Bind(path, str(path)) for path in hosts if path.is_dir() and not path.is_symlink()),
        *([] if _below_usr() else [spec.Bind(Path(sys.base_prefix), _PYTHON)]),
        *([spec.Bind(Path(_LIBRARIES), _LIBRARIES)] if Path(_LIBRARIES).exists() else []),
        *([spec.Bind(Path(_KVM), _KVM, writable=True, device=True)] if made.accel == parts.KVM else []),
        spec.Bind(staged, _STAGED), spec.Bind(bundle, BUNDLE, writable=True),
        spec.Bind(walls.rootfs, ROOT, writable=True),
        *box.covers(root, ROOT),
        *(bind._replace(target=ROOT + bind.target) for bind in walls.binds),
    ]  # fmt: skip
    return {
        "name": walls.name, "rootfs": str(root), "mounts": [*own, scratch, *map(spec._bind, binds)], "masked": [],
        "read_only": [],
    }  # fmt: skip


def _below_usr() -> bool:
    return Path(sys.base_prefix) == Path("/usr")


def line() -> list[str]:
    """The command in the cell."""
    program = Path(os.path.realpath(sys.executable))
    if not _below_usr():
        program = Path(_PYTHON) / program.relative_to(sys.base_prefix)
    return [str(program), "-sSB", "-c", _SELF]


def environment() -> dict[str, str]:
    return {"PATH": spec.PATH, "PYTHONPATH": f"{_STAGED}/code", "PYTHONUTF8": "1", "LC_ALL": "C.UTF-8"}


def words(walls: spec.Box, made: parts.Parts, asked: Asked, entry: entering.Inside) -> dict[str, Any]:
    """All that the program in the cell has to know; the text of it holds secrets."""
    return {
        "entry": dict(entry), "begin": _begin(walls, asked), "environment": {"PATH": spec.PATH},
        "virtiofsd": _virtiofsd(made), "qemu": _qemu(made, asked),
    }  # fmt: skip


def _begin(walls: spec.Box, asked: Asked) -> dict[str, Any]:
    own = [mount for mount in spec.mounts(walls) if mount["destination"] in _OVER]
    own.append({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*_SAFE, "ro"]})
    kept = {linux.CAPABILITIES[name] for name in spec.CAPABILITIES}
    return {
        "mounts": [_mount(mount) for mount in own], "masked": list(spec.MASKED), "read_only": list(spec.READ_ONLY),
        "hostname": walls.name[:63], "drops": [number for number in range(64) if number not in kept],
        "files": min(spec._OPEN_FILES, walls.open_files), "pids": asked.pids, "own": asked.own,
        "filter": asked.filter.hex(),
        **({"network": _OUTWARD} if asked.own else {}),
    }  # fmt: skip


def _mount(mount: Mapping[str, Any]) -> dict[str, Any]:
    words = mount["options"]
    data = ",".join(word for word in words if word not in (*_FLAGS, "newinstance", "strictatime"))
    return {
        "source": mount["source"], "target": mount["destination"], "kind": mount["type"], "data": data,
        "flags": sum(_FLAGS.get(word, 0) for word in words),
    }  # fmt: skip


def _virtiofsd(made: parts.Parts) -> list[str]:
    """What others change is seen at once: nothing but the contents of files is kept inside. Mounts are not told of: the
    kernel inside would make mounts of its own of them, which stay when those here are taken away."""
    if made.modern:
        silent = ["--no-announce-submounts"] if made.tells else []
        return [str(made.virtiofsd), "--fd={files}", "--shared-dir", ROOT, "--sandbox=chroot", "--cache=never",
                "--allow-mmap", "--log-level=error", "--inode-file-handles=never", *silent]  # fmt: skip
    return [str(made.virtiofsd), "--fd={files}", "--rlimit-nofile=0", "-o", f"source={ROOT}", "-o", "sandbox=chroot",
            "-o", "cache=auto", "-o", "timeout=0", "-o", "log_level=err", "-o", "flock"]  # fmt: skip


def _qemu(made: parts.Parts, asked: Asked) -> list[str]:
    accel = ["-accel", "kvm", "-cpu", "host"] if made.accel == parts.KVM else [
        "-accel", "tcg,thread=multi,tb-size=64", "-cpu", "max"
    ]  # fmt: skip
    settings = " ".join(f"{name}={value}" for name, value in ramdisk.ENVIRONMENT.items())
    size = asked.memory // _MIB
    cpus = max(1, min(math.ceil(asked.cpus) or 1, os.cpu_count() or 1))
    outward = [
        "-netdev", "user,id=net,ipv6=off,net=169.254.78.0/24,host=169.254.78.2,dns=169.254.78.3",
        "-device", "virtio-net-pci,netdev=net,romfile=",
    ]  # fmt: skip
    return [
        str(made.qemu), "-M", "q35,smm=off,sata=off,usb=off,vmport=off,memory-backend=mem", *accel,
        "-smp", str(cpus), "-m", f"{size}M", "-object", f"memory-backend-memfd,id=mem,size={size}M,share=on",
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
        "-kernel", f"{_STAGED}/kernel", "-initrd", f"{_STAGED}/ram",
        "-append", f"console=ttyS0 quiet panic=-1 reboot=t {settings}",
        "-chardev", "socket,id=line,fd={line}", "-device", "virtio-serial-pci,max_ports=2",
        "-device", "virtserialport,chardev=line,name=windlass,nr=1",
        "-chardev", f"socket,id=files,path={BUNDLE}/files", "-device", "vhost-user-fs-pci,chardev=files,tag=box",
        "-device", "virtio-balloon-pci,free-page-reporting=on", "-device", "virtio-rng-pci",
        *(outward if asked.own else []),
        "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
    ]  # fmt: skip


def bare(inside: entering.Inside) -> entering.Inside:
    """The program in the cell as the starter starts it."""
    made: entering.Inside = {
        **inside, "argv": line(), "env": environment(), "cwd": "/", "uid": 0, "gid": 0, "groups": [], "bare": True,
    }  # fmt: skip
    return made

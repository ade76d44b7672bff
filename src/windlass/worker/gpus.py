"""GPUs of this machine, and what a container needs of one: its device node, the driver's own nodes and libraries.

The driver is found by the files that it leaves (no library of NVIDIA's is loaded here): ``/proc/driver/nvidia``,
``/dev/nvidia*`` and ``libcuda.so.1`` with its kin, in the folders where distributions and images put them and in
those that the dynamic linker is told of. Libraries are bound below ``/usr/local/nvidia``, where images that
are made for GPUs look for them, too. A container sees the nodes of its own GPUs and cannot make others.
"""
from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from windlass import exception
from windlass.worker import spec

ROOT = "WINDLASS_GPU_ROOT"
"""A folder that stands in for the machine's root where there is none, for tests."""
_HOME = "/usr/local/nvidia"
_COMMON = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools")
_NEEDED = ("nvidiactl", "nvidia-uvm")
_FOLDERS = (
    "usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib64", "usr/lib/wsl/lib", "usr/lib",
    "usr/local/nvidia/lib64", "usr/local/nvidia/lib", "run/opengl-driver/lib",
)  # fmt: skip
_PROGRAMS = ("usr/bin", "usr/local/nvidia/bin", "usr/lib/wsl/lib", "run/current-system/sw/bin")
_LIBRARY = re.compile(
    r"lib(cuda|cudadebugger|nvcuvid|nvidia-(ml|ptxjitcompiler|nvvm|gpucomp|opencl|cfg|allocator|encode|opticalflow))"
    r"\.so\.\d+"
)
_KINDS = re.compile(
    r"\b(B300|B200|GH200|H200|H100|A100|A10G?|A16|A2|A30|A40|L40S?|L4|T4|V100|P100|RTX PRO \d+|RTX \d+( Ti| SUPER)?"
    r"|RTX A\d+)\b"
)


class Device(NamedTuple):
    """One GPU. ``model``: as its driver names it; ``kind``: as users ask for it."""

    id: str
    kind: str
    model: str
    node: Path


class Gpus:
    """Those that can be lent, found once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.devices = {device.id: device for device in _devices(root)}

    def problem(self) -> str:
        """What is missing for using the GPUs that are there; "" where nothing is."""
        missing = [f"/dev/{name}" for name in _NEEDED if not (self._root / "dev" / name).exists()]
        missing += [str(one.node) for one in self.devices.values() if not one.node.exists()]
        if missing:
            return f"{', '.join(missing)} is missing"
        if not any(name.startswith("libcuda.so") for name in self._libraries()):
            return "the driver's library libcuda.so.1 is in no known folder"
        return ""

    def binds(self, wanted: Sequence[str]) -> list[spec.Bind]:
        """What a container with these GPUs sees.

        Raises:
            NotFoundError: one of them is not here any more.
        """
        if not wanted:
            return []
        for name in wanted:
            if name not in self.devices:
                raise exception.NotFoundError(f"GPU {name} is not in this machine any more")
        nodes = [self.devices[name].node for name in wanted]
        nodes += [node for name in _COMMON if (node := self._root / "dev" / name).exists()]
        found = [spec.Bind(node, f"/dev/{node.name}", writable=True, device=True) for node in nodes]
        found += [spec.Bind(path, f"{_HOME}/lib64/{name}") for name, path in sorted(self._libraries().items())]
        if program := self._program("nvidia-smi"):
            found.append(spec.Bind(program, f"{_HOME}/bin/nvidia-smi"))
        return found

    def _program(self, name: str) -> Path | None:
        """A script comes last: what wraps a program of that name finds nothing to wrap in a container."""
        found = [path.resolve() for folder in _PROGRAMS if (path := self._root / folder / name).exists()]
        return min(found, key=_is_script, default=None)

    def _libraries(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for folder in (*_FOLDERS, *_linked(self._root)):
            place = self._root / folder
            for path in place.iterdir() if place.is_dir() else ():
                if _LIBRARY.fullmatch(path.name):
                    found.setdefault(path.name, path.resolve())
        if "libcuda.so.1" in found:
            found["libcuda.so"] = found["libcuda.so.1"]  # some look for it by this name
        return found


def environment(env: Mapping[str, str], wanted: Sequence[str]) -> dict[str, str]:
    """The variables of a container, with where the driver is."""
    if not wanted:
        return dict(env)
    libraries = ":".join(filter(None, (env.get("LD_LIBRARY_PATH", ""), f"{_HOME}/lib64")))
    return {
        **env, "LD_LIBRARY_PATH": libraries, "PATH": f"{env.get('PATH', spec.PATH)}:{_HOME}/bin",
        "NVIDIA_VISIBLE_DEVICES": ",".join(wanted),
    }  # fmt: skip


def here() -> Gpus:
    """Of this machine, or of the folder that stands in for it."""
    return Gpus(Path(os.environ.get(ROOT) or "/"))


def _devices(root: Path) -> list[Device]:
    found = []
    for file in sorted(root.glob("proc/driver/nvidia/gpus/*/information")):
        facts = dict(_fact(line) for line in file.read_text(errors="replace").splitlines() if ":" in line)
        minor, model = facts.get("Device Minor", ""), facts.get("Model", "")
        if minor.isdecimal():
            identity = facts.get("GPU UUID") or f"GPU-{file.parent.name}"
            found.append(Device(identity, kind_of(model), model, root / "dev" / f"nvidia{minor}"))
    return found


def _linked(root: Path) -> list[str]:
    """The folders that the dynamic linker is told of, beside its own, relative to the root."""
    files = [root / "etc/ld.so.conf", *sorted(root.glob("etc/ld.so.conf.d/*.conf"))]
    lines = [line.strip() for file in files if file.is_file() for line in file.read_text(errors="replace").splitlines()]
    return [line.lstrip("/") for line in lines if line.startswith("/")]


def _is_script(program: Path) -> bool:
    with program.open("rb") as file:
        return file.read(2) == b"#!"


def _fact(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


def kind_of(model: str) -> str:
    """As users ask for it: "NVIDIA H100 80GB HBM3" is an ``H100``, "NVIDIA A100-SXM4-40GB" an ``A100-40GB``."""
    match = _KINDS.search(model)
    if match is None:
        return re.sub(r"[^A-Z0-9]+", "-", model.upper().removeprefix("NVIDIA ")).strip("-") or "GPU"
    kind = match.group(1).upper().replace(" ", "-")
    if kind == "A100":
        size = re.search(r"\b(40|80)GB\b", model)
        return f"A100-{size.group(1)}GB" if size else kind
    return "A10" if kind == "A10G" else kind

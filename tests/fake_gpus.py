"""A folder that looks like the root of a machine with GPUs of NVIDIA's; the devices are /dev/zero."""

from __future__ import annotations

from pathlib import Path


def make(root: Path, *models: str) -> Path:
    """GPU number n has the identity ``GPU-n``."""
    for number, model in enumerate(models):
        folder = root / f"proc/driver/nvidia/gpus/0000:0{number}:00.0"
        folder.mkdir(parents=True)
        text = f"Model: \t\t {model}\nIRQ:   \t\t 60\nGPU UUID: \t GPU-{number}\nDevice Minor: \t {number}\n"
        (folder / "information").write_text(text)
    libraries = root / "usr/lib64"
    for folder in (root / "dev", libraries, root / "usr/bin"):
        folder.mkdir(parents=True)
    for name in ("nvidiactl", "nvidia-uvm", *(f"nvidia{number}" for number in range(len(models)))):
        (root / "dev" / name).symlink_to("/dev/zero")
    for name in ("libcuda.so", "libnvidia-ml.so", "libfoo.so"):
        (libraries / f"{name}.550.1").write_text(f"a fake {name}")
        (libraries / f"{name}.1").symlink_to(f"{name}.550.1")
    (root / "usr/bin/nvidia-smi").write_text("#!/bin/sh\necho a fake nvidia-smi\n")
    (root / "usr/bin/nvidia-smi").chmod(0o755)
    return root

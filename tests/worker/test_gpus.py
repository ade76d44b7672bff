"""GPUs are found by what their driver leaves in the file system."""

from __future__ import annotations

from pathlib import Path

import pytest

import fake_gpus
from windlass import exception
from windlass.worker import gpus, spec


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"), ("NVIDIA A100-SXM4-40GB", "A100-40GB"),
        ("NVIDIA A100 80GB PCIe", "A100-80GB"),
        ("Tesla T4", "T4"), ("NVIDIA A10G", "A10"), ("NVIDIA A10", "A10"), ("NVIDIA L40S", "L40S"), ("NVIDIA L4", "L4"),
        ("NVIDIA H200", "H200"), ("NVIDIA B200", "B200"), ("NVIDIA GeForce RTX 4090", "RTX-4090"),
        ("NVIDIA GeForce RTX 3080 Ti", "RTX-3080-TI"), ("NVIDIA RTX PRO 6000 Blackwell", "RTX-PRO-6000"),
        ("NVIDIA RTX A6000", "RTX-A6000"), ("Quadro P4000", "QUADRO-P4000"), ("", "GPU"),
    ],
)  # fmt: skip
def test_the_drivers_name_becomes_what_users_ask_for(model, kind):
    assert gpus.kind_of(model) == kind


def test_a_container_sees_its_own_devices_and_the_drivers_files(tmp_path: Path):
    fake_gpus.make(tmp_path, "Tesla T4", "NVIDIA H100 80GB HBM3")
    found = gpus.Gpus(tmp_path)
    assert [one.kind for one in found.devices.values()] == ["T4", "H100"]
    assert found.problem() == ""
    binds = {bind.target: bind for bind in found.binds(["GPU-1"])}
    assert "/dev/nvidia1" in binds and "/dev/nvidia0" not in binds
    assert binds["/dev/nvidiactl"].device and not binds["/usr/local/nvidia/lib64/libcuda.so.1"].device
    assert binds["/usr/local/nvidia/lib64/libcuda.so.1"].source.name == "libcuda.so.550.1"
    assert "/usr/local/nvidia/lib64/libnvidia-ml.so.1" in binds and "/usr/local/nvidia/bin/nvidia-smi" in binds
    assert not any("libfoo" in target for target in binds)
    assert found.binds([]) == []
    with pytest.raises(exception.NotFoundError, match="GPU-7"):
        found.binds(["GPU-7"])


def test_what_is_missing_is_named(tmp_path: Path):
    fake_gpus.make(tmp_path, "Tesla T4")
    (tmp_path / "dev/nvidia-uvm").unlink()
    assert gpus.Gpus(tmp_path).problem() == "/dev/nvidia-uvm is missing"
    (tmp_path / "dev/nvidia-uvm").touch()
    (tmp_path / "usr/lib64/libcuda.so.1").unlink()
    assert "libcuda.so.1" in gpus.Gpus(tmp_path).problem()
    assert gpus.Gpus(tmp_path / "nothing").devices == {}


@pytest.mark.parametrize("folder", ["usr/local/nvidia/lib64", "opt/driver/lib"])
def test_a_driver_that_lies_elsewhere_is_found(tmp_path: Path, folder):
    fake_gpus.make(tmp_path, "NVIDIA H200")
    (tmp_path / folder).parent.mkdir(parents=True)
    (tmp_path / "usr/lib64").rename(tmp_path / folder)
    (tmp_path / "etc/ld.so.conf.d").mkdir(parents=True)
    (tmp_path / "etc/ld.so.conf.d/driver.conf").write_text("# a vendor's\n/opt/driver/lib\n")
    (tmp_path / "usr/local/nvidia/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/nvidia-smi").rename(tmp_path / "usr/local/nvidia/bin/nvidia-smi")
    found = gpus.Gpus(tmp_path)
    assert found.problem() == ""
    binds = {bind.target: bind.source for bind in found.binds(["GPU-0"])}
    assert binds["/usr/local/nvidia/lib64/libcuda.so.1"] == tmp_path / folder / "libcuda.so.550.1"
    assert binds["/usr/local/nvidia/bin/nvidia-smi"] == tmp_path / "usr/local/nvidia/bin/nvidia-smi"


def test_a_program_goes_before_a_script_that_wraps_it(tmp_path: Path):
    fake_gpus.make(tmp_path, "NVIDIA H200")
    real = tmp_path / "usr/local/nvidia/bin/nvidia-smi"
    real.parent.mkdir(parents=True)
    real.write_bytes(b"\x7fELF and so on")
    assert [bind.source for bind in gpus.Gpus(tmp_path).binds(["GPU-0"]) if "smi" in bind.target] == [real]


def test_the_images_own_folders_come_before_the_drivers():
    env = gpus.environment({"LD_LIBRARY_PATH": "/own", "A": "1"}, ["GPU-1", "GPU-2"])
    assert env["LD_LIBRARY_PATH"] == "/own:/usr/local/nvidia/lib64" and env["A"] == "1"
    assert env["PATH"] == f"{spec.PATH}:/usr/local/nvidia/bin"
    assert env["NVIDIA_VISIBLE_DEVICES"] == "GPU-1,GPU-2"
    assert gpus.environment({"A": "1"}, []) == {"A": "1"}

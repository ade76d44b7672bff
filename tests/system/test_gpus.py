"""GPUs, lent to real containers; the devices themselves are pretended (``fake_gpus``)."""

from __future__ import annotations

import re

import pytest

import windlass
from stage import until
from windlass import exception

app = windlass.App("test-gpus")


def look(seconds):
    import os
    import subprocess
    import time

    time.sleep(seconds)
    smi = subprocess.run(["nvidia-smi"], capture_output=True, text=True, check=True).stdout
    nodes = sorted(name for name in os.listdir("/dev") if name.startswith("nvidia"))
    with open("/dev/nvidiactl", "rb") as device:
        zeros = device.read(3)
    library = open("/usr/local/nvidia/lib64/libcuda.so.1").read()
    return os.environ["NVIDIA_VISIBLE_DEVICES"], nodes, smi.strip(), library, zeros


t4 = app.function(serialized=True, gpu="T4", scaledown_window=30)(look)
h100 = app.function(serialized=True, gpu=["B200", "H100"], scaledown_window=30, name="h100")(look)
other = app.function(serialized=True, gpu="h100!", name="other")(look)
both = app.function(serialized=True, gpu="T4:2", name="both")(look)


@app.function(serialized=True)
def without():
    import os

    return [name for name in os.listdir("/dev") if name.startswith("nvidia")], os.environ.get("NVIDIA_VISIBLE_DEVICES")


def lent(stage) -> dict[str, str]:
    (node,) = stage.json("node", "list")
    return {gpu["gpu_id"]: gpu["held_by"] for gpu in node["gpus"]}


def running(stage, app_id) -> set[str]:
    """Containers of this app; that of the test before may still be on its way out."""
    found = stage.json("container", "list", "--app-id", app_id)
    return {one["container_id"] for one in found if one["start_time"] != "Pending"}


def test_a_container_has_its_gpu_and_the_driver_and_nobody_else_has(stage):
    with app.run():
        assert h100.remote(0) == (
            "GPU-2", ["nvidia-uvm", "nvidia2", "nvidiactl"], "a fake nvidia-smi", "a fake libcuda.so", b"\0\0\0",
        )  # fmt: skip
        held = lent(stage)
        assert (held["GPU-0"], held["GPU-1"]) == ("", "") and re.match("ta-", held["GPU-2"])
        assert without.remote() == ([], None)
        assert {one[0] for one in t4.map([3.0] * 4)} == {"GPU-0", "GPU-1"}  # no more than two run at once


def test_idle_containers_give_their_gpus_to_who_waits(stage):
    with app.run():
        assert h100.remote(0)[0] == "GPU-2"
        assert other.remote(0)[0] == "GPU-2"
        assert len(list(t4.map([0.5] * 4))) == 4
        assert both.remote(0)[0] == "GPU-0,GPU-1"


def test_a_lent_gpu_stays_lent_while_the_server_is_killed(stage):
    with app.run():
        call = h100.spawn(20)
        holder = until(lambda: running(stage, app.app_id) & {lent(stage)["GPU-2"]}).pop()
        stage.kill("server")
        second = other.spawn(0)
        until(lambda: stage.json("node", "list"), what="the worker is back")
        assert lent(stage)["GPU-2"] == holder
        assert call.get(timeout=60)[0] == second.get(timeout=60)[0] == "GPU-2"


def test_a_kind_that_no_machine_has_is_refused_at_once(stage):
    lonely = windlass.App("test-gpus-none")
    lonely.function(serialized=True, gpu="B200:2")(look)
    with (
        pytest.raises(exception.InvalidError, match="has 2 × B200; there is 2 × T4, H100"),
        lonely.run(),
    ):
        pass


def test_another_kind_by_options(stage):
    with app.run():
        assert t4.with_options(gpu="any:2").remote(0)[0] == "GPU-0,GPU-1"


def test_the_doctor_and_lists_name_them(stage):
    found = {one["name"]: one for one in stage.json("doctor")["findings"]}
    assert found["GPUs"]["state"] == "good" and "NVIDIA H100 80GB HBM3 (gpu='H100')" in found["GPUs"]["detail"]
    until(lambda: "T4 free" in stage.cli("node", "list", check=0).out, what="the test before has given them back")


def test_steps_of_images_see_the_gpus_that_they_ask_for_and_wait_for_them(stage):
    def weigh(path):
        import os

        with open("/dev/nvidiactl", "rb") as device, open(path, "w") as file:
            file.write(f"{os.environ['NVIDIA_VISIBLE_DEVICES']} {len(device.read(3))}")

    image = windlass.Image.debian_slim().run_function(weigh, gpu="H100", args=["/weights"], force_build=True)
    image = image.run_commands("test ! -e /dev/nvidiactl && cat /weights > /copy")
    building = windlass.App("test-gpus-in-builds", image=image)

    @building.function(serialized=True)
    def copied():
        import os

        return open("/copy").read(), os.path.exists("/usr/local/nvidia")

    with app.run():
        call = h100.spawn(3)
        until(lambda: running(stage, app.app_id) & {lent(stage)["GPU-2"]})
        with building.run():
            assert copied.remote() == ("GPU-2 3", False)
        assert call.get(timeout=30)[0] == "GPU-2"
    lonely = windlass.App("test-gpus-none", image=windlass.Image.debian_slim().run_commands("true", gpu="T4:8"))
    lonely.function(serialized=True)(look)
    with pytest.raises(exception.InvalidError, match="has 8 × T4; there is"), lonely.run():
        pass


def test_a_sandbox_has_its_gpu_and_one_that_waits_for_it_holds_up_no_other(stage):
    with app.run():
        first = windlass.Sandbox.create(app=app, gpu="H100")
        said = first.exec("sh", "-c", "ls /dev | grep nvidia; nvidia-smi; cat /usr/local/nvidia/lib64/libcuda.so.1")
        words = said.stdout.read().split("\n")
        assert words[:3] == ["nvidia-uvm", "nvidia2", "nvidiactl"]
        assert "a fake nvidia-smi" in words[3] and "a fake libcuda.so" in words[4]
        assert first.exec("head", "-c", "1", "/dev/nvidiactl").wait() == 0
        assert re.match("ta-", lent(stage)["GPU-2"])
        second = windlass.Sandbox.create(app=app, gpu="h100!")
        assert windlass.Sandbox.create("true", app=app).wait() is None
        assert second.poll() is None and lent(stage)["GPU-0"] == ""
        first.terminate(wait=True)
        assert second.exec("nvidia-smi").wait() == 0
        second.terminate(wait=True)

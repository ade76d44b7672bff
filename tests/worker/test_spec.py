"""What a container shall be, as data."""
from __future__ import annotations

from pathlib import Path

import pytest

from windlass import exception
from windlass.worker import seccomp, spec


def box(**changes):
    parts = {
        "name": "ta-1", "argv": ["python3", "x.py"], "env": {"A": "1"}, "cwd": "", "rootfs": Path("/r"),
        "binds": [spec.Bind(Path("/host/lib"), spec.LIBRARY)], "memory": 1 << 30, "open_files": 20_000,
        "seccomp": seccomp.profile("x86_64"),
    }  # fmt: skip
    return spec.Box(**{**parts, **changes})


def test_container_root_is_the_nodes_1_and_its_own_namespaces_are_named():
    linux = spec.document(box())["linux"]
    assert linux["uidMappings"] == linux["gidMappings"] == [{"containerID": 0, "hostID": 1, "size": 65535}]
    assert {one["type"] for one in linux["namespaces"]} == {"pid", "mount", "ipc", "uts", "user"}


def test_no_new_privileges_and_no_capability_that_reaches_out():
    process = spec.document(box())["process"]
    assert process["noNewPrivileges"] is True
    for held in process["capabilities"].values():
        assert not {"CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYS_PTRACE", "CAP_MKNOD"} & set(held)
    assert "CAP_SETFCAP" not in process["capabilities"]["bounding"]
    assert "CAP_SETFCAP" in spec.document(box(building=True))["process"]["capabilities"]["bounding"]


def test_what_is_bound_is_read_only_and_the_kernels_files_are_covered():
    document = spec.document(box())
    bound = next(one for one in document["mounts"] if one["destination"] == spec.LIBRARY)
    assert "ro" in bound["options"] and bound["source"] == "/host/lib"
    assert {"/proc/kcore", "/proc/keys", "/sys/firmware"} <= set(document["linux"]["maskedPaths"])
    assert "/proc/sys" in document["linux"]["readonlyPaths"]


def test_limits_follow_the_machine_and_the_memory():
    document = spec.document(box(memory=1 << 30))
    assert document["process"]["rlimits"][0]["hard"] == 20_000
    shared = next(one for one in document["mounts"] if one["destination"] == "/dev/shm")
    assert f"size={1 << 29}" in shared["options"]


def test_the_environment_sets_thread_counts_from_the_cpu_request_and_the_function_has_the_last_word():
    env = spec.environment({"PATH": "/opt/bin", "B": "image"}, {"B": "function"}, cpus=2.5)
    assert env["OMP_NUM_THREADS"] == env["MKL_NUM_THREADS"] == "3"
    assert env["PATH"] == "/opt/bin" and env["B"] == "function" and env["HOME"] == "/root"
    assert spec.environment({}, {}, cpus=0.1)["OMP_NUM_THREADS"] == "1"


def test_an_environment_with_which_nothing_can_start_is_refused_with_its_size():
    large = {f"K{n}": "x" * 32_000 for n in range(64)}
    spec.check_room(large, stack=-1)
    with pytest.raises(exception.RequestSizeError, match=r"secrets included.* more than 2,097,152"):
        spec.check_room({**large, "MORE": "ü" * 25_000}, stack=8 << 20)
    spec.check_room({"A": "x" * 100_000}, stack=1 << 16)


def test_the_profile_knows_each_call_once_and_refuses_what_reaches_out():
    assert not set(seccomp.ALLOWED) & set(seccomp.REFUSED)
    assert len(set(seccomp.ALLOWED)) == len(seccomp.ALLOWED)
    assert {"mount", "bpf", "keyctl", "init_module", "kexec_load", "unshare", "setns", "io_uring_setup"} <= set(
        seccomp.REFUSED
    )
    profile = seccomp.profile("x86_64")
    assert profile["defaultErrnoRet"] == 38  # ENOSYS: libraries fall back
    clone = next(one for one in profile["syscalls"] if one["names"] == ["clone"])
    assert clone["args"][0]["value"] & 0x10000000  # no new user namespace
    assert seccomp.profile("some-other-processor") is None

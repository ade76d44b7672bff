"""Which containers are alike, what a template is told, and the one rule by which its filter differs."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import fcntl
import importlib
import json
import mmap
import os
import random
import signal
import ssl
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from windlass.runner import forkable, renewal, served
from windlass.worker import linux, seccomp, spec
from windlass.worker.snapshots import families, mounting, stock, template, transplant


def plan(**changes: Any) -> Any:
    return {
        "container_id": "ta-1", "token": "secret", "function_id": "fu-1", "env": {"KEY": "a"}, "mounts": ["m"],
        "runner": {"container_id": "ta-1", "token": "secret", "parameters": "", "spec": {}}, **changes,
    }  # fmt: skip


def test_containers_that_differ_in_identity_only_are_of_one_kind():
    other = plan(container_id="ta-2", token="other")
    other["runner"] = {**other["runner"], "container_id": "ta-2", "token": "other"}
    assert families.kind_of(plan()) == families.kind_of(other)


@pytest.mark.parametrize(
    "change",
    [
        {"function_id": "fu-2"},
        {"env": {"KEY": "b"}},
        {"mounts": ["n"]},
        {"runner": {**plan()["runner"], "parameters": "x"}},
        {"runner": {**plan()["runner"], "spec": {"timeout": 5}}},
    ],
)
def test_another_version_parameter_secret_or_option_is_another_kind(change):
    assert families.kind_of(plan()) != families.kind_of(plan(**change))


def test_a_template_is_told_no_token():
    made = families.template_plan(plan(), "te-1")
    assert "secret" not in str(made)
    assert made["runner"]["container_id"] == "te-1"


def test_only_with_the_whole_key_may_namespaces_be_entered():
    plain, keyed = seccomp.profile("x86_64"), seccomp.profile("x86_64", key=[1, 2, 3, 2**64 - 1])
    assert plain is not None and keyed is not None
    allowed = [rule for rule in keyed["syscalls"] if "setns" in rule["names"]]
    assert allowed == [
        {
            "names": ["setns"],
            "action": "SCMP_ACT_ALLOW",
            "args": [
                {"index": 2 + n, "value": word, "op": "SCMP_CMP_EQ"} for n, word in enumerate([1, 2, 3, 2**64 - 1])
            ],
        }
    ]
    own = (["setns"], ["unshare"])
    others = [[rule for rule in known["syscalls"] if rule["names"] not in own] for known in (plain, keyed)]
    others[0][1] = {**others[0][1], "names": [name for name in seccomp.REFUSED if [name] not in own]}
    assert others[0] == others[1]


def test_a_template_may_have_descriptors_of_its_own_and_no_new_namespace():
    keyed = seccomp.profile("x86_64", key=[1, 2, 3, 4])
    assert keyed is not None
    allowed, refused = [rule for rule in keyed["syscalls"] if "unshare" in rule["names"]]
    assert allowed["args"] == [{"index": 0, "value": transplant.ALONE, "op": "SCMP_CMP_EQ"}]
    assert refused["errnoRet"] == errno.EPERM and refused["args"][0]["op"] == "SCMP_CMP_NE"
    assert not transplant.ALONE & seccomp._NEW_NAMESPACES


@pytest.mark.skipif(not transplant.possible(), reason="the calls of other processors are not known")
def test_a_held_process_makes_a_call_and_goes_on_as_if_nothing_had_happened():
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        os._exit(7 if os.read(reading, 1) == b"x" else 1)
    with transplant._held(child) as held:
        assert held.call(39) == child  # getpid
        with pytest.raises(OSError, match="Bad file descriptor"):
            held.call(3, 999)
    os.write(writing, b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@pytest.mark.skipif(not transplant.possible(), reason="the calls of other processors are not known")
def test_a_process_that_ends_while_it_is_held_is_an_error_and_no_wait_for_ever():
    child = os.fork()
    if child == 0:
        while True:
            time.sleep(0.01)
    with pytest.raises(OSError), transplant._held(child) as held:
        os.kill(child, signal.SIGKILL)
        held.call(39)


def test_an_event_loop_with_nothing_to_do_is_no_hindrance_and_made_again():
    warmed = served.Served({})
    loop = warmed.needs_loop().loop
    forkable._loop(warmed)
    assert loop.is_closed() and warmed.loop is None


def test_files_that_are_read_are_opened_again_at_their_place(tmp_path):
    (tmp_path / "text").write_text("one two")
    with (tmp_path / "text").open("rb", 0) as file:
        file.read(4)
        known = forkable._file(file.fileno())
        assert known is not None
        file.read(3)
        forkable.reopen([known])
        assert file.read(3) == b"two"


def test_devices_and_files_that_are_written_are_no_files_to_open_again(tmp_path):
    device = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY)
    try:
        with pytest.raises(forkable.Cannot, match="the device"):
            forkable._file(device)
    finally:
        os.close(device)
    with (tmp_path / "text").open("w") as file, pytest.raises(forkable.Cannot, match="is open for writing"):
        forkable._file(file.fileno())


def test_forks_draw_differently_from_every_global_generator():
    drawn = [_in_child(_draw) for _ in range(2)]
    assert len(drawn[0]) >= 3
    assert [name for name in drawn[0] if drawn[0][name] == drawn[1][name]] == []


def _draw() -> dict[str, str]:
    renewal.randomness()
    found = {"random": str(random.random()), "ssl": ssl.RAND_bytes(8).hex(), "name": tempfile.mktemp()}
    if "numpy.random" in sys.modules:
        found["numpy"] = str(sys.modules["numpy.random"].random())
    return found


def _in_child(function) -> Any:
    with contextlib.suppress(ImportError):
        importlib.import_module("numpy.random")
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.write(writing, json.dumps(function()).encode())
        os._exit(0)
    os.close(writing)
    os.wait()
    with os.fdopen(reading) as answer:
        return json.loads(answer.read())


def test_templates_go_when_they_are_idle_old_or_in_the_way():
    assert not families.spent(200, 3600, scarce=False)
    assert families.spent(301, 3600, scarce=False)
    assert families.spent(6, 3600, scarce=True)
    assert families.spent(0, 7 * 86400 + 1, scarce=False)


@pytest.mark.skipif(not transplant.possible(), reason="the calls of other processors are not known")
def test_no_call_is_made_but_the_one_that_was_asked_for():
    child = os.fork()
    if child == 0:
        time.sleep(30)
        os._exit(0)
    with pytest.raises(OSError, match="not make the call"), transplant._held(child) as held:
        held._saved.rip -= 1  # other instructions than expected
        held.call(39)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.skipif(not transplant.possible(), reason="the calls of other processors are not known")
def test_a_process_whose_memory_another_one_has_is_never_told_the_key():
    """The other one could let the family look at registers again, as soon as they are closed."""
    said, say = os.pipe()
    child = os.fork()
    if child == 0:
        page = mmap.mmap(-1, 65536, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(bytes.fromhex("b8220000000f05ebf7"))  # pause, for ever
        place = ctypes.addressof(ctypes.c_char.from_buffer(page))
        clone = ctypes.CDLL(None).clone
        clone.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
        os.write(say, str(clone(place, place + 60_000, 0x100 | signal.SIGCHLD, None)).encode())
        time.sleep(30)
        os._exit(0)
    helper = int(os.read(said, 20))
    try:
        with pytest.raises(OSError, match="shares its memory"):
            transplant.move(child, deliver=lambda: pytest.fail("reached"), socket=0, key=[1, 2, 3, 4], capabilities=0)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1]), "and it ends"
    finally:
        os.kill(helper, signal.SIGKILL)
        os.close(said)
        os.close(say)


def _calls() -> list[mounting.Call]:
    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
        {"destination": "/__windlass/lib", "type": "none", "source": "/lib", "options": ["rbind", "ro", "nodev"]},
    ]
    plan: mounting.Plan = {
        "name": "ce-1", "rootfs": "/there", "mounts": mounts, "masked": list(spec.MASKED),
        "read_only": list(spec.READ_ONLY),
    }  # fmt: skip
    return list(mounting.calls(plan, [6, 7], {"/__windlass/lib": linux.MS_NOEXEC}))


def test_a_cell_is_in_its_own_root_before_what_is_hidden_is_hidden_and_cannot_change_anything_after():
    what = [call.what for call in _calls()]
    order = [what.index(one) for one in ("mount /cell/dev", "pivot_root", "umount", "mount /proc/sys")]
    assert order == sorted(order)
    assert what[:2] == ["move_mount /", "mount /"] and what[-2:] == ["capset", "prctl"]
    assert {f"mount {name}" for name in (*spec.MASKED, *spec.READ_ONLY)} <= set(what)


def test_our_own_mounts_of_a_cell_are_read_only_and_keep_what_was_forbidden_before():
    calls = _calls()
    hung = next(number for number, call in enumerate(calls) if call.what == "move_mount /__windlass/lib")
    assert calls[hung].arguments[0] == 7
    flags = calls[hung + 1].arguments[3]
    assert flags == linux.MS_BIND | linux.MS_REMOUNT | linux.MS_RDONLY | linux.MS_NODEV | linux.MS_NOEXEC


def test_only_what_a_kernel_may_lack_is_allowed_to_fail():
    assert {call.what for call in _calls() if call.tolerated} == {
        *(f"mount {name}" for name in (*spec.MASKED, *spec.READ_ONLY)), "mkdir /cell/proc", "mkdir /cell/dev",
        "close",
    }  # fmt: skip


@pytest.mark.skipif(not transplant.possible(), reason="the calls of other processors are not known")
def test_a_held_process_closes_what_it_was_given_at_once_or_one_by_one():
    (reading, writing), (told, telling) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        waiting, ready = (fcntl.fcntl(end, fcntl.F_DUPFD, 100) for end in (reading, telling))
        os.closerange(50, 63)
        for number in (50, 51, 52, 60, 62):
            os.dup2(waiting, number)
        os.write(ready, b"x")  # the numbers may have been in use before: to see that they are open tells nothing
        os.read(waiting, 1)
        os._exit(sum(os.path.exists(f"/proc/self/fd/{number}") for number in (50, 51, 52, 60, 62)))
    assert os.read(told, 1) == b"x"
    with transplant._held(child) as held:
        held.close([50, 51, 52])
        held.close([60, 62])
    os.write(writing, b"x")
    for end in (reading, writing, told, telling):
        os.close(end)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_fork_that_has_ended_is_not_made_a_container():
    async def scene() -> None:
        family = template.Family("kind", tmp, plan())
        ready = stock.Cell("ce-1", None, 1, 2, None, None, contextlib.AsyncExitStack())  # type: ignore[arg-type]
        family.stock._make, family.stock._cells = _never, [ready]
        family._take({"lost": "ce-1"})
        with pytest.raises(stock.Cold, match="ended before it began"):
            family.go(ready, "ta-1")

    tmp = Path("/nowhere")
    asyncio.run(scene())


async def _never() -> stock.Cell:
    raise stock.Cold("none")

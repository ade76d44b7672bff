"""A mount is exchanged under a process that lives on, whatever is killed on the way; a "container" here is a process
with mounts of its own."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from windlass.worker import folder as folders
from windlass.worker import linux, spec
from windlass.worker.volumes import layers, mounted, service, swap

_INSIDE = """
import json, os, sys
place = sys.argv[1]
files = []
for line in sys.stdin:
    what, *words = json.loads(line)
    try:
        if what == "write":
            with open(f"{place}/{words[0]}", "w") as file: file.write(words[1])
            answer = ""
        elif what == "open": files.append(open(f"{place}/{words[0]}", "a")); answer = ""
        elif what == "close": files.pop().close(); answer = ""
        elif what == "stare":
            import threading
            seen, over = set(), threading.Event()
            def stare():
                while not over.is_set():
                    try: os.stat(f"{place}/{words[0]}"); seen.add("there")
                    except OSError as exc: seen.add(exc.strerror)
            starer = threading.Thread(target=stare); starer.start(); answer = ""
        elif what == "seen": over.set(); starer.join(); answer = sorted(seen)
        elif what == "list": answer = {n: open(f"{place}/{n}").read() for n in sorted(os.listdir(place))}
    except OSError as exc:
        answer = exc.strerror
    print(json.dumps(answer), flush=True)
"""


class Pretend:
    """A process with mounts of its own, in which a volume is mounted."""

    def __init__(self, root: Path) -> None:
        self.store = layers.Layers(root)
        self.folder = folders.Folder(root, "ta-1")
        plan: Any = {
            "path": str(root / "data"), "volume_id": "vo-x", "read_only": False, "sub_path": "", "base": 0,
            "layers": [],
        }  # fmt: skip
        (root / "data").mkdir()
        self.mount = mounted.new(self.folder.path / "volumes" / "0", plan, self.store)
        merged = self.mount.begin()
        self.process = subprocess.Popen(
            [sys.executable, "-ISE", "-c", _INSIDE, plan["path"]],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            preexec_fn=lambda: self._enter(merged, Path(plan["path"])),
        )  # fmt: skip
        assert self.do("list") == {}
        self.mount.forget_own()
        state = {"container_id": "ta-1", "pid": self.process.pid, "pid_start": folders.start_time(self.process.pid)}
        self.folder.write(state)  # type: ignore[arg-type]
        self.versions: list[dict[str, Any]] = []

    @staticmethod
    def _enter(merged: Path, target: Path) -> None:
        linux.unshare(linux.NEWNS)
        linux.mount("none", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
        linux.bind(merged, target)
        linux.unmount(merged)

    def do(self, *words: str) -> Any:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def end(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()

    async def server(self, method: str, body: Any, attachments: Any = ()) -> Any:
        if method == "volume.publish" and body["layer_id"] not in [one["layer_id"] for one in self.versions]:
            self.versions.append(body)
            (self.store.home / "versions.json").write_text(json.dumps(self.versions))
        return {"version": len(self.versions), "layers": self.stack(), "clash": []}

    def stack(self) -> list[str]:
        return [one["layer_id"] for one in self.versions]

    def worker(self) -> service.Volumes:
        """A fresh one, as after a restart."""
        made = service.Volumes(self.store.home)
        made.connect(self.server, lambda *_: None, lambda *_: None)
        return made

    def committed(self) -> dict[str, str]:
        with self.store.view(self.stack()) as view:
            return {path.name: path.read_text() for path in view.iterdir()}


async def _life(pretend: Pretend, *requests: Any) -> list[Any]:
    """One worker takes the container over, answers, and ends as a worker does."""
    volumes, answers = pretend.worker(), []
    cancelled = asyncio.Event()

    async def follow() -> None:
        async with volumes.following("ta-1", pretend.folder, pretend.process.pid):
            for reload in requests:
                try:
                    answers.append(
                        await volumes.take({"container_id": "ta-1", "volume_id": "vo-x", "reload": reload})
                    )
                except Exception as exc:
                    answers.append(str(exc))
            cancelled.set()
            await asyncio.sleep(3600)

    task = asyncio.get_running_loop().create_task(follow())
    await cancelled.wait()
    task.cancel()
    await asyncio.wait({task})
    return answers


def _exchanged(root: Path) -> list[Any]:
    pretend = Pretend(root)
    pretend.do("write", "a", "1")
    asyncio.run(_life(pretend, False))
    after_commit = pretend.committed()
    pretend.do("write", "a", "2")
    pretend.do("open", "a")
    busy, _ = asyncio.run(_life(pretend, True, False))
    after_live = pretend.committed()
    pretend.do("close")
    pretend.do("write", "b", "3")
    [fine] = asyncio.run(_life(pretend, True))
    seen = pretend.do("list")
    pretend.end()
    return [after_commit, busy, after_live, fine["version"], seen, pretend.committed()]


def test_commits_and_reloads_freeze_copy_and_exchange(apart, tmp_path):
    first, busy, live, version, seen, last = apart(_exchanged, tmp_path)
    assert first == {"a": "1"}
    assert "volume busy" in busy and f"{tmp_path}/data/a is open" in busy
    assert live == {"a": "2"}
    assert (version, seen, last) == (3, {"a": "2", "b": "3"}, {"a": "2", "b": "3"})


def _early(root: Path) -> Any:
    pretend = Pretend(root)
    pretend.do("write", "a", "1")
    pretend.mount.exchange(pretend.process.pid)  # so that there is something to put right

    async def life() -> Any:
        volumes = pretend.worker()
        asked: Any = {"container_id": "ta-1", "volume_id": "vo-x", "reload": False}
        early = [asyncio.get_running_loop().create_task(volumes.take(asked)) for _ in range(3)]
        await asyncio.sleep(0)
        async with volumes.following("ta-1", pretend.folder, pretend.process.pid):
            answers = await asyncio.gather(*early)
            written = pretend.do("write", "b", "2")
            pretend.end()
        return [answer["version"] for answer in answers], written

    answer = asyncio.run(asyncio.wait_for(life(), 20))
    return answer, pretend.committed()


def test_a_commit_that_is_asked_before_the_next_worker_is_ready_waits_for_it(apart, tmp_path):
    (versions, written), committed = apart(_early, tmp_path)
    assert (versions, written) == ([1, 1, 1], "")
    assert committed == {"a": "1", "b": "2"}


def _killed(root: Path, nth: int, *, beneath: bool) -> Any:
    """Kill a worker at its ``nth`` step of a commit; the next one goes on."""
    pretend = Pretend(root)
    pretend.do("write", "a", "1")
    asyncio.run(_life(pretend, False))
    pretend.do("write", "a", "2")
    pretend.do("write", "b", "2")
    victim = os.fork()
    if victim == 0:
        _arm(nth)
        asyncio.run(_life(pretend, False))
        os._exit(0)
    killed = os.waitstatus_to_exitcode(os.waitpid(victim, 0)[1]) == -9
    if beneath:
        assert pretend.do("list") == {"a": "2", "b": "2"}, "the place was empty"
    pretend.versions = json.loads((root / "versions.json").read_text())
    pretend.store.sweep()
    in_between = pretend.committed()
    assert in_between in ({"a": "1"}, {"a": "2", "b": "2"}), in_between
    asyncio.run(_life(pretend))
    assert pretend.do("list") == {"a": "2", "b": "2"}
    pretend.do("write", "c", "3")
    [answer] = asyncio.run(_life(pretend, False))
    assert isinstance(answer, dict), answer
    pretend.end()
    assert pretend.committed() == {"a": "2", "b": "2", "c": "3"}
    assert len(pretend.versions) <= 3  # nothing was committed twice
    return killed


def _killed_in_reload(root: Path, nth: int, *, beneath: bool) -> Any:
    """The same for a reload, which shows what somebody else committed."""
    pretend = Pretend(root)
    pretend.do("write", "a", "1")
    asyncio.run(_life(pretend, False))
    with pretend.store.draft() as draft:
        (draft / "files" / "other").write_text("x")
        os.chown(draft / "files" / "other", spec.OWNER, spec.OWNER)
        made = pretend.store.publish(draft, {"other": ("sha256:0", 1)}, puts=["other"], clears=[])
    pretend.versions.append({"layer_id": made.layer_id})
    (root / "versions.json").write_text(json.dumps(pretend.versions))
    pretend.do("write", "b", "2")
    victim = os.fork()
    if victim == 0:
        _arm(nth)
        asyncio.run(_life(pretend, True))
        os._exit(0)
    killed = os.waitstatus_to_exitcode(os.waitpid(victim, 0)[1]) == -9
    old, new = {"a": "1", "b": "2"}, {"a": "1", "b": "2", "other": "x"}
    if beneath:
        assert pretend.do("list") in (old, new), "the place was empty"
    pretend.versions = json.loads((root / "versions.json").read_text())
    pretend.store.sweep()
    assert pretend.committed() in ({"a": "1", "other": "x"}, new)
    asyncio.run(_life(pretend))
    assert pretend.do("list") in (old, new)
    [answer] = asyncio.run(_life(pretend, True))
    assert isinstance(answer, dict), answer
    assert pretend.do("list") == pretend.committed() == new
    pretend.end()
    asyncio.run(asyncio.wait_for(_over(pretend), 20))
    assert len(pretend.versions) == 3  # nothing was committed twice
    left = sorted(path.name.partition("-")[0] for path in pretend.mount.folder.iterdir())
    assert set(left) == {"merged", "state.json", "upper", "work"}, "nothing waits to be committed"
    assert left.count("upper") == left.count("work") <= 2, "and what others show by now is not kept twice"
    return killed


async def _over(pretend: Pretend) -> None:
    async with pretend.worker().following("ta-1", pretend.folder, 0):
        pass


def _arm(nth: int) -> None:
    """Let this process die by kill -9 before its ``nth`` step that changes something."""
    left = [nth]

    def deadly(function: Any) -> Any:
        def step(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), 9)
            return function(*arguments, **options)

        return step

    for owner, name in (
        (os, "rename"), (os, "link"), (os, "mkdir"), (os, "mknod"), (os, "unlink"), (Path, "rename"), (Path, "mkdir"),
        (Path, "write_text"), (Path, "write_bytes"), (swap, "exchange"), (swap.linux, "hang"),
        (swap.linux, "open_tree"), (swap.linux, "unmount_unused"), (swap.linux, "hang_beneath"),
        (swap.linux, "is_unused"),
    ):  # fmt: skip
        setattr(owner, name, deadly(getattr(owner, name)))


def _all_steps(walked: Any, root: Path, beneath: bool) -> int:
    if not beneath:
        swap.linux.hang_beneath = _old_kernel
    nth = 1
    while True:
        home = root / str(nth)
        home.mkdir()
        if not walked(home, nth, beneath=beneath):
            return nth
        nth += 1


def _old_kernel(*arguments: Any) -> None:
    raise OSError(errno.EINVAL, "as kernels before Linux 6.5 say")


@pytest.mark.parametrize("beneath", [True, False], ids=["beneath", "old kernel"])
def test_a_worker_killed_at_any_step_of_a_commit_loses_nothing_and_shows_no_half(apart, tmp_path, beneath):
    if beneath and not apart(_knows_beneath, tmp_path / "probe"):
        pytest.skip("this kernel cannot hang a mount below another one")
    assert apart(_all_steps, _killed, tmp_path, beneath) > 15


@pytest.mark.parametrize("beneath", [True, False], ids=["beneath", "old kernel"])
def test_a_worker_killed_at_any_step_of_a_reload_loses_nothing_and_shows_old_or_new(apart, tmp_path, beneath):
    if beneath and not apart(_knows_beneath, tmp_path / "probe"):
        pytest.skip("this kernel cannot hang a mount below another one")
    assert apart(_all_steps, _killed_in_reload, tmp_path, beneath) > 15


def _knows_beneath(root: Path) -> bool:
    known = []
    hang_beneath = linux.hang_beneath

    def noted(*arguments: Any) -> None:
        hang_beneath(*arguments)
        known.append(True)

    swap.linux.hang_beneath = noted
    root.mkdir()
    pretend = Pretend(root)
    pretend.do("write", "a", "1")
    asyncio.run(_life(pretend, False))
    pretend.end()
    return bool(known)


def _stared_at(root: Path) -> Any:
    pretend = Pretend(root)
    pretend.do("write", "a", "1")
    pretend.do("stare", "a")
    done = 0
    deadline = time.monotonic() + 60
    while done < 200 and time.monotonic() < deadline:
        try:
            pretend.mount.exchange(pretend.process.pid)
            done += 1
        except swap.Busy:
            pass
    seen = pretend.do("seen")
    pretend.end()
    return done, seen


def test_whoever_looks_while_mounts_are_exchanged_never_finds_nothing(apart, tmp_path):
    if not apart(_knows_beneath, tmp_path / "probe"):
        pytest.skip("this kernel cannot hang a mount below another one")
    assert apart(_stared_at, tmp_path) == (200, ["there"])


def _raced(root: Path) -> Any:
    """Somebody opens a file between the question and the removal."""
    pretend = Pretend(root)
    pretend.do("write", "a", "1")
    hang_beneath = linux.hang_beneath

    def opened_meanwhile(*arguments: Any) -> None:
        hang_beneath(*arguments)
        pretend.do("open", "a")

    swap.linux.hang_beneath = opened_meanwhile
    [busy] = asyncio.run(_life(pretend, True))
    swap.linux.hang_beneath = hang_beneath
    pretend.do("write", "b", "2")
    between = pretend.do("list")
    pretend.do("close")
    [fine] = asyncio.run(_life(pretend, True))
    pretend.do("write", "c", "3")
    asyncio.run(_life(pretend, True))
    seen = pretend.do("list")
    pretend.end()
    return busy, between, fine["version"], seen, pretend.committed()


def test_a_file_opened_in_the_very_moment_of_an_exchange_keeps_the_old_mount_and_all_writes(apart, tmp_path):
    if not apart(_knows_beneath, tmp_path / "probe"):
        pytest.skip("this kernel cannot hang a mount below another one")
    busy, between, version, seen, committed = apart(_raced, tmp_path)
    assert "volume busy" in busy and between == {"a": "1", "b": "2"}
    assert version == 1 and seen == committed == {"a": "1", "b": "2", "c": "3"}


def test_busy_is_what_the_kernel_says(apart, tmp_path):
    assert apart(_still_there, tmp_path)


def _still_there(root: Path) -> bool:
    pretend = Pretend(root)
    pretend.do("write", "a", "1")
    pretend.do("open", "a")
    before = pretend.mount.place(pretend.process.pid)
    with pytest.raises(swap.Busy):
        pretend.mount.exchange(pretend.process.pid)
    after = pretend.mount.place(pretend.process.pid)
    pretend.end()
    return before == after and before is not None


def _ended(root: Path) -> Any:
    pretend = Pretend(root)
    pretend.do("write", "a", "1")

    async def life() -> None:
        volumes = pretend.worker()
        async with volumes.following("ta-1", pretend.folder, pretend.process.pid):
            pretend.do("write", "b", "2")
            pretend.end()

    asyncio.run(asyncio.wait_for(life(), 20))
    return pretend.committed()


def test_what_was_not_committed_is_when_the_container_has_ended(apart, tmp_path):
    assert apart(_ended, tmp_path) == {"a": "1", "b": "2"}


def _orphaned(root: Path) -> Any:
    pretend = Pretend(root)
    pretend.do("write", "a", "1")
    pretend.end()  # and no worker saw it

    async def life() -> None:
        async with pretend.worker().following("ta-1", pretend.folder, 0):
            pass

    asyncio.run(asyncio.wait_for(life(), 20))
    return pretend.committed()


def test_a_container_that_ended_while_no_worker_was_there_is_committed_by_the_next(apart, tmp_path):
    assert apart(_orphaned, tmp_path) == {"a": "1"}


def _large(root: Path) -> Any:
    pretend = Pretend(root)
    pretend.do("open", "large")  # stays open, so what is committed must be copied
    with (pretend.mount.folder / "upper-0" / "large").open("r+b") as file:
        file.truncate(100 * 2**20)
    upper = pretend.mount.newest()
    patient = pretend.mount.make(upper, live=True, patient=True)
    [answer] = asyncio.run(_life(pretend, False))
    with pretend.store.view(pretend.stack()) as view:
        size = (view / "large").stat().st_size
    pretend.end()
    return patient, answer, size


def test_a_large_file_under_work_waits_for_a_commit_in_the_background_but_not_for_one_that_was_asked_for(
    apart, tmp_path
):
    patient, answer, size = apart(_large, tmp_path)
    assert patient is None and isinstance(answer, dict) and size == 100 * 2**20


def _cancelled(root: Path) -> Any:
    pretend = Pretend(root)
    pretend.do("write", "a", "1")
    begun, go = threading.Event(), threading.Event()
    make = mounted.Mount.make

    def slow(self: Any, *arguments: Any, **options: Any) -> Any:
        begun.set()
        go.wait(20)
        return make(self, *arguments, **options)

    async def life() -> Any:
        volumes = pretend.worker()
        loop = asyncio.get_running_loop()
        mounted.Mount.make = slow  # type: ignore[method-assign]
        committing = loop.create_task(volumes._commit("ta-1", pretend.mount, live=True))
        await asyncio.to_thread(begun.wait, 20)
        committing.cancel()
        early = bool((await asyncio.wait({committing}, timeout=0.2))[0])
        go.set()
        await asyncio.wait({committing}, timeout=20)
        return early, committing.cancelled(), (pretend.mount.folder / "pending-0.json").exists()

    found = asyncio.run(asyncio.wait_for(life(), 30))
    pretend.end()
    return found


def test_whoever_gives_a_commit_up_waits_for_the_thread_that_makes_it(apart, tmp_path):
    assert apart(_cancelled, tmp_path) == (False, True, True)

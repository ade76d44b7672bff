"""A folder of this disk stands for a bucket: the real rclone, the real kernel. Whatever dies, nobody waits for ever."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import shutil
import signal
import subprocess

import pytest

from stage import until
from windlass.worker import folder as folders
from windlass.worker import linux
from windlass.worker.buckets import fence, processes, rclone

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("rclone") is None or not processes.FUSE.exists(), reason="mounts"
)

PLAN = {
    "path": "/b", "bucket": "lake", "endpoint": "", "prefix": "", "secret": "", "read_only": False,
    "requester_pays": False, "path_style": False, "keys": {},
}  # fmt: skip


@pytest.fixture
def mounted(tmp_path, monkeypatch):
    """The folder that stands for the bucket, where it is mounted, and the two processes."""
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "file").write_text("hello")
    place = tmp_path / "mounted"
    place.mkdir()
    monkeypatch.setattr(rclone, "_place", lambda plan: str(tmp_path / "bucket"))
    both, said = processes.begin(PLAN, place, line=["env"], fence=fence.none(""), log=tmp_path / "log")
    try:
        with said:
            assert select.select([said], [], [], 20)[0] and said.read(1), (tmp_path / "log").read_text()
        yield tmp_path / "bucket", place, both
    finally:
        linux.unmount(place)
        for one in both:
            asyncio.run(processes.ended(one))
    assert not any(alive(one) for one in both)


def alive(process):
    return folders.alive(process["pid"], process["started"])


def code_of(action, *arguments):
    with pytest.raises(OSError) as caught:
        action(*arguments)
    return caught.value.errno


def test_every_program_is_refused_what_a_bucket_cannot_do_and_may_do_the_rest(mounted):
    bucket, place, both = mounted
    file = place / "file"
    for action in (os.rename, os.replace, os.link, os.symlink):
        assert code_of(action, file, place / "other") == errno.EPERM
    for script in ("mv file other", "echo x >> file", "echo x >> new", "ln file other", "sed -i s/h/j/ file"):
        ran = subprocess.run(["sh", "-c", script], cwd=place, capture_output=True, text=True)
        assert ran.returncode and "not permitted" in ran.stderr, script
    assert code_of(file.open, "a") == errno.EPERM
    with place.joinpath("gap").open("wb", buffering=0) as gap:
        gap.seek(10)
        assert code_of(gap.write, b"x") == errno.EPERM
    assert (bucket / "file").read_text() == "hello"
    large = os.urandom(3_000_000)
    file.write_bytes(large)
    assert (bucket / "file").read_bytes() == file.read_bytes() == large
    subprocess.run(["cp", "-p", file, place / "copy"], check=True)
    assert (bucket / "copy").stat().st_size == len(large)
    with (place / "log").open("w") as log:  # children that inherit a file do not finish it
        for word in ("one", "two"):
            print(word, file=log, flush=True)
            subprocess.run(["echo", "child"], stdout=log, check=True)
    assert (bucket / "log").read_text() == "one\nchild\ntwo\nchild\n"
    (place / "folder").mkdir()
    (place / "folder").rmdir()
    file.unlink()
    assert not (bucket / "file").exists()
    linux.unmount(place)
    until(lambda: not any(alive(one) for one in both), 10, "who serves a mount ends with it")
    linux.mount("none", place, kind="tmpfs")  # for the fixture, which unmounts


@pytest.mark.parametrize("which", [0, 1])
def test_when_one_of_the_two_dies_the_other_ends_and_who_uses_the_mount_hears_of_it(mounted, which):
    _, place, both = mounted
    read, written = os.open(place / "file", os.O_RDONLY), os.open(place / "new", os.O_WRONLY | os.O_CREAT)
    os.kill(both[which]["pid"], signal.SIGKILL)
    until(lambda: not any(alive(one) for one in both), 10, "both end")
    for action, *arguments in (
        (os.listdir, place), (os.read, read, 5), (os.write, written, b"x"), (os.close, read), (os.close, written),
    ):  # fmt: skip
        assert code_of(action, *arguments) in (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO)

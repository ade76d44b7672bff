"""Files of layers that the kernel guards: our decisions are tried everywhere, the kernel's part where it can."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from windlass import exception
from windlass.cli import doctor
from windlass.kit import tasks
from windlass.worker import answering, linux, overlay
from windlass.worker.volumes import answers, checking, layers, merging, mounted, reading, service, verity
from worker.volumes import test_checking as checked

KERNEL = Path("/sys/fs/ext4/features/verity")


class Argument(ctypes.Structure):
    """``struct fsverity_enable_arg`` as the kernel's header has it."""

    _fields_ = (
        ("version", ctypes.c_uint32), ("hash_algorithm", ctypes.c_uint32), ("block_size", ctypes.c_uint32),
        ("salt_size", ctypes.c_uint32), ("salt_ptr", ctypes.c_uint64), ("sig_size", ctypes.c_uint32),
        ("reserved1", ctypes.c_uint32), ("sig_ptr", ctypes.c_uint64), ("reserved2", ctypes.c_uint64 * 11),
    )  # fmt: skip


def test_the_kernels_argument_is_laid_out_as_its_header_says():
    text = verity.argument(4096)
    assert len(text) == ctypes.sizeof(Argument) == 128
    made = Argument.from_buffer_copy(text)
    assert (made.version, made.hash_algorithm, made.block_size) == (1, 1, 4096)
    assert bytes(made) == text and not any(text[12:])
    assert 1 << 30 | 128 << 16 | ord("f") << 8 | 133 == verity._ENABLE
    assert 2 << 30 | ctypes.sizeof(ctypes.c_long) << 16 | ord("f") << 8 | 1 == verity._GETFLAGS


def test_an_error_of_the_kernel_says_whether_a_file_is_sealed_may_be_tried_again_or_cannot_be():
    assert verity.outcome(errno.EEXIST) == verity.SEALED
    later = (errno.ETXTBSY, errno.EBUSY, errno.ENOSPC, errno.EDQUOT, errno.EINTR)
    assert {verity.outcome(code) for code in later} == {verity.LATER}
    assert {verity.outcome(code) for code in (errno.EOPNOTSUPP, errno.EPERM, errno.EFBIG)} == {verity.NEVER}


def test_why_nothing_can_be_sealed_is_told_with_what_would_help():
    absent = verity.reason(errno.EOPNOTSUPP, has_kernel=False)
    assert not absent.can and "CONFIG_FS_VERITY" in absent.remedy and "tune2fs -O verity" in absent.remedy
    made = verity.reason(errno.EOPNOTSUPP, has_kernel=True)
    assert "file system" in made.why and "CONFIG" not in made.remedy and "tune2fs" in made.remedy
    assert verity.reason(errno.ENOTTY, has_kernel=False) == absent
    assert "Permission denied" in verity.reason(errno.EACCES, has_kernel=True).why


def test_trees_leave_room_on_the_disk():
    disk: Any = SimpleNamespace(f_bavail=100_000, f_frsize=4096)
    assert verity.has_room(0, disk) and not verity.has_room(64 * 2**30, disk)
    assert not verity.has_room(0, SimpleNamespace(f_bavail=1000, f_frsize=4096))  # type: ignore[arg-type]


def test_a_mark_of_a_sealed_layer_does_not_hold_for_its_copy(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "index.json").write_text("{}")
    assert not verity.noted(tmp_path / "a")
    verity.note(tmp_path / "a", whole=True)
    assert verity.noted(tmp_path / "a")
    subprocess.run(["cp", "-a", tmp_path / "a", tmp_path / "b"], check=True)
    assert not verity.noted(tmp_path / "b") and verity.noted(tmp_path / "a")
    verity.note(tmp_path / "a", whole=False)
    assert not verity.noted(tmp_path / "a")


def test_a_large_file_is_sealed_by_a_process_that_ends_with_whoever_waits(tmp_path, monkeypatch):
    file = tmp_path / "large"
    file.write_bytes(b"x")
    monkeypatch.setattr(verity, "_LARGE", 0)
    monkeypatch.setattr(verity, "has_room", lambda size, disk: True)
    pace = checking.Pace(float("inf"))
    able = verity.able(tmp_path).can
    with file.open("rb") as source:
        assert verity.seal(source.fileno(), pace) == (verity.SEALED if able else verity.NEVER)
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(verity, "__file__", str(tmp_path / "slow.py"))
    threading.Timer(0.2, pace.over.set).start()
    began = time.monotonic()
    with file.open("rb") as source, pytest.raises(checking.Stopped):
        verity.seal(source.fileno(), pace)
    assert time.monotonic() - began < 20


class Pretended:
    """A kernel that seals, as the background sees it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sealed: set[int] = set()
        self.says = verity.SEALED
        monkeypatch.setattr(verity, "is_sealed", lambda descriptor: os.fstat(descriptor).st_ino in self.sealed)
        monkeypatch.setattr(verity, "seal", self.seal)
        monkeypatch.setattr(verity, "able", lambda folder: verity.Able(True))

    def seal(self, descriptor: int, pace: Any) -> str:
        if self.says == verity.SEALED:
            self.sealed.add(os.fstat(descriptor).st_ino)
        return self.says


def _within(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Pretended(monkeypatch)
    store = layers.Layers(root)
    bad = checked.layer(store, a="text", folder__b="more", empty="")
    files = store.files(bad)
    checked.flip(files / "folder/b")
    pace = checking.Pace(float("inf"))
    assert checking.look(store, bad, pace) == ["folder/b"]
    assert not kernel.sealed, "who only asks changes nothing"
    assert checking.look(store, bad, pace, sealing=True) == ["folder/b"]
    assert kernel.sealed == {(files / "a").stat().st_ino}, "what is damaged is not sealed, nor what is empty"
    assert not verity.noted(store.root / bad)
    checked.flip(files / "folder/b")
    kernel.says = verity.LATER
    assert checking.look(store, bad, pace, sealing=True) == [] and not verity.noted(store.root / bad)
    kernel.says = verity.SEALED
    assert checking.look(store, bad, pace, sealing=True) == [] and verity.noted(store.root / bad)
    done = pace.done
    assert checking.look(store, bad, pace) == [] and verity.noted(store.root / bad)
    assert pace.done - done == 8, "what is sealed is read once"
    merged = merging.merge(store, [bad], bottom=True).layer_id
    assert checking.look(store, merged, pace) == [] and verity.noted(store.root / merged), "links are sealed, too"
    hollow = checked.layer(store, empty="")
    assert checking.look(store, hollow, pace) == [] and not verity.noted(store.root / hollow), "nobody seals here"
    checking.look(store, hollow, pace, sealing=True)
    assert checking.look(store, hollow, pace) == [] and verity.noted(store.root / hollow)


def test_a_file_that_compares_well_is_sealed_and_compared_once_more(apart, tmp_path, monkeypatch):
    apart(_within, tmp_path, monkeypatch)


def test_a_layer_that_could_be_sealed_is_looked_at_again_after_a_day(tmp_path):
    store = layers.Layers.__new__(layers.Layers)
    store.home, store.root = tmp_path, tmp_path / "volumes"
    name = "vl-" + "a" * 22
    (store.root / name).mkdir(parents=True)
    for file in ("index.json", "checked"):
        (store.root / name / file).touch()
        os.utime(store.root / name / file, (time.time() - 2 * 86400,) * 2)
    scrub = checking.Scrub(store)
    assert scrub._due() == "", "where nothing can be sealed, a week is soon enough"
    scrub._sealing = True
    assert scrub._due() == name
    verity.note(store.root / name, whole=True)
    assert scrub._due() == ""


def test_a_file_that_cannot_be_read_is_noted_as_damaged_where_the_stack_shows_it(apart, tmp_path):
    def stacked(root: Path) -> None:
        store = layers.Layers(root)
        below, above = checked.layer(store, a="1", b="1"), checked.layer(store, a="2")
        checking.unreadable(store, [below, above], "a")
        checking.unreadable(store, [below, above], "b")
        assert (checking.marked(store, below), checking.marked(store, above)) == (["b"], ["a"])
        with pytest.raises(exception.DataLossError, match="'a'"):
            checking.refuse(checking.visible(store, [below, above]), only="a")

    apart(stacked, tmp_path)
    said = answering.unreached("the files", OSError(errno.EIO, "Input/output error"))
    assert isinstance(said, exception.DataLossError) and "volume check" in said.hint


def test_what_was_sealed_by_another_kernel_and_cannot_be_opened_by_this_one_is_not_called_damaged(
    apart, tmp_path, monkeypatch
):
    def looked(root: Path) -> None:
        store = layers.Layers(root)
        name = checked.layer(store, a="1")

        def failing(*arguments: Any, **options: Any) -> Any:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

        store.index(name)
        scrub = checking.Scrub(store, calm=0.0)
        assert scrub._due() == name
        with monkeypatch.context() as patched:
            patched.setattr(Path, "open", failing)
            with pytest.raises(OSError, match="not supported") as caught:
                checking.look(store, name, checking.Pace(float("inf")))
            assert scrub._look(name, checking.Pace(float("inf"))) == []
        assert scrub._due() == "", "nobody tries it again and again"
        assert not checking.marked(store, name) and not (store.root / name / "checked").exists()
        assert "CONFIG_FS_VERITY" in answering.unreached("the files", caught.value).hint

    apart(looked, tmp_path)


class Asked:
    """A request of the server for a file, and what it was answered."""

    kind, method = "s", "layers.read"

    def __init__(self, path: str, *stack: str) -> None:
        self.body, self.attachments = {"layers": list(stack)}, [path.encode()]
        self.answer: BaseException | None = None

    def fail(self, exc: BaseException) -> None:
        self.answer = self.answer or exc


def _asked(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volumes = service.Volumes(root)
    name = checked.layer(volumes.layers, a="1")
    shown = mounted.new(root / "m", checked.plan(name), volumes.layers)
    volumes._mounts["ta-1"] = {"vo-x": shown}
    ended: dict[str, str] = {}
    volumes._end = ended.__setitem__

    def failing(*arguments: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(reading.Checked, "check", failing)

    async def ask() -> BaseException | None:
        async with tasks.Tasks() as owner:
            request: Any = Asked("a", name)
            assert answers.Answers(volumes, owner).serve(request)
            deadline = time.monotonic() + 20
            while request.answer is None and time.monotonic() < deadline:
                await asyncio.sleep(0.01)
            return request.answer

    answer = asyncio.run(ask())
    assert isinstance(answer, exception.DataLossError) and "'a'" in str(answer), answer
    assert checking.marked(volumes.layers, name) == ["a"] and "'a'" in ended["ta-1"]


def test_whoever_reads_from_outside_what_cannot_be_read_hears_which_file_it_is_and_containers_end(
    apart, tmp_path, monkeypatch
):
    apart(_asked, tmp_path, monkeypatch)


def test_doctor_says_which_guard_there_is(tmp_path, monkeypatch):
    def found() -> doctor.Finding:
        return {one.name: one for one in doctor._volumes(tmp_path)}["stored content"]

    assert not list(doctor._volumes(tmp_path))
    (tmp_path / "volumes" / "vl-x").mkdir(parents=True)
    (tmp_path / "volumes" / "vl-x" / "index.json").touch()
    monkeypatch.setattr(verity, "able", lambda folder: verity.reason(errno.EOPNOTSUPP, has_kernel=False))
    assert "compared in the background" in found().detail and "tune2fs" in found().remedy
    monkeypatch.setattr(verity, "able", lambda folder: verity.Able(True))
    assert "sealed by fs-verity" in found().detail and "0 of 1" in found().detail
    verity.note(tmp_path / "volumes" / "vl-x", whole=True)
    assert "1 of 1" in found().detail and not found().remedy
    monkeypatch.setattr(verity, "able", lambda folder: verity.reason(errno.EOPNOTSUPP, has_kernel=False))
    assert found().state == doctor.LIMITED and "cannot be read here" in found().detail, "another kernel was started"


def test_a_kernel_that_cannot_changes_nothing(apart, tmp_path):
    def looked(root: Path) -> None:
        store = layers.Layers(root)
        if verity.able(store.root).can:
            return
        name = checked.layer(store, a="text")
        asyncio.run(_looked(store, name))
        assert not (store.root / name / "sealed").exists() and not list(store.root.glob(".probe-*"))
        (store.files(name) / "a").write_text("writable as ever")

    apart(looked, tmp_path)


async def _looked(store: layers.Layers, name: str) -> None:
    async with tasks.Tasks() as owner:
        owner.start(checking.Scrub(store, calm=0.05).run(), "scrub")
        deadline = time.monotonic() + 20
        while not (store.root / name / "checked").exists():
            assert time.monotonic() < deadline, "never looked at"
            await asyncio.sleep(0.02)


# -- with a kernel that can: a file system of its own, in a file whose bits can be flipped below it --------------------


@pytest.fixture
def disk(tmp_path):
    """An image with an ext4 that can seal, and where it shall be mounted."""
    if not KERNEL.exists():
        pytest.skip("this kernel has no fs-verity (CONFIG_FS_VERITY)")
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("needs root, and mkfs.ext4")
    image, place = tmp_path / "disk.img", tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(512 * 1024 * 1024)
    subprocess.run(["mkfs.ext4", "-q", "-b", "4096", "-O", "verity", "-m", "0", image], check=True)
    place.mkdir()
    return image, place


def _flip_below(image: Path, mark: bytes) -> None:
    """One bit of the disk itself, where a file's only block that begins with ``mark`` lies."""
    os.sync()
    data = subprocess.run(
        ["grep", "--only-matching", "--byte-offset", "--text", "--fixed-strings", mark.decode(), image],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    offset = int(data.split(b":")[0])
    with image.open("r+b") as file:
        file.seek(offset)
        file.write(bytes([mark[0] ^ 1]))
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def _error(action: Any) -> int:
    try:
        action()
    except OSError as exc:
        return exc.errno or 0
    return 0


def _really(image: Path, place: Path) -> None:
    subprocess.run(["mount", "-o", "loop", image, place], check=True)
    try:
        _on_disk(image, place)
    finally:
        subprocess.run(["umount", "-R", place], check=True)


def _on_disk(image: Path, home: Path) -> None:
    store = layers.Layers(home)
    assert verity.able(store.root) == verity.Able(True)
    mark, other = "MARK" + os.urandom(8).hex(), "OTHER" + os.urandom(8).hex()
    texts = {"small": mark, "large": "0123456789abcdef" * 100_000, "folder__fine": other * 1000, "empty": ""}
    name = checked.layer(store, **texts)
    with (store.files(name) / "large").open("ab"):
        checking.look(store, name, checking.Pace(float("inf")), sealing=True)
        assert not verity.noted(store.root / name), "somebody has a file open for writing"
    checking.look(store, name, checking.Pace(float("inf")), sealing=True)
    assert verity.noted(store.root / name)
    small = store.files(name) / "small"
    assert _error(lambda: small.write_text("x")) == errno.EPERM
    assert (store.files(name) / "empty").write_text("") == 0, "there is nothing to seal"
    merged = merging.merge(store, [name], bottom=True).layer_id
    assert checking.look(store, merged, checking.Pace(float("inf"))) == [] and verity.noted(store.root / merged)

    stack, upper, work = home / "stack", home / "upper", home / "work"
    for folder in (stack, upper, work):
        folder.mkdir()
    overlay.mount(stack, lowers=store.lowers([name]), upper=upper, work=work)
    (stack / "folder/fine").rename(stack / "moved")  # as a container does: copied up, and not sealed there
    with (stack / "moved").open("a") as file:
        file.write("more")
    assert (stack / "moved").read_text() == texts["folder__fine"] + "more"

    _flip_below(image, mark.encode())
    assert [_error(lambda path=path: path.read_bytes()) for path in (small, stack / "small")] == [errno.EIO] * 2
    assert _error(lambda: (stack / "small").open("a").close()) == errno.EIO, "it is not copied up wrongly"
    assert (stack / "large").read_text() == texts["large"]
    linux.unmount(stack)
    assert checking.look(store, name, checking.Pace(float("inf"))) == ["small"]
    assert checking.look(store, merged, checking.Pace(float("inf"))) == ["small"], "its link in another layer, too"
    with pytest.raises(exception.DataLossError, match="'small'"):
        mounted.new(home / "m", checked.plan(merged), store).begin()
    above = checked.layer(store, small="anew")
    mounted.new(home / "n", checked.plan(merged, above), store).begin()
    store.remove(name)
    assert name not in store.known() and not list(store.root.glob(f"{layers.GONE}*"))


def test_the_kernel_serves_no_flipped_bit_of_a_sealed_file(apart, disk):
    apart(_really, *disk)

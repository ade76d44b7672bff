"""What virtual machines are made of, what is said to them, and the one line for all of it."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from windlass import exception
from windlass.worker import spec
from windlass.worker.sandboxes import levels
from windlass.worker.sandboxes.vm import frames, guest, machine, parts, plan, ramdisk, room, unpacking

PVH = struct.pack("<III", 4, 8, 18) + b"Xen\0"
NEEDED = {
    "drivers/virtio": ("virtio", "virtio_ring", "virtio_pci"), "drivers/char": ("virtio_console",),
    "fs/fuse": ("fuse", "virtiofs"),
}  # fmt: skip


def kernel(place: Path, payload: bytes = b"", *, release: str = "6.1.0-test") -> Path:
    """A file with the head of a kernel's."""
    head = bytearray(1024)
    head[0x1F1] = 1
    head[0x202:0x206] = b"HdrS"
    text = f"{release} (who@where) #1\0".encode()
    struct.pack_into("<H", head, 0x20E, 0x300 - 0x200)
    head[0x300 : 0x300 + len(text)] = text
    struct.pack_into("<II", head, 0x248, 0, len(payload))
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(bytes(head) + payload)
    return place


def modules(boot: Path, *, but: str = "", release: str = "6.1.0-test") -> None:
    for folder, names in NEEDED.items():
        place = boot.parent / "lib/modules" / release / "kernel" / folder
        place.mkdir(parents=True)
        for name in names:
            if name != but:
                needs = "virtio-ring,virtio" if name == "virtio_pci" else ""
                body = b"\x7fELF license=GPL\0depends=" + needs.encode() + b"\0"
                (place / f"{name.replace('_', '-')}.ko.xz").write_bytes(lzma.compress(body))


def test_modules_of_a_kernel_are_found_beside_it_whatever_they_are_packed_with(tmp_path):
    found = kernel(tmp_path / "boot/vmlinuz-6.1.0-test")
    modules(found.parent)
    names = [path.name for path in parts.modules(found)]
    assert "virtio-console.ko.xz" in names and "virtiofs.ko.xz" in names


def test_modules_come_with_what_they_name_unpacked(tmp_path):
    found = kernel(tmp_path / "boot/vmlinuz-6.1.0-test")
    modules(found.parent)
    place = tmp_path / "lib/modules/6.1.0-test/kernel"
    packed = lzma.compress(b"\x7fELF\0license=GPL\0depends=net-failover,built-in\0")
    for name, body in {"net/virtio_net.ko.xz": packed, "core/net_failover.ko.gz": gzip.compress(b"\x7fELF")}.items():
        (place / name).parent.mkdir()
        (place / name).write_bytes(body)
    taken = {path.name: parts.module(path) for path in parts.modules(found)}
    assert taken["net_failover.ko.gz"] == b"\x7fELF" and taken["virtio_net.ko.xz"].startswith(b"\x7fELF")


def test_a_module_that_cannot_be_unpacked_is_told_with_what_it_takes(tmp_path, monkeypatch):
    found = kernel(tmp_path / "boot/vmlinuz-6.1.0-test")
    modules(found.parent)
    place = tmp_path / "lib/modules/6.1.0-test/kernel/fs/fuse"
    monkeypatch.setattr(unpacking, "_PATH", str(tmp_path))
    (place / "fuse.ko.xz").write_bytes(b"\x28\xb5\x2f\xfd packed by zstd")
    with pytest.raises(parts.Missing, match=r"fuse.*packed with zstd, which is not installed"):
        parts.modules(found)
    for body in (b"text", b"\xfd7zXZ\0 cut off", b""):
        (place / "fuse.ko.xz").write_bytes(body)
        with pytest.raises(parts.Missing, match="fuse"):
            parts.modules(found)


def test_a_kernel_that_was_upgraded_meanwhile_is_no_defect(tmp_path, made):
    with pytest.raises(exception.ExecutionError, match="cannot be made"):
        parts.made(made._replace(key="new"), tmp_path)
    (tmp_path / "lib/vm/kept").mkdir(parents=True)
    assert parts.made(made._replace(key="kept"), tmp_path).name == "kept"  # made when it was there


def test_a_kernel_that_lacks_a_module_is_refused_by_its_name_and_one_that_has_it_built_in_is_not(tmp_path):
    found = kernel(tmp_path / "boot/vmlinuz")
    modules(found.parent, but="virtiofs")
    with pytest.raises(parts.Missing, match=r"6\.1\.0-test has no virtiofs"):
        parts.modules(found)
    (tmp_path / "lib/modules/6.1.0-test/modules.builtin").write_text("kernel/fs/fuse/virtiofs.ko\n")
    assert len(parts.modules(found)) == 5


def test_what_is_no_kernel_or_has_no_modules_is_refused(tmp_path):
    (tmp_path / "text").write_text("no kernel")
    with pytest.raises(parts.Missing, match="no kernel"):
        parts.modules(tmp_path / "text")
    with pytest.raises(parts.Missing, match=r"modules of the kernel 6\.1\.0-test"):
        parts.modules(kernel(tmp_path / "boot/vmlinuz"))
    with pytest.raises(parts.Missing, match="may be"):
        parts.find({parts.ACCEL_SETTING: "fast"})


def test_a_kernel_is_unpacked_once_where_it_can_begin_unpacked(tmp_path):
    inner = b"\x7fELF" + PVH + bytes(100)
    packed = kernel(tmp_path / "good", gzip.compress(inner)).read_bytes()
    assert parts.unpacked(packed) == inner
    without = kernel(tmp_path / "without", gzip.compress(b"\x7fELF" + bytes(100))).read_bytes()
    assert parts.unpacked(without) == without
    broken = kernel(tmp_path / "broken", b"\x1f\x8bno").read_bytes()
    assert parts.unpacked(broken) == broken


def test_a_machine_has_the_memory_that_was_asked_for_and_never_more_than_there_is():
    gib = 1024**3
    assert plan.memory(256 << 20, 64 << 20, 8 * gib) == 256 << 20
    assert plan.memory(0, 64 << 20, 8 * gib) == 2 * gib
    assert plan.memory(0, 3 * gib, 8 * gib) == 3 * gib
    assert plan.memory(0, 0, gib) == gib
    assert plan.memory(1, 0, gib) == 128 << 20


@pytest.fixture
def made(tmp_path: Path) -> parts.Parts:
    return parts.Parts(Path("/usr/bin/qemu"), Path("/usr/bin/fsd"), False, tmp_path / "kernel", (), parts.KVM)


@pytest.fixture
def walls(tmp_path: Path) -> spec.Box:
    binds = [spec.Bind(tmp_path / "volume", "/data", writable=True), spec.Bind(tmp_path / "bucket", "/ro")]
    return spec.Box(
        name="sb", argv=[], env={}, cwd="/", rootfs=tmp_path / "rootfs", binds=binds, memory=256 << 20, open_files=4096,
        seccomp=None,
    )  # fmt: skip


def test_the_cell_shows_the_machine_its_own_things_and_the_sandboxes_files_apart(walls, made, tmp_path):
    cell = plan.cell_of(walls, made, tmp_path / "staged", tmp_path / "stub", tmp_path / "bundle")
    shown = {mount["destination"]: mount for mount in cell["mounts"]}
    assert shown["/rootfs"]["source"] == str(walls.rootfs)
    assert "rw" in shown["/rootfs/data"]["options"] and "ro" in shown["/rootfs/ro"]["options"]
    assert "ro" in shown["/machine"]["options"] and "ro" in shown["/usr"]["options"]
    assert "nodev" not in shown["/dev/kvm"]["options"]
    emulated = plan.cell_of(walls, made._replace(accel=parts.TCG), tmp_path, tmp_path, tmp_path)
    assert "/dev/kvm" not in [mount["destination"] for mount in emulated["mounts"]]


def test_a_machine_without_a_network_has_no_device_for_one(walls, made):
    entry: Any = {"argv": ["true"], "env": {"KEY": "secret"}}
    alone = plan.words(walls, made, plan.Asked(256 << 20, 1.5, 100, ""), entry)
    assert not any("netdev" in word for word in alone["qemu"]) and "network" not in alone["begin"]
    linked = plan.words(walls, made, plan.Asked(256 << 20, 1.5, 100, "10.1.2.3"), entry)
    assert any("netdev" in word for word in linked["qemu"]) and linked["begin"]["own"] == "10.1.2.3"
    assert linked["qemu"][linked["qemu"].index("-m") + 1] == "256M"
    assert "secret" not in " ".join(linked["qemu"] + linked["virtiofsd"])


def test_a_virtiofsd_that_tells_of_mounts_is_told_not_to_and_others_do_not_know_the_word(walls, made):
    asked = plan.Asked(256 << 20, 1, 100, "")
    entry: Any = {"argv": ["true"]}
    word = "--no-announce-submounts"
    for modern, tells in ((False, False), (True, False), (True, True)):
        said = plan.words(walls, made._replace(modern=modern, tells=tells), asked, entry)["virtiofsd"]
        assert (word in said) == tells


def test_emulation_differs_in_the_processor_alone(walls, made):
    asked = plan.Asked(256 << 20, 1, 100, "")
    entry: Any = {"argv": ["true"]}
    fast = plan.words(walls, made, asked, entry)["qemu"]
    slow = plan.words(walls, made._replace(accel=parts.TCG), asked, entry)["qemu"]
    assert {word for word in set(fast) ^ set(slow)} == {"kvm", "host", "tcg,thread=multi,tb-size=64", "max"}


def test_a_level_that_is_not_here_names_its_reason():
    none = levels.Levels(None, {"vm": "qemu is not installed"}, {})
    with pytest.raises(exception.UnimplementedError, match="qemu is not installed"):
        none.vm()


def test_the_first_process_imports_nothing_that_its_ram_disk_lacks(tmp_path):
    """In a root of its own, with what the archive holds alone: the import of everything is what most easily breaks."""
    code = tmp_path / "code"
    package = code / "windlass/worker/sandboxes/vm"
    package.mkdir(parents=True)
    for folder in (package, *list(package.parents)[:3]):
        (folder / "__init__.py").touch()
    for path in parts._CODE:
        (package / path.name).write_bytes(path.read_bytes())
    root = tmp_path / "root"
    unpack(b"".join(ramdisk.archive(code, {"virtio.ko": b"module"})), root)
    assert (root / "init").read_bytes() == ramdisk.INIT and (root / "modules/virtio.ko").read_bytes() == b"module"
    assert stat.S_IMODE((root / "init").stat().st_mode) == 0o755
    if os.geteuid():
        pytest.skip("another root takes root")
    script = "import json, os, sys; os.chroot(sys.argv[1]); os.chdir('/'); "
    script += "os.execve('/bin/python', sys.argv[3:], json.loads(sys.argv[2]))"
    line = ["/bin/python", "-sSB", "-c", "from windlass.worker.sandboxes.vm import guest; print(guest.frames.IN)"]
    alone = [sys.executable, "-sSB", "-c", "from windlass.worker.sandboxes.vm import machine; print(machine.BUNDLE)"]
    own = {"PYTHONPATH": str(code)}
    assert subprocess.run(alone, env=own, capture_output=True, text=True, check=False).stdout == "/bundle\n"
    done = subprocess.run(
        [sys.executable, "-c", script, str(root), json.dumps(ramdisk.ENVIRONMENT), *line], capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "0\n", done.stderr


def unpack(archive: bytes, root: Path) -> None:
    """As the kernel would."""
    start = 0
    while True:
        words = [int(archive[start + 6 + 8 * number : start + 14 + 8 * number], 16) for number in range(13)]
        mode, size, length = words[1], words[6], words[11]
        name = archive[start + 110 : start + 110 + length - 1].decode()
        body = start + 110 + length + -(110 + length) % 4
        if name == "TRAILER!!!":
            return
        if stat.S_ISDIR(mode):
            (root / name).mkdir(parents=True, exist_ok=True)
        elif stat.S_ISREG(mode):
            (root / name).write_bytes(archive[body : body + size])
            (root / name).chmod(mode & 0o7777)
        start = body + size + -size % 4


# -- the line -------------------------------------------------------------------------------------------------------


class Ends:
    """Both ends of a line, turned by hand."""

    def __init__(self) -> None:
        one, other = socket.socketpair()
        self.said: list[tuple[int, dict[str, Any]]] = []
        self.near = frames.Line(one.detach(), lambda channel, said: self.said.append((channel, said)))
        self.far = frames.Line(other.detach(), lambda channel, said: self.said.append((channel, said)))

    def until(self, true: Callable[[], bool]) -> None:
        end = time.monotonic() + 20
        while not true():
            assert time.monotonic() < end
            self.near.turn(0)
            self.far.turn(0)


def all_of(descriptor: int) -> bytes:
    os.set_blocking(descriptor, False)
    found = b""
    while True:
        try:
            piece = os.read(descriptor, 65536)
        except BlockingIOError:
            return found
        if not piece:
            return found
        found += piece


def test_messages_and_streams_arrive_in_order_and_whole():
    ends = Ends()
    reading, writing = os.pipe()
    theirs, ours = os.pipe()
    ends.near.say(7, op="start", argv=["\udcff", "ä"])
    ends.near.source(7, frames.IN, reading)
    ends.far.sink(7, frames.IN, ours)
    os.set_blocking(writing, False)
    sent, got = os.urandom(3_000_000), b""
    left = memoryview(sent)
    while left:
        try:
            left = left[os.write(writing, left) :]
        except BlockingIOError:
            ends.near.turn(0)
            ends.far.turn(0)
            got += all_of(theirs)
    os.close(writing)

    def over() -> bool:
        nonlocal got
        got += all_of(theirs)
        return len(got) == len(sent)

    ends.until(over)
    assert got == sent and ends.said == [(7, {"op": "start", "argv": ["\udcff", "ä"]})]
    ends.until(lambda: not ends.far._sinks and not ends.near._sources)


def test_a_stream_that_nobody_takes_stops_alone():
    ends = Ends()
    stuck, flood = os.pipe()
    ends.near.source(1, frames.OUT, stuck)
    _, full = os.pipe()
    ends.far.sink(1, frames.OUT, full)
    os.set_blocking(flood, False)
    sent = 0
    for _ in range(200):
        try:
            sent += os.write(flood, bytes(65536))
        except BlockingIOError:
            pass
        ends.near.turn(0)
        ends.far.turn(0)
    assert sent < 1_000_000, "there is credit without end"
    ends.near.say(2, op="still")
    ends.until(lambda: (2, {"op": "still"}) in ends.said)


def test_a_reader_that_is_gone_closes_the_source():
    ends = Ends()
    reading, writing = os.pipe()
    theirs, ours = os.pipe()
    ends.near.source(1, frames.OUT, reading)
    ends.far.sink(1, frames.OUT, ours)
    os.close(theirs)
    os.write(writing, b"x")
    ends.until(lambda: not ends.near._sources and not ends.far._sinks)
    with pytest.raises(BrokenPipeError):
        os.write(writing, b"x")


def test_the_end_is_told_after_what_was_written_before_it_though_others_hold_the_output():
    ends = Ends()
    reading, writing = os.pipe()
    theirs, ours = os.pipe()
    ends.far.sink(1, frames.OUT, ours)
    os.write(writing, b"last words")
    ends.near.source(1, frames.OUT, reading)
    ends.near.drained(1, (frames.OUT, frames.ERR), lambda: ends.near.say(1, op="exit"))
    ends.until(lambda: (1, {"op": "exit"}) in ends.said)
    assert all_of(theirs) == b"last words"


def test_what_is_no_frame_breaks_the_line():
    one, other = socket.socketpair()
    line = frames.Line(one.detach(), lambda *_: None)
    other.send(b"\xff" * 64)
    with pytest.raises(frames.Broken):
        line.turn(5)
    again, other = socket.socketpair()
    line = frames.Line(again.detach(), lambda *_: None)
    other.send(struct.pack("<BBxxII", 1, 0, 0, 2) + b"[]")
    with pytest.raises(frames.Broken):
        line.turn(5)
    other.close()


def frame(message: bytes, channel: int = 0) -> bytes:
    return struct.pack("<BBxxII", 1, 0, channel, len(message)) + message


def test_a_turn_within_a_turn_hears_nothing_twice():
    one, other = socket.socketpair()
    heard: list[int] = []

    def said(channel: int, _: dict[str, Any]) -> None:
        heard.append(channel)
        if channel == 1:
            other.send(frame(b"{}", 3))
            line.turn(5)

    line = frames.Line(one.detach(), said)
    other.send(frame(b"{}", 1) + frame(b"{}", 2))
    line.turn(5)
    assert heard == [1, 2, 3]


def test_a_message_of_endless_depth_breaks_the_line():
    one, other = socket.socketpair()
    line = frames.Line(one.detach(), lambda *_: None)
    other.send(frame(b"[" * 100_000))
    with pytest.raises(frames.Broken):
        while True:
            line.turn(5)


def test_who_asks_without_end_and_takes_no_answers_is_ended():
    one, other = socket.socketpair()
    line = frames.Line(one.detach(), lambda *_: None)
    unasked = struct.pack("<BBxxII", 2, 0, 1, 0) * 1000  # data for nobody, which is answered
    with pytest.raises(frames.Broken, match="not taken"):
        for _ in range(1000):
            other.send(unasked)
            line.turn(5)
    assert len(line._out) < 5_000_000


def test_a_machine_begins_once(monkeypatch):
    one, other = socket.socketpair()
    listener, (console, _) = socket.socketpair()[0], os.pipe()
    made = machine.Machine({"begin": {}, "entry": {}}, listener, one.detach(), console)
    begun: list[str] = []
    monkeypatch.setattr(made, "_begin_entry", lambda: begun.append("entry"))
    made._said(0, {"op": "here"})
    made._said(0, {"op": "ready"})
    for again in ("here", "ready"):
        with pytest.raises(frames.Broken, match="out of turn"):
            made._said(0, {"op": again})
    assert begun == ["entry"] and other.recv(65536).count(b'"begin"') == 1


def test_commands_of_a_worker_that_ended_end_and_the_sandboxes_own_goes_on():
    one, other = socket.socketpair()
    (listener, _), (console, _) = kept = socket.socketpair(), os.pipe()
    made = machine.Machine({"begin": {}, "entry": {}}, listener, one.detach(), console)
    talk, worker = socket.socketpair()
    made._asked = {
        1: machine._Asked(None, "", [], kind="exec"), 2: machine._Asked(talk, "ex-1", [], kind="exec"),
        3: machine._Asked(worker, "ex-2", [], kind="exec"),
    }  # fmt: skip
    made._line.selector.register(talk, 1, lambda _: made._heard(talk))
    worker.shutdown(socket.SHUT_WR)
    made._line.turn(5)
    assert other.recv(65536) == frame(b'{"op": "kill"}', 2) and kept


@pytest.mark.parametrize("fails", [machine._DROP, machine._NO_NEW_PRIVILEGES, machine._CAPSET])
def test_a_machine_that_keeps_its_rights_does_not_begin(fails, tmp_path, monkeypatch):
    class Kernel:
        def prctl(self, what: int, *_: object) -> int:
            return -(what == fails)

        syscall = prctl

    monkeypatch.setattr(machine, "_libc", Kernel())
    monkeypatch.setattr(machine, "BUNDLE", str(tmp_path))
    with pytest.raises(OSError):
        machine._confine()
    assert (tmp_path / "state").read_text().startswith("failed ")


def test_a_program_of_a_machine_that_accepts_nobody_holds_up_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "bundle_of", lambda _: tmp_path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(tmp_path / "sock"))
    listener.listen(0)
    first = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    first.connect(str(tmp_path / "sock"))
    home: Any = types.SimpleNamespace(folder=types.SimpleNamespace(container_id="sb-1"))
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it waits"))
    signal.alarm(10)
    try:
        with pytest.raises(OSError):
            room.Machines()._talk(home)
    finally:
        signal.alarm(0)


def test_what_the_machine_says_of_ends_is_not_believed_to_be_well_made():
    told: list[int] = []
    known = {"ex-1": told.append}
    assert not room._heard(known, {"id": "ex-1", "pid": 3})
    assert room._heard(known, {"id": ["odd"], "exit": 1}) and not told
    assert room._heard(known, {"id": "ex-1", "exit": "many"}) and told == [0]
    assert room._heard(known, {"id": "ex-1", "exit": 1}) and told == [0]


def test_a_link_in_the_machines_folder_leads_nowhere(tmp_path):
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "state").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError):
        room._read(tmp_path / "state")
    (tmp_path / "odd").write_bytes(b"up\xff")
    assert room._read(tmp_path / "odd") == "up\ufffd"
    (tmp_path / "real").write_text(json.dumps("up"))
    assert room._read(tmp_path / "real") == '"up"'


@pytest.mark.parametrize(
    ("refused", "what"), [(guest._HELD, "capability 3"), (guest._NO_NEW_PRIVILEGES, "new privileges")]
)
def test_no_command_runs_in_a_machine_without_one_of_its_walls(monkeypatch, refused, what):
    class Kernel:
        def prctl(self, option: int, *_: object) -> int:
            return {guest._HELD: 1, guest._NO_NEW_PRIVILEGES: -1}[option] if option == refused else 0

    monkeypatch.setattr(guest, "_libc", Kernel())
    for call in ("setgroups", "setresgid", "setresuid"):
        monkeypatch.setattr(os, call, lambda *_: None)
    with pytest.raises(OSError, match=what):
        guest._reduce({"drops": [3], "filter": ""}, {"groups": [], "gid": 0, "uid": 0})

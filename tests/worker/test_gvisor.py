"""What runsc is told, and what is made of its answers."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
from pathlib import Path

import pytest

from windlass import exception
from windlass.kit import clock
from windlass.worker import folder as folders
from windlass.worker import packets, spec
from windlass.worker.sandboxes import box, gvisor, levels, sentry, starting

RUNSC = sentry.Runsc(Path("/usr/bin/runsc"), "ptrace", "20240729")


@pytest.fixture
def walls(tmp_path: Path) -> spec.Box:
    (tmp_path / "rootfs/tmp").mkdir(parents=True)
    binds = [spec.Bind(tmp_path / "volume", "/data", writable=True), spec.Bind(tmp_path / "bucket", "/ro")]
    return spec.Box(
        name="sb", argv=[], env={}, cwd="/", rootfs=tmp_path / "rootfs", binds=binds, memory=0, open_files=4096,
        seccomp=None,
    )  # fmt: skip


def room(tmp_path: Path) -> gvisor.Room:
    asked: box.Asked = {"env": {"PATH": "/bin"}, "cwd": "/root", "uid": 0, "gid": 0, "groups": []}
    folder = folders.Folder(tmp_path, "ta-x")
    made = gvisor.Room(box.Home(folder, {"pid": 1}, asked, []), RUNSC, 4096)
    made.bundle.mkdir(parents=True)
    return made


def test_the_cell_shows_runsc_its_own_things_and_the_sandboxes_files_apart(walls, tmp_path):
    plan = sentry.plan(walls, RUNSC, tmp_path / "stub", tmp_path / "bundle", None)
    shown = {mount["destination"]: mount for mount in plan["mounts"]}
    assert shown["/rootfs"]["source"] == str(walls.rootfs) and "rw" in shown["/rootfs"]["options"]
    assert "rw" in shown["/rootfs/data"]["options"] and "ro" in shown["/rootfs/ro"]["options"]
    assert "ro" in shown["/runsc"]["options"]
    order = [mount["destination"] for mount in plan["mounts"]]
    assert order.index("/rootfs") < order.index("/rootfs/data")
    assert "/checkpoint" not in shown


def test_commands_see_only_what_lies_below_the_root_of_the_sandbox(walls):
    document = sentry.document(walls, {})
    sources = [mount["source"] for mount in document["mounts"] if mount["type"] == "bind"]
    assert sources and all(source.startswith("/rootfs/") for source in sources)
    assert document["root"]["path"] == "/rootfs"
    assert "/tmp" in [mount["destination"] for mount in document["mounts"]]


def test_a_command_keeps_what_containers_may_and_no_more(tmp_path):
    inside = room(tmp_path).home.inside(["true"])
    words = sentry.process({**inside, "uid": 7, "pty": True}, 100)
    assert words["capabilities"]["bounding"] == list(spec.CAPABILITIES)
    assert words["noNewPrivileges"] and words["terminal"] and words["user"]["uid"] == 7
    assert words["rlimits"][0]["hard"] == 100


def test_secrets_of_commands_are_in_no_command_line(tmp_path, monkeypatch):
    monkeypatch.setattr("os.chown", lambda *_: None)
    made = room(tmp_path)
    inside = made.execution("ex-1", {**made.home.inside(["cat"]), "env": {"KEY": "secret"}})
    assert "secret" not in " ".join(inside["argv"]) and "KEY" not in inside["env"] and inside["bare"]
    written = made.bundle / "ex-1.json"
    assert "KEY=secret" in json.loads(written.read_text())["env"] and written.stat().st_mode & 0o077 == 0
    made.drop("ex-1")
    assert not written.exists()


def test_a_program_that_is_not_there_is_told_from_other_refusals(tmp_path):
    made = room(tmp_path)
    said = 'executing command "nosuch" in sandbox: error finding executable "nosuch": no such file or directory'
    (made.bundle / "a.log").write_text(json.dumps({"msg": said, "level": "error"}) + "\nnot json\n")
    assert made.refusal("a").number == errno.ENOENT and "no such file" in str(made.refusal("a"))
    (made.bundle / "b.log").write_text(json.dumps({"msg": "permission denied"}) + "\n")
    assert made.refusal("b").number == errno.EACCES
    assert made.refusal("nothing was written").number == errno.EACCES
    assert made.pid("a") == 0


def test_a_level_that_is_not_here_names_its_reason():
    none = levels.Levels(None, {"gvisor": "runsc is not installed"}, {})
    with pytest.raises(exception.UnimplementedError, match="not installed"):
        none.gvisor()
    assert levels.Levels(RUNSC, {"gvisor": ""}, {}).gvisor() is RUNSC


def test_a_conversation_ends_with_an_error_for_each_who_waits():
    asyncio.run(conversation())


async def conversation() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    told: list[dict[str, object]] = []
    over: list[str] = []

    def take(body: dict[str, object]) -> bool:
        told.append(body)
        return "id" not in body

    talk = packets.Conversation(ours, told=take, over=lambda: over.append("over"))
    talk.listen()
    asked = asyncio.ensure_future(talk.ask("a", {"id": "a"}, 5))
    await asyncio.sleep(0)
    assert json.loads(theirs.recv(100)) == {"id": "a"}
    theirs.send(b'{"note": 1}')
    theirs.send(b'{"id": "a", "pid": 7}')
    assert (await asked)["pid"] == 7 and {"note": 1} in told
    waiting = asyncio.ensure_future(talk.ask("b", {"id": "b"}, 5))
    await asyncio.sleep(0)
    theirs.close()
    with pytest.raises(OSError):
        await waiting
    assert over == ["over"] and not talk.open
    with pytest.raises(OSError):
        talk.say({})


@pytest.mark.parametrize("odd", [b"[]", b"no JSON", b'"' + b"x" * 10, b"[" * 100_000, b"\xff"])
def test_what_is_no_packet_ends_a_conversation(odd):
    asyncio.run(ended_by(odd))


async def ended_by(odd: bytes) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    over: list[str] = []
    talk = packets.Conversation(ours, told=lambda _: False, over=lambda: over.append("over"))
    theirs.send(b'{"id": ["odd"]}')
    theirs.send(odd)
    talk._heard()
    assert over == ["over"] and not talk.open


def test_a_flood_of_packets_leaves_others_their_turn():
    asyncio.run(flood())


async def flood() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    heard: list[object] = []

    def again(_: dict[str, object]) -> bool:
        heard.append(1)
        if len(heard) < 10_000:
            theirs.send(b"{}")
        return True

    talk = packets.Conversation(ours, told=again, over=lambda: None)
    theirs.send(b"{}")
    talk._heard()
    assert 0 < len(heard) < 1000
    talk.close()


def test_what_is_refused_has_a_number():
    assert starting.Refused("x").number == 0


def test_a_short_command_that_was_over_between_two_looks_had_begun(tmp_path):
    made = room(tmp_path)
    log = made.bundle / "entry.log"

    async def up() -> None:
        over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        over.set_result(0)
        await made.up(over, clock.SystemClock())

    with pytest.raises(exception.ExecutionError, match="before the command had begun"):  # not even runsc had
        asyncio.run(up())
    log.touch()
    asyncio.run(up())
    log.write_text('{"msg": "starting sandbox: failed to load /nope", "level": "error"}\n')
    with pytest.raises(exception.ExecutionError, match="failed to load /nope"):
        asyncio.run(up())

"""Commands beside a container's own process: pipes, terminals, input in order, and an end with their exchange."""
from __future__ import annotations

import asyncio
import contextlib
import os

import pytest

from windlass import exception
from windlass.kit import tasks
from windlass.wire import peer
from windlass.worker import exec
from windlass.worker.runtime import base


class Here:
    """A runtime whose containers are this machine."""

    def command(self, container_id, argv, *, pty):
        return base.Command(list(argv), dict(os.environ), "/")


@contextlib.asynccontextmanager
async def connected(path):
    """A peer to ask, as the server would; the sessions answer at the other end."""
    async with tasks.Tasks() as owner:
        sessions = exec.Sessions(Here(), owner)

        def serve(incoming):
            (sessions.start if incoming.method == "exec.start" else sessions.input)(incoming)

        loop = asyncio.get_running_loop()
        listener = await loop.create_unix_server(lambda: peer.Peer(serve), str(path))
        _, asker = await loop.create_unix_connection(lambda: peer.Peer(), str(path))
        try:
            yield asker
        finally:
            asker.close()
            listener.close()


async def output(asker, command, *, exec_id="ex-1", **more):
    texts, code = {"stdout": b"", "stderr": b""}, None
    request = {"exec_id": exec_id, "container_id": "ta-1", "command": command, **more}
    async for item in asker.stream("exec.start", request):
        if item.attachments:
            texts[item.body["source"]] += item.attachments[0]
        code = item.body.get("exit_code", code)
    return texts["stdout"], texts["stderr"], code


@pytest.fixture
def run(tmp_path):
    def go(scene):
        async def inside():
            async with connected(tmp_path / "s") as asker:
                return await scene(asker)

        return asyncio.run(asyncio.wait_for(inside(), 20))

    return go


def test_both_streams_and_the_exit_code_arrive(run):
    assert run(lambda asker: output(asker, ["sh", "-c", "echo out; echo err >&2; exit 4"])) == (b"out\n", b"err\n", 4)
    assert run(lambda asker: output(asker, ["sh", "-c", "kill -9 $$"]))[2] == 137


def test_input_keeps_its_order_also_when_the_command_is_slow_to_read(run):
    data = os.urandom(700_000)

    async def scene(asker):
        answer = asyncio.get_running_loop().create_task(output(asker, ["sh", "-c", "sleep 0.2; exec cat"]))
        await asyncio.sleep(0.05)
        pieces = [data[start : start + 50_000] for start in range(0, len(data), 50_000)]
        feeds = [asker.request("exec.input", {"exec_id": "ex-1"}, [piece]) for piece in pieces]
        feeds.append(asker.request("exec.input", {"exec_id": "ex-1", "eof": True}))
        await asyncio.gather(*feeds)
        return await answer

    assert run(scene) == (data, b"", 0)


def test_a_terminal_has_a_size_and_is_the_commands_own(run):
    async def scene(asker):
        return await output(asker, ["sh", "-c", "stty size; tty"], pty=True, rows=33, cols=99)

    stdout, _, code = run(scene)
    assert stdout.split()[:2] == [b"33", b"99"] and b"/dev/pts/" in stdout and code == 0


def test_a_command_that_cannot_start_is_said(run):
    with pytest.raises(Exception, match="No such file"):
        run(lambda asker: output(asker, ["/no/such/program"]))


def test_leaving_kills_the_command_and_leaves_the_next_one_alone(run, tmp_path):
    mark = tmp_path / "pid"

    async def scene(asker):
        lost = asyncio.get_running_loop().create_task(output(asker, ["sh", "-c", f"echo $$ > {mark}; sleep 60"]))
        while not mark.exists() or not mark.read_text():
            await asyncio.sleep(0.01)
        lost.cancel()
        for number in range(5):
            assert await output(asker, ["echo", str(number)], exec_id=f"ex-{number + 2}") == (b"%d\n" % number, b"", 0)
        return int(mark.read_text())

    pid = run(scene)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_command_with_the_name_of_another_is_refused_and_harms_nobody(run):
    async def scene(asker):
        command = ["sh", "-c", "echo up; exec cat"]
        stream = asker.stream("exec.start", {"exec_id": "ex-1", "container_id": "ta-1", "command": command})
        assert (await stream.__anext__()).attachments == [b"up\n"]
        with pytest.raises(exception.AlreadyExistsError):
            await output(asker, ["true"])
        await asker.request("exec.input", {"exec_id": "ex-1"}, [b"mine"])
        assert (await stream.__anext__()).attachments == [b"mine"]
        await stream.aclose()

    run(scene)

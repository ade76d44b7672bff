"""The agent against a scripted server, with real processes and no isolation."""
from __future__ import annotations

import asyncio
import contextlib
import json
import textwrap

import pytest

from windlass import paths
from windlass.kit import clock
from windlass.wire import peer
from windlass.worker import agent
from windlass.worker.runtime import process

HELLO = """
    import json, os, sys
    plan = json.load(open(os.environ["WINDLASS_PLAN"]))
    print("\\x1ein-1\\x1e\\nhello from", plan["container_id"], flush=True)
    print("part", end="", file=sys.stderr)
    sys.exit(3)
"""
SLEEP = """
    import time
    print("ready", flush=True)
    time.sleep(60)
"""


class Server:
    """Answers a worker from a script and remembers what it said."""

    def __init__(self, root):
        self.root = root
        self.peer = None
        self.reports = {}
        self.texts = []
        self.results = []
        self.offsets = {}
        self.hellos = []
        self.changed = asyncio.Event()

    async def __aenter__(self):
        paths.run(self.root).mkdir(parents=True, exist_ok=True)
        path = paths.server_socket(self.root)
        path.unlink(missing_ok=True)
        self.listener = await asyncio.get_running_loop().create_unix_server(
            lambda: peer.Peer(self.serve), str(path)
        )
        return self

    async def __aexit__(self, *_):
        self.listener.close()
        if self.peer is not None:
            self.peer.close()

    def serve(self, incoming):
        body, method = incoming.body, incoming.method
        answer = {}
        if method == "worker.hello":
            self.peer = incoming.peer
            self.hellos.append(body)
            answer = {"offsets": self.offsets}
        elif method == "container.plan":
            answer = plan(body["container_id"])
        elif method == "build.plan":
            answer = {"build_id": body["build_id"], "image_id": "im-1", "parent": None, "recipe": {}, "secrets": {}}
        elif method == "worker.report":
            self.reports.update({one["container_id"]: one for one in body["containers"]})
        elif method == "worker.logs":
            self.texts += [(one["source"], one["text"], one["input_id"]) for one in body["entries"]]
            self.offsets[body["container_id"]] = body["offset"]
        elif method == "build.result":
            self.results.append(body)
        incoming.reply(answer)
        self.changed.set()

    def want(self, *containers, builds=()):
        wanted = [{"container_id": name, "state": state, "grace": 5.0} for name, state in containers]
        self.peer.notify("worker.want", {"containers": wanted, "builds": list(builds)})

    async def until(self, condition):
        async def wait():
            while not condition():
                self.changed.clear()
                await self.changed.wait()

        await asyncio.wait_for(wait(), 10)

    def state(self, name):
        return self.reports.get(name, {}).get("state")


def plan(container_id):
    return {"container_id": container_id, "mounts": [], "env": {}, "runner": {"container_id": container_id}}


@contextlib.asynccontextmanager
async def worker(root, script):
    boot = root / "boot.py"
    boot.write_text(textwrap.dedent(script))
    async with process.Processes(root, boot=boot) as runtime:
        async with agent.Agent(root, runtime=runtime, facts={"node": "n"}, time=clock.SystemClock()) as mind:
            task = asyncio.get_running_loop().create_task(mind.run())
            try:
                yield mind
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def root(tmp_path):
    return tmp_path


def run(scene):
    asyncio.run(asyncio.wait_for(scene, 30))


def test_a_container_is_run_its_output_attributed_and_its_end_reported_with_the_last_lines(root):
    async def scene():
        async with Server(root) as server, worker(root, HELLO):
            await server.until(lambda: server.hellos)
            server.want(("ct-1", "run"))
            await server.until(lambda: server.state("ct-1") == "exited")
            assert ("stdout", "hello from ct-1\n", "in-1") in server.texts
            assert ("stderr", "part", None) in server.texts
            exit = server.reports["ct-1"]["exit"]
            assert exit["reason"] == "exited" and exit["exit_code"] == 3 and "part" in exit["message"]
            assert not (root / "containers/ct-1").exists()

    run(scene())


def test_stop_interrupts_and_what_is_not_wanted_is_killed(root):
    async def scene():
        async with Server(root) as server, worker(root, SLEEP):
            await server.until(lambda: server.hellos)
            server.want(("ct-1", "run"), ("ct-2", "run"))
            await server.until(lambda: len(server.texts) == 2)
            server.want(("ct-1", "stop"), ("ct-3", "stop"))
            await server.until(lambda: all(server.state(f"ct-{n}") == "exited" for n in (1, 2, 3)))
            assert {one["exit"]["reason"] for one in server.reports.values()} == {"stopped"}

    run(scene())


def test_a_restarted_worker_finds_its_containers_and_goes_on_reading_where_it_was(root):
    async def scene():
        async with Server(root) as server:
            async with worker(root, SLEEP):
                await server.until(lambda: server.hellos)
                server.want(("ct-1", "run"))
                await server.until(lambda: server.texts)
            pid = json.loads((root / "containers/ct-1/record.json").read_text())["pid"]
            async with worker(root, SLEEP):
                await server.until(lambda: len(server.hellos) == 2)
                assert [one["container_id"] for one in server.hellos[1]["containers"]] == ["ct-1"]
                server.want(("ct-1", "run"))
                await server.until(lambda: server.state("ct-1") == "running")
                assert json.loads((root / "containers/ct-1/record.json").read_text())["pid"] == pid
                server.want(("ct-1", "kill"))
                await server.until(lambda: server.state("ct-1") == "exited")
                assert server.texts == [("stdout", "ready\n", None)]

    run(scene())


def test_a_worker_without_a_server_comes_back_when_there_is_one(root):
    async def scene():
        async with worker(root, SLEEP):
            async with Server(root) as server:
                await server.until(lambda: server.hellos)
                server.want(("ct-1", "run"), builds=["bu-1"])
                await server.until(lambda: server.state("ct-1") == "running" and server.results)
                assert server.results[0]["error"] is None
            async with Server(root) as server:
                await server.until(lambda: server.state("ct-1") == "running")
                server.want()
                await server.until(lambda: server.state("ct-1") == "exited")

    run(scene())

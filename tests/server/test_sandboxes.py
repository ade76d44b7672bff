"""Sandboxes as the server sees them: their states, their time, their place in the line; with a pretended worker."""

from __future__ import annotations

import asyncio

import fakes
import pytest

from windlass import exception
from windlass.kit import ids
from windlass.server.store import images

IMAGE = "im-0000000000000000000000"
META = {"layers": [IMAGE], "env": {}, "workdir": "", "entrypoint": [], "python": "", "size": 0}
SPEC = {
    "command": ["sleep"], "image_id": IMAGE, "mounts": [], "secrets": [], "cpu_request": 0.0, "cpu_limit": 0.0,
    "memory_request": 0, "memory_limit": 0, "timeout": 300.0, "block_network": False,
}  # fmt: skip


class Worker(fakes.Worker):
    """Says of each wanted sandbox that it runs, and answers commands with what they are."""

    def __init__(self, *arguments, **more) -> None:
        super().__init__(*arguments, **more)
        self.asked: list[tuple[str, dict]] = []
        self.begins_in = 0.0
        """Seconds that a command takes to begin."""

    async def _make(self, identity: str) -> None:
        plan = (await self.peer.request("container.plan", {"container_id": identity})).body
        self.plans.append(plan)
        self.runners[identity] = None
        await self.report(identity, "running")

    async def tell(self, identity: str, **more) -> None:
        real = {"container_id": identity, "state": "running", **more}
        await self.peer.request("worker.report", {"containers": [real], "whole": False})

    def _serve(self, incoming) -> None:
        self.asked.append((incoming.method, incoming.body))
        if incoming.method == "sandbox.snapshot":
            incoming.reply({"meta": META})
        elif incoming.method == "sandbox.exec" and self.begins_in:
            asyncio.get_running_loop().call_later(self.begins_in, incoming.reply, {"code": 7})
        elif incoming.method.startswith("sandbox."):
            incoming.reply({"code": 7}, incoming.attachments)
        else:
            super()._serve(incoming)


class Scene:
    def __init__(self, platform) -> None:
        self.platform = platform

    async def begin(self, gpus=(), **worker) -> Scene:
        core = self.platform.core
        core.turn.begin()
        images.insert(
            core.db, image_id=IMAGE, key="k", parent=None, recipe={"op": "base"}, meta=META, now=core.clock.now()
        )
        self.worker = Worker(self.platform.home, None, **worker)
        self.worker.images = [IMAGE]
        self.worker.gpus = [{"gpu_id": f"g{n}", "kind": kind, "model": kind} for n, kind in enumerate(gpus)]
        await self.worker.start()
        self.client = await self.platform.client()
        self.app = ids.new("ap")
        await self.ask("app.create", app_id=self.app, name="a", state="deployed")
        return self

    async def ask(self, method: str, **body):
        return await self.client.request(method, **body)

    async def create(self, name: str = "", tags=None, **spec) -> str:
        identity = ids.new("sb")
        body = {"app_id": self.app, "sandbox_id": identity, "spec": {**SPEC, **spec}, "name": name, "tags": tags or {}}
        await self.ask("sandbox.create", **body)
        return identity

    async def until(self, identity: str, state: str, seconds: float = 10.0):
        wanted = state if state in ("running", "ready", "finished") else "running"
        info = await self.ask("sandbox.wait", sandbox_id=identity, until=wanted, seconds=seconds)
        assert info["state"] == state, info
        return info


def test_a_plan_of_a_sandbox_holds_its_command_and_nothing_of_ours(play):
    async def scene(platform):
        here = await Scene(platform).begin()
        identity = await here.create(command=["echo", "x"], workdir="/tmp")
        info = await here.until(identity, "running")
        (plan,) = here.worker.plans
        assert plan["sandbox"] == {"command": ["echo", "x"], "workdir": "/tmp"}
        assert plan["token"] == "" and plan["runner"] == {} and plan["container_id"] == info["container_id"]

    play(scene)


def test_creating_again_with_the_same_id_creates_nothing(play):
    async def scene(platform):
        here = await Scene(platform).begin()
        body = {"app_id": here.app, "sandbox_id": ids.new("sb"), "spec": SPEC}
        await here.ask("sandbox.create", **body)
        await here.ask("sandbox.create", **body)
        await here.until(body["sandbox_id"], "running")
        assert len(here.worker.started) == 1

    play(scene)


def test_those_without_room_wait_in_line_and_come_up_as_others_end(play):
    async def scene(platform):
        here = await Scene(platform).begin(memory=1 << 30)
        first = [await here.create(memory_request=500) for _ in range(2)]
        waiting = [await here.create(memory_request=500) for _ in range(2)]
        infos = [await here.ask("sandbox.get", sandbox_id=one) for one in waiting]
        assert [(info["state"], info["position"]) for info in infos] == [("queued", 1), ("queued", 2)]
        await here.ask("sandbox.terminate", sandbox_id=waiting[1])
        assert (await here.until(waiting[1], "finished"))["why"] == "terminated"
        await here.until(first[0], "running")
        await here.ask("sandbox.terminate", sandbox_id=first[0])
        await here.until(waiting[0], "running")

    play(scene)


def test_time_and_idleness_end_a_sandbox(play):
    async def scene(platform):
        here = await Scene(platform).begin()
        timed, idle = await here.create(timeout=0.3), await here.create(idle_timeout=0.3)
        assert (await here.until(timed, "finished"))["code"] == 124
        ended = await here.until(idle, "finished")
        assert (ended["code"], ended["why"]) == (137, "idle")

    play(scene)


def test_a_sandbox_in_which_a_command_runs_is_not_idle(play):
    async def scene(platform):
        here = await Scene(platform).begin()
        identity = await here.create(idle_timeout=1.5)
        container = (await here.until(identity, "running"))["container_id"]
        await here.worker.tell(container, execs=1)
        info = await here.ask("sandbox.wait", sandbox_id=identity, until="finished", seconds=2.5)
        assert info["state"] == "running"
        await here.worker.tell(container, execs=0)
        await here.until(identity, "finished")

    play(scene)


def test_a_sandbox_in_which_a_command_takes_long_to_begin_is_not_idle(play):
    async def scene(platform):
        here = await Scene(platform).begin()
        here.worker.begins_in = 1.2
        identity = await here.create(idle_timeout=0.4)
        await here.ask("sandbox.exec", sandbox_id=identity, exec_id="ex-x", command=["x"])
        assert (await here.ask("sandbox.wait", sandbox_id=identity, until="running", seconds=0))["state"] == "running"
        assert (await here.until(identity, "finished"))["why"] == "idle"

    play(scene)


def test_a_ready_sandbox_is_told_of(play):
    async def scene(platform):
        here = await Scene(platform).begin()
        identity = await here.create(probe={"port": 80, "interval": 0.1})
        container = (await here.until(identity, "running"))["container_id"]
        waiting = asyncio.ensure_future(here.ask("sandbox.wait", sandbox_id=identity, until="ready", seconds=10))
        await asyncio.sleep(0)
        await here.worker.tell(container, ready=True)
        assert (await waiting)["ready"]

    play(scene)


def test_names_are_unique_among_the_living(play):
    async def scene(platform):
        here = await Scene(platform).begin()
        first = await here.create(name="n")
        with pytest.raises(exception.AlreadyExistsError):
            await here.create(name="n")
        await here.ask("sandbox.terminate", sandbox_id=first)
        await here.until(first, "finished")
        second = await here.create(name="n")
        found = await here.ask("sandbox.get", app_name="a", name="n")
        assert found["sandbox_id"] == second

    play(scene)


def test_lists_go_on_page_by_page_and_filter_by_tags(play):
    async def scene(platform):
        here = await Scene(platform).begin()
        made = [await here.create(tags={"n": str(number % 2)}) for number in range(230)]
        seen, query = [], {"app_id": here.app, "tags": {"n": "1"}}
        while page := (await here.ask("sandbox.list", **query))["sandboxes"]:
            seen += [info["sandbox_id"] for info in page]
            query["before"] = page[-1]["sandbox_id"]
        assert seen == [one for number, one in reversed(list(enumerate(made))) if number % 2]

    play(scene)


def test_what_the_worker_does_is_handed_on_with_the_containers_id(play):
    async def scene(platform):
        here = await Scene(platform).begin()
        identity = await here.create()
        reply = await here.ask("sandbox.exec_wait", sandbox_id=identity, exec_id="ex-x", seconds=1.0)
        assert reply["code"] == 7
        await here.ask("sandbox.terminate", sandbox_id=identity)
        await here.until(identity, "finished")
        with pytest.raises(exception.ConflictError):
            await here.ask("sandbox.exec", sandbox_id=identity, exec_id="ex-x", command=["x"])
        with pytest.raises(exception.NotFoundError):
            await here.ask("sandbox.exec_wait", sandbox_id=ids.new("sb"), exec_id="ex-x")

    play(scene)


def test_the_end_of_the_app_is_the_end_of_its_sandboxes(play):
    async def scene(platform):
        here = await Scene(platform).begin(memory=1 << 29)
        running, waiting = await here.create(memory_request=400), await here.create(memory_request=400)
        await here.until(running, "running")
        await here.ask("app.stop", app_id=here.app)
        for one in (running, waiting):
            assert (await here.until(one, "finished"))["message"] == "its app was stopped"
        with pytest.raises(exception.ConflictError):
            await here.create()

    play(scene)


def test_after_a_restart_of_the_server_all_is_as_it_was(play):
    async def scene(platform):
        here = await Scene(platform).begin(memory=1 << 30)
        running, waiting = await here.create(memory_request=900), await here.create(memory_request=900)
        before = await here.until(running, "running")
        await platform.stop()
        await platform.start()
        await here.worker.start()
        here.client = await platform.client()
        after = await here.until(running, "running")
        assert (after["container_id"], after["started_at"]) == (before["container_id"], before["started_at"])
        assert (await here.ask("sandbox.get", sandbox_id=waiting))["state"] == "queued"
        await here.ask("sandbox.terminate", sandbox_id=running)
        await here.until(waiting, "running")

    play(scene)


def test_an_app_may_have_so_many_and_no_more(play):
    async def scene(platform):
        here = await Scene(platform).begin()
        for _ in range(3):
            await here.create()
        with pytest.raises(exception.ResourceExhaustedError):
            await here.create()

    play(scene, app_sandboxes=3)


@pytest.mark.parametrize(
    "spec",
    [
        {"timeout": 0.0},
        {"image_id": "im-1111111111111111111111"},
        {"command": ["x" * 70_000]},
        {"memory_request": 1 << 40},
        {"secrets": ["st-nobody"]},
        {"cpu_request": 1000.0},
    ],
)
def test_what_can_never_run_is_refused_and_leaves_nothing(play, spec):
    async def scene(platform):
        here = await Scene(platform).begin()
        with pytest.raises(exception.Error):
            await here.create(**spec)
        assert (await here.ask("sandbox.list", ended=True))["sandboxes"] == []

    play(scene)


def test_forks_are_made_as_their_sandbox_was_but_for_its_name_and_on_its_files(play):
    async def scene(platform):
        here = await Scene(platform).begin()
        identity = await here.create(command=["sleep", "9"], workdir="/tmp", name="one", tags={"a": "b"})
        await here.until(identity, "running")
        wanted = [ids.new("sb") for _ in range(3)]
        made = (await here.ask("sandbox.fork", sandbox_id=identity, fork_ids=wanted, seconds=5.0))["sandboxes"]
        assert [(one["sandbox_id"], one["name"], one["tags"]) for one in made] == [(w, "", {"a": "b"}) for w in wanted]
        for one in wanted:
            await here.until(one, "running")
        plans = here.worker.plans
        assert [plan["sandbox"] for plan in plans] == [plans[0]["sandbox"]] * 4
        assert len({plan["image_id"] for plan in plans[1:]}) == 1 and plans[1]["image_id"] != IMAGE
        again = (await here.ask("sandbox.fork", sandbox_id=identity, fork_ids=wanted, seconds=5.0))["sandboxes"]
        assert [one["sandbox_id"] for one in again] == wanted and len(here.worker.plans) == 4
        for bad in ([], ["sb-x"], [ids.new("sb") for _ in range(101)]):
            with pytest.raises(exception.InvalidError):
                await here.ask("sandbox.fork", sandbox_id=identity, fork_ids=bad, seconds=5.0)

    play(scene)


def test_a_sandbox_that_waits_for_a_gpu_holds_up_no_other_and_gets_it_when_it_is_free(play):
    async def scene(platform):
        here = await Scene(platform).begin(gpus=["T4"])
        wanted = [{"kind": "T4", "count": 1}]
        first = await here.create(gpus=wanted)
        await here.until(first, "running")
        second, third = await here.create(gpus=wanted), await here.create()
        await here.until(third, "running")
        assert [plan["gpus"] for plan in here.worker.plans] == [["g0"], []]
        assert (await here.ask("sandbox.get", sandbox_id=second))["state"] == "queued"
        await here.ask("sandbox.terminate", sandbox_id=first)
        await here.until(second, "running")
        assert here.worker.plans[-1]["gpus"] == ["g0"]
        with pytest.raises(exception.InvalidError, match="no machine of this platform has"):
            await here.create(gpus=[{"kind": "H100", "count": 1}])

    play(scene)


def test_a_command_ends_when_the_terminals_that_it_belongs_to_have_gone(play):
    async def scene(platform):
        here = await Scene(platform).begin()
        identity = await here.create()
        await here.until(identity, "running")
        clients = [await platform.client() for _ in range(2)]
        reference = {"sandbox_id": identity, "exec_id": ids.new("ex")}
        streams = [client.peer.stream("sandbox.exec_hold", reference) for client in clients]
        readers = [asyncio.get_running_loop().create_task(stream.__anext__()) for stream in streams]
        await asyncio.sleep(0.05)
        clients[0].peer.close()
        await asyncio.sleep(0.3)
        assert "sandbox.exec_kill" not in [method for method, _ in here.worker.asked]
        clients[1].peer.close()
        for _ in range(100):
            if (killed := [body for method, body in here.worker.asked if method == "sandbox.exec_kill"]):
                break
            await asyncio.sleep(0.02)
        assert [body["exec_id"] for body in killed] == [reference["exec_id"]]
        await asyncio.gather(*readers, return_exceptions=True)
        assert platform.core.holds == {}

    play(scene, reconnect=0.2)

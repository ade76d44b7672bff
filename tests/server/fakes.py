"""The other ends of the server's sockets, reduced to what a test needs."""
from __future__ import annotations

import asyncio
import contextlib
import pickle
from pathlib import Path

from windlass import paths, wire
from windlass.kit import ids
from windlass.wire import peer

SPEC = {
    "tag": "f", "module": "m", "qualname": "f", "definition": "file", "serialized": None, "is_generator": False,
    "is_async": False, "python": "3.11", "image_id": "im-0000000000000000000000", "mounts": [], "secrets": [],
    "cpu_request": 0.0, "cpu_limit": 0.0, "memory_request": 0, "memory_limit": 0, "ephemeral_disk": 0,
    "timeout": 300.0, "startup_timeout": 300.0, "retries": None,
    "autoscaler": {"min_containers": 0, "max_containers": 0, "buffer_containers": 0, "scaledown_window": 60.0},
    "single_use": False, "block_network": False, "restrict_access": False,
}


async def connect(path: Path, serve=None, **hello) -> peer.Peer:
    loop = asyncio.get_running_loop()
    _, made = await loop.create_unix_connection(lambda: peer.Peer(serve), str(path))
    await made.request("hello", {"protocol": wire.PROTOCOL, "version": "t", "client_id": ids.new("cl"), **hello})
    return made


class Runner:
    """Runs each leased input through ``work(args, kwargs, lease)``, which may be slow or raise.

    ``NotImplemented`` from it means: keep the input."""

    def __init__(self, home: Path, plan: dict, work, beat: bool = False) -> None:
        self.home, self.plan, self.work = home, plan, work
        self.seen: list[dict] = []
        self.held: dict[str, int] = {}
        self.cancelled: list[str] = []
        self.stopped = asyncio.Event()
        self.stop_body: dict | None = None
        self.tasks: set[asyncio.Task] = set()
        self.peer: peer.Peer | None = None
        self.slots: int | None = None
        self._starting = asyncio.Lock()

    @property
    def connected(self) -> bool:
        return self.peer is not None and self.peer.connected

    async def start(self) -> Runner:
        async with self._starting:  # whoever restarts it may come while it still starts
            if not self.connected:
                await self._start()
        return self

    async def _start(self) -> None:
        self.peer = await connect(
            paths.containers_socket(self.home), self._serve, role="runner", token=self.plan["token"],
            container_id=self.plan["container_id"],
        )
        held = [{"input_id": i, "attempt": a} for i, a in self.held.items()]
        more = {} if self.slots is None else {"slots": self.slots}
        reply = await self.peer.request("runner.ready", {"held": held, **more})
        for drop in reply.body["drop"]:
            self.held.pop(drop["input_id"], None)

    def _serve(self, incoming: peer.Incoming) -> None:
        body = incoming.body
        if incoming.method == "runner.lease":
            task = asyncio.get_running_loop().create_task(self._run(body["leases"], incoming.attachments))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        elif incoming.method == "runner.cancel":
            self.cancelled += [i["input_id"] for i in body["inputs"]]
        elif incoming.method == "runner.stop":
            self.stop_body = body
            self.stopped.set()

    async def _run(self, leases: list[dict], attachments: list[bytes]) -> None:
        self.seen += leases
        outputs, values = [], []
        for lease in leases:
            self.held[lease["input_id"]] = lease["attempt"]
            lease["spec"] = self.plan["runner"]["spec"]
        for lease in leases:
            output, value = await self._one(lease, attachments)
            if output is None:
                continue
            if value is not None:
                where = {"at": len(values), "size": len(value)}
                if output["status"] == "success":
                    output["value"] = where
                else:
                    output["failure"]["error"] = where
                values.append(value)
            outputs.append(output)
        if outputs:
            with contextlib.suppress(Exception):
                await self.peer.request("runner.outputs", {"outputs": outputs}, values)
                for output in outputs:
                    self.held.pop(output["input_id"], None)

    async def _one(self, lease: dict, attachments: list[bytes]):
        args, kwargs = pickle.loads(attachments[lease["payload"]["at"]])
        base = {"input_id": lease["input_id"], "attempt": lease["attempt"], "seconds": 0.00001}
        try:
            result = self.work(args, kwargs, lease)
            if asyncio.iscoroutine(result):
                result = await result
        except Exception as exc:
            failure = {"kind": type(exc).__name__, "repr": repr(exc), "traceback": "tb", "frames": []}
            return {**base, "status": "failure", "failure": failure}, pickle.dumps(exc)
        if result is NotImplemented:
            return None, None
        return {**base, "status": "success"}, pickle.dumps(result)


class Worker:
    """Makes a fake runner for each wanted container."""

    def __init__(self, home: Path, work, *, memory: int = 16 << 30, cpus: float = 2.0, run: bool = True) -> None:
        self.home, self.work, self.memory, self.cpus, self.run = home, work, memory, cpus, run
        self.runners: dict[str, Runner] = {}
        self.started: list[str] = []
        self.builds: set[str] = set()
        self.plans: list[dict] = []
        self.images: list[str] = []
        self.gpus: list[dict] = []
        self.layers: dict[str, list[str]] = {}
        self.build_error: str | None = None
        self.build_texts = ["making it\n"]
        self.build_gate: asyncio.Event | None = None
        self.fail_start: dict | None = None
        self.templates: list[str] = []
        """Functions that it has templates of."""
        self.tasks: set[asyncio.Task] = set()

    async def start(self) -> Worker:
        self.peer = await connect(paths.server_socket(self.home), self._serve, role="worker")
        await self.hello()
        return self

    async def hello(self) -> None:
        reality = [{"container_id": c, "state": "running"} for c in self.runners]
        reply = await self.peer.request("worker.hello", {
            "node": "n1", "cpus": self.cpus, "memory": self.memory, "runtime": "fake", "gaps": [],
            "containers": reality, "builds": [], "images": self.images, "gpus": self.gpus,
        })
        self.offsets = reply.body["offsets"]

    def _spawn(self, coro) -> None:
        task = asyncio.get_running_loop().create_task(coro)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _serve(self, incoming: peer.Incoming) -> None:
        if incoming.method == "worker.templates":
            self.templates = [name for name in self.templates if name in incoming.body["functions"]]
        if incoming.method != "worker.want":
            return
        wanted = {w["container_id"]: w["state"] for w in incoming.body["containers"]}
        for identity, state in wanted.items():
            if state == "run" and identity not in self.started and self.run:
                self.started.append(identity)
                self._spawn(self._make(identity))
            elif state in ("kill", "stop") and (identity in self.runners or identity not in self.started):
                self.started.append(identity)
                self._spawn(self.exit(identity, {"reason": "stopped"}))
        for build in incoming.body["builds"]:
            if build not in self.builds:
                self.builds.add(build)
                self._spawn(self._build(build))

    async def _make(self, identity: str) -> None:
        plan = (await self.peer.request("container.plan", {"container_id": identity})).body
        self.plans.append(plan)
        await self.report(identity, "starting")
        if self.fail_start is not None:
            await self.report(identity, "exited", self.fail_start)
            return
        runner = self.runners[identity] = Runner(self.home, plan, self.work)
        await runner.start()
        self._spawn(self._exit_when_stopped(identity, runner))

    async def _exit_when_stopped(self, identity: str, runner: Runner) -> None:
        await runner.stopped.wait()
        await self.exit(identity, {"reason": "exited", "exit_code": 0})

    async def exit(self, identity: str, exit: dict) -> None:
        runner = self.runners.pop(identity, None)
        if runner is not None:
            for task in list(runner.tasks):
                task.cancel()
            if runner.peer is not None:
                runner.peer.close()
        with contextlib.suppress(Exception):
            await self.report(identity, "exited", exit)

    async def report(self, identity: str, state: str, exit: dict | None = None) -> None:
        real = {"container_id": identity, "state": state}
        if exit is not None:
            real["exit"] = exit
        told = {"containers": [real], "whole": False, "templates": self.templates}
        await self.peer.request("worker.report", told)

    async def _build(self, build: str) -> None:
        plan = (await self.peer.request("build.plan", {"build_id": build})).body
        self.plans.append(plan)
        for text in self.build_texts:
            await self.peer.request("build.log", {"build_id": build, "text": text})
        if self.build_gate is not None:
            await self.build_gate.wait()
        layers = [*self.layers.get(plan["parent"], []), plan["image_id"]]
        self.layers[plan["image_id"]] = layers
        meta = {"layers": layers, "env": {}, "workdir": "", "entrypoint": [], "python": "3.11", "size": 1}
        result = {"build_id": build, "error": self.build_error}
        if self.build_error is None:
            result["meta"] = meta
            self.images.append(plan["image_id"])
        await self.peer.request("build.result", result)

    async def log(self, identity: str, offset: int, *texts: str, input_id: str | None = None) -> None:
        entries = [{"time": 1.0, "source": "stdout", "text": t, "input_id": input_id} for t in texts]
        await self.peer.request("worker.logs", {"container_id": identity, "offset": offset, "entries": entries})


class Client:
    """A user with one ephemeral app."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.client_id = ids.new("cl")

    async def start(self) -> Client:
        self.peer = await connect(paths.server_socket(self.home), role="user", client_id=self.client_id)
        return self

    async def app(self, state: str = "ephemeral", **spec) -> str:
        """Create, publish; returns the function's id."""
        self.app_id, function = ids.new("ap"), ids.new("fu")
        await self.request("app.create", app_id=self.app_id, name=None, description="t", state=state)
        await self.request("function.create", app_id=self.app_id, function_id=function, spec={**SPEC, **spec})
        await self.request("app.publish", app_id=self.app_id, functions={"f": function})
        return function

    async def deploy(self, app_id: str, name: str = "shop", strategy: str = "rolling", **parts) -> dict:
        """Publish a version. ``parts``: (function id, spec) by tag."""
        functions = {
            tag: {"function_id": one, "spec": {**SPEC, **spec, "tag": tag}} for tag, (one, spec) in parts.items()
        }
        return await self.request(
            "app.deploy", app_id=app_id, deploy_id=ids.new("de"), name=name, functions=functions,
            strategy=strategy, tags={}, local_name=name,
        )

    async def request(self, method: str, **body):
        return (await self.peer.request(method, body)).body

    def inputs(self, values: list, first: int = 0):
        data = [pickle.dumps(((v,), {})) for v in values]
        items = [{"index": first + i, "payload": {"at": i, "size": len(d)}} for i, d in enumerate(data)]
        return items, data

    async def run(
        self, function: str, values: list, *, kind: str = "remote", call_id: str | None = None, **more
    ) -> list[dict]:
        """All outputs of a call, values unpickled, in order of arrival."""
        items, data = self.inputs(values)
        call_id = call_id or ids.new("fc")
        body = {"call_id": call_id, "function_id": function, "kind": kind, "inputs": items, "closed": True, **more}
        return await self.collect(self.peer.stream("call.run", body, data))

    async def collect(self, stream) -> list[dict]:
        found, done = [], False
        async for item in stream:
            done = item.body["done"]
            for output in item.body["outputs"]:
                payload = output.get("value") or output.get("failure", {}).get("error")
                if payload is not None and "at" in payload:
                    output["data"] = pickle.loads(item.attachments[payload["at"]])
                found.append(output)
        self.done = done
        return found

    async def create(self, function: str, values: list, *, kind: str = "spawn", closed: bool = True, **more) -> str:
        call_id = more.pop("call_id", None) or ids.new("fc")
        items, data = self.inputs(values)
        body = {"call_id": call_id, "function_id": function, "kind": kind, "inputs": items, "closed": closed, **more}
        await self.peer.request("call.create", body, data)
        return call_id

    async def outputs(self, call_id: str, **query) -> list[dict]:
        return await self.collect(self.peer.stream("call.outputs", {"call_id": call_id, **query}))

"""A container that answers requests: what is served, with adapters in the place of web functions."""
from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from windlass.client import here
from windlass.runner import invoke
from windlass.runner import served as served_module
from windlass.runner.web import asgi, carrier, endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from windlass.runner import work
    from windlass.wire.messages import containers, functions


class Site(served_module.Served):
    """``inner``: the function or instance as it was decorated. The user's function runs once, after the hooks."""

    def __init__(
        self, inner: served_module.Served, webs: dict[str, functions.WebSpec], plan: containers.RunnerPlan
    ) -> None:
        self._inner = inner
        self._webs = webs
        self._plan = plan
        self._carrier: carrier.Carrier | None = None
        self._apps: list[Any] = []
        self._watch: asyncio.Task[None] | None = None
        super().__init__(dict(inner.callees))

    @property
    def loop(self) -> invoke.Loop | None:
        return self._inner.loop

    @loop.setter
    def loop(self, loop: invoke.Loop | None) -> None:
        if loop is not None:
            self._inner.loop = loop

    def enter(self, *, snap: bool) -> None:
        self._inner.enter(snap=snap)
        if not snap:
            self._open()

    def _open(self) -> None:
        """What is raised here is a failed start."""
        loop = self.needs_loop()
        assert here.plan is not None
        self._plan = here.plan  # of this container: what was prepared may be of the one that it was forked from
        self._carrier = carrier.Carrier(self._plan)
        for name, web in self._webs.items():
            known = self._inner.callees.get(name)  # hooks of a server have started its program already
            answer = loop.complete(self._answering(known.function if known is not None else _nothing, web))
            self.callees[name] = served_module.Callee(answer, is_generator=False, is_async=True)
        loop.complete(self._carrier.open())

    async def _answering(self, function: Callable[..., Any], web: functions.WebSpec) -> Callable[..., Any]:
        assert self._carrier is not None
        kind = web["kind"]
        if kind == "wsgi":
            from windlass.runner.web import wsgi

            return wsgi.App(function(), self._carrier, self._most())
        if kind == "server":
            from windlass.runner.web import proxy

            function()
            program = proxy.Program(web["port"], self._carrier)
            await program.wait(web["startup_timeout"])
            if web.get("stateless"):
                self._watch = asyncio.get_running_loop().create_task(program.watch())
            return program
        app = asgi.App(endpoint.app(function, web) if kind == "fastapi" else function(), self._carrier)
        await app.startup()
        self._apps.append(app)
        return app

    def leases(self, take: Callable[[list[work.Lease]], None]) -> None:
        if self._carrier is not None:
            self._carrier.lend(take)

    def _most(self) -> int:
        """Requests at once."""
        concurrency = self._plan["spec"].get("concurrency")
        return 1 if concurrency is None else concurrency["max_inputs"]

    @property
    def leaves(self) -> bool:
        return True

    def leave(self) -> None:
        loop = self.needs_loop()
        for app in self._apps:
            loop.complete(app.shutdown())
        if self._watch is not None:
            self._watch.cancel()
        if self._carrier is not None:
            self._carrier.close()
        self._inner.leave()


def _nothing() -> None:
    pass


def of(spec: functions.FunctionSpec) -> dict[str, functions.WebSpec]:
    """What of a function answers requests, by method; "" for functions."""
    found = {name: method["web"] for name, method in spec.get("methods", {}).items() if "web" in method}
    if "web" in spec:
        found[""] = spec["web"]
    return found

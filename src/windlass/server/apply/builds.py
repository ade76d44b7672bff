"""Image builds: a chain is walked from its base; known layers are stepped over, the first unknown one becomes a
build that everybody who needs it joins.
"""

from __future__ import annotations

from typing import Any

from windlass import exception
from windlass.kit import ids
from windlass.server.apply import containers
from windlass.server.apply import core as core_module
from windlass.server.decide import images as image_decisions
from windlass.server.state import machines
from windlass.server.store import images, secrets
from windlass.wire import peer
from windlass.wire.messages import images as messages
from windlass.wire.messages import workers

Core = core_module.Core
_TAIL = 4000
_NO_WORKER = 60.0
_LOG_KEPT = 2000


class Chain:
    """One open ``image.build``: how far it is, and the stream that is told."""

    def __init__(self, core: Core, recipes: list[messages.Recipe], app_id: str | None, incoming: peer.Incoming) -> None:
        self._core = core
        self._recipes = recipes
        self._app_id = app_id
        self._incoming = incoming
        self._step = 0
        self._parent: str | None = None
        self._passed: list[str] = []
        self._forced = False
        self._build: machines.Build | None = None
        incoming.on_cancel = self.leave

    def advance(self) -> None:
        """Step over what is known; join the build of what is not."""
        while self._step < len(self._recipes):
            recipe = self._recipes[self._step]
            key = image_decisions.key(self._parent, recipe, _secret_names(self._core, recipe))
            self._forced = self._forced or bool(recipe.get("force"))
            known = self._known(key)
            if known is None:
                self._join(key, recipe)
                return
            self._pass(known)
        if self._parent is not None:
            meta = images.meta(self._core.db, self._parent)
            self._incoming.item({"kind": "done", "image_id": self._parent, "chain": self._passed, **_told(meta)})
        self._incoming.end()

    def _pass(self, image_id: str) -> None:
        self._parent = image_id
        self._passed.append(image_id)
        self._step += 1

    def _known(self, key: str) -> str | None:
        if self._forced and (self._app_id, key) not in self._core.forced:
            return None
        current = images.current(self._core.db, key)
        if current is None:
            return None
        workers_now = self._core.world.workers.values()
        if workers_now and not any(current[0] in worker.images for worker in workers_now):
            return None
        return current[0]

    def _join(self, key: str, recipe: messages.Recipe) -> None:
        build = next((b for b in self._core.world.builds.values() if b.key == key), None)
        if build is None:
            build = _start(self._core, key, self._parent, recipe, forced=self._forced)
        self._build = build
        self._incoming.item(
            {
                "kind": "step",
                "step": self._step + 1,
                "steps": len(self._recipes),
                "command": image_decisions.command(recipe),
            }
        )
        if build.log:
            self._incoming.item({"kind": "log", "text": "".join(build.log)})
        build.waiters.append(self)

    def log(self, text: str) -> None:
        self._incoming.item({"kind": "log", "text": text})

    def built(self, image_id: str, key: str) -> None:
        self._build = None
        if self._forced:
            self._core.forced.add((self._app_id, key))
        self._pass(image_id)
        self.advance()

    def failed(self, build: machines.Build, error: str) -> None:
        self._build = None
        tail = "".join(build.log)[-_TAIL:]
        exc = exception.ImageBuildError(
            f"building image {build.image_id} failed at step {self._step + 1} of {len(self._recipes)}, "
            f"`{image_decisions.command(build.recipe)}`: {error}" + (f"\n{tail}" if tail and tail not in error else "")
        )
        self._incoming.fail(exc)

    def leave(self) -> None:
        """Nobody listens any more; a build that nobody waits for is given up."""
        build, self._build = self._build, None
        if build is not None:
            build.waiters.remove(self)
            if not build.waiters:
                self._core.world.builds.pop(build.id, None)
                _want_all(self._core)


def _told(meta: workers.ImageMeta | None) -> dict[str, Any]:
    """What a client needs to know of an image."""
    if meta is None:
        return {}
    return {"python": meta["python"], "env": meta["env"], "workdir": meta["workdir"]}


def _secret_names(core: Core, recipe: messages.Recipe) -> list[str]:
    names = []
    for identity in recipe.get("secrets", []):
        row = _secret(core, identity)
        names.append(row.name or ",".join(sorted(row.keys)))
    return names


def _secret(core: Core, identity: str) -> secrets.Row:
    row = secrets.by_id(core.db, identity)
    if row is None:
        raise exception.NotFoundError(f"no secret {identity}")
    return row


def _start(core: Core, key: str, parent: str | None, recipe: messages.Recipe, *, forced: bool) -> machines.Build:
    current = images.current(core.db, key)
    image_id = (
        image_decisions.image_id(key, ids.new("g") if forced else "") if forced or current is None else current[0]
    )
    build = machines.Build(identity=ids.new("bu"), image_id=image_id, key=key, parent=parent, recipe=recipe)
    build.wanted_at = core.clock.now()
    core.world.builds[build.id] = build
    _want_all(core)
    return build


def give_up(core: Core, now: float) -> None:
    """Nobody can build while no worker is connected; after a while, say so."""
    if core.world.workers:
        return
    for build in [b for b in core.world.builds.values() if now - b.wanted_at > _NO_WORKER]:
        del core.world.builds[build.id]
        waiters, build.waiters = build.waiters, []
        for waiter in waiters:
            waiter.failed(build, "no worker is connected; `windlass server status` and `windlass doctor` say why")


def _want_all(core: Core) -> None:
    for node in core.world.workers:
        containers.want_later(core, node)


def plan(core: Core, build_id: str) -> workers.BuildPlan:
    """What the worker needs to make a layer."""
    build = core.world.builds.get(build_id)
    if build is None:
        raise exception.NotFoundError(f"build {build_id} is not wanted any more")
    env: dict[str, str] = {}
    for identity in build.recipe.get("secrets", []):
        env.update(core.keyring.decrypt(_secret(core, identity).env))
    recipe: Any = {k: v for k, v in build.recipe.items() if k != "secrets"}
    return {
        "build_id": build.id,
        "image_id": build.image_id,
        "parent": build.parent,
        "recipe": recipe,
        "secrets": env,
    }


def log(core: Core, build_id: str, text: str) -> None:
    build = core.world.builds.get(build_id)
    if build is not None:
        build.log.append(text)
        if len(build.log) > _LOG_KEPT:
            del build.log[: _LOG_KEPT // 2]
        for waiter in list(build.waiters):
            waiter.log(text)


def result(core: Core, worker: machines.Worker, message: workers.BuildResult) -> None:
    """A layer was published, or its step failed: nothing of a failure is kept."""
    build = core.world.builds.get(message["build_id"])
    if build is None:
        return
    del core.world.builds[build.id]
    error = message.get("error")
    if error is None:
        meta: Any = message.get("meta")
        if meta is None:
            raise exception.InvalidError("a published layer has no meta")
        core.turn.begin()
        images.insert(
            core.db,
            image_id=build.image_id,
            key=build.key,
            parent=build.parent,
            recipe=build.recipe,
            meta=meta,
            now=core.clock.now(),
        )
        worker.images.add(build.image_id)
    waiters, build.waiters = build.waiters, []
    _want_all(core)
    if error is None:
        core.turn.after.append(lambda: _tell_built(build, waiters))
    else:
        for waiter in waiters:
            waiter.failed(build, error)


def _tell_built(build: machines.Build, waiters: list[Chain]) -> None:
    for waiter in waiters:
        waiter.built(build.image_id, build.key)

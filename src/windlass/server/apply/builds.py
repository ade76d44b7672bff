"""Image builds: a chain is walked from its base; known layers are stepped over, the first unknown one becomes a
build that everybody who needs it joins.
"""

from __future__ import annotations

from typing import Any

from windlass import exception
from windlass.kit import ids
from windlass.server.apply import build_logs, containers, environments, secrets
from windlass.server.apply import core as core_module
from windlass.server.apply import gpus as gpu_actions
from windlass.server.apply import images as image_actions
from windlass.server.apply import nfs as nfs_actions
from windlass.server.apply import volumes as volume_actions
from windlass.server.decide import gpus
from windlass.server.decide import images as image_decisions
from windlass.server.state import machines
from windlass.server.store import images
from windlass.wire import peer
from windlass.wire.messages import images as messages
from windlass.wire.messages import workers

Core = core_module.Core
_TAIL = 4000
_NO_WORKER = 60.0
_WAITS = "[waiting for a GPU: others have those that fit]\n"
_AGAIN = "[the worker was restarted: the step is run again from its beginning]\n"


class Chain(build_logs.Pump):
    """One open ``image.build``: how far it is, and the stream that is told.

    Layers that it wants anew are built once for ``scope``: the app, or without one the client.
    """

    def __init__(self, core: Core, request: messages.ImageBuild, client_id: str, incoming: peer.Incoming) -> None:
        super().__init__(incoming)
        self._core = core
        self._recipes = request["recipes"]
        self._scope = request["app_id"] or client_id
        said = request.get("builder_version") or environments.builder_version(core, request["app_id"] or "")
        self._version = said or image_decisions.BUILDER_VERSION
        self._ignores = request.get("ignore_cache", False)
        self._at = 0
        self._parent: str | None = None
        self._passed: list[str] = []
        self._forced = False
        self._build: machines.Build | None = None
        self._reading: build_logs.Reading | None = None
        incoming.on_cancel = self.leave

    def advance(self) -> None:
        """Step over what is known; join the build of what is not."""
        passed = []
        while self._at < len(self._recipes):
            recipe = self._recipes[self._at]
            self._forced = self._forced or bool(recipe.get("force"))
            if recipe.get("base") == "image":
                known: str | None = image_actions.existing(self._core, recipe.get("image", "")).id
            else:
                names = _secret_names(self._core, recipe)
                key = image_decisions.key(self._parent, recipe, names, self._version)
                known = self._known(key)
            if known is None:
                self._join(key, recipe)
                break
            if known in self._core.removing:
                self._core.removing[known].append(self._go_on)
                break
            passed.append(known)
            self._pass(known)
        image_actions.touch(self._core, *passed)
        if self._at == len(self._recipes):
            if self._parent is not None:
                meta = images.meta(self._core.db, self._parent)
                self._core.handed.setdefault(self._scope, set()).add(self._parent)
                self.incoming.item({"kind": "done", "image_id": self._parent, "chain": self._passed, **_told(meta)})
            self.incoming.end()

    def _pass(self, image_id: str) -> None:
        self._parent = image_id
        self._passed.append(image_id)
        self._at += 1

    def _known(self, key: str) -> str | None:
        if self._forced or self._ignores:
            known = self._core.anew.get((self._scope, key))
        else:
            current = images.current(self._core.db, key)
            known = current[0] if current else None
        return None if known is None or image_actions.lost(self._core, known) else known

    def _join(self, key: str, recipe: messages.Recipe) -> None:
        build = next((b for b in self._core.world.builds.values() if b.key == key), None)
        if build is None:
            anew = self._forced or self._ignores
            build = _start(self._core, key, self._parent, recipe, anew=anew)
            build.replaces = False
        build.replaces = build.replaces or self._forced or not self._ignores
        self._build = build
        self._reading = build_logs.Reading(self._core, build.image_id)
        self.incoming.item(
            {
                "kind": "step",
                "step": self._at + 1,
                "steps": len(self._recipes),
                "command": image_decisions.command(recipe),
            }
        )
        build.waiters.append(self)
        self.pump()  # what came before this one joined

    def step(self) -> bool:
        """Pass on some of the output of the step that is being built."""
        pieces = self._reading.more() if self._reading is not None else []
        if pieces:
            self.incoming.item({"kind": "log", "text": "".join(piece.text for piece in pieces)})
        return bool(pieces)

    def _ended(self) -> None:
        """The build is over: pass on the rest, also to one who does not keep up; it is not much."""
        while self.step():
            pass
        self._build = self._reading = None

    def built(self, image_id: str, key: str) -> None:
        self._ended()
        if self._forced or self._ignores:
            self._core.anew[self._scope, key] = image_id
        self._pass(image_id)
        self._go_on()

    def _go_on(self) -> None:
        try:
            if self.incoming.open:
                self.advance()
        except exception.Error as exc:  # nobody else would tell it
            self.incoming.fail(exc)

    def failed(self, build: machines.Build, error: str) -> None:
        self._ended()
        tail = build_logs.last(self._core, build.image_id, _TAIL)
        line = self._recipes[self._at].get("line")
        exc = exception.ImageBuildError(
            f"building image {build.image_id} failed at step {self._at + 1} of {len(self._recipes)}, "
            + (f"{line}, " if line else "")
            + f"`{image_decisions.command(build.recipe)}`: {error}"
            + (f"\n{tail}" if tail and tail not in error else ""),
            hint=f"`windlass image logs {build.image_id}` shows the whole log.",
        )
        self.incoming.fail(exc)

    def leave(self) -> None:
        """Nobody listens any more; a build that nobody waits for is given up."""
        build, self._build = self._build, None
        if build is not None:
            build.waiters.remove(self)
            if not build.waiters and self._core.world.builds.pop(build.id, None) is not None:
                build_logs.finish(self._core, build, "given up, because nobody waited for it any more")
                _want_all(self._core)


def forget_scope(core: Core, scope: str) -> None:
    """An app has stopped, or a client is gone: what was built anew for it is built anew for the next one."""
    core.handed.pop(scope, None)
    for known in [known for known in core.anew if known[0] == scope]:
        del core.anew[known]


def _told(meta: workers.ImageMeta | None) -> dict[str, Any]:
    """What a client needs to know of an image."""
    if meta is None:
        return {}
    return {"python": meta["python"], "env": meta["env"], "workdir": meta["workdir"]}


def _secret_names(core: Core, recipe: messages.Recipe) -> list[str]:
    names = []
    for identity in recipe.get("secrets", []):
        row = secrets.by_id(core, identity)
        names.append(row.name or ",".join(sorted(row.keys)))
    return names


def _start(core: Core, key: str, parent: str | None, recipe: messages.Recipe, *, anew: bool) -> machines.Build:
    volume_actions.check_mounts(core, recipe.get("volumes", []))
    nfs_actions.check_mounts(core, recipe.get("nfs", []), recipe.get("volumes", []))
    wanted, workers_now = recipe.get("gpus", []), list(core.world.workers.values())
    if workers_now:
        gpus.check(wanted, [gpu_actions.of(worker) for worker in workers_now])
    current = images.current(core.db, key)
    image_id = image_decisions.image_id(key, ids.new("g") if anew else "") if anew or current is None else current[0]
    build = machines.Build(identity=ids.new("bu"), image_id=image_id, key=key, parent=parent, recipe=recipe)
    build.wanted_at = core.clock.now()
    core.world.builds[build.id] = build
    build_logs.begin(core, build)
    if all(gpus.choose(gpu_actions.free(core, worker), wanted) is None for worker in workers_now) and wanted:
        build_logs.store(core, build, _WAITS)
        core.scheduler.set()
    _want_all(core)
    return build


def give_up(core: Core, now: float) -> None:
    """Nobody can build while no worker is connected; after a while, say so."""
    if core.world.workers:
        return
    for build in [b for b in core.world.builds.values() if now - b.wanted_at > _NO_WORKER]:
        _fail(core, build, "no worker is connected; `windlass server status` and `windlass doctor` say why")


def _fail(core: Core, build: machines.Build, error: str) -> None:
    core.world.builds.pop(build.id, None)
    build_logs.finish(core, build, error)
    waiters, build.waiters = build.waiters, []
    core.turn.after.append(lambda: _tell_failed(build, waiters, error))


def _tell_failed(build: machines.Build, waiters: list[Chain], error: str) -> None:
    for waiter in waiters:
        waiter.failed(build, error)


def _want_all(core: Core) -> None:
    for node in core.world.workers:
        containers.want_later(core, node)


def plan(core: Core, build_id: str) -> workers.BuildPlan:
    """What the worker needs to make a layer."""
    build = core.world.builds.get(build_id)
    if build is None:
        raise exception.NotFoundError(f"build {build_id} is not wanted any more")
    if build.planned:
        build_logs.store(core, build, _AGAIN)
    build.planned = True
    recipe: Any = {k: v for k, v in build.recipe.items() if k != "secrets"}
    return {
        "build_id": build.id,
        "image_id": build.image_id,
        "parent": build.parent,
        "recipe": recipe,
        "secrets": secrets.environment_of(core, build.recipe.get("secrets", [])),
        "volumes": volume_actions.mounts(core, build.recipe.get("volumes", [])),
        "nfs": nfs_actions.mounts(core, build.recipe.get("nfs", [])),
        "gpus": list(build.gpus),
    }


def log(core: Core, build_id: str, text: str) -> None:
    build = core.world.builds.get(build_id)
    if build is not None and text:
        build_logs.store(core, build, text)


def result(core: Core, worker: machines.Worker, message: workers.BuildResult) -> None:
    """A layer was published, or its step failed: of a failure only the log is kept."""
    build = core.world.builds.get(message["build_id"])
    if build is None:
        return
    error = message.get("error")
    if error is not None:
        _fail(core, build, error)
        _want_all(core)
        return
    meta: Any = message.get("meta")
    if meta is None:
        raise exception.InvalidError("a published layer has no meta")
    del core.world.builds[build.id]
    build_logs.finish(core, build, None)
    images.insert(
        core.db,
        image_id=build.image_id,
        key=build.key,
        parent=build.parent,
        recipe=build.recipe,
        meta=meta,
        now=core.clock.now(),
        current=build.replaces,
    )
    worker.images.add(build.image_id)
    waiters, build.waiters = build.waiters, []
    _want_all(core)
    core.turn.after.append(lambda: _tell_built(build, waiters))


def _tell_built(build: machines.Build, waiters: list[Chain]) -> None:
    for waiter in waiters:
        waiter.built(build.image_id, build.key)

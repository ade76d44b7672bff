"""What is known of images that exist: last use, names, sizes, what is shared, and who uses them."""

from __future__ import annotations

import functools

from windlass import exception
from windlass.server.apply import core as core_module
from windlass.server.apply import environments
from windlass.server.decide import images as decisions
from windlass.server.decide import sharing
from windlass.server.store import images, names, sandboxes
from windlass.wire.messages import built

Core = core_module.Core

_COARSE = 60.0  # seconds: how exact the time of the last use is
_SHARING = 20  # images named that have layers in common


def touch(core: Core, *image_ids: str) -> None:
    """They are being used. Written at most once a minute for each, so that it costs nothing where it happens often."""
    now = core.clock.now()
    stale = [image_id for image_id in image_ids if now - core.used.get(image_id, 0.0) >= _COARSE]
    if stale:
        core.turn.begin()
        images.used(core.db, stale, now)
        core.used.update(dict.fromkeys(stale, now))


def existing(core: Core, image_id: str) -> images.Row:
    """The row of an image that containers can be started with."""
    row = images.by_id(core.db, image_id)
    if row is None:
        raise exception.NotFoundError(f"no image {image_id}", hint="`windlass image list` shows what there is.")
    if sandboxes.snapshot_expired(core.db, image_id, core.clock.now()):
        raise exception.NotFoundError(
            f"image {image_id} was a snapshot of a sandbox, and its time is over",
            hint="Give snapshots a longer ttl, or None.",
        )
    if lost(core, image_id):
        raise exception.NotFoundError(
            f"image {image_id} is lost: no connected worker has its layers any more",
            hint="Build it again from its definition.",
        )
    return row


def lost(core: Core, image_id: str) -> bool:
    """Whether every connected worker lacks it."""
    workers = core.world.workers.values()
    return bool(workers) and not any(image_id in worker.images for worker in workers)


def found(row: images.Row) -> built.ImageFound:
    meta = row.meta
    return {"image_id": row.id, "python": meta["python"], "env": meta["env"], "workdir": meta["workdir"]}


def named(core: Core, query: built.ImageGet) -> str:
    """The image that a name means, or the id itself."""
    if "image_id" in query:
        return query["image_id"]
    environment = environments.named(core, query.get("environment"))
    name, tag = query.get("name", ""), query.get("tag") or "latest"
    image_id = names.find(core.db, environment, name, tag)
    if image_id is None:
        raise exception.NotFoundError(
            f"no image is published as {name + ':' + tag!r} in environment {environment!r}",
            hint="`windlass image list` shows names; `windlass image publish` gives one.",
        )
    return image_id


def publish(core: Core, body: built.ImagePublish) -> None:
    """Move a name to an image."""
    existing(core, body["image_id"])
    environment = environments.named(core, body.get("environment"))
    core.turn.begin()
    tag = body.get("tag") or "latest"
    names.publish(core.db, names.Row(environment, body["name"], tag, body["image_id"], core.clock.now()))


class Catalogue:
    """All images at one moment."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._rows = images.everything(core.db)
        self._names: dict[str, list[names.Row]] = {}
        for name in names.everything(core.db):
            self._names.setdefault(name.image_id, []).append(name)

    @functools.cached_property
    def _sharing(self) -> sharing.Sharing:
        return sharing.Sharing(
            {
                row.id: sharing.Image(row.parent, tuple(row.meta["layers"]), row.meta["size"])
                for row in self._rows.values()
            }
        )

    def listed(self, environment: str | None, *, all_of_them: bool) -> list[built.ImageRow]:
        """Newest use first."""
        tops, users = self._sharing.tops(), self._users()
        shown = []
        for row in self._rows.values():
            here = self._names_of(row.id, environment)
            used = any(environment in (None, user["environment"]) for user in users.get(row.id, ()))
            if here or used or (environment is None and (all_of_them or row.id in tops)):
                shown.append(self._row(row, here))
        return sorted(shown, key=lambda one: one["used_at"] or one["built_at"], reverse=True)

    def info(self, image_id: str) -> built.ImageInfo:
        """Raises ``NotFoundError`` where there is none."""
        row = self._rows.get(image_id)
        if row is None:
            raise exception.NotFoundError(f"no image {image_id}", hint="`windlass image list` shows what there is.")
        chain, meta = self._sharing.chain(image_id), row.meta
        common = self._sharing.common(image_id, chain)
        worth = self._sharing.tops().union(self._names)
        most = sorted((size, other) for other, size in common if other in worth)[::-1][:_SHARING]
        return {
            "image_id": row.id,
            "steps": [self._step(step, chain) for step in chain],
            "size": meta["size"],
            "total": self._sharing.total(image_id),
            "shared": self._sharing.shared(image_id),
            "python": meta["python"],
            "env": meta["env"],
            "workdir": meta["workdir"],
            "entrypoint": meta["entrypoint"],
            "digest": str(meta.get("digest", "")),
            "built_at": row.built_at,
            "used_at": row.used_at,
            "names": self._names_of(image_id, None),
            "users": self._users().get(image_id, []),
            "sharing": [
                {"image_id": other, "command": decisions.command(self._rows[other].recipe), "size": size}
                for size, other in most
            ],
        }

    def _row(self, row: images.Row, here: list[str]) -> built.ImageRow:
        return {
            "image_id": row.id,
            "command": decisions.command(row.recipe),
            "size": row.meta["size"],
            "total": self._sharing.total(row.id),
            "shared": self._sharing.shared(row.id),
            "built_at": row.built_at,
            "used_at": row.used_at,
            "names": here,
        }

    def _step(self, image_id: str, chain: list[str]) -> built.ImageStep:
        row = self._rows[image_id]
        return {
            "image_id": image_id,
            "command": decisions.command(row.recipe),
            "size": row.meta["size"],
            "built_at": row.built_at,
            "others": self._sharing.others(image_id, chain),
        }

    def _names_of(self, image_id: str, environment: str | None) -> list[str]:
        return [
            str(name)
            for name in self._names.get(image_id, ())
            if environment in (None, name.environment)
        ]

    def _users(self) -> dict[str, list[built.ImageUser]]:
        """Living apps by the image that their functions run on."""
        users: dict[str, dict[str, built.ImageUser]] = {}
        for function in self._core.world.functions.values():
            if function.removed:
                continue
            app = function.app
            user = users.setdefault(function.spec["image_id"], {}).setdefault(
                app.id,
                {
                    "app_id": app.id,
                    "description": app.name or app.description,
                    "environment": app.environment,
                    "functions": [],
                },
            )
            if function.tag not in user["functions"]:
                user["functions"].append(function.tag)
        return {image_id: list(apps.values()) for image_id, apps in users.items()}

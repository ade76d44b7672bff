"""From the arguments of ``Sandbox.create`` and ``exec`` to what the server is asked for, and back from its answers."""
from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, cast

from windlass import exception
from windlass.client import buckets, resolver, session, volumes
from windlass.kit import ids
from windlass.wire.messages import sandboxes as messages

MOST_COMMAND = 65536
_WAIT = 50.0
_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


def words(given: Sequence[Any], what: str) -> list[str]:
    """A checked command. Raises ``InvalidError``."""
    if given and given[0] == "":
        raise exception.InvalidError(f"{what} takes the name of a program first, and this one is empty")
    for word in given:
        if not isinstance(word, str):
            raise exception.InvalidError(f"{what} takes strings, not {type(word).__name__}: {word!r}")
        if "\0" in word:
            raise exception.InvalidError(f"{what} takes strings without NUL characters")
        plain(word, what)
    size = sum(len(word.encode()) for word in given)
    if size > MOST_COMMAND:
        raise exception.InvalidError(f"the arguments of {what} have {size:,} bytes; at most {MOST_COMMAND:,} fit")
    return list(given)


def plain(text: str, what: str) -> str:
    """Text that arrives as it is. Raises ``InvalidError`` for half characters, as Python has them for names of files
    that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise exception.InvalidError(f"{what} takes text that is UTF-8, not {text!r}") from None
    return text


def check_name(name: Any) -> str:
    if not isinstance(name, str) or not 0 < len(name) < 64 or not _NAME.issuperset(name):
        raise exception.InvalidError(
            f"{name!r} is no name for a sandbox", hint="Use up to 63 letters, digits, dashes, underscores and dots."
        )
    return name


def check_tags(tags: Any) -> dict[str, str]:
    if not isinstance(tags, dict) or not all(isinstance(word, str) for pair in tags.items() for word in pair):
        raise exception.InvalidError(f"tags must be a dict of strings, not {tags!r}")
    return {plain(name, "a tag"): plain(value, "a tag") for name, value in tags.items()}


def folder(workdir: Any) -> str:
    if workdir is None:
        return ""
    if not isinstance(workdir, str) or not workdir.startswith("/") or "\0" in workdir:
        raise exception.InvalidError(f"workdir must be an absolute path, not {workdir!r}")
    return plain(workdir, "workdir")


def path(given: Any) -> str:
    """Of a file or a folder in a sandbox. Raises ``InvalidError``."""
    if not isinstance(given, str) or not given.startswith("/") or "\0" in given:
        raise exception.InvalidError(f"{given!r} is no absolute path in the sandbox")
    return plain(given, "a path")


class Wish:
    """What is wanted of a new sandbox, checked but for what only the server knows."""

    def __init__(
        self, app: str, image: Any, secrets: Sequence[Any], mounted: Mapping[str, Any], shared: Mapping[str, Any],
        spec: dict[str, Any], name: str, tags: dict[str, str], proxy: Any = None,
    ) -> None:  # fmt: skip
        self.app = app
        self.image = image
        self.secrets = secrets
        self.mounted = mounted
        self.shared = shared
        self.spec = spec
        self.name = name
        self.tags = tags
        self.proxy = proxy

    async def create(self) -> messages.SandboxInfo:
        """Build the image, if need be, and ask for the sandbox."""
        context = resolver.Context(session.current(), app_id=self.app)
        try:
            needs = [*self.secrets, *buckets.needs(self.mounted.values()), *self.shared.values()]
            await context.load_all([self.image, *needs, *([] if self.proxy is None else [self.proxy])])
        finally:
            await context.close()
        own, alien = buckets.split(self.mounted)
        spec = {
            **self.spec,
            "image_id": self.image.object_id,
            "mounts": list(self.image._mount_digests),
            "secrets": [secret.object_id for secret in self.secrets],
        }
        if self.proxy is not None:
            spec["proxy"] = self.proxy.object_id
        for key, value in (("volumes", volumes.mounts(own)), ("buckets", buckets.mounts(alien)),
                           ("nfs", volumes.shares(self.shared))):  # fmt: skip
            if value:
                spec[key] = value
        body = {"app_id": self.app, "sandbox_id": ids.new("sb"), "spec": spec, "name": self.name, "tags": self.tags}
        return cast("messages.SandboxInfo", (await session.current().request("sandbox.create", body)).body)


async def about(sandbox_id: str, until: str = "finished", seconds: float = 0.0) -> messages.SandboxInfo:
    """What is known of it, once it is so far or the time is over."""
    body = {"sandbox_id": sandbox_id, "until": until, "seconds": seconds}
    return cast("messages.SandboxInfo", (await session.current().request("sandbox.wait", body)).body)


async def ended(sandbox_id: str) -> messages.SandboxInfo:
    """The same, once it has ended."""
    while (info := await about(sandbox_id, seconds=_WAIT))["state"] != "finished":
        continue
    return info


async def listed(query: dict[str, Any]) -> AsyncGenerator[messages.SandboxInfo, None]:
    while True:
        page = (await session.current().request("sandbox.list", query)).body["sandboxes"]
        for info in page:
            yield info
        if not page:
            return
        query = {**query, "before": page[-1]["sandbox_id"]}

"""A described function becomes a ``FunctionSpec`` on the server."""
from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from windlass import exception
from windlass.client import blobs, buckets, output, resolver, source, volumes
from windlass.wire.messages import functions

if TYPE_CHECKING:
    from windlass.function import Function


_OLDEST = (3, 10)  # that the runner works with


async def function(handle: Function[..., Any, Any], context: resolver.Context) -> None:
    """Create ``handle`` on the server under the id that was chosen for it, and hydrate it."""
    if context.app_id is None or handle._app is None or handle._object_id is None:
        raise exception.ExecutionError(
            f"{handle._describe()} has not been created on the server, because its app is not running",
            hint="Use it inside `with app.run():`, or run the file with `windlass run`.",
        )
    context.output.function_creating(handle._tag)
    body: functions.FunctionCreate = {
        "app_id": context.app_id,
        "function_id": handle._object_id,
        "spec": await _spec(handle, context),
    }
    info = await context.create(body)
    handle._hydrate_from(info)
    context.output.function_created(handle._tag, info["function_id"])
    say_urls(info, context.output)


def say_urls(info: functions.FunctionInfo, show: output.Output) -> None:
    """Where a function answers requests."""
    for name, url in web_urls(info):
        show.web_created(name, url)


async def _spec(handle: Function[..., Any, Any], context: resolver.Context) -> functions.FunctionSpec:
    app, origin, options = handle._app, handle._source, handle._options
    assert app is not None and origin is not None and options is not None
    image = app._image_for(handle)
    _check_image(handle, image._python)
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    serialized = None
    if origin.definition == "serialized":
        _check_python(handle, image._python, python)
        serialized = await blobs.store(context.session, origin.pickled(handle._describe()))
    shape: Any = {**handle._asked, **handle._info, **options.network}
    if options.schedule is not None:
        shape["schedule"] = options.schedule
    if mounted := {**app._volumes, **options.volumes}:
        own, alien = buckets.split(mounted)
        shape["volumes"], shape["buckets"] = volumes.mounts(own), buckets.mounts(alien)
    if options.proxy is not None:
        shape["proxy"] = options.proxy.object_id
    if options.i6pn:
        shape["i6pn"] = True
    if options.gpus:
        shape["gpus"] = options.gpus
    if shared := options.network_file_systems:
        volumes.check_apart(shared, mounted)
        shape["nfs"] = volumes.shares(shared)
    mounts = [*image._mount_digests, *(await _mounts(origin, context) if options.include_source else [])]
    return {
        "tag": handle._tag,
        "module": origin.module,
        "qualname": origin.qualname,
        "definition": origin.definition,
        "serialized": serialized,
        "is_generator": origin.is_generator,
        "is_async": origin.is_async,
        "python": python,
        "image_id": image.object_id,
        "mounts": mounts,
        "secrets": [secret.object_id for secret in (*app._secrets, *options.secrets)],
        "cpu_request": options.cpu_request,
        "cpu_limit": options.cpu_limit,
        "memory_request": options.memory_request,
        "memory_limit": options.memory_limit,
        "ephemeral_disk": options.ephemeral_disk,
        "timeout": options.timeout,
        "startup_timeout": options.startup_timeout,
        "retries": options.retries,
        "autoscaler": options.autoscaler,
        "single_use": options.single_use,
        "block_network": options.block_network,
        "restrict_access": options.restrict_access,
        "snapshot": options.snapshot,
        **shape,  # type: ignore[typeddict-item]
    }


async def _mounts(origin: source.Source, context: resolver.Context) -> list[str]:
    """Digests of the function's own source; functions of one file share the upload."""

    async def upload() -> list[str]:
        digests = [await mount.upload(context.session) for mount in origin.mounts()]
        if digests:
            context.output.mount_created(origin.package or origin.path)
        return digests

    digests: list[str] = await context.once(("source", origin.definition, origin.path, origin.package), upload)
    return digests


def _check_image(handle: Function[..., Any, Any], python: str) -> None:
    """Refuse what a container could only die of. ``python``: "3.11", "3.14t", or "" where the image has none."""
    if python and tuple(int(part) for part in python.rstrip("t").split(".")) >= _OLDEST:
        return
    raise exception.InvalidError(
        f"{handle._describe()} needs Python {_OLDEST[0]}.{_OLDEST[1]} or newer, but its image has "
        + (f"Python {python}" if python else "no Python"),
        hint='Add one: Image.from_registry(…, add_python="3.12"). Sandboxes also run images without Python.',
    )


def _check_python(handle: Function[..., Any, Any], remote: str, local: str) -> None:
    if remote.rstrip("t") != local:
        raise exception.InvalidError(
            f"{handle._describe()} is serialized with Python {local}, but its image has Python {remote}",
            hint=f"Pickled code needs the same version: use Image.debian_slim(python_version={local!r}).",
        )


def web_urls(info: functions.FunctionInfo) -> list[tuple[str, str]]:
    """Names and URLs of what answers requests: the function itself, or methods of the class."""
    of_methods = info.get("web_urls", {}).items()
    return [(f"{info['class_name']}.{method}" if method else info["tag"], url) for method, url in of_methods]

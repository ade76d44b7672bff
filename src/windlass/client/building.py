"""Python functions on their way into a build step: their code, their arguments, and what they are known by."""
from __future__ import annotations

import asyncio
import sys
import warnings

from windlass.client import blobs, fingerprint, session, source
from windlass.wire import payload
from windlass.wire.messages import images


async def function(
    origin: source.Source, arguments: bytes, include_source: bool, home: session.Session
) -> images.Recipe:
    """The fields of the recipe that are the function's. ``arguments``: pickled, or empty where there are none."""
    name = origin.raw_f.__name__
    args, kwargs = payload.loads(arguments, f"arguments of {name!r}") if arguments else ((), {})
    found = await asyncio.to_thread(fingerprint.of, origin.raw_f, args, kwargs)
    if found.skipped:
        text = f"run_function({name}): {', '.join(found.skipped)} cannot be pickled, so changes of it go unnoticed"
        warnings.warn(text, stacklevel=2)
    code: images.BuildFunction = {
        "module": origin.module, "qualname": origin.qualname, "definition": origin.definition,
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}", "serialized": None, "arguments": None, "mounts": [],
    }  # fmt: skip
    if origin.definition == "serialized":
        code["serialized"] = await blobs.store(home, origin.pickled(f"function {name!r}"))
    if arguments:
        code["arguments"] = await blobs.store(home, arguments)
    if include_source:
        code["mounts"] = [await mount.upload(home) for mount in origin.mounts()]
    return {"function": code, "fingerprint": found.digest}

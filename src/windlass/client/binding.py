"""Which pool a handle means: a function, values for the parameters of its class, and options that differ.

Nothing is asked of the server until the pool is first used; whoever asks for the same gets the same pool. A binding
travels as what it asks for, not as what it found.
"""
from __future__ import annotations

from windlass import exception
from windlass.client import anatomy
from windlass.wire import parameters as values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from windlass.client import session
    from windlass.function import Function
    from windlass.wire.messages import functions

_PATIENCE = 30.0
"""Seconds to wait while the server makes no more variants for now."""


class Binding:
    """``given``: values by name, as the user gave them; ``overrides``: as on the wire, but with handles of secrets."""

    def __init__(self, base: Function[..., Any, Any], given: dict[str, Any], overrides: dict[str, Any]) -> None:
        self.base = base
        self.given = given
        self.overrides = overrides
        self._found = ("", "")
        self._settled = False

    def __reduce__(self) -> Any:
        if self._settled:
            return settled, (self.base,)
        return Binding, (self.base, self.given, self.overrides)

    async def ready(self) -> str:
        """The id of the function that has the pool. Runs on the library's loop."""
        base_id = self.base._object_id or await self.base._ready()
        if self._settled:
            return base_id
        if self._found[0] == base_id:  # another one after the app was run again
            return self._found[1]
        schema = self.base._info.get("parameters", [])
        text = values.encode(schema, anatomy.bind(self.base._class_name, schema, self.given)) if schema else ""
        if not schema and self.given:
            anatomy.bind(self.base._class_name, schema, self.given)
        found = base_id if not text and not self.overrides else await self._bind(base_id, text)
        self._found = base_id, found
        return found

    async def _bind(self, base_id: str, text: str) -> str:
        from windlass.client import buckets, resolver, session, volumes

        home = session.current()
        app_id, overrides = self.base._app_id, dict(self.overrides)
        context = resolver.Context(home, app_id=app_id)
        try:
            for name in ("secrets", "more_secrets"):
                for secret in overrides.get(name, ()):
                    await context.load(secret, again=secret._stale(app_id))
                if name in overrides:
                    overrides[name] = [secret.object_id for secret in overrides[name]]
            if mounted := overrides.get("volumes"):
                for one in buckets.needs(mounted.values()):
                    await context.load(one, again=one._stale(app_id))
                own, alien = buckets.split(mounted)
                overrides["volumes"], overrides["buckets"] = volumes.mounts(own), buckets.mounts(alien)
        finally:
            await context.close()
        body: Any = {"function_id": base_id, "parameters": text, "overrides": overrides}
        return (await _patiently(home, body))["function_id"]


def settled(function: Function[..., Any, Any]) -> Binding:
    """The binding of a handle that has the pool itself: nothing is left to be found."""
    binding = Binding(function, {}, {})
    binding._settled = True
    return binding


def check_size(schema: list[functions.ParameterSpec], bound: dict[str, Any]) -> None:
    """Raise ``InvalidError`` for values that are too large, before they are needed."""
    values.encode(schema, bound)


async def _patiently(home: session.Session, body: functions.FunctionBind) -> functions.FunctionInfo:
    import asyncio

    deadline = asyncio.get_running_loop().time() + _PATIENCE
    while True:
        try:
            info: functions.FunctionInfo = (await home.request("function.bind", body)).body
            return info
        except exception.ResourceExhaustedError:
            if asyncio.get_running_loop().time() > deadline:
                raise
        await asyncio.sleep(1.0)

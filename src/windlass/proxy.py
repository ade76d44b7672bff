"""``Proxy``: a fixed address by which containers leave."""
from __future__ import annotations

from windlass.client import names
from windlass.client import object as handles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from windlass.client import resolver


class Proxy(handles.Object):
    """Addresses of the platform's machine: containers that name a proxy are seen with one of them from outside.

    What they reach stays as it is; only where they seem to come from changes. Made with ``windlass proxy create``.

    Example:
        >>> @app.function(proxy=windlass.Proxy.from_name("bank"))
        ... def fetch():
        ...     return requests.get("https://api.bank.example/rates").json()
    """

    _prefix = "pr"
    _name: str | None = None
    _query: dict[str, Any]

    @staticmethod
    def from_name(name: str, *, environment_name: str | None = None, client: object = None) -> Proxy:
        """The one of that name, looked up when it is first needed.

        Args:
            name: letters, digits, dashes, underscores and dots, at most 64.
            environment_name: the environment that holds it.
            client: accepted for compatibility.

        Raises:
            InvalidError: the name is not allowed.
        """
        names.check_object(name, "a proxy's name")
        made = Proxy._new()
        made._name, made._lazy, made._query = name, True, {"name": name}
        if environment := names.environment(environment_name):
            made._query["environment"] = environment
        return made

    @property
    def name(self) -> str | None:
        """Its name; None before it is known."""
        return self._name

    def _describe(self) -> str:
        return f"Proxy {self._name!r}"

    async def _load(self, context: resolver.Context) -> None:
        info = (await context.session.request("proxy.get", self._query)).body
        self._hydrate(info["proxy_id"], {"name": info["name"]})

    def _metadata(self) -> dict[str, Any]:
        return {"name": self._name}

    def _apply_metadata(self, metadata: dict[str, Any]) -> None:
        self._name = metadata.get("name")

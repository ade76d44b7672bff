"""``Cluster``: the containers that run a call of a ``@clustered`` function together."""
from __future__ import annotations

from windlass import exception
from windlass.client import faces, here
from windlass.client import object as handles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from windlass.wire.messages import clusters


class Cluster(handles.Object):
    """Containers that were started together and run each call together, numbered from 0 (their ranks).

    Example:
        >>> @app.function()
        ... @windlass.clustered(size=4)
        ... def work():
        ...     cluster = windlass.Cluster.from_context()
        ...     return cluster.container_rank(), cluster.container_ips()
    """

    _prefix = "cu"
    _known: clusters.ClusterInfo | None = None

    @staticmethod
    def from_context() -> Cluster:
        """The one that this container belongs to.

        Raises:
            InvalidError: it belongs to none.
        """
        plan = here.plan.get("cluster") if here.plan is not None else None
        if plan is None:
            raise exception.InvalidError(
                "this code does not run in a container of a cluster", hint="Put @clustered below @app.function()."
            )
        made = Cluster._new()
        made._hydrate(plan["cluster_id"], {"known": plan})
        return made

    @staticmethod
    def from_id(cluster_id: str, *, client: object = None) -> Cluster:
        """The one of that id, asked for when it is first needed. It lasts as long as its containers.

        Args:
            cluster_id: such as ``cu-3kTMd84yYpZq0vXWb1sRNf``.
            client: accepted for compatibility.

        Raises:
            InvalidError: that is no id of a cluster.
        """
        from windlass.kit import ids

        if not ids.is_id(cluster_id, "cu"):
            raise exception.InvalidError(f"not an id of a cluster: {cluster_id!r}")
        made = Cluster._new()
        made._object_id = cluster_id
        return made

    @faces.method
    async def container_ids(self) -> list[str]:
        """Its containers, by rank.

        Raises:
            NotFoundError: it has ended.
        """
        return list((await self._info())["containers"])

    @faces.method
    async def container_ips(self, family: str = "ipv6") -> list[str]:
        """Private addresses of its containers, by rank: by these, and by no others, they reach each other.

        Args:
            family: "ipv6", the only one there is.

        Raises:
            UnimplementedError: "ipv4" was asked for.
            NotFoundError: it has ended.
        """
        if family == "ipv4":
            raise exception.UnimplementedError(
                "containers do not reach each other by IPv4", hint="Use the IPv6 addresses of container_ips()."
            )
        if family != "ipv6":
            raise exception.InvalidError(f"family must be 'ipv6', not {family!r}")
        return list((await self._info())["addresses"])

    @faces.method
    async def container_rank(self, container_id: str | None = None) -> int:
        """The rank of a container; by default of this one.

        Raises:
            InvalidError: it is none of them.
            NotFoundError: the cluster has ended.
        """
        asked = container_id
        if asked is None and here.plan is not None:
            asked = here.plan["container_id"]
        members = (await self._info())["containers"]
        if asked not in members:
            who = "this code runs in none" if asked is None else f"{asked!r} is none"
            raise exception.InvalidError(f"{who} of the containers of {self._object_id}")
        return members.index(asked)

    async def _info(self) -> clusters.ClusterInfo:
        if self._known is None:
            from windlass.client import session

            self._known = (await session.current().request("cluster.get", {"cluster_id": self.object_id})).body
        return self._known

    async def _ready(self) -> str:
        await self._info()
        return self.object_id

    def _describe(self) -> str:
        return "Cluster"

    def _metadata(self) -> dict[str, Any]:
        return {"known": self._known}

    def _apply_metadata(self, metadata: dict[str, Any]) -> None:
        self._known = metadata["known"]

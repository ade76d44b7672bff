"""``Workspace``: all environments of a platform, and who may use them."""
from __future__ import annotations

from windlass.client import faces
from windlass.client import object as handles

TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    import datetime
    from collections.abc import Sequence
    from typing import Any

    from windlass import billing, types
    from windlass.client import resolver
    from windlass.wire.messages import web


class Workspace(handles.Object):
    """The one workspace of a platform: everything that it has belongs to it.

    Example:
        >>> windlass.Workspace.from_context().hydrate().name
        'local'
    """

    _prefix = "ws"
    _name: str | None = None

    @staticmethod
    def from_context(*, client: object = None) -> Workspace:
        """The workspace of the platform that this program uses."""
        made = Workspace._new()
        made._lazy = True
        return made

    @property
    def name(self) -> str | None:
        """Its name; None until the platform has said it."""
        return self._name

    @property
    def billing(self) -> billing.Billing:
        """What the apps of all its environments had of the machines: ``report``."""
        from windlass import billing

        return billing.Billing(self._everywhere)

    @property
    def members(self) -> Members:
        """People who may use it: ``list``."""
        return Members()

    @property
    def member_tokens(self) -> MemberTokens:
        """Their tokens: ``list`` and ``revoke``."""
        return MemberTokens()

    @property
    def service_users(self) -> ServiceUsers:
        """Programs that may use it: ``list``."""
        return ServiceUsers()

    @property
    def proxy_tokens(self) -> ProxyTokens:
        """Tokens for web functions with ``requires_proxy_auth=True``: ``create``, ``list`` and ``delete``."""
        return ProxyTokens()

    @property
    def settings(self) -> Settings:
        """What is set for all of it: ``list``."""
        return Settings()

    async def _everywhere(self) -> str | None:
        return None

    def _describe(self) -> str:
        return f"Workspace {self._name!r}" if self._name else "Workspace"

    def _metadata(self) -> dict[str, Any]:
        return {"name": self._name}

    def _apply_metadata(self, metadata: dict[str, Any]) -> None:
        self._name = metadata["name"]

    async def _load(self, context: resolver.Context) -> None:
        name = (await _greeting())["workspace"]
        self._hydrate(f"ws-{name}", {"name": name})


class Members:
    """``Workspace.members``. `windlass token create NAME` makes somebody a member."""

    @faces.method
    async def list(self) -> builtins.list[types.WorkspaceMemberInfo]:
        """All of them, oldest first; without service users."""
        from windlass import types

        return [
            types.WorkspaceMemberInfo(
                name=one["name"], email=None, user_id=one["principal_id"], role=one["kind"],
                joined_at=_time(one["created_at"]), last_active_at=_time(one["used_at"]),
            )
            for one in (await _ask("member.list"))["members"]
            if one["kind"] != "service"
        ]  # fmt: skip


class MemberTokens:
    """``Workspace.member_tokens``."""

    @faces.method
    async def list(self) -> builtins.list[types.MemberTokenInfo]:
        """One's own, or all of them where one may see them; newest first, without their secrets."""
        from windlass import types

        return [
            types.MemberTokenInfo(
                name=one["name"], token_id=one["token_id"], user_id=one["principal_id"], username=one["name"],
                created_at=_sure(one["created_at"]), last_used_at=_time(one["used_at"]),
                expires_at=_time(one["expires_at"]), disabled=one["state"] == "revoked",
            )
            for one in (await _ask("token.list"))["tokens"]
            if one["kind"] != "service"
        ]  # fmt: skip

    @faces.method
    async def revoke(self, token_id: str) -> None:
        """Let a token open nothing any more.

        Raises:
            NotFoundError: there is no such token.
        """
        await _ask("token.revoke", {"token_id": token_id})


class ServiceUsers:
    """``Workspace.service_users``. `windlass token create NAME --role service` makes one."""

    @faces.method
    async def list(self) -> builtins.list[types.ServiceUserInfo]:
        """All of them with each of their tokens."""
        from windlass import types

        known = {one["principal_id"]: one for one in (await _ask("member.list"))["members"]}
        return [
            types.ServiceUserInfo(
                service_user_id=one["principal_id"], name=one["name"], token_id=one["token_id"],
                created_by=one["created_by"], created_at=_sure(one["created_at"]), last_used_at=_time(one["used_at"]),
                expires_at=_time(one["expires_at"]),
                environment_roles=dict(known.get(one["principal_id"], {}).get("environments", {})),
            )
            for one in (await _ask("token.list"))["tokens"]
            if one["kind"] == "service"
        ]  # fmt: skip


class ProxyTokens:
    """``Workspace.proxy_tokens``."""

    @faces.method
    async def create(self, name: str = "", *, environments: Sequence[str] = ()) -> tuple[str, str]:
        """Make one; its id and its secret, which is told once and kept by nobody.

        Args:
            name: what lists show.
            environments: those that it is valid for; all of them unless given.
        """
        body: web.ProxyTokenCreate = {"name": name, "environments": [*environments]}
        made: web.ProxyTokenCreated = await _ask("proxy_token.create", body)
        return made["token_id"], made["secret"]

    @faces.method
    async def list(self) -> builtins.list[types.ProxyTokenInfo]:
        """All of them, newest first, without their secrets."""
        from windlass import types

        found: web.ProxyTokenList = await _ask("proxy_token.list")
        return [
            types.ProxyTokenInfo(
                one["token_id"], _sure(one["created_at"]), bool(one["environments"]), one["name"], one["by"]
            )
            for one in found["tokens"]
        ]

    @faces.method
    async def delete(self, token_id: str) -> None:
        """Let it open nothing any more, at once."""
        await _ask("proxy_token.revoke", {"token_id": token_id})


class Settings:
    """``Workspace.settings``. They are the server's: variables ``WINDLASS_SERVER_…`` where it is started."""

    @faces.method
    async def list(self) -> dict[str, str]:
        """The name of the workspace, and the release of the server."""
        hello = await _greeting()
        return {"name": hello["workspace"], "version": hello["version"]}


async def _greeting() -> Any:
    """What the platform said of itself when we connected."""
    from windlass.client import session

    current = session.current()
    await current.connect()
    return current.hello


async def _ask(method: str, body: Any = None) -> Any:
    from windlass.client import session

    return (await session.current().request(method, {} if body is None else body)).body


def _sure(seconds: float) -> datetime.datetime:
    import datetime

    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)


def _time(seconds: float | None) -> datetime.datetime | None:
    return None if seconds is None else _sure(seconds)
